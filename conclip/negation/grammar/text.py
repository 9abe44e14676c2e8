"""Edits of a caption, and the finish every text gets: spaces, commas, articles, case, end."""

import re
from collections.abc import Iterable

from conclip.negation.lexicon.inflection import article

Edit = tuple[int, int, str]  # characters start to end (excluded) become the text

_END = re.compile(r"[\s.!?]*$")
_REPEATED_COMMA = re.compile(r"(?:\s*,){2,}")
_COMMA_BEFORE_END = re.compile(r"\s*,(?=[\s.!?]*$)")
_ARTICLE = re.compile(r"\b([Aa]n?) (?=([A-Za-z][\w'-]*))")


def apply(caption: str, edits: Iterable[Edit]) -> str:
    """Return the caption with the edits made; they must not overlap."""
    pieces, last = [], 0
    for start, end, text in sorted(edits):
        pieces += (caption[last:start], text)
        last = end
    return "".join(pieces) + caption[last:]


def split_end(caption: str) -> tuple[str, str]:
    """Return the caption without its end, and the end: spaces, full stops, exclamation and question marks."""
    start = _END.search(caption).start()
    return caption[:start], caption[start:]


def comma(caption: str) -> str:
    """ " ," in captions whose marks stand apart ("a dog ."), else ","."""
    return " ," if " ." in caption or " ," in caption else ","


def tidy(text: str) -> str:
    """Mends what a removal leaves: doubled spaces, doubled or dangling commas."""
    text = " ".join(text.split())
    if "," in text:
        text = _COMMA_BEFORE_END.sub("", _REPEATED_COMMA.sub(lambda found: found.group()[:2].rstrip(), text)).lstrip(
            " ,"
        )
    return text


def fit_articles(text: str, caption: str) -> str:
    """ "a"/"an" by the word that follows, unless the caption itself has them so."""

    def fit(found: re.Match) -> str:
        if found.group() + found.group(2) in caption:
            return found.group()
        right = article(found.group(2))
        return (right.capitalize() if found.group(1)[0] == "A" else right) + " "

    return _ARTICLE.sub(fit, text)


def fit_case(text: str, caption: str) -> str:
    """Begins as the caption does."""
    first = caption.lstrip()[:1]
    return text[:1].upper() + text[1:] if first.isupper() else text[:1].lower() + text[1:] if first.islower() else text
