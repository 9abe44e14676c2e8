"""Negations of captions: parse a caption, choose what to negate, form the sentence, filter it (arXiv 2403.20312)."""

import importlib

# Name -> the module that has it. Imported when first used: `conclip negate --help` needs none of them.
_MODULES = {
    **dict.fromkeys(("CaptionNegator", "negate_captions"), "negator"),
    **dict.fromkeys(("KINDS", "NEGATION_TYPES", "STRATEGIES", "Negation", "Result"), "rows"),
    **dict.fromkeys(("REASONS", "GrammarGenerator"), "grammar.generator"),
    **dict.fromkeys(("choose", "load_spacy", "reject", "reject_caption"), "grammar.generator"),
    **dict.fromkeys(("Pair", "Parsed"), "grammar.pairs"),
    **dict.fromkeys(("object_nouns", "parse"), "grammar.parsing"),
    "negate": "grammar.forms",
    **dict.fromkeys(("hybrid", "is_absent", "negate_absent_object"), "grammar.frames"),
    "swap": "grammar.swap",
    "AbsentNouns": "lexicon.absent",
    **dict.fromkeys(("NameCounts", "PairCounts"), "lexicon.counts"),
    "LanguageModelGenerator": "llm.generator",
    **dict.fromkeys(("Query", "parse_query"), "query"),
    **dict.fromkeys(("Statement", "StatementGenerator"), "statements"),
}
__all__ = list(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
