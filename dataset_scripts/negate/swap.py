"""NegCLIP's hard negatives: two nouns, adjectives, verbs or noun phrases of the caption change places."""

import random

from .parse import Parsed
from .rows import Negation


def swap(parsed: Parsed, rng: random.Random) -> Negation | None:
    """Draws one swap that changes what the caption says (Yuksekgonul et al., ICLR 2023); None if there is none."""
    raise NotImplementedError
