"""
Captions against the same words in another order: ARO's COCO-order and Flickr30k-order, and its evidence that
retrieval does not need word order (Yuksekgonul et al., ICLR 2023).

There are four shuffles; nouns are exchanged with nouns and adjectives with adjectives, by the tags of spaCy's
en_core_web_sm for the original caption. `coco-order` and `flickr30k-order` are the benchmarks of the authors: their
draw (`aro_draw.py`), in which a shuffle may be the caption itself, and their rule, by which such a tie is right.
`coco-order-strict` and `flickr30k-order-strict` have no such ties:
- A shuffle never returns the caption itself: it is sampled again, and a caption that has no other order is skipped.
- The true caption is written from its tokens, like the shuffles ("a dog 's ball"), since spacing would give it away.
  CLIP's tokenizer returns the same tokens either way for all but 4 of 10,300 captions of COCO and Flickr8k.
- Captions are cleaned and cut to 30 tokens before the shuffle, so that all five hold the same words; by the authors,
  after it.
- Trigrams are of spaCy's tokens, not of NLTK's.
- The sample depends only on the seed and the caption's text.
"""

import random
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

from dataset_scripts.benchmarks.aro_draw import MAX_WORDS, aro_orders, aro_retrieval
from dataset_scripts.benchmarks.captions_retrieval import COCO_TEST, FLICKR30K_TEST, KarpathyTest
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item
from dataset_scripts.benchmarks.tagging import ADJECTIVES, NOUNS, tagged

SHUFFLES = ("nouns and adjectives", "all but nouns and adjectives", "within trigrams", "trigrams")
# Categories of the authors' items: whether one of the four shuffles is, letter for letter, the caption.
SAME, DIFFERENT = "a shuffle is the caption itself", "all shuffles differ"
# Two different words keep their order by chance every second time; so many times in a row, once in 2 ** 64.
MAX_SAMPLES = 64


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
    for caption, tokens, tags, beside in tagged(captions):
        words, tags = cleaned(tokens, tags)
        yield " ".join(words) or caption, shuffles(words, tags, random.Random(f"{seed} {caption}")), beside


def _captions(data_dir: Path, split: KarpathyTest) -> Iterator[tuple[str, tuple[Path, int]]]:
    for image, captions in split.read_unchanged(data_dir):
        for index, caption in enumerate(captions):
            yield caption, (image, index)


def _read_orders(data_dir: Path, split: KarpathyTest, seed: int = 0) -> Iterator[dict]:
    """Yield an item for each caption, the true one first; "x.jpg#2" is the third caption of x.jpg."""
    for true, others, (image, index) in aro_orders(_captions(data_dir, split), seed):
        category = SAME if true in others else DIFFERENT
        yield item(f"{image.name}#{index}", [image], [true, *others], category=category)


def _read_strict_orders(data_dir: Path, split: KarpathyTest, seed: int = 0) -> Iterator[dict]:
    """
    Yield an item for each caption, as `_read_orders` does. A caption is skipped, with any seed, if one of the four
    shuffles has no other order for it: 557 of 30,000 captions of Flickr8k, none of 300 of COCO val2017.
    """
    captions = ((caption.strip(), beside) for caption, beside in _captions(data_dir, split))
    for true, others, (image, index) in shuffled_captions(captions, seed):
        if len(others) == len(SHUFFLES):
            yield item(f"{image.name}#{index}", [image], [true, *others.values()])


def _read_shuffled_retrieval(data_dir: Path, split: KarpathyTest, seed: int = 0) -> Iterator[dict]:
    """
    Yield each image five times: with its own captions ("plain"), and with each shuffle of them. At the end, warn of
    the captions that a shuffle did not change.
    """
    total, unchanged = 0, Counter()
    images = enumerate(split.read_unchanged(data_dir))
    captions = ((caption, (row, image)) for row, (image, captions) in images for caption in captions)
    for (_, image), group in groupby(aro_retrieval(captions, seed), key=lambda found: found[2]):
        found = [[true, *others] for true, others, _ in group]
        for category, texts in zip(("plain", *SHUFFLES), zip(*found, strict=True), strict=True):
            yield item(image.name, [image], list(texts), category=category)
        total += len(found)
        unchanged.update(
            name for true, *others in found for name, text in zip(SHUFFLES, others, strict=True) if text == true
        )
    counts = ", ".join(f"{name} {unchanged[name]:,}" for name in SHUFFLES)
    warnings.warn(f"{split.name}: shuffles that left one of the {total:,} captions unchanged: {counts}.", stacklevel=2)


def _benchmark(
    name: str,
    title: str,
    read: Callable[..., Iterator[dict]],
    split: KarpathyTest,
    kind: Kind = Kind.CAPTIONS,
    official: bool = True,
) -> Benchmark:
    needs = 'pip install "conclip[spacy]"' + " && python -m nltk.downloader punkt_tab" * official
    return Benchmark(
        name=name,
        title=f"{title}, {'draw of the authors' if official else 'strict draw'}",
        kind=kind,
        read=partial(read, split=split),
        sampled=True,
        source=f"{split.source} Shuffling needs {needs}.",
        split="Karpathy test",
        first_wins=official and kind is Kind.CAPTIONS,
    )


COCO_ORDER = _benchmark("coco-order", "ARO COCO-order", _read_orders, COCO_TEST)
FLICKR30K_ORDER = _benchmark("flickr30k-order", "ARO Flickr30k-order", _read_orders, FLICKR30K_TEST)
COCO_ORDER_STRICT = _benchmark("coco-order-strict", "ARO COCO-order", _read_strict_orders, COCO_TEST, official=False)
FLICKR30K_ORDER_STRICT = _benchmark(
    "flickr30k-order-strict", "ARO Flickr30k-order", _read_strict_orders, FLICKR30K_TEST, official=False
)
COCO_SHUFFLED_RETRIEVAL = _benchmark(
    "coco-shuffled-retrieval",
    "COCO retrieval, shuffled captions",
    _read_shuffled_retrieval,
    COCO_TEST,
    Kind.RETRIEVAL,
)
FLICKR30K_SHUFFLED_RETRIEVAL = _benchmark(
    "flickr30k-shuffled-retrieval",
    "Flickr30k retrieval, shuffled captions",
    _read_shuffled_retrieval,
    FLICKR30K_TEST,
    Kind.RETRIEVAL,
)
