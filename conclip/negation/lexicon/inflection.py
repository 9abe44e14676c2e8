"""English word forms: plurals, singulars, gerunds (by lemminflect's dictionary), articles, and sorts of nouns."""

import re
from functools import lru_cache

from conclip.negation.lexicon.words import COLLECTIVES, MASS, PERSONS, PLURAL_ONLY

# Where captions differ from the dictionary: "leaves" are no leave, "photos" no photoes.
_IRREGULAR_PLURALS = {
    "person": "people",
    "leaf": "leaves",
    "ox": "oxen",
    "cactus": "cacti",
    "passerby": "passersby",
    "hoodie": "hoodies",
    "selfie": "selfies",
    "smoothie": "smoothies",
    **{name: name for name in "sheep deer fish aircraft moose bison salmon".split()},
}
_SINGULARS = {plural: singular for singular, plural in _IRREGULAR_PLURALS.items()}
# Endings of names that no dictionary lists: "snowboardwoman".
_IRREGULAR_ENDINGS = {"woman": "women", "man": "men", "child": "children"}
_PERSON = re.compile(
    r"(?:[^o]man|woman|boy|girl|person|(?:cycl|art|guitar|tour|pian|journal|violin|motor)ist|boarder|rider|player|worker"
    r"|mobiler|maker|keeper|climber|jumper|dancer|singer|racer|diver|fighter|rower|pedaler|goer)$"
)
# Words whose first sound differs from their first letter.
_AN = re.compile(
    r"^(?:(?!uni(?!n)|use|usu|eu|ewe|one\b|once|u-|ufo|utensil|ukulele|urinal)[aeiou]|hour|honest|heir|x-ray|mp3|suv\b)",
    re.I,
)


@lru_cache(maxsize=65536)
def plural(noun: str) -> str:
    """Return the plural of a name, which may hold several words: "tennis ball" -> "tennis balls"."""
    from lemminflect import getInflection

    before, space, head = noun.rpartition(" ")
    if noun in PLURAL_ONLY or head in PLURAL_ONLY or head in MASS:
        return noun
    if head in _IRREGULAR_PLURALS:
        return before + space + _IRREGULAR_PLURALS[head]
    for ending, form in _IRREGULAR_ENDINGS.items():
        if head.endswith(ending) and head != "human":
            return before + space + head[: -len(ending)] + form
    # Of a noun without a plural the dictionary returns the noun; a caption that counts one means kinds of it.
    forms = [form for form in getInflection(head, "NNS", inflect_oov=False) if form != head]
    return before + space + (forms[0] if forms else _regular_plural(head))


def _regular_plural(noun: str) -> str:
    if re.search(r"(?:s|x|z|ch|sh)$", noun):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"


@lru_cache(maxsize=65536)
def singular(noun: str) -> str:
    """Return the singular of one word in lower case; a word that is no plural is returned as it is."""
    from lemminflect import getLemma

    if noun in PLURAL_ONLY or noun in MASS:
        return noun
    if noun in _SINGULARS:
        return _SINGULARS[noun]
    for ending, form in _IRREGULAR_ENDINGS.items():
        if noun.endswith(form):
            return noun[: -len(form)] + ending
    known = getLemma(noun, "NOUN", lemmatize_oov=False)
    # The dictionary knows rare singulars ("regale" of "regalia"): only what looks like a plural is looked up.
    if known and (noun.endswith("s") or noun in ("feet", "teeth", "geese", "mice")):
        return known[0]
    if noun.endswith("ies") and len(noun) > 4:
        return f"{noun[:-3]}y"
    if re.search(r"(?:ss|x|z|ch|sh)es$", noun):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not re.search(r"(?:ss|us|is)$", noun) else noun


def article(word: str) -> str:
    """Return "a" or "an", by the first sound of `word`."""
    return "an" if _AN.match(word) else "a"


def is_mass(name: str) -> bool:
    return name.rpartition(" ")[2] in MASS


def is_plural_only(name: str) -> bool:
    return name.rpartition(" ")[2] in PLURAL_ONLY


def is_person(name: str) -> bool:
    head = name.rpartition(" ")[2]
    return head in PERSONS or bool(_PERSON.search(head)) and head not in ("human", "scooter", "trailer")


def takes_who(name: str) -> bool:
    """Return whether its relative pronoun is "who"; that of a team is "that"."""
    return is_person(name) and name not in COLLECTIVES


@lru_cache(maxsize=65536)
def gerund(verb: str) -> str:
    """Return the gerund of a verb: "run" -> "running"."""
    from lemminflect import getInflection

    return getInflection(verb, "VBG")[0]
