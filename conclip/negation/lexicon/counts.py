"""
The counts behind absent nouns, in two passes over the captions: names, then pairs of the commonest names.

Each pass counts any part of the captions, and parts add up (`+`) to the same counts in any order and grouping. So they
are counted in one process or on many machines. What is added can be stored as JSON.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from conclip.errors import UsageError

VOCABULARY = 2_000
# Captions on which the frequencies of absent nouns are fitted, evenly spread by their numbers.
FITTED = 4_096

# Of a caption whose number is sampled: its number, the objects that it names, all captions of its image, and the
# labels of objects in it.
Sampled = tuple[int, tuple[str, ...], tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class NameCounts:
    """
    The first pass: how many captions there are, and how many name each object.

    Memory is some 100 bytes for each distinct name.

    Attributes:
        captions (`int`): all captions that were counted, also those that name nothing.
        names (`Counter[str]`): name -> captions that name it.
    """

    captions: int = 0
    names: Counter[str] = field(default_factory=Counter)

    @classmethod
    def count(cls, objects: Iterable[Sequence[str]]) -> NameCounts:
        """Count the objects of each caption, as `object_nouns` gives them."""
        captions, names = 0, Counter()
        for named in objects:
            captions += 1
            names.update(named)
        return cls(captions, names)

    def __add__(self, other: NameCounts) -> NameCounts:
        less, more = sorted((self.names, other.names), key=len)
        names = more.copy()
        names.update(less)
        return NameCounts(self.captions + other.captions, names)

    def commonest(self, size: int = VOCABULARY) -> NameCounts:
        """
        Return the counts of the `size` commonest names, commonest first and equal ones by the alphabet.

        Call it on the sum of all parts: those of a part may be others.
        """
        ordered = sorted(self.names.items(), key=lambda item: (-item[1], item[0]))
        return NameCounts(self.captions, Counter(dict(ordered[:size])))

    def is_sampled(self, number: int) -> bool:
        """Return whether the frequencies are fitted on the caption with this number: about `FITTED` are, or all."""
        return number % max(1, self.captions // FITTED) == 0

    def to_json(self) -> str:
        return json.dumps({"captions": self.captions, "names": dict(self.names)})

    @classmethod
    def from_json(cls, text: str) -> NameCounts:
        """
        Raises:
            UsageError: the text is not what `to_json` returns.
        """
        try:
            content = json.loads(text)
            names = Counter({_text(name): _count(count) for name, count in content["names"].items()})
            return cls(_count(content["captions"]), names)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(
                "the text holds no counts of names, as `NameCounts.to_json` writes them: count them again."
            ) from error


@dataclass(frozen=True, eq=False)
class PairCounts:
    """
    The second pass: how many captions name two of the commonest names, and the captions to fit frequencies on.

    Attributes:
        names (`NameCounts`): the commonest names of all captions, V of them.
        pairs (`np.ndarray`): int64, (V, V). How many captions name both; 0 on the diagonal.
        sample (`tuple[Sampled, ...]`): by number. At most 2 `FITTED`, those with the lowest numbers.
    """

    names: NameCounts
    pairs: np.ndarray
    sample: tuple[Sampled, ...] = ()

    @classmethod
    def count(
        cls,
        names: NameCounts,
        rows: Iterable[tuple[int, Sequence[str], tuple[Sequence[str], Sequence[str]] | None]],
    ) -> PairCounts:
        """
        Count the pairs of a part of the captions.

        Args:
            names: `NameCounts.commonest` of all captions.
            rows: of each caption its number, the objects that it names, and all captions of its image with the labels
                of objects in it. The last two are used only where `names.is_sampled(number)`.
        """
        index = {name: at for at, name in enumerate(names.names)}
        pairs, sample = np.zeros((len(index), len(index)), np.int64), []
        for number, named, texts in rows:
            ids = [index[name] for name in named if name in index]
            for one in ids:
                for other in ids:
                    if one != other:
                        pairs[one, other] += 1
            if names.is_sampled(number):
                captions, labels = texts
                sample.append((int(number), tuple(named), tuple(captions), tuple(labels)))
        return cls(names, pairs, _lowest(sample))

    def __add__(self, other: PairCounts) -> PairCounts:
        """
        Raises:
            UsageError: the two count pairs of different names.
        """
        if self.names != other.names or list(self.names.names) != list(other.names.names):
            raise UsageError(
                "the counts are of pairs of different names: count all with the same `NameCounts.commonest`."
            )
        return PairCounts(self.names, self.pairs + other.pairs, _lowest([*self.sample, *other.sample]))

    def __eq__(self, other) -> bool:
        if not isinstance(other, PairCounts):
            return NotImplemented
        same = self.names == other.names and self.sample == other.sample
        return same and np.array_equal(self.pairs, other.pairs)

    def to_json(self) -> str:
        one, second = np.nonzero(np.triu(self.pairs))
        pairs = np.stack([one, second, self.pairs[one, second]], axis=1)
        # A list: the commonest name comes first.
        names = list(self.names.names.items())
        content = {"captions": self.names.captions, "names": names, "pairs": pairs.tolist(), "sample": self.sample}
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> PairCounts:
        """
        Raises:
            UsageError: the text is not what `to_json` returns.
        """
        try:
            content = json.loads(text)
            names = NameCounts(
                _count(content["captions"]), Counter({_text(name): _count(count) for name, count in content["names"]})
            )
            pairs = np.zeros((len(names.names), len(names.names)), np.int64)
            for one, other, count in content["pairs"]:
                pairs[_count(one), _count(other)] = pairs[other, one] = _count(count)
            sample = [
                (_count(number), *(tuple(map(_text, texts)) for texts in (named, captions, labels)))
                for number, named, captions, labels in content["sample"]
            ]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
            raise UsageError(
                "the text holds no counts of pairs, as `PairCounts.to_json` writes them: count them again."
            ) from error
        return cls(names, pairs, _lowest(sample))


def _lowest(sample: list[Sampled]) -> tuple[Sampled, ...]:
    # Captions that are numbered from 0 on are fewer; the limit keeps memory small with any other numbers.
    return tuple(sorted(sample)[: 2 * FITTED])


def _count(value) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _text(value) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value
