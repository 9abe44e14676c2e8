"""The language model generator: the grammar parses and chooses, a language model forms the sentences."""

import random
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path

from conclip.model_folders import is_missing
from conclip.negation.grammar import generator as filters
from conclip.negation.grammar.generator import CountTokens, GrammarGenerator, choose
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.parsing import parse
from conclip.negation.llm import verify
from conclip.negation.llm.answer_file import AnswerFile
from conclip.negation.llm.chat_server import ChatServer
from conclip.negation.llm.http_chat import ServerError, chat_url, read_key
from conclip.negation.llm.local_model import LocalModel
from conclip.negation.llm.prompting import (
    PROMPT_FILES,
    PROMPTS,
    BudgetReached,
    Prompt,
    Reply,
    Request,
    Spent,
    Task,
    ask_false,
    ask_hybrid,
    ask_true,
)
from conclip.negation.rows import NEGATION_TYPES, Negation, Result

__all__ = ["BudgetReached", "LanguageModelGenerator", "ServerError"]

GENERATOR = "language model"


@dataclass
class _Plan:
    parsed: Parsed
    result: Result
    tasks: list[Task] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    swap: Negation | None = None


class LanguageModelGenerator:
    """
    Negate captions with a language model, which gets the same triple as in the paper (arXiv 2403.20312, stage 3).

    The grammar parses, chooses and names what is absent, by the seed and the row's number. The model writes the
    sentences, with one request for each type of negation (a true negation and its foil share one). The grammar makes
    the swaps. Every sentence must pass `reject` of the grammar and the checks of `verify`.

    Args:
        model_name_or_path (`str`): on the Hub or in a folder, or the name at the server.
        seed, strategy, negation_types, count_tokens, fallback, batch_size: as for `GrammarGenerator`.
        base_url (`str`, *optional*): OpenAI-compatible server; without it, the model runs in this process.
        api_key_env (`str`, *optional*): environment variable that holds the API key of the server.
        prompts_dir (`str`, *optional*): folder with prompts in place of the package's own.
        temperature, max_new_tokens: of the answers; temperature 0 takes the most likely one.
        generation_batch_size (`int`): requests at a time, without a server.
        max_concurrency, request_timeout, max_retries: as for `ChatServer`.
        max_requests, max_tokens (`int`, *optional*): budget of a process.
        answers_file (`str`, *optional*): JSON Lines file of answers; none of them is asked for again.
        max_missing_words (`int`): content words of the caption that a false negation may lack.
        grammar_fallback (`bool`): use the grammar's sentence if the model's is rejected.

    Attributes:
        counts (`Counter`): (type of negation, "made" or why the answer was rejected) -> captions.
        spent (`Spent`): requests, tokens, retries and answers taken from the file, of this process.
    """

    def __init__(
        self,
        model_name_or_path: str,
        seed: int = 0,
        strategy: str = "random",
        negation_types: Sequence[str] = NEGATION_TYPES,
        count_tokens: CountTokens | None = None,
        fallback: bool = True,
        batch_size: int = 256,
        *,
        base_url: str | None = None,
        api_key_env: str | None = None,
        prompts_dir: str | None = None,
        temperature: float = 0.0,
        max_new_tokens: int = 256,
        generation_batch_size: int = 32,
        max_concurrency: int = 16,
        request_timeout: float = 120.0,
        max_retries: int = 6,
        max_requests: int | None = None,
        max_tokens: int | None = None,
        answers_file: str | None = None,
        max_missing_words: int = 1,
        grammar_fallback: bool = False,
    ):
        if not model_name_or_path:
            raise ValueError("LanguageModelGenerator needs model_name_or_path: the name of a model.")
        self.model_name_or_path, self.base_url, self.api_key_env = model_name_or_path, base_url, api_key_env
        self.settings = {"temperature": temperature, "max_new_tokens": max_new_tokens, "seed": seed}
        self.generation_batch_size, self.max_concurrency = generation_batch_size, max_concurrency
        self.request_timeout, self.max_retries = request_timeout, max_retries
        self.max_requests, self.max_tokens, self.answers_file = max_requests, max_tokens, answers_file
        self.max_missing_words, self.grammar_fallback = max_missing_words, grammar_fallback
        # Found out before the captions are parsed, which may take long.
        if base_url is not None:
            chat_url(base_url)
            read_key(api_key_env)
        elif is_missing(model_name_or_path):
            raise ValueError(f"The language model {model_name_or_path} cannot be loaded: there is no such folder.")
        if answers_file and Path(answers_file).is_dir():
            raise ValueError(f"The file of answers, {answers_file}, is a folder: name a file.")
        self.seed, self.strategy, self.fallback = seed, strategy, fallback
        self.count_tokens = count_tokens
        self.grammar = GrammarGenerator(seed, strategy, negation_types, None, fallback, batch_size)
        folder = Path(prompts_dir or PROMPTS)
        self.prompts = {name: Prompt.load(folder / f"{name}.json") for name in PROMPT_FILES}
        self._reset()

    def _reset(self) -> None:
        self.counts: Counter = Counter()
        self.spent = Spent(self.max_requests, self.max_tokens)
        self._model = None

    def __getstate__(self) -> dict:
        kept = {name: value for name, value in self.__dict__.items() if name not in ("counts", "spent", "_model")}
        return kept

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._reset()

    @property
    def model(self) -> ChatServer | LocalModel:
        # Made where it is used first: a generator travels to other processes without its model.
        if self._model is None:
            answers = AnswerFile(self.answers_file) if self.answers_file else None
            common = self.model_name_or_path, self.settings, self.spent, answers
            if self.base_url is None:
                self._model = LocalModel(*common, batch_size=self.generation_batch_size)
            else:
                self._model = ChatServer(
                    *common,
                    base_url=self.base_url,
                    api_key_env=self.api_key_env,
                    max_concurrency=self.max_concurrency,
                    timeout=self.request_timeout,
                    max_retries=self.max_retries,
                )
        return self._model

    @property
    def nlp(self):
        return self.grammar.nlp

    @property
    def negation_types(self) -> frozenset[str]:
        return self.grammar.negation_types

    def nouns(self, captions: Iterable[str]) -> Iterator[list[str]]:
        """As `GrammarGenerator.nouns`."""
        return self.grammar.nouns(captions)

    def negate(
        self,
        captions: Iterable[str],
        rows: Iterable[int],
        absent: Iterable[Sequence[str] | None] | None = None,
    ) -> Iterator[Result]:
        """As `GrammarGenerator.negate`.

        Raises `BudgetReached` after the last result that could be made, and `ServerError` if the server refuses
        everything. Answers that came in stay in `answers_file`: a new run continues from there.
        """
        parses = map(parse, self.nlp.pipe(captions, batch_size=self.grammar.batch_size))
        nouns = absent if absent is not None else repeat(None)
        yield from self.negate_all(zip(parses, rows, nouns, strict=False))

    def negate_all(self, items: Iterable[tuple[Parsed, int, Sequence[str] | None]]) -> Iterator[Result]:
        """As `negate`, for captions that are parsed already: each with its row and its absent nouns."""
        plans: deque[_Plan] = deque()
        done = 0

        def requests() -> Iterator[Request]:
            for parsed, row, nouns in items:
                plans.append(self._plan(parsed, row, nouns or ()))
                yield from [task.request for task in plans[-1].tasks]

        def finished() -> Iterator[Result]:
            nonlocal done
            while plans and len(plans[0].replies) == len(plans[0].tasks):
                done += 1
                yield self._finish(plans.popleft())

        try:
            with closing(self.model.ask(requests())) as replies:
                for reply in replies:
                    # Captions of which nothing is asked have no reply to wait for.
                    yield from finished()
                    plans[0].replies.append(reply)
                    yield from finished()
            yield from finished()
        except BudgetReached as error:
            raise BudgetReached(f"{error} {done} captions are done.") from None

    def _plan(self, parsed: Parsed, row: int, absent: Sequence[str]) -> _Plan:
        """What is asked for one caption."""
        made = self.grammar.negate_parsed(parsed, row, absent)
        plan = _Plan(parsed, Result(row), swap=made.negations.get("swap"))
        plan.result.reasons.update(made.reasons)
        if filters.reject_caption(parsed):
            return plan
        minimal_pair, hybrids = (
            tuple(made.negations[name] for name in (negation_type, f"{negation_type}_foil") if name in made.negations)
            for negation_type in ("true", "hybrid")
        )
        pair = self._choose(parsed, row, minimal_pair) if "false" in self.negation_types else None
        if pair:
            plan.result.reasons.pop("false", None)
            plan.tasks.append(ask_false(self.prompts, parsed, pair, made.negations.get("false")))
        if minimal_pair:
            plan.tasks.append(ask_true(self.prompts, parsed, pair, minimal_pair))
        if hybrids:
            plan.tasks.append(ask_hybrid(self.prompts, parsed, hybrids))
        return plan

    def _choose(self, parsed: Parsed, row: int, minimal_pair: tuple[Negation, ...]) -> Pair | None:
        """Sample what the false negation negates: something else than the minimal pair, if possible."""
        rng = random.Random(f"{self.seed} {row}")
        taken = {negation.span for negation in minimal_pair if negation.kind != "object"}
        others = replace(parsed, pairs=[pair for pair in parsed.pairs if pair.span not in taken])
        pair = choose(others, self.strategy, rng) or choose(parsed, self.strategy, rng)
        return pair or (choose(parsed, "random", rng) if self.fallback else None)

    def _finish(self, plan: _Plan) -> Result:
        result, caption = plan.result, plan.parsed.caption
        seen = {" ".join(caption.lower().split())}
        for task, reply in zip(plan.tasks, plan.replies, strict=True):
            reason, made = reply.reason, ()
            if reply.answer:
                made = self._form(plan.parsed, task, reply.answer)
                reason = self._check(plan.parsed, task, made) or self._reject(caption, made, seen)
            self.counts[task.negation_type, reason or "made"] += 1
            if reason and self.grammar_fallback and task.made:
                made = task.made
                reason = reason if self._reject(caption, made, seen) else None
            if reason:
                foils = [name for name in NEGATION_TYPES if name.removesuffix("_foil") == task.negation_type]
                result.reasons.update(dict.fromkeys(foils, reason))
            else:
                result.negations.update({negation.negation_type: negation for negation in made})
        if plan.swap:
            reason = self._reject(caption, (plan.swap,), seen)
            result.reasons.update({"swap": reason} if reason else {})
            result.negations.update({} if reason else {"swap": plan.swap})
        return result

    def _form(self, parsed: Parsed, task: Task, answer: dict[str, str]) -> tuple[Negation, ...]:
        texts = [verify.tidy_answer(answer[name], parsed.caption) for name in task.request.prompt.fields]
        rule = task.request.prompt.name
        if task.pair:
            pair = task.pair
            target = parsed.text(pair.span)
            return (Negation(texts[0], "false", pair.kind, rule, target, pair.span, False, GENERATOR),)
        return tuple(
            replace(negation, text=text, rule=rule, generator=GENERATOR)
            for negation, text in zip(task.plan, texts, strict=True)
        )

    def _check(self, parsed: Parsed, task: Task, made: tuple[Negation, ...]) -> str | None:
        if task.pair:
            return verify.check_false(parsed, task.pair, made[0].text, self.max_missing_words)
        reason = verify.check_minimal_pair(parsed, task.plan, tuple(negation.text for negation in made))
        for negation, name in zip(made, task.affirmed, strict=False):
            reason = reason or verify.check_affirmed(parsed, negation.text, name)
        return reason

    def _reject(self, caption: str, made: tuple[Negation, ...], seen: set[str]) -> str | None:
        keys = [" ".join(negation.text.lower().split()) for negation in made]
        for negation, key in zip(made, keys, strict=True):
            reason = filters.DUPLICATE if key in seen else filters.reject(caption, negation, self.count_tokens)
            if reason:
                return reason
        seen.update(keys)
        return None
