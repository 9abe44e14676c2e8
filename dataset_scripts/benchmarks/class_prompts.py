"""
Names of classes and prompts for zero-shot classification.

The templates are those of OpenAI's CLIP: `data/prompts.md` of github.com/openai/CLIP, and for ImageNet the 7 of its 80
that its notebook `Prompt_Engineering_for_ImageNet.ipynb` finds by forward selection.
"""

import re
from collections.abc import Sequence

_CIFAR = tuple(
    f"a {kind}photo of {article} {size}{{}}."
    for article in ("a", "the")
    for kind, size in (
        ("", ""),
        ("blurry ", ""),
        ("black and white ", ""),
        ("low contrast ", ""),
        ("high contrast ", ""),
        ("bad ", ""),
        ("good ", ""),
        ("", "small "),
        ("", "big "),
    )
)

# The article of "a plastic {}" changes with that of "a photo of a {}".
_CALTECH = tuple(
    template.format(article, "{}")
    for article in ("a", "the")
    for template in (
        "a photo of {} {}.",
        "a painting of {} {}.",
        "{} plastic {}.",
        "a sculpture of {} {}.",
        "a sketch of {} {}.",
        "a tattoo of {} {}.",
        "{} toy {}.",
        "a rendition of {} {}.",
        "{} embroidered {}.",
        "{} cartoon {}.",
        "{} {} in a video game.",
        "{} plushie {}.",
        "{} origami {}.",
        "art of {} {}.",
        "graffiti of {} {}.",
        "a drawing of {} {}.",
        "a doodle of {} {}.",
    )
)

# For any other folder of class folders.
PLAIN = ("a photo of a {}.",)

TEMPLATES = {
    "imagenet": (
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    ),
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "stanford-cars": (
        "a photo of a {}.",
        "a photo of the {}.",
        "a photo of my {}.",
        "i love my {}!",
        "a photo of my dirty {}.",
        "a photo of my clean {}.",
        "a photo of my new {}.",
        "a photo of my old {}.",
    ),
    "caltech101": _CALTECH,
    "food101": ("a photo of {}, a type of food.",),
    "flowers102": ("a photo of a {}, a type of flower.",),
    "oxford-pets": ("a photo of a {}, a type of pet.",),
}


def prompts_of(names: Sequence[str], templates: Sequence[str]) -> dict[str, list[list[str]]]:
    """
    Return the prompts of each class, in its order.

    Returns:
        Condition -> class -> prompts. The conditions are "bare names", the name alone, as in the CoN-CLIP paper, and
        "templates", the name in each template.
    """
    return {
        "bare names": [[name] for name in names],
        "templates": [[template.replace("{}", name) for template in templates] for name in names],
    }


def clean_name(label: str) -> str:
    """Remove a WordNet id in front, replace underscores, and lower the case: n02085620-Shih_Tzu -> shih tzu."""
    return " ".join(re.sub(r"^n\d{8}(?=\D)[\s_-]*", "", label).replace("_", " ").split()).lower()


def is_code(name: str) -> bool:
    """Return whether a name is a number or a WordNet id, which makes no prompt."""
    return re.fullmatch(r"[\d\s.-]*|n\d{8}", name) is not None
