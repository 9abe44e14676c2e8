"""The texts that are made of a caption, and the columns of a row that record them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

KINDS = ("object", "attribute", "relation", "verb")
# "random" samples one predicate-object pair of the caption, as the paper does (arXiv 2403.20312).
STRATEGIES = ("random", *KINDS)
# "false" is false of the image, "true" and "hybrid" ("a man but no dog") are true of it. A foil is a false caption
# that differs from its true negation in as few words as possible: the two are a minimal pair. "swap" exchanges two
# phrases.
NEGATION_TYPES = ("false", "true", "true_foil", "hybrid", "hybrid_foil", "swap")
# What a user asks for; a foil comes with its true negation.
NEGATION_TYPE_CHOICES = ("false", "true", "hybrid", "swap")

Span = tuple[int, int]

# What is recorded about each text, in columns aligned with its list: name in the column -> attribute of `Negation`.
_RECORD = {"rules": "rule", "generators": "generator", "targets": "target", "spans": "span"}
# Prefix of the record's columns -> the types of negation that the list holds, in this order.
_LISTS = {
    "negation": ("false",),
    "true_negation": ("true", "hybrid"),
    "true_negation_foil": ("true_foil", "hybrid_foil"),
    "hard_negative": ("swap",),
}
HYBRID_KIND = "hybrid"
# Type of negation -> its column of texts, the prefix of its record, and whether it is the hybrids of that column.
COLUMNS_OF_TYPES = {
    "false": ("negated_captions", "negation", None),
    "true": ("true_negations", "true_negation", False),
    "true_foil": ("true_negation_foils", "true_negation_foil", False),
    "hybrid": ("true_negations", "true_negation", True),
    "hybrid_foil": ("true_negation_foils", "true_negation_foil", True),
    "swap": ("hard_negatives", "hard_negative", None),
}
_KINDS_COLUMNS = {"negation": "negation_kinds", "hard_negative": "hard_negative_kinds"}


@dataclass(frozen=True, slots=True)
class Negation:
    """
    One text made from one caption.

    Attributes:
        text (`str`): the sentence, with the case, spacing and final punctuation of the caption.
        negation_type (`str`): one of `NEGATION_TYPES`.
        kind (`str`): what was negated (or swapped), one of `KINDS`.
        rule (`str`): how, e.g. "not-participle" or "but-no".
        target (`str`): the words that were negated, as in the caption, or the absent noun.
        span (`Span`): characters `start` to `end` (excluded) of the caption: the target or, if the target is an absent
            noun, the words that it replaces (the target of the foil).
        truth (`bool`): whether `text` is true of an image of which the caption is true.
        generator (`str`): "grammar" or "language model".
    """

    text: str
    negation_type: str
    kind: str
    rule: str
    target: str
    span: Span
    truth: bool
    generator: str = "grammar"


@dataclass(frozen=True, slots=True)
class Result:
    """
    What a generator made of one caption.

    Attributes:
        row (`int`): number of the caption in its dataset; with the seed it decides all random choices.
        negations (`dict[str, Negation]`): type of negation -> negation. "true" comes with "true_foil" and "hybrid"
            with "hybrid_foil", or not at all.
        reasons (`dict[str, str]`): type of negation -> why there is none (one of `grammar.generator.REASONS`, or a
            reason of `llm.verify` or `llm.prompting`). A type that was asked for is in exactly one of the two.
    """

    row: int
    negations: dict[str, Negation] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def make_row(caption: str, result: Result, objects: Sequence[str]) -> dict:
    """
    Return the text columns of one row.

    Args:
        objects: the objects that the caption names, singular.
    """
    found = {prefix: [result.negations.get(name) for name in types] for prefix, types in _LISTS.items()}
    lists: dict[str, list[Negation]] = {prefix: [one for one in made if one] for prefix, made in found.items()}
    row = {
        "caption": caption,
        "negated_captions": [one.text for one in lists["negation"]],
        "negation_kinds": [one.kind for one in lists["negation"]],
        "objects": list(objects),
        "true_negations": [one.text for one in lists["true_negation"]],
        "true_negation_foils": [one.text for one in lists["true_negation_foil"]],
        "true_negation_kinds": [
            HYBRID_KIND if one.negation_type == "hybrid" else one.kind for one in lists["true_negation"]
        ],
        "hard_negatives": [one.text for one in lists["hard_negative"]],
        "hard_negative_kinds": [one.kind for one in lists["hard_negative"]],
    }
    for prefix, negations in lists.items():
        row |= {f"{prefix}_{name}": [getattr(one, part) for one in negations] for name, part in _RECORD.items()}
    return row


def as_columns(rows: Sequence[dict], names: Iterable[str]) -> dict[str, list]:
    """Turn rows into columns, as `Dataset.map(batched=True)` takes them."""
    return {name: [row[name] for row in rows] for name in names}


def is_usable(row: dict, negation_types: Collection[str]) -> bool:
    """Return whether training can use a row: it needs a false negation if these are made, otherwise any text."""
    if "false" in negation_types:
        return bool(row["negated_captions"])
    return bool(row["true_negations"] or row["hard_negatives"])


def texts_of(row: dict, negation_type: str) -> list[dict]:
    """Return the texts of one type in a row: dicts of text, kind, rule, generator, target and span."""
    column, prefix, hybrid = COLUMNS_OF_TYPES[negation_type]
    kinds = row[_KINDS_COLUMNS.get(prefix, "true_negation_kinds")]
    record = (row[f"{prefix}_{name}"] for name in _RECORD)
    return [
        dict(zip(("text", "kind", *_RECORD.values()), values, strict=True))
        for values in zip(row[column], kinds, *record, strict=True)
        if hybrid is None or (values[1] == HYBRID_KIND) is hybrid
    ]


def features(with_images: bool):
    """Return the `datasets.Features` of a row: the project's schema (images if there are any) and the record."""
    from datasets import Features, Sequence, Value

    from dataset_scripts.schema import FEATURES

    kinds = {"spans": Sequence(Value("int32"))}
    columns = {name: value for name, value in FEATURES.items() if with_images or "image" not in name}
    columns |= {"hard_negatives": Sequence(Value("string")), "hard_negative_kinds": Sequence(Value("string"))}
    for prefix in _LISTS:
        columns |= {f"{prefix}_{name}": Sequence(kinds.get(name, Value("string"))) for name in _RECORD}
    return Features(columns | {"source_row": Value("int64"), "source_caption": Value("int32")})
