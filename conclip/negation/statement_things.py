"""The things that statements are about: which they are, how often each is drawn, and what is drawn beside it."""

import random
import re
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from conclip.errors import UsageError
from conclip.negation.lexicon.inflection import plural, singular
from conclip.negation.lexicon.names import contradicts
from conclip.negation.lexicon.nouns import PER, read_nouns
from conclip.negation.lexicon.query_words import IMAGE
from conclip.negation.lexicon.things import NO_THINGS, THINGS
from conclip.negation.lexicon.words import THINGS_IN_ING
from conclip.negation.wording import Form, form_of

# At most so many nouns; of the captions' own those that captions name so often.
NUM_NOUNS, LEAST = 1_500, 2
# Captions on which the frequencies of nouns are counted.
COUNTED = 50_000
# How often a name is plural, and how often a second thing is one that captions name beside the first.
MANY, BESIDE = 0.35, 0.5
_TRIES = 8
_WORD = re.compile(r"[a-z]+")


class StatementThings:
    """
    Draw things, the first of a list most often. A thing is its number in the list.

    Args:
        names: singular, without article, commonest first; names that come twice count once.

    Attributes:
        names: the list.
        forms: the singular and the plural of each.
        of_word: name, singular or plural -> its number.

    Raises:
        UsageError: there are fewer than three names.
    """

    def __init__(self, names: Sequence[str]):
        self.names = list(dict.fromkeys(names))
        if len(self.names) < 3:
            raise UsageError(f"statements need three nouns or more; there are {len(self.names)}.")
        at = {name: number for number, name in enumerate(self.names)}
        self.of_word = {form: number for name, number in at.items() for form in (plural(name), name)}
        self.forms = [(form_of(name, False), form_of(name, True)) for name in self.names]
        self._weights = list(accumulate(1 / (number + 15) for number in range(len(self.names))))
        beside: dict[int, dict[int, int]] = {}
        for (one, other), count in read_nouns().pairs.items():
            if one in at and other in at and not contradicts(one, other) and not contradicts(other, one):
                first, second = at[one], at[other]
                beside.setdefault(first, {})[second] = beside.setdefault(second, {})[first] = count
        self._beside = {number: (list(counts), list(accumulate(counts.values()))) for number, counts in beside.items()}

    def named(self, caption: str) -> list[int]:
        """Return the things that a caption names, by one word or two: "bike", "tennis balls"."""
        words = _WORD.findall(caption.lower())
        names = (*words, *map(" ".join, zip(words, words[1:], strict=False)))
        return sorted({self.of_word[name] for name in names if name in self.of_word})

    def draw(self, rng: random.Random) -> int:
        """Return a thing; those that are first in the list come most often."""
        return bisect(self._weights, rng.random() * self._weights[-1])

    def draw_other(self, rng: random.Random, first: int) -> int:
        """Return a thing that is another one, half of the time one that captions name beside it."""
        name = self.names[first]
        for _ in range(_TRIES):
            other = self._draw_beside(rng, first)
            if other != first and not contradicts(name, self.names[other]):
                return other
        return (first + 1) % len(self.names)

    def _draw_beside(self, rng: random.Random, first: int) -> int:
        """Return a thing that captions name beside `first`, or any."""
        if first in self._beside and rng.random() < BESIDE:
            others, weights = self._beside[first]
            return others[bisect(weights, rng.random() * weights[-1])]
        return self.draw(rng)

    def draw_absent(self, rng: random.Random, own: Sequence[int]) -> int:
        """Return a thing that a caption which names `own` does not name, nor imply."""
        for _ in range(_TRIES):
            thing = self._draw_beside(rng, own[int(rng.random() * len(own))]) if own else self.draw(rng)
            name = self.names[thing]
            if thing not in own and not any(contradicts(self.names[number], name) for number in own):
                return thing
        return self.draw(rng)

    def draw_form(self, rng: random.Random, number: int) -> Form:
        """Return the singular of a thing, or its plural."""
        return self.forms[number][rng.random() < MANY]


def count_nouns(captions: Sequence[str]) -> list[str]:
    """
    Return the visible things that captions name, and those of `nouns.tsv` and of a list, commonest first.

    At most `NUM_NOUNS` names are returned.
    """
    every = max(1, len(captions) // COUNTED)
    words = Counter(word for text in captions[::every] for word in _WORD.findall(text.lower()))
    shipped = read_nouns()
    visible = shipped.visible.union(THINGS)
    counts: Counter[str] = Counter()
    for word, count in words.items():
        name = singular(word)
        if count >= LEAST and name in visible and is_thing(name):
            counts[name] += count
    # What the captions lack comes after the commonest that they name.
    total = sum(counts.values()) / PER
    for name, count in shipped.totals.items():
        if is_thing(name):
            counts[name] += count * total / 100
    named = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    return list(dict.fromkeys([*named, "person", *filter(is_thing, THINGS)]))[:NUM_NOUNS]


def is_thing(name: str) -> bool:
    """Return whether a statement or a question can be about what is called so: no part of an image, no doing."""
    head = name.rpartition(" ")[2]
    return not (name in NO_THINGS or head in IMAGE or (head.endswith("ing") and head not in THINGS_IN_ING))
