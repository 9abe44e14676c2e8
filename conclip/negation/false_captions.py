"""False captions with the query that they ask: captions in which a verb, an attribute or a relation is negated."""

import re
from collections.abc import Iterator, Sequence

from conclip.negation.grammar.generator import GrammarGenerator
from conclip.negation.grammar.parsing import Parsed
from conclip.negation.query import Query, parse_query
from conclip.negation.rows import Negation

STRATEGIES = ("verb", "attribute", "relation")
_BATCH = 512
_WORD = re.compile(r"[a-z]+")


def false_captions(captions: Sequence[str], seed: int) -> list[tuple[str, Query]]:
    """
    Return false negations of captions, each with what of the caption remains and what is denied.

    Captions of which the grammar can negate nothing, or of whose negation the two parts are not sure, give none.

    Args:
        captions: affirmative captions.
        seed: of what is negated, and how.
    """
    from conclip.negation.grammar.parsing import parse

    generators = [GrammarGenerator(seed, strategy, ("false",), batch_size=_BATCH) for strategy in STRATEGIES]
    made = []
    for number, doc in enumerate(generators[0].nlp.pipe(captions, batch_size=_BATCH)):
        parsed = parse(doc)
        # Another order for each caption, so that each strategy comes first as often as the others.
        for turn in range(len(STRATEGIES)):
            generator = generators[(number + turn) % len(STRATEGIES)]
            found = next(_negations(generator, parsed, number), None)
            if found:
                made.append(found)
                break
    return made


def _negations(generator: GrammarGenerator, parsed: Parsed, number: int) -> Iterator[tuple[str, Query]]:
    for negation in generator.negate_parsed(parsed, number).negations.values():
        query = parse_query(negation.text)
        if negation.kind == generator.strategy and is_sure(query, negation):
            yield negation.text, query


def is_sure(query: Query, negation: Negation) -> bool:
    """Return whether the query denies one thing, which has the negated words in it, and wants the rest."""
    if len(query.unwanted) != 1:
        return False
    # Of "no dogs are running on the grass" nothing remains.
    if (negation.rule == "no-subject") == bool(query.wanted):
        return False
    return _WORD.findall(negation.target.lower())[-1][:3] in query.unwanted[0].lower()
