"""Captions in, negations out: parse, choose, form, filter."""

from conclip.negation.grammar.choose import choose
from conclip.negation.grammar.filters import REASONS, reject, reject_caption
from conclip.negation.grammar.form import deny
from conclip.negation.grammar.frames import deny_absent, hybrid, is_absent
from conclip.negation.grammar.maker import GrammarMaker, load_spacy
from conclip.negation.grammar.parse import object_nouns, parse
from conclip.negation.grammar.parsed import Pair, Parsed
from conclip.negation.grammar.rows import KINDS, PRODUCTS, STRATEGIES, Negation, Result
from conclip.negation.grammar.swap import swap

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
