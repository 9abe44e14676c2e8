"""The language model's maker: the grammar parses and chooses, a language model forms the sentences."""

import random
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path

from conclip.negation.grammar import filters, verify
from conclip.negation.grammar.choose import choose
from conclip.negation.grammar.filters import CountTokens
from conclip.negation.grammar.maker import GrammarMaker
from conclip.negation.grammar.parse import parse
from conclip.negation.grammar.parsed import Pair, Parsed
from conclip.negation.grammar.rows import PRODUCTS, Negation, Result
from conclip.negation.llm.answer_file import AnswerFile
from conclip.negation.llm.chat import PROMPTS, BudgetReached, Prompt, Reply, Request, Spent
from conclip.negation.llm.language_model_arguments import LanguageModelArguments
from conclip.negation.llm.local_model import LocalModel
from conclip.negation.llm.server import ChatServer, ServerError
from conclip.negation.llm.tasks import PROMPT_FILES, Task, ask_false, ask_hybrid, ask_true

__all__ = ["BudgetReached", "LanguageModelArguments", "LanguageModelMaker", "ServerError"]

MAKER = "language model"


@dataclass
class _Plan:
    parsed: Parsed
    result: Result
    tasks: list[Task] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    swap: Negation | None = None


class LanguageModelMaker:
    """Makes negations by a language model, which gets the same triple as the paper's (arXiv 2403.20312, stage 3).

    The grammar parses, chooses and names what is absent, by the seed and the row's number; the model writes the
    sentence, one request a product (a true negation and its foil are one). Swaps are the grammar's. Every sentence
    passes `filters.reject` and the checks of `verify`.

    Args:
        arguments (`LanguageModelArguments`): the model.
        seed, strategy, products, count_tokens, fallback, batch_size: as `GrammarMaker`'s.

    Attributes:
        counts (`Counter`): (product, "made" or the reason why not, as the model's answers were judged) -> captions.
        spent (`Spent`): requests, tokens, retries and answers taken from the file, of this process.
    """

    def __init__(
        self,
        arguments: LanguageModelArguments,
        seed: int = 0,
        strategy: str = "random",
        products: Sequence[str] = PRODUCTS,
        count_tokens: CountTokens | None = None,
        fallback: bool = True,
        batch_size: int = 256,
    ):
        if not arguments.model_name_or_path:
            raise ValueError("The language model's maker needs model_name_or_path: the name of a model.")
        self.arguments, self.seed, self.strategy, self.fallback = arguments, seed, strategy, fallback
        self.count_tokens = count_tokens
        self.grammar = GrammarMaker(seed, strategy, products, None, fallback, batch_size)
        folder = Path(arguments.prompts_dir or PROMPTS)
        self.prompts = {name: Prompt.load(folder / f"{name}.json") for name in PROMPT_FILES}
        self._reset()

    def _reset(self) -> None:
        self.counts: Counter = Counter()
        self.spent = Spent(self.arguments.max_requests, self.arguments.max_tokens)
        self._model = None

    def __getstate__(self) -> dict:
        kept = {name: value for name, value in self.__dict__.items() if name not in ("counts", "spent", "_model")}
        return kept

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._reset()

    @property
    def model(self) -> ChatServer | LocalModel:
        # Made where it is used first: a maker travels to other processes without its model.
        if self._model is None:
            asked = self.arguments
            settings = {"temperature": asked.temperature, "max_new_tokens": asked.max_new_tokens, "seed": self.seed}
            answers = AnswerFile(asked.answers_file) if asked.answers_file else None
            name = asked.model_name_or_path
            if asked.base_url is None:
                self._model = LocalModel(name, settings, self.spent, answers, asked.generation_batch_size)
            else:
                self._model = ChatServer(
                    name,
                    asked.base_url,
                    settings,
                    self.spent,
                    answers,
                    asked.api_key_env,
                    asked.max_concurrency,
                    asked.request_timeout,
                    asked.max_retries,
                )
        return self._model

    @property
    def nlp(self):
        return self.grammar.nlp

    @property
    def products(self) -> frozenset[str]:
        return self.grammar.products

    def nouns(self, captions: Iterable[str]) -> Iterator[list[str]]:
        """As `GrammarMaker.nouns`."""
        return self.grammar.nouns(captions)

    def negate(
        self,
        captions: Iterable[str],
        rows: Iterable[int],
        absent: Iterable[Sequence[str] | None] | None = None,
    ) -> Iterator[Result]:
        """As `GrammarMaker.negate`.

        Raises `BudgetReached` after the last result that could be made, and `ServerError` if the server refuses
        everything. Answers that came in stay in `answers_file`: a new run goes on from there.
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
        twins, hybrids = (
            tuple(made.negations[name] for name in (product, f"{product}_foil") if name in made.negations)
            for product in ("true", "hybrid")
        )
        pair = self._choose(parsed, row, twins) if "false" in self.products else None
        if pair:
            plan.result.reasons.pop("false", None)
            plan.tasks.append(ask_false(self.prompts, parsed, pair, made.negations.get("false")))
        if twins:
            plan.tasks.append(ask_true(self.prompts, parsed, pair, twins))
        if hybrids:
            plan.tasks.append(ask_hybrid(self.prompts, parsed, hybrids))
        return plan

    def _choose(self, parsed: Parsed, row: int, twins: tuple[Negation, ...]) -> Pair | None:
        """Draws what the false negation denies: something else than the twins, if there is."""
        rng = random.Random(f"{self.seed} {row}")
        taken = {negation.span for negation in twins if negation.kind != "object"}
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
            self.counts[task.product, reason or "made"] += 1
            if reason and self.arguments.grammar_fallback and task.made:
                made = task.made
                reason = reason if self._reject(caption, made, seen) else None
            if reason:
                foils = [name for name in PRODUCTS if name.removesuffix("_foil") == task.product]
                result.reasons.update(dict.fromkeys(foils, reason))
            else:
                result.negations.update({negation.product: negation for negation in made})
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
            return (Negation(texts[0], "false", pair.kind, rule, target, pair.span, False, MAKER),)
        return tuple(
            replace(negation, text=text, rule=rule, maker=MAKER)
            for negation, text in zip(task.plan, texts, strict=True)
        )

    def _check(self, parsed: Parsed, task: Task, made: tuple[Negation, ...]) -> str | None:
        if task.pair:
            return verify.check_false(parsed, task.pair, made[0].text, self.arguments.max_words_left_out)
        reason = verify.check_twins(parsed, task.plan, tuple(negation.text for negation in made))
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
