"""
Split a search query into what the image should show and what it should not, by rules over words.

    >>> parse_query("a street with no cars")
    Query(wanted='a street', unwanted=('cars',))

The rules look at closed-class words alone (no, not, without, prepositions, verbs of showing), so they need no parser,
no model, and less than a millisecond a query.

`parsing` goes through the `tokens` of a query. `denials` reads what a word such as "no" denies, `phrases` finds where
that ends, and `wanted` makes a text of the rest.
"""

from conclip.negation.query.parsing import Query, parse_query

__all__ = ["Query", "parse_query"]
