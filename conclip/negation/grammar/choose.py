"""Stage 2, choice: which of the caption's pairs is negated."""

import random

from conclip.negation.grammar.parsed import Pair, Parsed
from conclip.negation.grammar.rows import STRATEGIES


def choose(parsed: Parsed, strategy: str, rng: random.Random) -> Pair | None:
    """Draws one pair: any ("random", as in the paper) or one of the kind that `strategy` names.

    Returns None if the caption has none of that kind. Raises `ValueError` if `strategy` is not in `rows.STRATEGIES`.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy is {strategy!r}; it has to be one of {', '.join(STRATEGIES)}.")
    pairs = parsed.pairs if strategy == "random" else [pair for pair in parsed.pairs if pair.kind == strategy]
    return pairs[int(rng.random() * len(pairs))] if pairs else None
