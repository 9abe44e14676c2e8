"""The two parts of a query: what the image should show, and what it should not."""

import re
from dataclasses import dataclass

from conclip.negation.query.denials import denial_at
from conclip.negation.query.tokens import Tokens
from conclip.negation.query.wanted import wanted_text

MINUS = re.compile(r"(?<!\S)[-−](?:\"([^\"]+)\"|([^\W\d][\w'-]*))")


@dataclass(frozen=True)
class Query:
    """
    A query in two parts.

    Args:
        wanted: what the image should show; the whole query if it negates nothing, "" if it wants nothing.
        unwanted: what the image should not show, one phrase each.
    """

    wanted: str
    unwanted: tuple[str, ...] = ()


def parse_query(text: str) -> Query:
    """
    Split a query into its wanted and unwanted parts.

    Understands "no", "not", "n't", "without", "neither … nor", "lacks", "free of", "is absent", "is missing",
    "nowhere to be seen", "nobody", and "-word" of search tools. Leaves alone what only looks negative ("a no-parking
    sign", "nothing but", "not only", "not without").

    Args:
        text: a query in English.

    Returns:
        The parts; `wanted` is `text` itself, unchanged, if it negates nothing.
    """
    excluded = tuple(match[1] or match[2] for match in MINUS.finditer(text))
    rest = MINUS.sub(" ", text) if excluded else text
    tokens = Tokens(rest)
    denials, at = [], 0
    while at < len(tokens):
        denial = denial_at(tokens, at, denials[-1].stop if denials else 0)
        if denial and all(any(map(str.isalnum, phrase)) for phrase in denial.unwanted):
            denials.append(denial)
            at = max(denial.stop, at + 1)
        else:
            at += 1
    unwanted = [phrase for denial in denials for phrase in denial.unwanted]
    if not unwanted and not excluded:
        return Query(text)
    return Query(wanted_text(tokens, denials), tuple(dict.fromkeys([*unwanted, *excluded])))
