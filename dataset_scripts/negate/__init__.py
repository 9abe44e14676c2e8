"""Captions in, negations out: parse, choose, form, filter."""

from .choose import choose
from .filters import REASONS, reject, reject_caption
from .form import deny, deny_absent, hybrid
from .maker import GrammarMaker, load_spacy
from .parse import Pair, Parsed, Token, object_nouns, parse
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
    "Token",
    "choose",
    "deny",
    "deny_absent",
    "hybrid",
    "load_spacy",
    "object_nouns",
    "parse",
    "reject",
    "reject_caption",
    "swap",
]
