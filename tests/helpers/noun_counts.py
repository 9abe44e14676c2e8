"""Counts of nouns from lists of them: a helper, not a test."""

from conclip.negation.lexicon.absent import AbsentNouns
from conclip.negation.lexicon.counts import NameCounts, PairCounts


def pair_counts(lists, names=None, first=0) -> PairCounts:
    """Count lists of nouns, whose captions are these nouns."""
    names = names or NameCounts.count(lists).commonest()
    rows = ((number, nouns, (["; ".join(nouns)], [])) for number, nouns in enumerate(lists, first))
    return PairCounts.count(names, rows)


def absent_nouns(lists) -> AbsentNouns:
    return AbsentNouns.of_counts(pair_counts(lists))
