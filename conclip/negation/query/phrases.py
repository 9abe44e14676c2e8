"""Where a noun phrase, a clause or another stretch of a query ends."""

from conclip.negation.lexicon.query_words import (
    APPEAR,
    ARTICLES,
    BE,
    BEFORE_NOUN,
    CLAUSE,
    COMPOUNDS,
    DOERS,
    ENDS_PHRASE,
    IMAGE,
    PEOPLE,
    PREPOSITIONS,
    SHOWN,
    SIGN,
    VISIBLE,
    is_verb,
)
from conclip.negation.lexicon.words import word_set
from conclip.negation.query.tokens import Tokens

# "Present" may begin a noun phrase ("no present under the tree"), and ends one ("no car present").
_BEGINS_NO_PHRASE = ENDS_PHRASE - {"present"}
_DOERS_WITHOUT_S = word_set("people children mice geese sheep")
# "No sign of a car", "the presence of a car": the car is meant.
_PRESENCE = SIGN | {"presence"}
_BEFORE_THING = ARTICLES | VISIBLE
_BEFORE_NEXT_THING = ARTICLES | {"no"}
# "Nobody is just standing there": these words are part of the clause.
_ENDS_CLAUSE = (CLAUSE - {"just", "only", "that"}) | {"and"}
_BEFORE_IMAGE = PREPOSITIONS | {"of"}
_WITHIN_IMAGE = ARTICLES | word_set("whole entire immediate plain clear part of")
_BEFORE_SHOWN = word_set("to be is are was were being 's can could has have been")
_SAYS_SHOWN = SHOWN | (APPEAR - {"show", "seem", "seems"})


def skip(tokens: Tokens, at: int, those: frozenset[str]) -> int:
    """Return the first place from `at` on whose word is not one of those."""
    while tokens[at] in those:
        at += 1
    return at


def noun_phrase_end(tokens: Tokens, at: int) -> int:
    """Return the end of the noun phrase that starts at `at`; the place behind its articles if there is none."""
    start = at = skip(tokens, at, ARTICLES)
    while at < len(tokens) and tokens.is_word[at]:
        word = tokens[at]
        if at > start and is_verb(word) and (tokens[at - 1], word) not in COMPOUNDS:
            break
        is_last = tokens[at + 1] in PREPOSITIONS or not tokens[at + 1].isalpha()
        if at > start and word.endswith("ed") and len(word) > 4 and is_last:
            # "no cars parked on the street"
            break
        if word == "and" or word in (ENDS_PHRASE if at > start else _BEGINS_NO_PHRASE):
            break
        at += 1
    return at


def is_doer(phrase: str) -> bool:
    """Return whether the last word of the phrase names a person, an animal or a vehicle."""
    last = phrase.lower().split()[-1]
    return bool({last, last.removesuffix("s"), last.removesuffix("es"), last.replace("men", "man")} & DOERS) or (
        last in _DOERS_WITHOUT_S
    )


def read_phrases(tokens: Tokens, at: int) -> tuple[list[str], int]:
    """Return noun phrases joined by commas and "or" or "nor", without articles, and where they end."""
    found = []
    if tokens[at] in PEOPLE:
        return ["person"], at + 1 + (tokens[at + 1] == "else")
    first = skip(tokens, at, ARTICLES)
    if tokens[first] in _PRESENCE and tokens[first + 1] == "of":
        at = first + 2
    while True:
        start = skip(tokens, at, _BEFORE_THING)
        stop = noun_phrase_end(tokens, start)
        if stop == start:
            return found, at if found else start
        end = stop - (stop > start + 1 and tokens[stop - 1] in ("presence", "please", "else"))
        found.append(tokens.between(start, end))
        at = stop
        following = at + 1 if tokens[at] == "," else at
        if tokens[following] in ("or", "nor"):
            at = skip(tokens, following + 1, _BEFORE_NEXT_THING)
        elif tokens[at] == "," and begins_list(tokens, at):
            at += 1
        else:
            return found, stop


def begins_list(tokens: Tokens, comma: int) -> bool:
    """Return whether the comma is followed by short phrases that end in "or": "no dogs, cats, or horses"."""
    at = comma
    while tokens[at] == ",":
        if tokens[at + 1] in ("or", "nor"):
            return True
        stop = noun_phrase_end(tokens, at + 1)
        if not 0 < stop - at - 1 <= 4:
            return False
        at = stop
    return tokens[at] in ("or", "nor")


def clause_end(tokens: Tokens, at: int) -> int:
    """Return the end of the clause: the next mark, "and", or a word that begins another clause."""
    while at < len(tokens) and tokens.is_word[at] and tokens[at] not in _ENDS_CLAUSE:
        at += 1
    return at


def image_phrase_end(tokens: Tokens, at: int) -> int:
    """Return the end of "in this image", "from view" and the like at `at`; `at` itself if there is none."""
    if tokens[at] not in _BEFORE_IMAGE:
        return at
    stop = skip(tokens, at + 1, _WITHIN_IMAGE)
    return stop + 1 if tokens[stop] in IMAGE else at


def shown_end(tokens: Tokens, at: int) -> int:
    """Return the end of "is visible in the image", "in sight", "to be seen", "appears" and the like at `at`."""
    while True:
        start = at
        probe = skip(tokens, at, _BEFORE_SHOWN)
        if tokens[probe] in _SAYS_SHOWN:
            at = probe + 1
        elif image_phrase_end(tokens, probe) > probe:
            at = image_phrase_end(tokens, probe)
        elif tokens[probe] in ("whatsoever", "either"):
            at = probe + 1
        elif (tokens[probe], tokens[probe + 1]) in (("at", "all"), ("made", "out")):
            at = probe + 2
        elif tokens[probe] == "on" and (
            not tokens[probe + 1].isalpha() or tokens[probe + 1] in BE or is_verb(tokens[probe + 1])
        ):
            # "with no shirt on"
            at = probe + 1
        if at == start:
            return at


def read_phrases_with_and(tokens: Tokens, at: int, stop: int) -> tuple[list[str], int]:
    """Return the noun phrases of "a car and a bus", and where they end."""
    found = []
    at += tokens[at] == "both"
    while at < stop:
        more, at = read_phrases(tokens, at)
        if not more:
            break
        found += more
        if tokens[at] == "and":
            at += 1
    return found, at


def predicate_end(tokens: Tokens, at: int) -> int:
    """Return the end of a verb phrase, adjective or prepositional phrase that "not" negates."""
    stop = clause_end(tokens, at)
    return stop if stop > at else at + 1


def next_verb(tokens: Tokens, at: int, stop: int) -> int:
    """Return where the sentence continues after what is denied of its subject: "not wearing a hat | is climbing"."""
    for place in range(at + 1, stop):
        before = tokens[place - 1]
        follows = not before.endswith("ing") and before not in BEFORE_NOUN
        if tokens[place] in BE or (follows and tokens[place].endswith("s") and is_verb(tokens[place])):
            return place
    return stop
