"""Captions in, negations out: parse, choose, form, filter."""

from .choose import choose
from .filters import REASONS, reject, reject_caption
from .form import deny
from .frames import deny_absent, hybrid, is_absent
from .maker import GrammarMaker, load_spacy
from .parse import object_nouns, parse
from .parsed import Pair, Parsed
from .rows import KINDS, PRODUCTS, STRATEGIES, Negation, Result
from .swap import swap

__all__ = [
    "KINDS",
    "PRODUCTS",
    "REASONS",
    "STRATEGIES",
    "GrammarMaker",
    "Negation",
    "Pair",
    "Parsed",
    "Result",
    "choose",
    "deny",
    "deny_absent",
    "hybrid",
    "is_absent",
    "load_spacy",
    "object_nouns",
    "parse",
    "reject",
    "reject_caption",
    "swap",
]
