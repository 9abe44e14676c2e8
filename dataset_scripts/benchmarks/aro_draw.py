"""
The shuffled captions that ARO's authors draw (Yuksekgonul et al., ICLR 2023): `TextShuffler` in
`dataset_zoo/perturbations.py` and `pre_caption` in `dataset_zoo/retrieval.py` of
https://github.com/mertyg/vision-language-models-are-bows.

One stream of random numbers serves all captions, in their order, so that a draw depends on the seed, the order of the
captions, the tags of spaCy's en_core_web_sm and the tokens of NLTK. With the same versions of these, the texts are
those of the authors' code. A shuffle may return the caption itself.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache

import numpy as np

from conclip.errors import UsageError
from dataset_scripts.benchmarks.tagging import ADJECTIVES, NOUNS, tagged

MAX_WORDS = 30


def pre_caption(text: str) -> str:
    """Return a text as ARO writes it: in lower case, without .!"()*#:;~, and at most 30 words long."""
    text = re.sub(r'[.!"()*#:;~]', " ", text.lower())
    text = re.sub(r"\s{2,}", " ", text).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:MAX_WORDS])


class AroShuffles:
    """
    The authors' four shuffles, as functions of a caption's tokens. Each call takes numbers from the streams.

    Args:
        seed: the seed of both streams of random numbers, NumPy's and Python's.
    """

    def __init__(self, seed: int):
        self.permutations, self.rng = np.random.RandomState(seed), random.Random(seed)

    def nouns_and_adjectives(self, tokens: list[str], tags: list[str]) -> str:
        """Return the text with nouns in the places of nouns, and adjectives in the places of adjectives."""
        for kind in (NOUNS, ADJECTIVES):
            tokens = self._permuted(tokens, [tag in kind for tag in tags])
        return " ".join(tokens)

    def all_but_nouns_and_adjectives(self, tokens: list[str], tags: list[str]) -> str:
        """Return the text with all other tokens in other places."""
        return " ".join(self._permuted(tokens, [tag not in NOUNS | ADJECTIVES for tag in tags]))

    def within_trigrams(self, words: list[str]) -> str:
        """Return the text with the words of each three in another order."""
        trigrams = _trigrams(words)
        for trigram in trigrams:
            self.rng.shuffle(trigram)
        return " ".join(sum(trigrams, []))

    def trigrams(self, words: list[str]) -> str:
        """Return the text with the threes of words in another order."""
        trigrams = _trigrams(words)
        self.rng.shuffle(trigrams)
        return " ".join(sum(trigrams, []))

    def _permuted(self, tokens: list[str], where: list[bool]) -> list[str]:
        places = np.flatnonzero(where)
        changed = list(tokens)
        for place, source in zip(places, self.permutations.permutation(places), strict=True):
            changed[place] = tokens[source]
        return changed


def _trigrams(words: list[str]) -> list[list[str]]:
    return [words[start : start + 3] for start in range(0, len(words), 3)]


def aro_orders(captions: Iterable[tuple[str, object]], seed: int) -> Iterator[tuple[str, list[str], object]]:
    """
    Shuffle captions for the order benchmarks, as the authors' `COCO_Order` and `Flickr30k_Order` do.

    Args:
        captions: pairs of a caption, unchanged, and any object, which is returned with it; read as needed.

    Yields:
        The caption as the benchmark writes it, its four shuffles in the order of `SHUFFLES`, and the object.

    Raises:
        UsageError: spaCy, NLTK or their data are missing.
    """
    draw, words_of = AroShuffles(seed), nltk_words()
    for caption, tokens, tags, beside in tagged(captions):
        words = words_of(caption)
        shuffles = [
            draw.nouns_and_adjectives(tokens, tags),
            draw.all_but_nouns_and_adjectives(tokens, tags),
            draw.within_trigrams(words),
            draw.trigrams(words),
        ]
        yield pre_caption(caption), [pre_caption(text) for text in shuffles], beside


def aro_retrieval(captions: Iterable[tuple[str, object]], seed: int) -> Iterator[tuple[str, list[str], object]]:
    """
    Shuffle captions for retrieval, as the authors' `main_retrieval.py` does: the captions are cleaned before the
    shuffles, not after, and each shuffle is a run of its own, which begins with the seed. Otherwise see `aro_orders`.
    """
    draws, words_of = [AroShuffles(seed) for _ in range(4)], nltk_words()
    cleaned = ((pre_caption(caption), beside) for caption, beside in captions)
    for caption, tokens, tags, beside in tagged(cleaned):
        words = words_of(caption)
        shuffles = [
            draws[0].nouns_and_adjectives(tokens, tags),
            draws[1].all_but_nouns_and_adjectives(tokens, tags),
            draws[2].within_trigrams(words),
            draws[3].trigrams(words),
        ]
        yield caption, shuffles, beside


@cache
def nltk_words() -> Callable[[str], list[str]]:
    """
    Return NLTK's `word_tokenize`.

    Raises:
        UsageError: NLTK or its data are missing.
    """
    try:
        from nltk.tokenize import word_tokenize

        word_tokenize("A dog.")
    except (ImportError, LookupError) as error:
        # The message of a LookupError fills a page.
        missing = error if isinstance(error, ImportError) else "there is no punkt_tab"
        raise UsageError(
            f"The draw of ARO's authors needs NLTK and its model of sentences ({missing}): pip install "
            '"conclip[spacy]" && python -m nltk.downloader punkt_tab.'
        ) from error
    return word_tokenize
