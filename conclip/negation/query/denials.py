"""The stretches of a query that deny something: "with no cars", "a car is not visible", "nobody"."""

from dataclasses import dataclass

from conclip.negation.lexicon.query_words import (
    APPEAR,
    ARTICLES,
    BE,
    BEFORE_FREE,
    BEFORE_NOUN,
    CLAUSE,
    DEGREES,
    DO,
    FREE,
    HAVE,
    IMAGE,
    LACK,
    MODALS,
    NAMED_SIGNS,
    NOT_DENIED_BY_NO,
    NOT_FREE_OF,
    NOT_NEGATED,
    NOT_SEEN_FREE,
    NOT_THINGS,
    PREPOSITIONS,
    SHOW,
    SIGN,
    UNOCCUPIED,
    VIEWERS,
    is_verb,
)
from conclip.negation.lexicon.words import THINGS_IN_ING, word_set
from conclip.negation.query.phrases import (
    clause_end,
    image_phrase_end,
    is_doer,
    next_verb,
    noun_phrase_end,
    predicate_end,
    read_phrases,
    read_phrases_with_and,
    shown_end,
    skip,
)
from conclip.negation.query.tokens import Tokens

# "A dog in the image shows no fear": the dog shows none.
_BEFORE_PLACE = (PREPOSITIONS - {"while"}) | {"of"}
_IS_OR_SEEMS = BE | {"appears", "seems"}
_HAS = word_set("with wearing has have having")
_BEFORE_NO = _HAS | {"there", "and"}
# "A man is holding no umbrella": a verb whose object is denied goes with it. "Food on display no people" has no verb.
_HOLDS = (SHOW - word_set("display displays present presents show feature features offer offers")) | word_set(
    "carry carries carrying holding wear wears"
)
# "A no parking sign", "a Do No Harm sticker"
_NAMES_A_SIGN = ARTICLES | {"do"}
# "A bench with nobody on it": these do not begin what nobody does.
_NOT_DONE = PREPOSITIONS | CLAUSE | {"and"}
_AUXILIARIES = DO | MODALS | HAVE
_BEFORE_NOT = BE | _AUXILIARIES
_TO_BE = word_set("appear to be")
_APPEARS = APPEAR - {"show"}
# "Does not show a car", "do not want to see a car"
_SHOWS = SHOW | word_set("want need wish like to got")
_BEFORE_LACK = word_set("is noticeably notably clearly completely entirely")
_BEFORE_SUBJECT = CLAUSE | BE | (SHOW - {"show", "display", "hold"}) | {"with"}


@dataclass(frozen=True)
class Denial:
    """Part of a query to take out, from token `start` to `stop` (excluded), and the unwanted phrases in it."""

    start: int
    stop: int
    unwanted: tuple[str, ...]


def denial_at(tokens: Tokens, at: int, left: int) -> Denial | None:
    """Return the stretch that negates something by the word at `at`; nothing before `left` belongs to it."""
    word = tokens[at]
    if word == "no":
        return read_no(tokens, at, left)
    if word in ("nobody", "no-one"):
        return read_nobody(tokens, at, at + 1, left)
    if word in ("without", "minus", "sans"):
        return read_without(tokens, at, left)
    if word in ("not", "n't"):
        return read_not(tokens, at, left)
    if word == "neither":
        return read_neither(tokens, at, left)
    if word in LACK and tokens[at + 1] != "of" and tokens[at - 1] not in ("a", "the"):
        return read_object(tokens, at, at + 1, left)
    if word in FREE and tokens[at + 1] == "of" or (word in ("free", "clear") and tokens[at + 1] == "from"):
        return read_free_of(tokens, at, left)
    if word in UNOCCUPIED and tokens[at + 1] == "by":
        return read_object(tokens, at, at + 2, left)
    if word.endswith("-free") and word[: -len("-free")] not in NOT_SEEN_FREE:
        start = frame_start(tokens, at - 1, left) if tokens[at - 1] in BE else at
        return Denial(max(left, start), at + 1, (word[: -len("-free")],))
    if (word, tokens[at + 1]) in (("rather", "than"), ("instead", "of")):
        return read_object(tokens, at, at + 2, left)
    if word in ("absent", "missing", "nowhere"):
        return read_absent(tokens, at, left)
    return None


def frame_start(tokens: Tokens, verb: int, left: int) -> int:
    """Return where "the image", "we" or "you can" before a verb begins: "show", "see"; `verb` if it has none."""
    at = verb - 1 - (tokens[verb - 1] in MODALS)
    if tokens[at] in VIEWERS:
        return max(left, at)
    if tokens[at] in IMAGE and tokens[at - 1] in ARTICLES and tokens[at - 2] not in _BEFORE_PLACE:
        return max(left, at - 1)
    return verb


def there_is_start(tokens: Tokens, at: int, left: int) -> int:
    """Return where "there is", "with", "the image shows" or "holding" before `at` begins, or `at`."""
    before = at - 1
    verb = before - 2 if (tokens[before - 1], tokens[before]) == ("to", "be") else before
    if tokens[verb] in _IS_OR_SEEMS and tokens[verb - 1] in ("there", "here"):
        return max(left, verb - 1)
    if tokens[before] in SHOW and frame_start(tokens, before, left) < before:
        return frame_start(tokens, before, left)
    if tokens[before] in _HOLDS:
        return max(left, before - (tokens[before - 1] in BE))
    return max(left, before) if tokens[before] in _BEFORE_NO else at


def read_no(tokens: Tokens, at: int, left: int) -> Denial | None:
    """Read "no car", "there are no cars in sight", "no sign of a car"."""
    following = tokens[at + 1]
    if tokens[at - 1] in _NAMES_A_SIGN or not following or not following[0].isalpha() or is_quoted(tokens, at):
        return None
    if following in NOT_DENIED_BY_NO:
        return None
    if following.endswith("ing") and following not in THINGS_IN_ING or following == "entry":
        if tokens[at + 2] in NAMED_SIGNS or not tokens[at + 2].isalpha():
            return None
    if following == "one":
        return read_nobody(tokens, at, at + 2, left)
    start = there_is_start(tokens, at, left)
    if following in SIGN and tokens[at + 2] == "of":
        found, stop = read_phrases(tokens, at + 3)
    else:
        found, stop = read_phrases(tokens, at + 1)
    if not found:
        return None
    tail = shown_end(tokens, stop)
    # Said of a thing ("a man with no shirt"), after which the sentence continues.
    attribute = tokens[at - 1] in _HAS or (tokens[at - 1] in ("and", "but") and tokens[at - 2] not in (",", ";", ""))
    doing = skip(tokens, tail, BE)
    is_clause = not attribute if doing > tail else is_verb(tokens[doing]) and is_doer(found[-1])
    if len(found) == 1 and is_clause and tokens[doing].isalpha() and tokens[doing] not in CLAUSE:
        # "no dog is running on the beach"
        end = clause_end(tokens, doing)
        return Denial(start, end, (f"{found[0]} {tokens.between(doing, end)}",))
    return Denial(start, tail, tuple(found))


def is_quoted(tokens: Tokens, at: int) -> bool:
    """Return whether the word begins a short quotation, as on a sign: "no diving"."""
    if tokens[at - 1] not in ("'", '"', "“", "‘"):
        return False
    return any(tokens[place] in ("'", '"', "”", "’") for place in range(at + 1, at + 6))


def read_nobody(tokens: Tokens, at: int, stop: int, left: int) -> Denial:
    """Read "nobody is in sight", "no one is swimming", "no one has a handbag"."""
    stop += tokens[stop] == "else"
    start, tail = there_is_start(tokens, at, left), shown_end(tokens, stop)
    if tail > stop or not tokens[stop].isalpha() or tokens[stop] in _NOT_DONE:
        return Denial(start, tail, ("person",))
    if tokens[stop] in ("has", "have", "with"):
        found, end = read_phrases(tokens, stop + 1)
        if found:
            return Denial(start, clause_end(tokens, end), tuple(found))
    end = clause_end(tokens, stop)
    doing = skip(tokens, stop, BE)
    return Denial(start, end, (f"person {tokens.between(doing, end)}".strip(),))


def read_without(tokens: Tokens, at: int, left: int) -> Denial | None:
    """Read "without a hat" and "without wearing a hat"; "not without a hat" wants the hat."""
    if tokens[at - 1] in ("not", "n't") or tokens[at + 1] in NOT_THINGS:
        return None
    if tokens[at + 1].endswith("ing") and tokens[at + 2] in BEFORE_NOUN:
        stop = clause_end(tokens, at + 1)
        return Denial(at, stop, (tokens.between(at + 1, stop),))
    found, stop = read_phrases(tokens, at + 1)
    start = frame_start(tokens, at - 1, left) if tokens[at - 1] in BE else at
    return Denial(start if start < at - 1 else at, shown_end(tokens, stop), tuple(found)) if found else None


def read_not(tokens: Tokens, at: int, left: int) -> Denial | None:
    """Read "not" after a verb, after a noun, and before a noun phrase."""
    following = tokens[at + 1]
    verb = tokens[at - 1]
    if (following, tokens[at + 2]) == ("to", "be") and verb in BE and shown_end(tokens, at + 1) > at + 1:
        return read_subject(tokens, at - 1, shown_end(tokens, at + 1), left)
    if following in NOT_NEGATED or verb in ("or", "why", "whether"):
        return None
    if verb in _BEFORE_NOT:
        return read_not_after_verb(tokens, at, left)
    if following in ARTICLES:
        found, stop = read_phrases(tokens, at + 1)
        return Denial(at, shown_end(tokens, stop), tuple(found)) if found else None
    if following == "one" and noun_phrase_end(tokens, at + 2) > at + 2:
        found, stop = read_phrases(tokens, at + 2)
        return Denial(at, shown_end(tokens, stop), tuple(found))
    if verb in IMAGE and following in SHOW:
        # "a photo not showing a dog"
        return read_object(tokens, at, at + 2, left)
    if following == "to" or not following or not following[0].isalnum():
        return None
    if tokens[at - 1] in ARTICLES:
        # "a not white cat"
        stop = noun_phrase_end(tokens, at + 1)
        return Denial(at, at + 2, (tokens.between(at + 1, stop),)) if stop > at + 2 else None
    tail = shown_end(tokens, at + 1)
    if tail > at + 1 and tokens[tail] in ("", ".", ","):
        return read_subject(tokens, at, tail, left)
    stop = next_verb(tokens, at + 1, predicate_end(tokens, at + 1))
    return Denial(at, stop, (tokens.between(at + 1, stop),))


def read_not_after_verb(tokens: Tokens, at: int, left: int) -> Denial | None:
    """Read "not" after "is", "does", "can" and "has"."""
    verb = at - 1
    following = at + 1
    if tokens[verb - 1] in ("there", "here") and tokens[verb] in BE:
        found, stop = read_phrases(tokens, skip(tokens, following, _TO_BE))
        return Denial(max(left, verb - 1), shown_end(tokens, stop), tuple(found)) if found else None
    if tokens[verb] in _AUXILIARIES:
        return read_not_after_auxiliary(tokens, at, left)
    tail = shown_end(tokens, following)
    if tail > following or not tokens[following] or not tokens.is_word[following] or tokens[following] in CLAUSE:
        return read_subject(tokens, verb, max(tail, following), left)
    if tokens[following] in ARTICLES and tokens[verb] in BE and tokens[verb - 1] in ("this", "it", "that"):
        found, stop = read_phrases(tokens, following)
        return Denial(max(left, verb - 1), stop, tuple(found)) if found else None
    stop = predicate_end(tokens, following)
    if tokens[verb - 1] in ("who", "that", "which"):
        stop = next_verb(tokens, following, stop)
    return Denial(verb, stop, (tokens.between(following, stop),))


def read_not_after_auxiliary(tokens: Tokens, at: int, left: int) -> Denial | None:
    """Read "does not include a car", "does not appear", "cannot be seen", "does not hold a bat"."""
    verb, following = at - 1, at + 1
    if tokens[verb] == "do" and (tokens[verb - 1] in ARTICLES or not tokens[verb - 1].isalpha()):
        # "a Do Not Walk sign"
        return None
    if tokens[following] == "be" or tokens[following] in _APPEARS:
        tail = shown_end(tokens, following + (tokens[following] in APPEAR))
        if tail > following:
            return read_subject(tokens, verb, tail, left)
        stop = predicate_end(tokens, following + 1)
        return Denial(verb, stop, (tokens.between(following + 1, stop),))
    if not tokens[following] or not tokens.is_word[following] or tokens[following] in CLAUSE:
        return read_subject(tokens, verb, following, left)
    thing = skip(tokens, following, _SHOWS)
    if thing > following or tokens[verb] in HAVE:
        return read_object(tokens, verb, thing, left)
    stop = predicate_end(tokens, following)
    return Denial(verb, stop, (tokens.between(following, stop),))


def read_object(tokens: Tokens, start: int, at: int, left: int) -> Denial | None:
    """Read a verb such as "lacks" from `start` on whose object begins at `at`."""
    found, stop = read_phrases_with_and(tokens, at, len(tokens)) if tokens[at] == "both" else read_phrases(tokens, at)
    if not found:
        return None
    start -= tokens[start - 1] in _BEFORE_LACK
    return Denial(max(left, frame_start(tokens, start, left)), shown_end(tokens, stop), tuple(found))


def read_free_of(tokens: Tokens, at: int, left: int) -> Denial | None:
    """Read "free of cars", "devoid of any cars", "an absence of cars"."""
    if tokens[at] in ("free", "clear") and tokens[at - 1] in NOT_FREE_OF:
        return None
    found, stop = read_phrases(tokens, at + 2)
    if not found:
        return None
    start = at
    while tokens[start - 1] in BEFORE_FREE:
        start -= 1
    return Denial(max(left, frame_start(tokens, start, left)), shown_end(tokens, stop), tuple(found))


def read_absent(tokens: Tokens, at: int, left: int) -> Denial | None:
    """Read "a car is absent", "missing from the image", "nowhere to be seen", "notably absent is a car"."""
    word = tokens[at]
    stop = at + 1
    if word == "nowhere":
        if tokens[stop] != "to" and image_phrase_end(tokens, stop) == stop:
            return None
        stop = shown_end(tokens, stop)
    from_image = image_phrase_end(tokens, stop)
    if tokens[from_image] in BE and tokens[at - 1] not in BE:
        found, stop = read_phrases(tokens, from_image + 1)
        start = at - (tokens[at - 1] in DEGREES)
        return Denial(max(left, start), shown_end(tokens, stop), tuple(found)) if found else None
    verb = at - 1
    while tokens[verb] in DEGREES:
        verb -= 1
    tail = image_phrase_end(tokens, stop)
    if word in ("missing", "absent") and tail == stop and tokens[stop] in ARTICLES:
        return read_object(tokens, at, stop, left)
    if tokens[verb] in BE:
        return read_subject(tokens, verb, tail, left)
    if tail > stop or word != "missing":
        return read_subject(tokens, verb + 1, tail, left)
    return None


def read_subject(tokens: Tokens, verb: int, stop: int, left: int) -> Denial | None:
    """Read a verb at `verb` that denies its subject: "a car is not visible"."""
    start = verb
    plural = tokens[verb] in ("are", "were", "do")
    if tokens[verb - 1] == "," and tokens[verb - 2] in ("however", "though") and tokens[verb - 3] == ",":
        start = verb = verb - 3
    while start > left and tokens.is_word[start - 1]:
        word = tokens[start - 1]
        if word == "and" and plural:
            start -= 1
            continue
        if word in _BEFORE_SUBJECT:
            break
        start -= 1
    start += tokens[start] == "and"
    found, end = read_phrases(tokens, start) if not plural else read_phrases_with_and(tokens, start, verb)
    if not found or end > verb:
        return None
    if tokens[start - 1] == "with":
        start -= 1
    return Denial(start, stop, tuple(found))


def read_neither(tokens: Tokens, at: int, left: int) -> Denial | None:
    """Read "neither a car nor a bus"."""
    nor = next((place for place in range(at + 1, len(tokens)) if tokens[place] == "nor"), None)
    if nor is None:
        return None
    first = skip(tokens, at + 1, ARTICLES)
    second, stop = read_phrases(tokens, nor + 1)
    if not second:
        start, stop = nor + 1, predicate_end(tokens, nor + 1)
        second = [tokens.between(start, stop)]
    between = tokens.between(first, nor - (tokens[nor - 1] == ","))
    return Denial(there_is_start(tokens, at, left), shown_end(tokens, stop), (between, *second))
