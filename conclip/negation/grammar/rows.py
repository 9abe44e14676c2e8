"""What the makers of negations take and give, whatever the maker."""

from dataclasses import dataclass, field

KINDS = ("object", "attribute", "relation", "verb")
# "random" draws one predicate-object pair of the caption, as the paper does (arXiv 2403.20312).
STRATEGIES = ("random", *KINDS)
# A foil is the false twin of a true negation: the same frame, filled with something that is there.
PRODUCTS = ("false", "true", "true_foil", "hybrid", "hybrid_foil", "swap")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Negation:
    """One text made from one caption.

    Attributes:
        text (`str`): the sentence; cased, spaced and ended as the caption is.
        product (`str`): one of `PRODUCTS`.
        kind (`str`): what was negated (or swapped), one of `KINDS`.
        rule (`str`): how, e.g. "not-participle" or "but-no".
        target (`str`): the words that were negated: as they stand in the caption, or the absent noun.
        span (`Span`): characters `start` to `end` (excluded) of the caption: the target, or, where the target is an
            absent noun, what it stands in the place of (the target of the foil).
        truth (`bool`): whether `text` is true of an image of which the caption is true.
        maker (`str`): "grammar" or "language model".
    """

    text: str
    product: str
    kind: str
    rule: str
    target: str
    span: Span
    truth: bool
    maker: str = "grammar"


@dataclass(frozen=True, slots=True)
class Result:
    """What a maker made of one caption.

    Attributes:
        row (`int`): number of the caption in its data set; with the seed it decides every draw.
        negations (`dict[str, Negation]`): product -> negation. "true" comes with "true_foil" and "hybrid" with
            "hybrid_foil", or not at all.
        reasons (`dict[str, str]`): product -> why there is none (one of `filters.REASONS`, or of a language model's
            answer, of `verify` and `chat`). A product is in one of the two, and in neither if it was not asked for.
    """

    row: int
    negations: dict[str, Negation] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
