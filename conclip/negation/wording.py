"""Compose sentences from the rules of `wordings.txt`: choose alternatives until only words are left."""

import random
import re
from functools import lru_cache
from typing import NamedTuple

from conclip.negation.lexicon.inflection import article, is_mass, is_plural_only
from conclip.negation.lexicon.names import any_of, counted, is_many, is_unique, some
from conclip.negation.lexicon.wordings import HELD_OUT, PICTURES, read_wordings

_NAME = re.compile(r"\{(\w+)\}")
_HELD_OUT = re.compile("|".join(HELD_OUT), re.I)
_SPACES = re.compile(r" +(?=[,.;]|$)|(?<= ) +")
_SENTENCE = re.compile(r"(?<=\. )[a-z]")
# Whether plural -> the verbs.
_VERBS = {False: ("is", "isn't", "does", "appears"), True: ("are", "aren't", "do", "appear")}
# "glass| of wine": the plural is the first noun's.
_HEAD = re.compile(r"(.+?)((?: (?:of|at|in|on|with|near) .+)?)")
_PERSON = ("person", "people")
# Tags of alternatives -> sorts of unwanted things that have them.
_TAGS = {"one": ("word", "words", "people"), "word": ("word",), "people": ("people",)}
SORTS = ("word", "words", "people", "other")


class Form(NamedTuple):
    """
    The forms of a thing's name, singular or plural.

    Attributes:
        some: "a dog", "dogs", "water", "the ocean".
        bare: "dog", "dogs": what follows "no".
        any: "a dog", "any dogs": what follows "without".
        many: "dogs", "water": what follows "free of".
        one, a_one: "dog", "a dog".
        is_, isnt, does, appears: verbs that agree with `some`.
        there_is: what follows "there": of two things it agrees with the first.
        sort: one of `SORTS`.
    """

    some: str
    bare: str
    any: str
    many: str
    one: str
    a_one: str
    is_: str
    isnt: str
    does: str
    appears: str
    there_is: str
    sort: str


@lru_cache(maxsize=1 << 14)
def form_of(name: str, many: bool) -> Form:
    """Return the forms of a name, plural if `many` and if it has a plural: "glasses of wine"."""
    head, rest = _HEAD.fullmatch(name).groups()
    plural = is_many(head, many)
    if is_mass(head) or is_plural_only(head) or is_unique(head):
        sort = "other"
    elif name in _PERSON:
        sort = "people"
    else:
        sort = "words" if " " in name or "-" in name else "word"
    whole = f"the {head}" if is_unique(head) else any_of(head, many)
    nouns = (some(head, many), counted(head, many), whole, counted(head, True), head, f"{article(head)} {head}")
    return Form(*(noun + rest for noun in nouns), *_VERBS[plural], _VERBS[plural][0], sort)


def both(first: Form, second: Form) -> Form:
    """Return the forms of two things: "a dog and a cat"."""
    together = f"{first.some} and {second.some}"
    return Form(*[together] * 6, *_VERBS[True], first.is_, "other")


# Names of the rules -> places in the list of forms that `compose` takes.
_FIELDS = {name.strip("_").upper(): number for number, name in enumerate(Form._fields)}
_WIDTH = len(Form._fields)
_OTHERS = {name: number for number, name in enumerate("PICTURE A_PICTURE D WHO C C_LOW C_SUBJECT C_REST".split())}
_PICTURES = tuple((name, f"{article(name)} {name}") for name in PICTURES)


def _place(name: str) -> int:
    """Return where the form that a rule calls `name` is: unwanted things first, then the wanted one and others."""
    if name in _OTHERS:
        return 3 * _WIDTH + _OTHERS[name]
    whose, _, field = name.partition("_")
    return "UVW".index(whose) * _WIDTH + _FIELDS[field]


@lru_cache(maxsize=1)
def rules() -> dict[str, dict[str, tuple]]:
    """
    Return the rules compiled: sort of the unwanted thing -> rule -> alternatives.

    An alternative is a tuple of texts, places of forms (`int`), and alternatives of other rules.
    """
    return {sort: _compile(sort) for sort in SORTS}


def _compile(sort: str) -> dict[str, tuple]:
    compiled: dict[str, tuple] = {}
    read = read_wordings()

    def part(name: str):
        return _place(name) if name.isupper() else rule(name)

    def rule(name: str) -> tuple:
        if name not in compiled:
            texts = [text for tag, text in read[name] if not tag or sort in _TAGS[tag]]
            pieces = map(_NAME.split, texts)
            compiled[name] = tuple(
                tuple(part(piece) if n % 2 else piece for n, piece in enumerate(found) if piece) for found in pieces
            )
        return compiled[name]

    for name in read:
        rule(name)
    return compiled


def compose(
    rng: random.Random,
    rule: str,
    unwanted: Form | None = None,
    also_unwanted: Form | None = None,
    wanted: Form | None = None,
    described: tuple[str, str] = ("", ""),
    caption: tuple[str, ...] = (),
) -> str:
    """
    Return a sentence by a rule of `wordings.txt`, without capital and full stop of its own; never one of `HELD_OUT`.

    Args:
        described: what is denied of the wanted thing, and its pronoun, "who" or "that".
        caption: the caption, the caption as it continues a sentence, its subject and the rest.
    """
    nothing = ("",) * _WIDTH
    forms = [
        *(unwanted or nothing),
        *(also_unwanted or nothing),
        *(wanted or nothing),
        *rng.choice(_PICTURES),
        *described,
        *caption,
    ]
    alternatives = rules()[unwanted.sort if unwanted else "other"][rule]
    while True:
        words: list[str] = []
        _expand(alternatives, forms, rng.random, words)
        text = _SPACES.sub("", "".join(words)).strip()
        if not _HELD_OUT.search(text):
            return _SENTENCE.sub(lambda match: match[0].upper(), text)


def _expand(alternatives: tuple, forms: list[str], draw, words: list[str]) -> None:
    for part in alternatives[int(draw() * len(alternatives))]:
        if type(part) is str:
            words.append(part)
        elif type(part) is int:
            words.append(forms[part])
        else:
            _expand(part, forms, draw, words)
