"""What a search query is made of: texts and images, each added or subtracted."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conclip.data import IMAGE_SUFFIXES
from conclip.errors import UsageError

# `+` and `-` between blanks; `-word` and `-"two words"`.
OPERATOR = re.compile(r'(?<!\S)(?:([+-])(?!\S)|-(?:"([^"]+)"|([^\W\d_][\w\'’-]*)(?!\S)))')
# Shorter sums of unit embeddings have no direction: they are what rounding left.
SHORTEST = 1e-4


@dataclass(frozen=True)
class Term:
    """
    Part of a query.

    Args:
        text: a text, or the path of an image.
        sign: 1 if it is added, -1 if it is subtracted.
        is_image: whether `text` is a path.
    """

    text: str
    sign: int = 1
    is_image: bool = False


def split_query(words: Sequence[str]) -> list[Term]:
    """
    Split a query into its terms: `a street -cars + night` has "a street" and "night", and subtracts "cars".

    Args:
        words: the arguments of the command line, or one line of text. An argument, or what is between two operators,
            is an image if it is the path of an image file; what is left is joined by blanks.

    Returns:
        The terms in order, those of `-word` last.

    Raises:
        UsageError: the query is empty, has nothing behind an operator, names an image file that does not exist, or
            holds a text that is not UTF-8.
    """
    parts: list[tuple[int, list[Term]]] = [(1, [])]
    excluded = []
    for kind, value in _pieces(words):
        sign, terms = parts[-1]
        if kind == "operator":
            parts.append((1 if value == "+" else -1, []))
        elif kind == "excluded":
            excluded.append(Term(value, -1))
        elif kind == "text" and terms and not terms[-1].is_image:
            terms[-1] = Term(f"{terms[-1].text} {value}", sign)
        else:
            terms.append(Term(value, sign, kind == "image"))
    for sign, terms in parts[1:]:
        if not terms:
            raise UsageError(f"The query has nothing behind {'+' if sign > 0 else '-'}: put a text or an image there.")
    found = [*(term for _, terms in parts for term in terms), *excluded]
    if not found:
        raise UsageError("The query is empty: say what the images should show.")
    # Halves of characters stand for such bytes.
    if any(re.search("[\ud800-\udfff]", term.text) for term in found if not term.is_image):
        raise UsageError("The query is not UTF-8 text: type it again.")
    return found


def _pieces(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        if is_image_file(word):
            yield "image", word
            continue
        at = 0
        for match in OPERATOR.finditer(word):
            yield from _text_or_image(word[at : match.start()])
            yield ("operator", match[1]) if match[1] else ("excluded", match[2] or match[3])
            at = match.end()
        yield from _text_or_image(word[at:])


def _text_or_image(words: str) -> Iterator[tuple[str, str]]:
    if text := " ".join(words.split()):
        if has_image_suffix(text) and not is_image_file(text):
            raise UsageError(f"The query names {text}, but there is no such image file.")
        yield "image" if is_image_file(text) else "text", text


def is_image_file(text: str) -> bool:
    """Return whether a text is the path of an image file that exists."""
    # In place of `Path.is_file`, which raises an error for a text that is too long for a path.
    return has_image_suffix(text) and os.path.isfile(text)


def has_image_suffix(text: str) -> bool:
    """Return whether a text ends as the path of an image file does."""
    return Path(text).suffix.lower() in IMAGE_SUFFIXES


def combine(embeds: np.ndarray, terms: Sequence[Term]) -> np.ndarray:
    """
    Add and subtract the embeddings of the terms of a query.

    Args:
        embeds: float32, (terms, d), unit rows.

    Returns:
        float32, (d,), the sum of sign times embedding, of unit length.

    Raises:
        UsageError: the terms cancel each other.
    """
    if len(terms) == 1 and terms[0].sign > 0:
        return embeds[0]
    total = np.array([term.sign for term in terms], np.float32) @ embeds
    length = np.linalg.norm(total)
    if not length > SHORTEST:
        raise UsageError("The terms of the query cancel each other: nothing is left to search for.")
    return total / length
