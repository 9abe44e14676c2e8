"""
Decide, by an image's captions, whether a negated caption is true of it.

L_conclip (arXiv 2403.20312) pulls a distractor image towards the negated caption c', so c' should be true of that
image. "No dog" is true of an image if none of its captions and object labels mentions a dog. Singular and plural are
the same word (dog, dogs), and a phrase is compared by its head alone: any ball counts as "a red ball", so that no
doubtful image is taken. Synonyms and kinds (guy, man; dog, animal) are not known: object labels help there.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch

WORD = re.compile(r"[^\W_]+")
# Regular plurals, and those of words that end in -man, follow the rules of `word_forms`.
SINGULARS = dict(
    pair.split()
    for pair in (
        "people person, children child, grandchildren grandchild, feet foot, teeth tooth, geese goose, mice mouse, "
        "oxen ox, dice die, cacti cactus, pence penny"
    ).split(", ")
)
# The words after these belong to the head's complement: "the man in a hat", "a bottle of water".
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
    Return a word and the words that could be its singular, some of which are not words.

    Two words are forms of the same noun if their sets meet: {"buses", "buse", "bus"} and {"bus", "bu"}.
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
    """Return every form of every word of the texts."""
    return set().union(*(word_forms(word) for text in texts for word in words_of(text)))


def head_of(phrase: str) -> str | None:
    """Return the word that a phrase is about, the last before a preposition; `None` for a phrase without words."""
    words = words_of(phrase)
    while words and words[0] in PREPOSITIONS | NOT_HEADS:
        words.pop(0)
    end = next((place for place, word in enumerate(words) if word in PREPOSITIONS), len(words))
    heads = [word for word in words[:end] if word not in NOT_HEADS]
    return heads[-1] if heads else None


def mentions(texts: Iterable[str], phrase: str) -> bool:
    """Return whether any text has the head of the phrase, singular or plural; `False` for a phrase without words."""
    head = head_of(phrase)
    return head is not None and not word_forms(head).isdisjoint(forms_of(texts))


def negation_holds(texts: Sequence[str], negated_phrases: Iterable[str], subject: str | None = None) -> bool:
    """
    Return whether a caption that negates some phrases is true of an image, as far as the image's texts tell.

    Args:
        texts: all captions and object labels of the image. Without any, nothing is known: `False`.
        negated_phrases: the phrases that the caption negates, e.g. ["a red ball"].
        subject: if given and not without words, the texts must mention it.
    """
    if not texts or any(mentions(texts, phrase) for phrase in negated_phrases):
        return False
    return not subject or head_of(subject) is None or mentions(texts, subject)


class CaptionFilter:
    """
    `negation_holds` for all queries and all images of a pool, for `find_distractors(caption_filter=...)`.

    Args:
        texts: for each image of the pool, all its captions and object labels.
        negated_phrases: for each query, the phrases that its negated caption negates.
        subjects: for each query, the object that an image must show; `None`: any image will do.

    Attributes:
        negates: bool, (queries,), whether a query has a negated phrase with words.
    """

    def __init__(
        self,
        texts: Sequence[Sequence[str]],
        negated_phrases: Sequence[Sequence[str]],
        subjects: Sequence[str] | None = None,
    ):
        images_with: dict[str, list[int]] = {}
        for image, image_texts in enumerate(texts):
            for form in forms_of(image_texts):
                images_with.setdefault(form, []).append(image)
        self._images_with = {form: np.array(images, np.int64) for form, images in images_with.items()}
        self._without_text = torch.tensor([not image_texts for image_texts in texts], dtype=torch.bool)
        heads = [frozenset(filter(None, map(head_of, phrases))) for phrases in negated_phrases]
        self.negates = np.array([bool(of_query) for of_query in heads], bool)
        self._negated, self._negated_of = _distinct(heads)
        self._subjects = None
        if subjects is not None:
            self._subjects, self._subject_of = _distinct(
                [frozenset(filter(None, [head_of(subject)])) for subject in subjects]
            )

    def __call__(self, rows: np.ndarray, start: int, stop: int) -> torch.Tensor:
        """
        Return for which queries and images the negation holds.

        Args:
            rows: int64, (r,), queries.
            start, stop: a range of images of the pool.

        Returns:
            bool, (r, stop - start).
        """
        mentioned = self._mentioned(self._negated, self._negated_of[rows], start, stop)
        allowed = ~(mentioned | self._without_text[start:stop])
        if self._subjects is not None:
            subjects = self._subject_of[rows]
            shown = self._mentioned(self._subjects, subjects, start, stop)
            shown |= torch.tensor([not self._subjects[subject] for subject in subjects])[:, None]
            allowed &= shown
        return allowed

    def _mentioned(self, heads: list[frozenset[str]], of_rows: np.ndarray, start: int, stop: int) -> torch.Tensor:
        """Return bool, (rows, stop - start): whether an image's texts mention any head of the row."""
        used, row = np.unique(of_rows, return_inverse=True)
        found = torch.zeros(len(used), stop - start, dtype=torch.bool)
        nothing = np.empty(0, np.int64)
        for place, number in enumerate(used):
            for form in set().union(*map(word_forms, heads[number])):
                images = self._images_with.get(form, nothing)
                first, last = np.searchsorted(images, [start, stop])
                found[place, torch.from_numpy(images[first:last] - start)] = True
        return found[torch.from_numpy(row)]


def _distinct(heads: list[frozenset[str]]) -> tuple[list[frozenset[str]], np.ndarray]:
    """Return the distinct sets, and for each set its index among them: queries share most of their heads."""
    numbers = {of_row: number for number, of_row in enumerate(dict.fromkeys(heads))}
    return list(numbers), np.array([numbers[of_row] for of_row in heads], np.int64)
