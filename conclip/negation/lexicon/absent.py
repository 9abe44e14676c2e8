"""Absent objects: things that an image with such a caption could show and, by all its texts, does not show.

Only nouns that `nouns.tsv` marks as such are drawn, and only those that fit the place (`places.missed`). Of these, a
noun is drawn by how much oftener captions name it together with the nouns of the row than chance would have it. This
is counted over the captions of the dataset and of `nouns.tsv`. Over all rows the drawn nouns are as frequent as those
that captions name, as far as this allows, so that a noun by itself does not reveal whether its negation is true.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np

from conclip.errors import UsageError
from conclip.negation.lexicon import words
from conclip.negation.lexicon.counts import PairCounts
from conclip.negation.lexicon.implied import IMPLIED_BY, SCENES
from conclip.negation.lexicon.inflection import is_person, singular
from conclip.negation.lexicon.names import may_corefer
from conclip.negation.lexicon.nouns import PER, may_be_absent, read_nouns
from conclip.negation.lexicon.places import missed

NUM_SAMPLED = 16
# How many captions the counts of `nouns.tsv` come from.
_SHIPPED = 35_000
# Directions that are kept of the smoothed counts of `nouns.tsv`.
_DIRECTIONS = 20
# To the names that fewer captions hold, those of `nouns.tsv` are added, as if there were so many captions.
_ENOUGH = 5_000
# A thing that a fourth of the captions with a noun name is there as often as not where they do not name it.
_IMPLIED, _IMPLIED_COUNT = 0.25, 8
# Rounds and bounds of the fit of frequencies.
_ROUNDS, _MOST_SCALE = 30, 4.0
# These tell of a person where no animal is spoken of.
_PRONOUNS = frozenset("he she his her hers him who someone anyone somebody".split())
_ANYONE = words.MALE | words.FEMALE | words.CHILDREN | {"person", "adult", "people"}
# So many captions of an image name everybody in it, if all name the same person.
_SURE = 3
_MEN, _WOMEN = frozenset("man guy gentleman".split()), frozenset("woman lady".split())
_BOYS, _GIRLS = frozenset({"boy"}), frozenset({"girl"})
# Words of several people, or of people of whom nothing is known.
_SEVERAL = frozenset(
    "another other group crowd couple team family two three four five six several many together others they their "
    "them we us class pair line each someone somebody player rider skier surfer audience spectator street city market "
    "party restaurant beach park concert event game match race parade background bus train store shop".split()
)
# Beside these somebody is likely to be, though no caption says so: who drives, throws, holds or watches.
_PEOPLE_NEAR = (words.VEHICLES - words.ANIMALS) | frozenset(
    "blinders harness reins bridle muzzle "
    "ball frisbee stick toy leash collar hose sled sleigh cart carriage rope treat kite saddle rider race racing "
    "agility obstacle course trick hurdle jump show contest rodeo trained training fetch fetching catch catches track "
    "catching tennis soccer baseball football basketball swing table bed couch sofa chair kitchen room house hand lap "
    "porch store shop street city market party zoo farm food plate bowl cake pizza camera phone arms wearing wears "
    "bathed bath costume shirt hat trolley tractor wagon pet petting feeding feed fed being held pulled chased led "
    "chasing walked ride riding ridden".split()
)
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
# Word -> those it shares a set of synonyms with.
_NEAR = {
    word: frozenset().union(*(names for names in words.SYNONYMS if word in names))
    for word in frozenset().union(*words.SYNONYMS)
}
_ANIMALS = words.ANIMALS.union(*(names for names in words.SYNONYMS if "dog" in names))


def compare_pairs(pairs: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """
    Return how much oftener than by chance two names come together, float32, (V, V).

    `pairs` by what they would be if what is named beside a noun did not depend on it; 1 is added to either, so that
    small counts say little.
    """
    chance = np.outer(pairs.sum(axis=1), totals / max(1, totals.sum()))
    return ((pairs + 1) / (chance + 1)).astype(np.float32)


@lru_cache(maxsize=1)
def _compare_shipped() -> tuple[dict[str, int], np.ndarray]:
    """
    Return the counted names of `nouns.tsv` -> their number; and `compare_pairs` of them, smoothed.

    Of its logarithm the 20 directions that explain most are kept (truncated eigendecomposition), so that names that
    never met take after their like: what goes with "ski" with "snowboard".
    """
    nouns = read_nouns()
    names = {name: number for number, name in enumerate(nouns.totals)}
    totals = np.array(list(nouns.totals.values()), np.float32) * (_SHIPPED / PER)
    pairs = np.zeros((len(names), len(names)), np.float32)
    for (one, other), count in nouns.pairs.items():
        pairs[names[one], names[other]] = pairs[names[other], names[one]] = count * (_SHIPPED / PER)
    logarithm = np.log(compare_pairs(pairs, totals))
    values, vectors = np.linalg.eigh((logarithm + logarithm.T) / 2)
    most = np.argsort(-np.abs(values))[:_DIRECTIONS]
    smooth = (vectors[:, most] * values[most]) @ vectors[:, most].T
    return names, np.exp(smooth).astype(np.float32)


class AbsentNouns:
    """Sample nouns that are absent from an image.

    Args:
        names (`Sequence[str]`): V names, as `object_nouns` gives them.
        totals (`np.ndarray`): int, (V,). How many captions name each.
        pairs (`np.ndarray`): int, (V, V). How many captions name both.
        scale (`np.ndarray`, *optional*): float, (V,). What `fit` found; without it, 1.
    """

    def __init__(self, names: Sequence[str], totals: np.ndarray, pairs: np.ndarray, scale: np.ndarray | None = None):
        self.names, self.totals = list(names), np.asarray(totals)
        self.pairs = np.reshape(np.asarray(pairs), (len(self.names), len(self.names)))
        self.share = (self.totals * [may_be_absent(name) for name in self.names]).astype(np.float32)
        self.share /= max(1, self.share.sum())
        self._compare()
        self.implied = (self.pairs > _IMPLIED * self.totals[:, None]) & (self.pairs >= _IMPLIED_COUNT)
        self.scale = np.ones(len(self.names), np.float32) if scale is None else np.asarray(scale, np.float32)
        self._index = {name: number for number, name in enumerate(self.names)}
        self._of_head: dict[str, list[int]] = {}
        for number, name in enumerate(self.names):
            self._of_head.setdefault(name.rpartition(" ")[2], []).append(number)
        self._of_word: dict[str, list[int]] = {}
        self._person_heads = {head for head in self._of_head if is_person(head)}
        self._people = self._numbers(is_person)
        self._people_set = frozenset(self._people)
        self._drawn = [number for number, name in enumerate(self.names) if may_be_absent(name)]
        self._anywhere = np.array([name in _ANYONE or name == "dog" for name in self.names], bool)
        self._adults = self._numbers(lambda head: is_person(head) and head not in words.CHILDREN)

    def _compare(self) -> None:
        """
        Find which names come together more or less often than chance has it.

        Sets `lift`, float32, (V, V): how many captions name both, by how many would if what is named beside a noun did
        not depend on it, one added to either, times the same of `nouns.tsv`.
        """
        # The square root, as several captions of one image tell the same.
        self.lift = np.sqrt(compare_pairs(self.pairs, self.totals))
        names, shipped_lift = _compare_shipped()
        here = [number for number, name in enumerate(self.names) if name in names]
        there = [names[self.names[number]] for number in here]
        self.lift[np.ix_(here, here)] *= shipped_lift[np.ix_(there, there)]

    def _numbers(self, holds: Callable[[str], bool]) -> list[int]:
        return [number for head, numbers in self._of_head.items() if holds(head) for number in numbers]

    def sample(self, nouns: Sequence[str], captions: Sequence[str], labels: Sequence[str], seed: int, row: int):
        """Return up to 16 names (`list[str]`) of things that no text of the image mentions, in the order sampled.

        Args:
            nouns: what the row's caption names; decides what is likely.
            captions: all captions of the image.
            labels: names of objects that are in the image.
            seed, row: decide the sample, together with the arguments before.
        """
        weights = self._weights(nouns, captions, labels) * self.scale
        keys = np.random.default_rng([seed, row]).standard_exponential(len(weights), dtype=np.float32)
        # Smallest exponentials of rate w first: a sample without replacement, each time in proportion to w.
        with np.errstate(divide="ignore", invalid="ignore"):
            keys /= weights
        most = min(NUM_SAMPLED, int(np.count_nonzero(weights)))
        chosen = np.argpartition(keys, most - 1)[:most] if 0 < most < len(keys) else np.flatnonzero(weights)
        return [self.names[number] for number in chosen[np.argsort(keys[chosen], kind="stable")]]

    @classmethod
    def of_counts(cls, counts: PairCounts) -> "AbsentNouns":
        """
        Take the names from counts of all captions, and fit how often each is sampled.

        Raises:
            UsageError: there is no caption to fit on.
        """
        names, pairs = dict(counts.names.names), counts.pairs
        if names and not counts.sample:
            raise UsageError(
                f"the frequencies cannot be fitted: none of the {counts.names.captions:,} captions has a number that "
                "is sampled; number them 0, 1, 2 …, or by a hash."
            )
        missing = max(0, _ENOUGH - counts.names.captions) if names else 0
        if missing:
            for name, count in read_nouns().totals.items():
                names[name] = names.get(name, 0) + count * missing / PER
            pairs = np.pad(pairs, (0, len(names) - len(pairs)))
        absent_nouns = cls(list(names), np.array(list(names.values())), pairs)
        absent_nouns.fit(texts for _, *texts in counts.sample)
        return absent_nouns

    def __reduce__(self):
        """Pickle what the rest is computed from, and of the pairs only those that there are: 2 % of the size."""
        one, other = np.nonzero(self.pairs)
        return _restored, (self.names, self.totals, one, other, self.pairs[one, other], self.scale)

    def fit(self, sample: Iterable[tuple[Sequence[str], Sequence[str], Sequence[str]]]) -> None:
        """Find the scale at which the nouns sampled first are as frequent as those that captions name.

        `sample` holds (nouns, captions, labels), as `sample` takes them, of some thousand rows; 4 V bytes of memory
        each. Iterative proportional fitting: a noun sampled too rarely, since it is seldom absent, gets more weight.
        """
        weights = np.array([self._weights(*row) for row in sample], np.float32)
        weights = weights[weights.any(axis=1)] if len(weights) else weights
        self.scale = np.ones(len(self.names), np.float32)
        if not len(weights):
            return
        for _ in range(_ROUNDS):
            of_row = 1 / (weights @ self.scale)
            drawn = self.scale * (of_row @ weights) / len(weights)
            step = np.divide(self.share, drawn, out=np.ones_like(drawn), where=drawn > 0)
            scale = self.scale * np.sqrt(step)
            # Of a scale the relations count: people, whom nearly every caption names, can never be absent as often.
            scale /= np.median(scale[drawn > 0]) if (drawn > 0).any() else 1
            self.scale = np.clip(scale, 1 / _MOST_SCALE, _MOST_SCALE).astype(np.float32)

    def _weights(self, nouns: Sequence[str], captions: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Return how likely each name is sampled, float32, (V,): 0 if it is mentioned, or may be there unmentioned."""
        said = _words(captions)
        ids = self._context(nouns, said)
        likely = np.where(self._anywhere, 1, self.lift[ids].prod(axis=0))
        weights = self.share * likely
        weights[self.implied[ids].any(axis=0) & ~self._anywhere] = 0
        mentioned = self.mentioned([*captions, *labels])
        weights[mentioned] = 0
        forms = said.union(map(singular, said))
        weights[self._people_that_may_be_there(nouns, said, forms, len(captions), mentioned)] = 0
        if any("close up" in text.lower() for text in captions):
            forms.add("closeup")
        fitting = missed(forms, {noun.rpartition(" ")[2] for noun in nouns})
        weights[[number for number in self._drawn if self.names[number] not in fitting]] = 0
        return weights

    def _people_that_may_be_there(
        self, nouns: Sequence[str], said: set[str], forms: set[str], num_captions: int, mentioned: Sequence[int]
    ) -> list[int]:
        """
        Return the numbers of the people who may be in the image although the captions do not name them.

        If the captions name no person, these are all people; but nobody is beside animals, unless a word hints at
        somebody. If they name people, three captions or more have to agree on one man, woman, boy or girl: then
        nobody of the other sort is there.

        Args:
            said: the words of the captions.
            forms: these and their singulars.
        """
        if self._people_set.isdisjoint(mentioned):
            beside_animals = not words.ANIMALS.isdisjoint(nouns) and _PEOPLE_NEAR.isdisjoint(forms)
            return [] if beside_animals else self._people
        people = {word for word in said if is_person(singular(word))}
        adults = people <= _MEN or people <= _WOMEN
        if (
            num_captions < _SURE
            or not (adults or people <= _BOYS or people <= _GIRLS)
            or not _SEVERAL.isdisjoint(forms)
        ):
            return self._people
        return [] if adults else self._adults

    def _context(self, nouns: Sequence[str], said: set[str]) -> list[int]:
        """Return the numbers of the names that tell what kind of scene it is, by what the row's caption names and by
        what people in the image's captions do."""
        shipped = _compare_shipped()[0]
        named = {noun if noun in shipped else noun.rpartition(" ")[2] for noun in nouns}
        named.update(SCENES[word] for word in said & SCENES.keys())
        # A person may be anywhere.
        named = named - _ANYONE or named
        known = named & shipped.keys()
        return sorted(self._index[name] for name in known if name in self._index)

    def mentioned(self, texts: Iterable[str]) -> list[int]:
        """Return the numbers of the names of things that any text mentions: by the name, a synonym, a broader or
        narrower word, or a word that implies the thing ("surfing" a wave)."""
        found = _words(texts)
        numbers: set[int] = set()
        for word in found:
            if word not in self._of_word:
                self._of_word[word] = self._find(word)
            numbers.update(self._of_word[word])
        if not found.isdisjoint(_PRONOUNS) and _ANIMALS.isdisjoint(map(singular, found)):
            numbers.update(self._people)
        return list(numbers)

    def _find(self, word: str) -> list[int]:
        parts = {word, *word.split("-")} if "-" in word else {word}
        forms = {form for part in parts for form in (part, singular(part))}
        numbers = {number for form in forms for number in self._coreferring(form)}
        for thing in {thing for form in forms for thing in IMPLIED_BY.get(form, ())}:
            numbers.update(self._people if thing == "person" else self._of_head.get(thing, ()))
        return sorted(numbers)

    def _coreferring(self, noun: str) -> list[int]:
        near = {noun, *_NEAR.get(noun, ())}
        if is_person(noun):
            near |= self._person_heads
        return [number for head in near if may_corefer(noun, head) for number in self._of_head.get(head, ())]


def _words(texts: Iterable[str]) -> set[str]:
    """Return the words of texts, in lower case."""
    return {word for text in texts for word in _WORD.findall(text.lower())}


def _restored(names, totals, one, other, counts, scale) -> AbsentNouns:
    pairs = np.zeros((len(names), len(names)), counts.dtype)
    pairs[one, other] = counts
    return AbsentNouns(names, totals, pairs, scale)
