"""True negations of verbs, relations and attributes, each with its foil: one form, filled in two ways.

What is put in the caption's place is an absent noun ("not on a boat", of a man on a bench) or a word that what the
caption says rules out ("not blue", of a red shirt; "not sitting", of a man who runs).
"""

import random
from collections.abc import Sequence
from functools import lru_cache

from conclip.negation.grammar.forms import adjective_forms, forms
from conclip.negation.grammar.parsing import Pair, Parsed
from conclip.negation.grammar.text import Edit, apply, fit_articles, fit_case
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import gerund, is_mass, is_person
from conclip.negation.lexicon.names import any_of, counted, is_many, some
from conclip.negation.lexicon.nouns import may_be_absent
from conclip.negation.rows import Negation

_VERB_RULES = frozenset(
    {"do-not", "not-auxiliary", "contraction", "not-participle", "who-is-not", "and-not", "but-not"}
)
# The lemmatizer makes "rid" of "riding".
_ON = ("on", "ride", "rid")


def minimal_pair(
    parsed: Parsed, pair: Pair, absent: Sequence[str], rng: random.Random
) -> tuple[Negation, Negation] | None:
    """Return a true negation and its foil in the form of `pair`; None if nothing can replace what it negates."""
    if pair.construction == "adjective":
        return _adjective(parsed, pair, rng)
    noun = parsed.kid(pair.token if pair.kind == "relation" else _verb(parsed, pair), "pobj", "dobj")
    if noun < 0 and pair.kind == "relation":
        noun = parsed.kid(parsed.kid(pair.token, "prep"), "pobj")
    if noun >= 0:
        return _object(parsed, pair, noun, absent, rng)
    return _action(parsed, pair, rng) if pair.kind == "verb" else None


def _verb(parsed: Parsed, pair: Pair) -> int:
    token = parsed.tokens[pair.token]
    return token.head if token.dep in ("aux", "auxpass") else token.i


def _adjective(parsed: Parsed, pair: Pair, rng: random.Random):
    word = parsed.text(pair.span).lower()
    noun = parsed.tokens[pair.head].lemma.lower()
    contraries = words.CONTRARIES.get(word, ())
    if (noun in words.ANIMALS or is_person(noun)) and word in words.COLORS:
        contraries = [other for other in contraries if other in words.ANIMAL_COLORS]
    # No hair is tall.
    if word == "short" and not is_person(noun) and noun not in words.ANIMALS:
        return None
    # Nobody thinks of white bananas or blue grass.
    if word in words.COLORS and noun in words.OWN_COLORED:
        return None
    # "Sandy brown" is a colour.
    if word in words.GROUNDS and noun not in words.SCENERY:
        return None
    found = adjective_forms(parsed, pair) if contraries else None
    if not found:
        return None
    other = contraries[int(rng.random() * len(contraries))]
    _, others = adjective_forms(parsed, pair, other)[0]
    return _two(parsed, pair, found[0][0], others, found[0][1], other, word)


def _action(parsed: Parsed, pair: Pair, rng: random.Random):
    verb = parsed.tokens[_verb(parsed, pair)]
    contraries = words.OTHER_ACTIONS.get(verb.lemma, ())
    # "Runs from water to trees": nobody sits so.
    if any(parsed.tokens[k].text.lower() in words.PATHS | {"from", "to"} for k in parsed.children[verb.i]):
        contraries = [other for other in contraries if other in words.MOVING]
    # "Standing away from the herd" tells where, "walking away" where to.
    if any(parsed.tokens[k].text.lower() in words.PATHS | {"away", "out", "back"} for k in parsed.children[verb.i]):
        if verb.lemma not in words.MOVING:
            return None
    if not _is_anywhere(parsed, verb.i):
        return None
    subject = parsed.tokens[pair.head].lemma.lower() if pair.head >= 0 else ""
    if not (is_person(subject) or subject in words.ANIMALS | words.COLLECTIVES):
        return None
    # Nobody thinks of a giraffe that jumps.
    if subject in words.ANIMALS - words.PETS:
        contraries = [other for other in contraries if other != "jump"]
    if not contraries or verb.tag not in ("VBZ", "VBP", "VBD", "VBG") or parsed.kid(verb.i, "prt", "xcomp") >= 0:
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
        if tokens[k].dep == "prep":
            noun = parsed.kid(k, "pobj")
            if noun < 0 or tokens[noun].lemma not in words.SCENERY:
                return False
    return True


def _object(parsed: Parsed, pair: Pair, noun: int, nouns: Sequence[str], rng: random.Random):
    thing = next((other for other in parsed.pairs if other.kind == "object" and other.token == noun), None)
    head = parsed.tokens[noun].head
    predicate = parsed.tokens[head].lemma.lower() if pair.kind == "verb" else parsed.tokens[head].text.lower()
    # "The white dog plays without a dog": the foil would be nonsense.
    if thing and sum(token.lemma == parsed.tokens[noun].lemma for token in parsed.tokens) > 1:
        return None
    # What is never absent, as a shirt, would tell the foil.
    if thing and not may_be_absent(thing.name):
        return None
    if thing and predicate == "with" and not is_person(parsed.tokens[pair.head].lemma):
        return None
    absent = next((name for name in nouns if thing and _fits(predicate, thing.name, name)), None)
    if absent is None:
        return None
    after = parsed.tokens[parsed.tokens[noun].right + 1 :]
    # "(It has zebras) near them": the pronoun points at what would be replaced.
    if any(token.text.lower() in words.POINTING for token in parsed.tokens[noun + 1 :]):
        return None
    if parsed.tokens[parsed.tokens[noun].right].dep == "cc" or after and after[0].dep == "cc":
        return None
    found = [form for form in forms(parsed, pair) if form[0] not in ("with-no", "no-subject")]
    if not found:
        return None
    rule, edits = found[int(rng.random() * len(found))]
    start, end = parsed.subtree(noun)
    many = parsed.tokens[noun].tag == "NNS"
    the = parsed.tokens[parsed.tokens[noun].left].text.lower() == "the"
    edits = [edit for edit in edits if edit[1] <= start or edit[0] >= end]

    def put(name: str) -> list[Edit]:
        if rule == "without":
            return [*edits, (start, end, any_of(name, many))]
        return [*edits, (start, end, f"the {counted(name, many)}" if the else some(name, many))]

    return _two(parsed, pair, rule, put(absent), put(thing.name), absent, thing.name)


def _fits(predicate: str, one: str, other: str) -> bool:
    """Return whether `other` can replace `one` after this verb or preposition."""
    sort = _sort(one)
    if sort != _sort(other) or is_many(one, False) != is_many(other, False):
        return False
    head = other.rpartition(" ")[2]
    if predicate in words.BESIDE:
        return not is_mass(other)
    if predicate in words.HOLDING or sort == "thing" and predicate == "with":
        return head in words.HELD
    if sort == "place":
        if predicate in words.INTO:
            return head in words.INSIDE.get(one.rpartition(" ")[2], ())
        return predicate in words.UPON and head in words.ONTO or predicate == "through" and head in words.THROUGH
    if sort == "vehicle":
        is_closed = head in words.CLOSED_VEHICLES
        if predicate in words.INTO:
            return is_closed
        return head in words.DRIVEN if predicate == "drive" else not is_closed and predicate in _ON
    if sort == "clothes":
        return predicate in ("wear", "with") or predicate == "in" and head not in words.NOT_IN
    return sort in ("person", "animal")


@lru_cache(maxsize=1 << 16)
def _sort(name: str) -> str:
    head = name.rpartition(" ")[2]
    if is_person(name):
        return "person"
    for sort, heads in (
        ("clothes", words.CLOTHES),
        ("vehicle", words.VEHICLES),
        ("place", words.SCENERY),
        ("animal", words.ANIMALS),
    ):
        if head in heads:
            return sort
    return "thing"


def _two(parsed: Parsed, pair: Pair, rule: str, true: list[Edit], false: list[Edit], absent: str, present: str):
    made = []
    for negation_type, edits, target in (("true", true, absent), ("true_foil", false, present)):
        text = apply(parsed.caption, edits)
        text = fit_case(fit_articles(text, parsed.caption), parsed.caption)
        made.append(Negation(text, negation_type, pair.kind, rule, target, pair.span, negation_type == "true"))
    return tuple(made)
