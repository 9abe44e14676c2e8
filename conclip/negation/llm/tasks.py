"""What a language model is asked to write of one caption: the grammar says what is denied, the prompt how."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from conclip.negation.grammar.parsed import Pair, Parsed
from conclip.negation.grammar.rows import Negation
from conclip.negation.lexicon.names import some
from conclip.negation.llm.chat import Prompt, Request

PROMPT_FILES = ("negated-pair", "absent-object", "absent-pair", "hybrid")


@dataclass
class Task:
    """One product of one caption.

    Attributes:
        product (`str`): "false", "true" or "hybrid".
        request (`Request`): what is asked.
        plan (`tuple[Negation, ...]`): a true one and its foil as they shall be, but for the text; empty for "false".
        made (`tuple[Negation, ...]`): what the grammar made of the same caption.
        pair (`Pair | None`): what a false negation denies.
        affirmed (`tuple[str, ...]`): what each hybrid says is there.
    """

    product: str
    request: Request
    plan: tuple[Negation, ...]
    made: tuple[Negation, ...]
    pair: Pair | None = None
    affirmed: tuple[str, ...] = ()


def ask_false(prompts: Mapping[str, Prompt], parsed: Parsed, pair: Pair, made: Negation | None) -> Task:
    """The paper's stage 3: the triple, and what of it to deny."""
    values = {
        "caption": parsed.caption.strip(),
        "subject": parsed.text(pair.subject),
        "predicate": parsed.text(pair.predicate),
        "object": parsed.text(pair.object),
        "target": parsed.text(pair.span),
    }
    return Task("false", Request(prompts["negated-pair"], values), (), (made,) if made else (), pair)


def ask_true(prompts: Mapping[str, Prompt], parsed: Parsed, pair: Pair | None, made: tuple[Negation, ...]) -> Task:
    """A true negation and its foil, that deny what the grammar's deny. `pair` is what the false negation denies."""
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
