"""English word forms: plurals, articles, do-support, "a"/"any"/"no"."""

import re
from functools import lru_cache

from conclip.negation.lexicon.words import COLLECTIVES, MASS, PERSONS, PLURAL_ONLY

_IRREGULAR_PLURALS = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "people",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "ox": "oxen",
    "knife": "knives",
    "wife": "wives",
    "life": "lives",
    "leaf": "leaves",
    "loaf": "loaves",
    "shelf": "shelves",
    "calf": "calves",
    "wolf": "wolves",
    "scarf": "scarves",
    "half": "halves",
    "sheep": "sheep",
    "deer": "deer",
    "fish": "fish",
    "aircraft": "aircraft",
    "moose": "moose",
    "bison": "bison",
    "salmon": "salmon",
    "cactus": "cacti",
    "passerby": "passersby",
    "photo": "photos",
    "piano": "pianos",
    "bus": "buses",
    "ski": "skis",
    "taxi": "taxis",
    "quiz": "quizzes",
}
_PERSON = re.compile(
    r"(?:[^o]man|woman|boy|girl|person|(?:cycl|art|guitar|tour|pian|journal|violin|motor)ist|boarder|rider|player|worker"
    r"|mobiler|maker|keeper|climber|jumper|dancer|singer|racer|diver|fighter|rower|pedaler|goer)$"
)
_SINGULARS = {plural: singular for singular, plural in _IRREGULAR_PLURALS.items() if plural != singular}
# Said with another sound than spelt.
_AN = re.compile(
    r"^(?:(?!uni(?!n)|use|usu|eu|ewe|one\b|once|u-|ufo|utensil|ukulele|urinal)[aeiou]|hour|honest|heir|x-ray|mp3|suv\b)",
    re.I,
)


@lru_cache(maxsize=65536)
def plural(noun: str) -> str:
    """The plural of a name, which may hold several words: "tennis ball" -> "tennis balls"."""
    before, space, head = noun.rpartition(" ")
    if noun in PLURAL_ONLY or head in PLURAL_ONLY or head in MASS:
        return noun
    for irregular, form in _IRREGULAR_PLURALS.items():
        if head == irregular or (irregular in ("man", "woman") and head.endswith(irregular) and head != "human"):
            return before + space + head[: len(head) - len(irregular)] + form
    if re.search(r"(?:s|x|z|ch|sh)$", head):
        head += "es"
    elif re.search(r"[^aeiou]y$", head):
        head = head[:-1] + "ies"
    elif re.search(r"(?:tomat|potat|her|ech|volcan|mosquit|buffal|mang)o$", head):
        head += "es"
    else:
        head += "s"
    return before + space + head


@lru_cache(maxsize=65536)
def singular(noun: str) -> str:
    """The singular of one word, as far as spelling tells; words without one are returned as they are."""
    if noun in PLURAL_ONLY or noun in MASS:
        return noun
    if noun in _SINGULARS:
        return _SINGULARS[noun]
    for form in ("women", "men"):
        if noun.endswith(form):
            return noun[: -len(form)] + _SINGULARS[form]
    if noun.endswith("ies") and len(noun) > 4 and noun not in ("movies", "cookies", "hoodies", "selfies", "genies"):
        return noun[:-3] + "y"
    if re.search(r"(?:ss|x|z|ch|sh|tomato|potato|us)es$", noun) and noun not in ("houses", "horses"):
        return noun[:-2]
    if noun.endswith("s") and not re.search(r"(?:ss|us|is)$", noun):
        return noun[:-1]
    return noun


def article(word: str) -> str:
    """ "a" or "an", by the sound `word` begins with."""
    return "an" if _AN.match(word) else "a"


def is_mass(name: str) -> bool:
    return name.rpartition(" ")[2] in MASS


def is_plural_only(name: str) -> bool:
    return name.rpartition(" ")[2] in PLURAL_ONLY


def is_person(name: str) -> bool:
    head = name.rpartition(" ")[2]
    return head in PERSONS or bool(_PERSON.search(head)) and head not in ("human", "scooter", "trailer")


def takes_who(name: str) -> bool:
    """Whether "who" stands for it; a team is "that"."""
    return is_person(name) and name not in COLLECTIVES


def gerund(verb: str) -> str:
    """ "run" -> "running"."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    doubled = re.search(r"[^aeiou][aeiou][bgmnpt]$", verb)
    return verb + (verb[-1] if doubled else "") + "ing"
