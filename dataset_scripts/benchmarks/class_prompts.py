"""
Names of classes and prompts for zero-shot classification.

The templates are those of OpenAI's CLIP: `data/prompts.md` of github.com/openai/CLIP. Those of ImageNet are in
`imagenet.py`.
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


def prompts_of(names: Sequence[str], templates: Sequence[str], origin: str) -> dict[str, list[list[str]]]:
    """
    Return the prompts of each class, in its order.

    Args:
        origin: where the names come from, e.g. "names of the dataset"; for the names of the conditions.

    Returns:
        Condition -> class -> prompts. One condition is the name alone, as in the CoN-CLIP paper, and the other one is
        the name in each template.
    """
    count = f"{len(templates)} template" + "s" * (len(templates) > 1)
    return {
        f"{origin}, bare": [[name] for name in names],
        f"{origin}, {count}": [[template.replace("{}", name) for template in templates] for name in names],
    }


def clean_name(label: str) -> str:
    """Remove a WordNet id in front, replace underscores, and lower the case: n02085620-Shih_Tzu -> shih tzu."""
    return " ".join(re.sub(r"^n\d{8}(?=\D)[\s_-]*", "", label).replace("_", " ").split()).lower()


def is_code(name: str) -> bool:
    """Return whether a name is a number or a WordNet id, which makes no prompt."""
    return re.fullmatch(r"[\d\s.-]*|n\d{8}", name) is not None
