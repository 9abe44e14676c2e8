"""
Of which images a negated caption is true, as far as their captions tell.

L_conclip (arXiv 2403.20312) draws a distractor image towards the negated caption c', so c' should be true of it. A
caption that denies something is true of an image none of whose captions or object labels mentions it. Words are
compared in all numbers (dog, dogs), and what is denied by its head alone ("a red ball" is mentioned by any ball), so
that doubt counts as a mention. Synonyms and kinds (guy, man; dog, animal) are not known: object labels help there.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch

WORD = re.compile(r"[^\W_]+")
# What is regular, and -man, is left to the rules of `word_forms`.
SINGULARS = dict(
    pair.split()
    for pair in (
        "people person, children child, grandchildren grandchild, feet foot, teeth tooth, geese goose, mice mouse, "
        "oxen ox, dice die, cacti cactus, pence penny"
    ).split(", ")
)
# What follows belongs to the head's complement: "the man in a hat", "a bottle of water".
PREPOSITIONS = frozenset(
    "of in on at with without by for from to into onto over under above below beneath behind beside near next inside "
    "outside against across along around between through during after before while that which who whose where".split()
)
NOT_HEADS = frozenset(
    "a an the any some no not this that these those his her its their my your our there is are one another other each "
    "every all both several many few".split()
)


@lru_cache(maxsize=1 << 17)
def word_forms(word: str) -> frozenset[str]:
    """
    The word and what its singular may be. Two words are numbers of one noun if their forms meet: {"buses", "buse",
    "bus"} and {"bus", "bu"}. Not every form is a word.
    """
    forms = {word, SINGULARS.get(word, word)}
    if word.endswith("men"):
        forms.add(word[:-3] + "man")
    if len(word) > 2 and word.endswith("s"):
        forms.add(word[:-1])
        if word.endswith("ies"):
            forms.add(word[:-3] + "y")
        if word.endswith("ves"):
            forms |= {word[:-3] + "f", word[:-3] + "fe"}
        if word.endswith("es"):
            forms.add(word[:-2])
    return frozenset(forms)


def words_of(text: str) -> list[str]:
    return WORD.findall(text.lower())


def forms_of(texts: Iterable[str]) -> set[str]:
    """Every form of every word of the texts."""
    return set().union(*(word_forms(word) for text in texts for word in words_of(text)))


def head_of(phrase: str) -> str | None:
    """The word a phrase is about: the last before a preposition. `None` for a phrase without words."""
    words = words_of(phrase)
    while words and words[0] in PREPOSITIONS | NOT_HEADS:
        words.pop(0)
    end = next((place for place, word in enumerate(words) if word in PREPOSITIONS), len(words))
    heads = [word for word in words[:end] if word not in NOT_HEADS]
    return heads[-1] if heads else None


def mentions(texts: Iterable[str], phrase: str) -> bool:
    """Whether any of the texts has the head of the phrase, in any number. Nothing mentions a phrase without words."""
    head = head_of(phrase)
    return head is not None and not word_forms(head).isdisjoint(forms_of(texts))


def agrees(texts: Sequence[str], targets: Iterable[str], subject: str | None = None) -> bool:
    """
    Whether a caption that denies `targets` is true of the image, as far as its texts tell.

    Args:
        texts: all captions of the image, and its object labels. Of an image without any nothing is known: `False`.
        targets: what the negated caption denies, e.g. ["a red ball"].
        subject: if given and not without words, the texts must mention it.
    """
    if not texts or any(mentions(texts, target) for target in targets):
        return False
    return not subject or head_of(subject) is None or mentions(texts, subject)


class Agreement:
    """
    `agrees` for all queries and the whole pool: `nearest.Search(allowed=...)`.

    Args:
        texts: for each image of the pool all captions, and its object labels.
        targets: for each query what its negated caption denies. A query without any words there has no target: see
            `has_target`.
        subjects: for each query what an image must show. `None`: nothing.
    """

    def __init__(
        self, texts: Sequence[Sequence[str]], targets: Sequence[Sequence[str]], subjects: Sequence[str] | None = None
    ):
        postings: dict[str, list[int]] = {}
        for image, of_image in enumerate(texts):
            for form in forms_of(of_image):
                postings.setdefault(form, []).append(image)
        self._images = {form: np.array(images, np.int64) for form, images in postings.items()}
        self._silent = torch.tensor([not of_image for of_image in texts], dtype=torch.bool)
        heads = [frozenset(filter(None, map(head_of, of_query))) for of_query in targets]
        self.has_target = np.array([bool(of_query) for of_query in heads], bool)
        self._targets, self._target_of = _distinct(heads)
        self._subjects = None
        if subjects is not None:
            shown = [frozenset(filter(None, [head_of(text)])) for text in subjects]
            self._subjects, self._subject_of = _distinct(shown)

    def __call__(self, rows: np.ndarray, start: int, stop: int) -> torch.Tensor:
        """
        Args:
            rows: int64, (r,), queries.
            start, stop: images of the pool.

        Returns:
            bool, (r, stop - start): whether they agree.
        """
        denied = self._mentioned(self._targets, self._target_of[rows], start, stop)
        allowed = ~(denied | self._silent[start:stop])
        if self._subjects is not None:
            subjects = self._subject_of[rows]
            shown = self._mentioned(self._subjects, subjects, start, stop)
            shown |= torch.tensor([not self._subjects[subject] for subject in subjects])[:, None]
            allowed &= shown
        return allowed

    def _mentioned(self, heads: list[frozenset[str]], of_rows: np.ndarray, start: int, stop: int) -> torch.Tensor:
        used, row = np.unique(of_rows, return_inverse=True)
        found = torch.zeros(len(used), stop - start, dtype=torch.bool)
        nothing = np.empty(0, np.int64)
        for place, which in enumerate(used):
            for form in set().union(*map(word_forms, heads[which])):
                images = self._images.get(form, nothing)
                first, last = np.searchsorted(images, [start, stop])
                found[place, torch.from_numpy(images[first:last] - start)] = True
        return found[torch.from_numpy(row)]


def _distinct(heads: list[frozenset[str]]) -> tuple[list[frozenset[str]], np.ndarray]:
    numbers = {of_row: number for number, of_row in enumerate(dict.fromkeys(heads))}
    return list(numbers), np.array([numbers[of_row] for of_row in heads], np.int64)
