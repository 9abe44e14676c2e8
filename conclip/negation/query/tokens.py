"""The words and marks of a query."""

import re
from functools import cached_property

TOKEN = re.compile(r"[A-Za-z0-9]+(?:['’-][A-Za-z0-9]+)*|[^\sA-Za-z0-9]")
NOT_CONTRACTED = re.compile(
    r"(?i)\b(is|are|was|were|do|does|did|has|have|had|ca|could|wo|would|should)n['’]t\b|\bcannot\b"
)
IS_CONTRACTED = re.compile(r"(there|it|that|he|she|they)('s|'re)")


class Tokens:
    """The words and marks of a query, lower case, with their places in it."""

    def __init__(self, text: str):
        self.text = text
        matches = list(TOKEN.finditer(text))
        self.places = [(match.start(), match.end()) for match in matches]
        self.words = [match.group().lower().replace("’", "'") for match in matches]
        # "n't" is a word of its own, as in the Penn Treebank.
        for at in reversed(range(len(matches))):
            word = self.words[at]
            if NOT_CONTRACTED.fullmatch(word):
                self._split(at, "can" if word in ("cannot", "can't") else word[:-3], "n't")
            elif contracted := IS_CONTRACTED.fullmatch(word):
                self._split(at, contracted[1], contracted[2])

    def _split(self, at: int, first: str, second: str) -> None:
        start, stop = self.places[at]
        middle = min(start + len(first), stop)
        self.places[at : at + 1] = [(start, middle), (middle, stop)]
        self.words[at : at + 1] = [first, second]

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, at: int) -> str:
        """Return the word at a place, or "" outside the query."""
        return self.words[at] if 0 <= at < len(self.words) else ""

    def between(self, start: int, stop: int) -> str:
        """Return the text from token `start` to `stop` (excluded)."""
        stop = min(stop, len(self))
        return self.text[self.places[start][0] : self.places[stop - 1][1]] if start < stop else ""

    @cached_property
    def is_word(self) -> list[bool]:
        return [word[0].isalnum() or word in ("n't", "'s", "'re") for word in self.words]
