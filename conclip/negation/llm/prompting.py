"""What a language model is asked, and how its answer is read."""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.lexicon.names import some
from conclip.negation.rows import Negation

PROMPTS = Path(__file__).parent / "prompts"
NO_ANSWER = "no answer from the model"
MALFORMED = "answer not in the form asked for"

# An answer that is not in the form asked for is requested again this many times, then at this temperature:
# the same greedy answer would come again.
ASK_AGAIN = 2
ASK_AGAIN_TEMPERATURE = 0.7


class BudgetReached(RuntimeError):
    """Report that no more requests or tokens may be spent. Finished answers are stored."""


@dataclass(frozen=True)
class Prompt:
    """A task for the model, read from a JSON file.

    Attributes:
        name (`str`): what rows record as their rule.
        instruction (`str`): text before the first example.
        input (`list[str]`): lines with places such as `{caption}`; a line with an empty value is skipped.
        fields (`list[str]`): of the JSON object to answer with, each a sentence.
        examples (`list[dict]`): values of the places, and under "answer" the object.
    """

    name: str
    instruction: str
    input: list[str]
    fields: list[str]
    examples: list[dict]

    @classmethod
    def load(cls, path: str | Path) -> "Prompt":
        """Raises `ValueError` if the file is missing or is no prompt."""
        try:
            prompt = cls(**json.loads(Path(path).read_text(encoding="utf-8")))
            for example in prompt.examples:
                prompt._show(example)
                if sorted(example["answer"]) != sorted(prompt.fields):
                    raise ValueError(f"the fields of an example's answer are not {', '.join(prompt.fields)}")
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
        # What `format` raises for a field that the values do not have is among them.
        except (TypeError, LookupError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} is no prompt: {error}.") from error
        return prompt

    @cached_property
    def schema(self) -> dict:
        """JSON schema of an answer."""
        return {
            "type": "object",
            "properties": {field: {"type": "string"} for field in self.fields},
            "required": list(self.fields),
            "additionalProperties": False,
        }

    def messages(self, values: dict[str, str]) -> list[dict[str, str]]:
        """The chat. The instruction is part of the first turn: some models' templates know no system role."""
        turns = []
        for example in self.examples:
            turns.append({"role": "user", "content": self._show(example)})
            turns.append({"role": "assistant", "content": json.dumps(example["answer"], ensure_ascii=False)})
        turns.append({"role": "user", "content": self._show(values)})
        turns[0]["content"] = f"{self.instruction}\n\n{turns[0]['content']}"
        return turns

    def _show(self, values: dict[str, str]) -> str:
        lines = (line.format(**values) for line in self.input)
        return "\n".join(line for line in lines if not line.endswith(": "))

    def read(self, text: object) -> dict[str, str] | None:
        """Return the first JSON object in `text` that has every field, each a sentence; None if there is none."""
        if not isinstance(text, str):
            return None
        # Reasoning models think aloud first, at times in JSON.
        text = text.rpartition("</think>")[2]
        start = text.find("{")
        while start >= 0:
            try:
                found, _ = json.JSONDecoder().raw_decode(text, start)
            except (ValueError, RecursionError):
                found = None
            if isinstance(found, dict):
                answer = {field: found.get(field) for field in self.fields}
                if all(isinstance(value, str) and value.strip() for value in answer.values()):
                    return answer
            start = text.find("{", start + 1)
        return None


@dataclass(frozen=True)
class Request:
    """One task: a prompt and the values of its places."""

    prompt: Prompt
    values: dict[str, str]

    @cached_property
    def messages(self) -> list[dict[str, str]]:
        return self.prompt.messages(self.values)

    def key(self, settings: dict) -> str:
        """Of this chat put to a model with these settings (32 hexadecimal digits)."""
        asked = [settings, self.prompt.name, self.prompt.fields, self.messages]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Reply:
    """`answer` by field, or the reason why there is none."""

    answer: dict[str, str] | None
    reason: str | None = None


class Spent:
    """Count requests and tokens of one process, and stop them at a limit. Threads may share it.

    `max_tokens` bounds prompts and answers together. It is looked at before a request is sent: those under way then
    still come in.
    """

    def __init__(self, max_requests: int | None = None, max_tokens: int | None = None):
        self.max_requests, self.max_tokens = max_requests, max_tokens
        self.requests = self.tokens = self.retries = self.cached = 0
        self._lock = threading.Lock()

    def start(self, retry: bool = False) -> None:
        """Count one request. Raises `BudgetReached` if it may not be sent."""
        with self._lock:
            for name, used, limit in (
                ("max_requests", self.requests, self.max_requests),
                ("max_tokens", self.tokens, self.max_tokens),
            ):
                if limit is not None and used >= limit:
                    raise BudgetReached(
                        f"Stopped by {name}={limit}, after {self.requests} requests and {self.tokens} tokens."
                    )
            self.requests += 1
            self.retries += retry

    def end(self, tokens: int) -> None:
        with self._lock:
            self.tokens += tokens

    def count_cached(self) -> None:
        with self._lock:
            self.cached += 1


PROMPT_FILES = ("negated-pair", "absent-object", "absent-pair", "hybrid")


@dataclass
class Task:
    """One negation_type of one caption.

    Attributes:
        negation_type (`str`): "false", "true" or "hybrid".
        request (`Request`): what is asked.
        plan (`tuple[Negation, ...]`): a true one and its foil as they shall be, but for the text; empty for "false".
        made (`tuple[Negation, ...]`): what the grammar made of the same caption.
        pair (`Pair | None`): what a false negation negates.
        affirmed (`tuple[str, ...]`): what each hybrid says is there.
    """

    negation_type: str
    request: Request
    plan: tuple[Negation, ...]
    made: tuple[Negation, ...]
    pair: Pair | None = None
    affirmed: tuple[str, ...] = ()


def ask_false(prompts: Mapping[str, Prompt], parsed: Parsed, pair: Pair, made: Negation | None) -> Task:
    """Ask what stage 3 of the paper asks: the triple, and what of it to negate."""
    values = {
        "caption": parsed.caption.strip(),
        "subject": parsed.text(pair.subject),
        "predicate": parsed.text(pair.predicate),
        "object": parsed.text(pair.object),
        "target": parsed.text(pair.span),
    }
    return Task("false", Request(prompts["negated-pair"], values), (), (made,) if made else (), pair)


def ask_true(prompts: Mapping[str, Prompt], parsed: Parsed, pair: Pair | None, made: tuple[Negation, ...]) -> Task:
    """Ask for a true negation and its foil, with the grammar's targets. `pair` is that of the false negation."""
    true, foil = made
    thing = next((other for other in parsed.pairs if other.name and other.name == foil.target), None)
    if pair and thing and pair.span == true.span:
        # Or the foil would be the false negation.
        true, foil = (replace(negation, kind="object", span=thing.span) for negation in made)
    values = {
        "caption": parsed.caption.strip(),
        "target": parsed.text(true.span),
        "absent": true.target,
        "present": foil.target,
    }
    prompt = prompts["absent-object" if true.kind == "object" else "absent-pair"]
    return Task("true", Request(prompt, values), (true, foil), made)


def ask_hybrid(prompts: Mapping[str, Prompt], parsed: Parsed, made: tuple[Negation, ...]) -> Task:
    """A true and a false hybrid of the things that the grammar's name."""
    true, foil = made
    there = next(pair.name for pair in parsed.pairs if pair.name and pair.span == true.span)
    # The false one says that the absent thing is there, or that a second thing is not.
    affirmed = (there, true.target if foil.span == true.span else there)
    values = {
        "caption": parsed.caption.strip(),
        "absent": true.target,
        "present": foil.target,
        "affirmed": some(affirmed[0], False),
        "affirmed_falsely": some(affirmed[1], False),
    }
    return Task("hybrid", Request(prompts["hybrid"], values), made, made, affirmed=affirmed)
