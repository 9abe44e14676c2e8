"""Names of things: which may refer to the same thing, and phrases with them."""

from functools import lru_cache

from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import article, is_mass, is_person, is_plural_only, plural

_GROUPS: dict[str, set[int]] = {}
for _number, _names in enumerate(words.SYNONYMS):
    for _name in _names:
        _GROUPS.setdefault(_name, set()).add(_number)


@lru_cache(maxsize=1 << 18)
def may_corefer(first: str, second: str) -> bool:
    """Return whether two names may refer to the same thing: "bike" and "bicycle", "person" and "man"."""
    one, other = first.rpartition(" ")[2], second.rpartition(" ")[2]
    if one == other or first == other or one == second:
        return True
    if (one in words.ANYONE and is_person(other)) or (other in words.ANYONE and is_person(one)):
        return True
    return not _GROUPS.get(one, set()).isdisjoint(_GROUPS.get(other, set()))


@lru_cache(maxsize=1 << 18)
def contradicts(word: str, noun: str) -> bool:
    """Return whether "no `noun`" may be false where a caption has `word`."""
    return may_corefer(word, noun) or is_implied(word, noun)


def is_implied(word: str, noun: str) -> bool:
    """Return whether what a caption names implies `noun`: a cyclist a bike, a man shoes, swimming water."""
    head = noun.rpartition(" ")[2]
    return head in words.IMPLIED.get(word, ()) or (head in words.WORN and is_person(word))


def is_place(name: str) -> bool:
    return name.rpartition(" ")[2] in words.SCENERY


def goes_along(name: str) -> bool:
    """Return whether things and people can be "with" or "without" it: a ball, and no street, stove or giraffe."""
    head = name.rpartition(" ")[2]
    return not is_place(name) and not is_person(name) and head not in words.FURNITURE | (words.ANIMALS - words.PETS)


def is_many(name: str, many: bool) -> bool:
    """Return whether a phrase of `name` is plural, where `many` is what was wished."""
    if name.rpartition(" ")[2] in words.IN_PAIRS:
        return True
    return is_plural_only(name) or many and not is_mass(name) and not is_unique(name)


def counted(name: str, many: bool) -> str:
    """ "dog" or "dogs", as `many` says; names without such a form keep theirs."""
    return plural(name) if is_many(name, many) else name


def is_unique(name: str) -> bool:
    return name in words.UNIQUE


def some(name: str, many: bool) -> str:
    """ "a dog", "dogs", "the sky", "water"."""
    if is_many(name, many):
        return plural(name)
    if is_unique(name):
        return f"the {name}"
    return name if is_mass(name) else f"{article(name)} {name}"


def any_of(name: str, many: bool) -> str:
    """Return what follows "without": "a dog", "any dogs", "any water"."""
    if is_many(name, many) or is_mass(name):
        return f"any {counted(name, many)}"
    return f"{article(name)} {name}"
