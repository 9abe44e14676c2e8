"""
Names and templates of CLIP's published zero-shot protocol for ImageNet.

Both are those of `notebooks/Prompt_Engineering_for_ImageNet.ipynb` of github.com/openai/CLIP (MIT License), unchanged.
CLIP_benchmark and open_clip use the same. Two pairs of classes share a name, "missile" and "sunglasses".
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from conclip.errors import UsageError
from dataset_scripts.benchmarks.class_prompts import clean_name

CLASSES_FILE = Path(__file__).with_name("imagenet_classes.tsv")

TEMPLATES = (
    "a bad photo of a {}.",
    "a photo of many {}.",
    "a sculpture of a {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.",
    "a rendering of a {}.",
    "graffiti of a {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a tattoo of a {}.",
    "the embroidered {}.",
    "a photo of a hard to see {}.",
    "a bright photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a drawing of a {}.",
    "a photo of my {}.",
    "the plastic {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a painting of the {}.",
    "a painting of a {}.",
    "a pixelated photo of the {}.",
    "a sculpture of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a plastic {}.",
    "a photo of the dirty {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a rendering of the {}.",
    "a {} in a video game.",
    "a photo of one {}.",
    "a doodle of a {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "the origami {}.",
    "the {} in a video game.",
    "a sketch of a {}.",
    "a doodle of the {}.",
    "a origami {}.",
    "a low resolution photo of a {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a photo of a large {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a photo of a weird {}.",
    "a blurry photo of a {}.",
    "a cartoon {}.",
    "art of a {}.",
    "a sketch of the {}.",
    "a embroidered {}.",
    "a pixelated photo of a {}.",
    "itap of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a plushie {}.",
    "a photo of the nice {}.",
    "a photo of the small {}.",
    "a photo of the weird {}.",
    "the cartoon {}.",
    "art of the {}.",
    "a drawing of the {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "the plushie {}.",
    "a dark photo of a {}.",
    "itap of a {}.",
    "graffiti of the {}.",
    "a toy {}.",
    "itap of my {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "a tattoo of the {}.",
)


@cache
def openai_names() -> dict[str, str]:
    """Return WordNet id -> OpenAI's name of the 1,000 classes, in the order of their labels."""
    lines = CLASSES_FILE.read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines if not line.startswith("#"))


def openai_names_of(labels: Sequence[str], where: Path) -> list[str]:
    """
    Return OpenAI's names of the classes with these labels: WordNet ids, in any number and order, or all 1,000 labels
    of the dataset on the Hub, which are lists of WordNet's names in the order of the ids.

    Args:
        where: the file or folder with the labels, for messages.

    Raises:
        UsageError: the labels are neither.
    """
    names = openai_names()
    ids = [match[0] if (match := re.match(r"n\d{8}(?!\d)", label)) else "" for label in labels]
    if all(ids):
        unknown = next((id for id in ids if id not in names), None)
        if unknown:
            raise UsageError(f"{where}: {unknown} is none of the 1,000 classes of ImageNet-1k; remove it.")
        return [names[id] for id in ids]
    # 816 of OpenAI's names are also WordNet's. In another order nearly none would be at its place.
    same = sum(
        clean_name(name) in map(clean_name, label.split(","))
        for label, name in zip(labels, names.values(), strict=False)
    )
    if len(labels) != len(names) or same < len(names) / 2:
        raise UsageError(
            f"{where} holds {len(labels):,} classes whose labels are neither WordNet ids nor the 1,000 labels of "
            "ILSVRC/imagenet-1k in their order; name class folders by WordNet ids, such as n01440764, or write the "
            "names of the classes into classes.txt."
        )
    return [*names.values()]
