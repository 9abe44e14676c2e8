"""True negations of verbs and attributes, each with its foil: one form, filled in two ways.

What is put in the caption's place is a word that what the caption says rules out: "not blue", of a red shirt; "not
sitting", of a man who runs.
"""

import random

from conclip.negation.grammar.forms import adjective_forms, forms
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.text import Edit, apply, fit_articles, fit_case
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import gerund, is_person
from conclip.negation.rows import Negation

_VERB_RULES = frozenset({"do-not", "not-auxiliary", "contraction", "not-participle", "who-is-not"})


def minimal_pair(parsed: Parsed, pair: Pair, rng: random.Random) -> tuple[Negation, Negation] | None:
    """Return a true negation and its foil in the form of `pair`; None if nothing can replace what it negates."""
    if pair.construction == "adjective":
        return _adjective(parsed, pair, rng)
    return _action(parsed, pair, rng) if pair.kind == "verb" else None


def verb_pair(parsed: Parsed, pair: Pair) -> int:
    token = parsed.tokens[pair.token]
    return token.head if token.dep in ("aux", "auxpass") else token.i


def _adjective(parsed: Parsed, pair: Pair, rng: random.Random):
    word = parsed.text(pair.span).lower()
    noun = parsed.tokens[pair.head].lemma.lower()
    contraries = words.CONTRARIES.get(word, ())
    lives = noun in words.ANIMALS or is_person(noun)
    if word in words.COLORS:
        if lives:
            contraries = [other for other in contraries if other in words.ANIMAL_COLORS]
        # What else is painted or dyed may have any colour: nobody thinks of white bananas.
        elif noun not in words.CLOTHES | words.VEHICLES | words.ANY_COLOR or noun in words.ANIMALS:
            return None
    # A child may be big or small, and large only as a joke.
    if is_person(noun):
        contraries = [other for other in contraries if other != "large"]
    # Nobody thinks of a tall hat or a short window.
    if word in ("short", "tall") and not is_person(noun):
        return None
    if word in words.SIZES and not lives and noun not in words.VEHICLES | words.ANY_SIZE:
        return None
    if word in words.GROUNDS and (noun not in words.SCENERY or noun == "slope"):
        return None
    found = adjective_forms(parsed, pair) if contraries else None
    if not found:
        return None
    other = contraries[int(rng.random() * len(contraries))]
    _, others = adjective_forms(parsed, pair, other)[0]
    return _two(parsed, pair, found[0][0], others, found[0][1], other, word)


def _action(parsed: Parsed, pair: Pair, rng: random.Random):
    verb = parsed.tokens[verb_pair(parsed, pair)]
    contraries = words.OTHER_ACTIONS.get(verb.lemma, ())
    subject = parsed.tokens[pair.head].lemma.lower() if pair.head >= 0 else ""
    if not (is_person(subject) or subject in words.PETS | words.COLLECTIVES) or not _is_anywhere(parsed, verb.i):
        return None
    # "Runs through water": nobody sits so.
    if any(parsed.tokens[k].text.lower() in words.PATHS for k in parsed.children[verb.i]):
        contraries = [other for other in contraries if other in words.MOVING and verb.lemma in words.MOVING]
    if not contraries or verb.tag not in ("VBZ", "VBP", "VBD", "VBG"):
        return None
    found = [n for n, (rule, _) in enumerate(forms(parsed, pair)) if rule in _VERB_RULES]
    if not found:
        return None
    form, other = found[int(rng.random() * len(found))], contraries[int(rng.random() * len(contraries))]
    rule, edits = forms(parsed, pair)[form]
    if pair.construction == "finite":
        tokens = list(parsed.tokens)
        tokens[verb.i] = verb._replace(lemma=other)
        others = forms(Parsed(parsed.caption, tokens, parsed.children, parsed.subjects, parsed.pairs), pair)[form][1]
    else:
        others = [*edits, (verb.start, verb.end, gerund(other))]
    return _two(parsed, pair, rule, others, edits, other, verb.text)


def _is_anywhere(parsed: Parsed, verb: int) -> bool:
    """Return whether something else may be done where the caption has it: on a street, not in the air or on a sofa."""
    tokens = parsed.tokens
    for k in parsed.children[verb]:
        noun = parsed.kid(k, "pobj") if tokens[k].dep == "prep" else -1
        if noun >= 0 and (tokens[noun].lemma not in words.SCENERY or tokens[k].text.lower() not in words.GROUNDED):
            return False
        if noun < 0 and tokens[k].dep not in ("nsubj", "aux", "punct"):
            return False
    return True


def _two(parsed: Parsed, pair: Pair, rule: str, true: list[Edit], false: list[Edit], absent: str, present: str):
    made = []
    for negation_type, edits, target in (("true", true, absent), ("true_foil", false, present)):
        text = apply(parsed.caption, edits)
        text = fit_case(fit_articles(text, parsed.caption), parsed.caption)
        made.append(Negation(text, negation_type, pair.kind, rule, target, pair.span, negation_type == "true"))
    return tuple(made)
