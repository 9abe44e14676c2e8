"""What a process does: units of some hundred captions, parsed and then negated; and the processes themselves.

Imports neither datasets nor transformers: a process of its own starts with this file.
"""

import json
import os
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context, parent_process
from pathlib import Path

from conclip.negation.grammar.maker import GrammarMaker
from conclip.negation.grammar.parse import object_nouns, parse
from conclip.negation.grammar.rows import Result
from conclip.negation.lexicon.absent import AbsentNouns
from conclip.negation.llm.language_model_arguments import LanguageModelArguments

# Captions of a unit. What spaCy takes at a time is one unit, so that no result depends on the number of processes.
UNIT = 512
NOUNS_FILE = "nouns.npz"
_ATTRIBUTES = ["TAG", "LEMMA", "DEP", "HEAD"]
_TOKENS = 77


@dataclass(frozen=True)
class Unit:
    """Captions number `first` to `last` (excluded)."""

    first: int
    last: int


class Worker:
    """Works on units; the parses are kept as files of spaCy's own format in `folder`, some 75 bytes a caption."""

    def __init__(
        self,
        folder: str,
        seed: int,
        strategy: str,
        products: Sequence[str],
        tokenizer_name: str | None,
        language_model: LanguageModelArguments | None = None,
    ):
        self.folder, self.seed, self.tokenizer_name = Path(folder), seed, tokenizer_name
        settings = seed, strategy, products, self.count_tokens if tokenizer_name else None
        if language_model:
            from conclip.negation.llm.language_model import LanguageModelMaker

            self.maker = LanguageModelMaker(language_model, *settings, batch_size=UNIT)
        else:
            self.maker = GrammarMaker(*settings, batch_size=UNIT)

    @cached_property
    def absent(self) -> AbsentNouns:
        return AbsentNouns.load(self.folder / NOUNS_FILE)

    @cached_property
    def tokenizer(self):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.tokenizer_name)

    def count_tokens(self, text: str) -> int:
        # A token is a byte or more, and there are two marks: a short text needs no count.
        length = len(text.encode()) + 2
        return length if length <= _TOKENS else len(self.tokenizer(text)["input_ids"])

    def parse(self, unit: Unit, captions: list[str]) -> int:
        """Writes the parses and the object nouns of a unit; returns how many captions it has."""
        from spacy.tokens import DocBin

        bin = DocBin(attrs=_ATTRIBUTES)
        nouns = []
        for doc in self.maker.nlp.pipe(captions, batch_size=UNIT):
            bin.add(doc)
            nouns.append(object_nouns(parse(doc)))
        replace(self.folder / f"{unit.first:09}.docs", bin.to_bytes())
        replace(nouns_path(self.folder, unit), json.dumps(nouns).encode())
        return len(captions)

    def negate(self, unit: Unit, said: list[tuple[list[str], list[str]]]) -> list[tuple[str, Result, list[str]]]:
        """Caption, result and object nouns of each caption of a unit that was parsed; `said` as `Source.said`."""
        from spacy.tokens import DocBin

        docs = DocBin().from_bytes((self.folder / f"{unit.first:09}.docs").read_bytes())
        docs = list(docs.get_docs(self.maker.nlp.vocab))
        names = read_nouns(self.folder, unit)

        def items():
            rows = range(unit.first, unit.last)
            for row, doc, nouns, (captions, labels) in zip(rows, docs, names, said, strict=True):
                absent = self.absent.draw(nouns, captions, labels, self.seed, row) if self.needs_absent else ()
                yield parse(doc), row, absent

        results = self.maker.negate_all(items())
        return [(doc.text, result, nouns) for doc, result, nouns in zip(docs, results, names, strict=True)]

    @property
    def needs_absent(self) -> bool:
        return not self.maker.products.isdisjoint(("true", "hybrid"))


def nouns_path(folder: Path, unit: Unit) -> Path:
    return folder / f"{unit.first:09}.json"


def read_nouns(folder: Path, unit: Unit) -> list[list[str]]:
    return json.loads(nouns_path(folder, unit).read_bytes())


def replace(path: Path, content: bytes) -> None:
    """Writes beside and renames: there whole or not at all."""
    unfinished = path.with_name(f"unfinished-{os.getpid()}")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


def count_reasons(results: Iterable[Result]) -> dict[str, Counter]:
    """Product -> reason -> how many captions have none for that reason."""
    reasons: dict[str, Counter] = {}
    for result in results:
        for product, reason in result.reasons.items():
            reasons.setdefault(product, Counter())[reason] += 1
    return reasons


_worker: Worker | None = None


def _start(*settings) -> None:
    global _worker
    language_model = settings[-1]
    # One thread each: the processes are the parallelism.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if language_model is None or language_model.base_url:
        # spaCy imports torch where there is one, and needs it for nothing here: seconds and 200 MB of each process.
        sys.modules.setdefault("torch", None)
    # A process whose parent was killed would wait for work for ever.
    threading.Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()
    _worker = Worker(*settings)


def _run(method: str, *job):
    return getattr(_worker, method)(*job)


class Processes:
    """Runs a worker's methods over jobs, in order, in `num_proc` processes (in this one if it is 1).

    A few jobs for each process are under way at a time: memory does not grow with their number.
    """

    def __init__(self, num_proc: int, settings: tuple):
        self.num_proc, self.settings = num_proc, settings
        self._pool: ProcessPoolExecutor | None = None
        self._worker: Worker | None = None

    def __enter__(self) -> "Processes":
        if self.num_proc == 1:
            self._worker = Worker(*self.settings)
        else:
            context = get_context("spawn")
            self._pool = ProcessPoolExecutor(self.num_proc, context, initializer=_start, initargs=self.settings)
        return self

    def __exit__(self, *error) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def map(self, method: str, jobs: Iterable[tuple]) -> Iterator:
        if self._worker:
            yield from (getattr(self._worker, method)(*job) for job in jobs)
            return
        waiting = deque()
        for job in jobs:
            waiting.append(without_interrupt(lambda job=job: self._pool.submit(_run, method, *job)))
            if len(waiting) > 2 * self.num_proc:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def without_interrupt(start: Callable):
    """Processes started within ignore Ctrl-C, which the terminal sends to all: this one ends the others."""
    if threading.current_thread() is not threading.main_thread():
        return start()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return start()
    finally:
        signal.signal(signal.SIGINT, before)
