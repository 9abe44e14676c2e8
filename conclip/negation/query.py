"""
Split a search query into what the image should show and what it should not, by rules over words.

    >>> parse_query("a street with no cars")
    Query(wanted='a street', unwanted=('cars',))

The rules look at closed-class words alone (no, not, without, prepositions, verbs of showing), so they need no parser,
no model, and less than a millisecond a query.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from conclip.negation.lexicon.query_words import (
    APPEAR,
    ARTICLES,
    BE,
    CLAUSE,
    COMPOUNDS,
    DEGREES,
    DO,
    DOERS,
    EMPTY,
    ENDS_PHRASE,
    IMAGE,
    LACK,
    MODALS,
    NAMED_SIGNS,
    NOT_FREE_OF,
    NOT_NEGATED,
    NOT_SEEN_FREE,
    NOT_THINGS,
    OF,
    PEOPLE,
    PREPOSITIONS,
    SHOW,
    SHOWN,
    SIGN,
    UNDONE,
    VERBS,
    VIEWERS,
    VISIBLE,
)
from conclip.negation.lexicon.words import THINGS_IN_ING, word_set


@dataclass(frozen=True)
class Query:
    """
    A query in two parts.

    Args:
        wanted: what the image should show; the whole query if it negates nothing, "" if it wants nothing.
        unwanted: what the image should not show, one phrase each.
    """

    wanted: str
    unwanted: tuple[str, ...] = ()


TOKEN = re.compile(r"[A-Za-z0-9]+(?:['’-][A-Za-z0-9]+)*|[^\sA-Za-z0-9]")
CONTRACTION = re.compile(
    r"(?i)\b(is|are|was|were|do|does|did|has|have|had|ca|could|wo|would|should)n['’]t\b|\bcannot\b"
)
MINUS = re.compile(r"(?<!\S)[-−](?:\"([^\"]+)\"|([^\W\d][\w'-]*))")


@dataclass(frozen=True)
class Span:
    """Part of a query to take out, from token `start` to `stop` (excluded), and the unwanted phrases in it."""

    start: int
    stop: int
    unwanted: tuple[str, ...]


class Tokens:
    """The words and marks of a query, lower case, with their places in it."""

    def __init__(self, text: str):
        self.text = text
        matches = list(TOKEN.finditer(text))
        self.places = [(match.start(), match.end()) for match in matches]
        self.low = [match.group().lower().replace("’", "'") for match in matches]
        # "n't" is a word of its own, as in the Penn Treebank.
        for at in reversed(range(len(matches))):
            if not CONTRACTION.fullmatch(self.low[at]):
                contracted = re.fullmatch(r"(.+)('s|'re)", self.low[at])
                if contracted and contracted[1] in ("there", "it", "that", "he", "she", "they", "there"):
                    self._split(at, contracted[1], contracted[2])
                continue
            verb = "can" if self.low[at] in ("cannot", "can't") else self.low[at][:-3]
            self._split(at, verb, "n't")

    def _split(self, at: int, first: str, second: str) -> None:
        start, stop = self.places[at]
        middle = min(start + len(first), stop)
        self.places[at : at + 1] = [(start, middle), (middle, stop)]
        self.low[at : at + 1] = [first, second]

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, at: int) -> str:
        """Return the word at a place, or "" outside the query."""
        return self.low[at] if 0 <= at < len(self.low) else ""

    def between(self, start: int, stop: int) -> str:
        """Return the text from token `start` to `stop` (excluded)."""
        stop = min(stop, len(self))
        return self.text[self.places[start][0] : self.places[stop - 1][1]] if start < stop else ""

    @cached_property
    def is_word(self) -> list[bool]:
        return [word[0].isalnum() or word in ("n't", "'s", "'re") for word in self.low]


def parse_query(text: str) -> Query:
    """
    Split a query into its wanted and unwanted parts.

    Understands "no", "not", "n't", "without", "neither … nor", "lacks", "free of", "is absent", "is missing",
    "nowhere to be seen", "nobody", and "-word" of search tools. Leaves alone what only looks negative ("a no-parking
    sign", "nothing but", "not only", "not without").

    Args:
        text: a query in English.

    Returns:
        The parts; `wanted` is `text` itself, unchanged, if it negates nothing.
    """
    excluded = tuple(match[1] or match[2] for match in MINUS.finditer(text))
    rest = MINUS.sub(" ", text) if excluded else text
    tokens = Tokens(rest)
    spans, at = [], 0
    while at < len(tokens):
        span = span_at(tokens, at, spans[-1].stop if spans else 0)
        if span and all(any(map(str.isalnum, phrase)) for phrase in span.unwanted):
            spans.append(span)
            at = max(span.stop, at + 1)
        else:
            at += 1
    unwanted = [phrase for span in spans for phrase in span.unwanted]
    if not unwanted and not excluded:
        return Query(text)
    return Query(remaining(tokens, spans), tuple(dict.fromkeys([*unwanted, *excluded])))


# --- Noun phrases and other stretches ---


def skip(tokens: Tokens, at: int, those: frozenset[str]) -> int:
    """Return the first place from `at` on whose word is not one of those."""
    while tokens[at] in those:
        at += 1
    return at


def noun_phrase(tokens: Tokens, at: int) -> int:
    """Return the end of the noun phrase that starts at `at`; `at` itself if there is none."""
    start = at = skip(tokens, at, ARTICLES)
    while at < len(tokens) and tokens.is_word[at]:
        word = tokens[at]
        if at > start and is_verb(word) and (tokens[at - 1], word) not in COMPOUNDS:
            break
        is_last = tokens[at + 1] in PREPOSITIONS or not tokens[at + 1].isalpha()
        if at > start and word.endswith("ed") and len(word) > 4 and is_last:
            # "no cars parked on the street"
            break
        if (
            word == "and"
            or (word in ENDS_PHRASE and at > start)
            or (word in ENDS_PHRASE - {"present"} and at == start)
        ):
            break
        at += 1
    return at if at > start else start


def is_verb(word: str) -> bool:
    """Say whether the word is one of `VERBS` in -s or -ing."""
    if word in THINGS_IN_ING:
        return False
    if word.endswith("ing"):
        stem = word[:-3]
        return bool({stem, f"{stem}e", stem[:-1], f"{stem[:-1]}ie"} & VERBS)
    if word.endswith("ies") and f"{word[:-3]}y" in VERBS:
        return True
    return word.endswith("s") and bool({word[:-1], word[:-2] if word.endswith("es") else ""} & VERBS)


def is_doer(phrase: str) -> bool:
    """Say whether the last word of the phrase names a person, an animal or a vehicle."""
    last = phrase.lower().split()[-1]
    return bool({last, last.removesuffix("s"), last.removesuffix("es"), last.replace("men", "man")} & DOERS) or (
        last in ("people", "children", "mice", "geese", "sheep")
    )


def phrases(tokens: Tokens, at: int) -> tuple[list[str], int]:
    """Return noun phrases joined by commas and "or" or "nor", without articles, and where they end."""
    found = []
    if tokens[at] in PEOPLE:
        return ["person"], at + 1 + (tokens[at + 1] == "else")
    if tokens[skip(tokens, at, ARTICLES)] in SIGN | {"presence"} and tokens[skip(tokens, at, ARTICLES) + 1] == "of":
        at = skip(tokens, at, ARTICLES) + 2
    while True:
        start = skip(tokens, at, ARTICLES | VISIBLE)
        stop = noun_phrase(tokens, start)
        if stop == start:
            return found, at if found else start
        end = stop - (stop > start + 1 and tokens[stop - 1] in ("presence", "please", "else"))
        found.append(tokens.between(start, end))
        at = stop
        following = at + 1 if tokens[at] == "," else at
        if tokens[following] in ("or", "nor"):
            at = skip(tokens, following + 1, ARTICLES | {"no", "any"})
        elif tokens[at] == "," and is_list(tokens, at):
            at += 1
        else:
            return found, stop


def is_list(tokens: Tokens, comma: int) -> bool:
    """Say whether the comma is followed by short phrases that end in "or": "no dogs, cats, or horses"."""
    at = comma
    while tokens[at] == ",":
        if tokens[at + 1] in ("or", "nor"):
            return True
        stop = noun_phrase(tokens, at + 1)
        if not 0 < stop - at - 1 <= 4:
            return False
        at = stop
    return tokens[at] in ("or", "nor")


def clause_end(tokens: Tokens, at: int) -> int:
    """Return the end of the clause: the next mark, "and", or a word that begins another clause."""
    while at < len(tokens) and tokens.is_word[at] and tokens[at] not in CLAUSE - {"just", "only", "that"} | {"and"}:
        at += 1
    return at


def image_phrase(tokens: Tokens, at: int) -> int:
    """Return the end of "in this image", "from view" and the like at `at`; `at` itself if there is none."""
    if tokens[at] not in PREPOSITIONS | {"of"}:
        return at
    stop = skip(tokens, at + 1, ARTICLES | {"whole", "entire", "immediate", "plain", "clear", "part", "of"})
    return stop + 1 if tokens[stop] in IMAGE else at


def shown_tail(tokens: Tokens, at: int) -> int:
    """Return the end of "is visible in the image", "in sight", "to be seen", "appears" and the like at `at`."""
    while True:
        start = at
        probe = skip(tokens, at, word_set("to be is are was were being 's can could has have been"))
        if tokens[probe] in SHOWN | APPEAR - {"show", "seem", "seems"}:
            at = probe + 1
        elif image_phrase(tokens, probe) > probe:
            at = image_phrase(tokens, probe)
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


# --- Stretches that negate ---


def span_at(tokens: Tokens, at: int, left: int) -> Span | None:
    """Return the stretch that negates something by the word at `at`; nothing before `left` belongs to it."""
    word = tokens[at]
    if word == "no":
        return of_no(tokens, at, left)
    if word in ("nobody", "no-one"):
        return of_nobody(tokens, at, at + 1, left)
    if word in ("without", "minus", "sans"):
        return of_without(tokens, at, left)
    if word in ("not", "n't"):
        return of_not(tokens, at, left)
    if word == "neither":
        return of_neither(tokens, at, left)
    if word in LACK and tokens[at + 1] != "of" and tokens[at - 1] not in ("a", "the"):
        return of_object(tokens, at, at + 1, left)
    if word in OF and tokens[at + 1] == "of" or (word in ("free", "clear") and tokens[at + 1] == "from"):
        return of_of(tokens, at, left)
    if word in UNDONE and tokens[at + 1] == "by":
        return of_object(tokens, at, at + 2, left)
    if word.endswith("-free") and word[: -len("-free")] not in NOT_SEEN_FREE:
        start = of_image(tokens, at - 1, left) if tokens[at - 1] in BE else at
        return Span(max(left, start), at + 1, (word[: -len("-free")],))
    if (word, tokens[at + 1]) in (("rather", "than"), ("instead", "of")):
        return of_object(tokens, at, at + 2, left)
    if word in ("absent", "missing", "nowhere"):
        return of_absent(tokens, at, left)
    return None


def of_image(tokens: Tokens, verb: int, left: int) -> int:
    """Return where "the image", "we" or "you can" before a verb begins: "show", "see"; `verb` if it has none."""
    at = verb - 1 - (tokens[verb - 1] in MODALS)
    if tokens[at] in VIEWERS:
        return max(left, at)
    if tokens[at] in IMAGE and tokens[at - 1] in ARTICLES and tokens[at - 2] not in PREPOSITIONS - {"while"} | {"of"}:
        return max(left, at - 1)
    return verb


def before_there(tokens: Tokens, at: int, left: int) -> int:
    """Return where "there is" or "with" before `at` begins, or `at`."""
    start = at
    probe = start - 1
    if tokens[probe] == "be" and tokens[probe - 1] == "to":
        probe -= 2
    if tokens[probe] in BE | {"appears", "seems"} and tokens[probe - 1] in ("there", "here"):
        return max(left, probe - 1)
    if tokens[start - 1] in SHOW and of_image(tokens, start - 1, left) < start - 1:
        return of_image(tokens, start - 1, left)
    if tokens[start - 1] in ("with", "there", "has", "have", "having", "wearing", "and"):
        return max(left, start - 1)
    return start


def of_no(tokens: Tokens, at: int, left: int) -> Span | None:
    """Handle "no car", "there are no cars in sight", "no sign of a car"."""
    following = tokens[at + 1]
    if tokens[at - 1] in ARTICLES | {"do"} or not following or not following[0].isalpha() or is_quoted(tokens, at):
        return None
    if following in NOT_THINGS | word_set("longer more fewer less matter sooner"):
        # "no more cars" is rare, "no more than two" is not.
        return None
    if following.endswith("ing") and following not in THINGS_IN_ING or following == "entry":
        if tokens[at + 2] in NAMED_SIGNS or not tokens[at + 2].isalpha():
            return None
    if following == "one":
        return of_nobody(tokens, at, at + 2, left)
    start = before_there(tokens, at, left)
    if following in SIGN and tokens[at + 2] == "of":
        found, stop = phrases(tokens, at + 3)
    else:
        found, stop = phrases(tokens, at + 1)
    if not found:
        return None
    tail = shown_tail(tokens, stop)
    # Said of a thing ("a man with no shirt"), after which the sentence continues.
    attribute = tokens[at - 1] in word_set("with wearing has have having") or (
        tokens[at - 1] in ("and", "but") and tokens[at - 2] not in (",", ";", "")
    )
    doing = skip(tokens, tail, BE)
    is_clause = not attribute if doing > tail else is_verb(tokens[doing]) and is_doer(found[-1])
    if len(found) == 1 and is_clause and tokens[doing].isalpha() and tokens[doing] not in CLAUSE:
        # "no dog is running on the beach"
        end = clause_end(tokens, doing)
        return Span(start, end, (f"{found[0]} {tokens.between(doing, end)}",))
    return Span(start, tail, tuple(found))


def is_quoted(tokens: Tokens, at: int) -> bool:
    """Say whether the word begins a short quotation, as on a sign: "no diving"."""
    if tokens[at - 1] not in ("'", '"', "“", "‘"):
        return False
    return any(tokens[place] in ("'", '"', "”", "’") for place in range(at + 1, at + 6))


def of_nobody(tokens: Tokens, at: int, stop: int, left: int) -> Span:
    """Handle "nobody is in sight", "no one is swimming", "no one has a handbag"."""
    stop += tokens[stop] == "else"
    start, tail = before_there(tokens, at, left), shown_tail(tokens, stop)
    if tail > stop or not tokens[stop].isalpha() or tokens[stop] in PREPOSITIONS | CLAUSE | {"and"}:
        return Span(start, tail, ("person",))
    if tokens[stop] in ("has", "have", "with"):
        found, end = phrases(tokens, stop + 1)
        if found:
            return Span(start, clause_end(tokens, end), tuple(found))
    end = clause_end(tokens, stop)
    doing = skip(tokens, stop, BE)
    return Span(start, end, (f"person {tokens.between(doing, end)}".strip(),))


def of_without(tokens: Tokens, at: int, left: int) -> Span | None:
    """Handle "without a hat" and "without wearing a hat"; "not without a hat" wants the hat."""
    if tokens[at - 1] in ("not", "n't") or tokens[at + 1] in NOT_THINGS:
        return None
    if tokens[at + 1].endswith("ing") and tokens[at + 2] in ARTICLES | PREPOSITIONS:
        stop = clause_end(tokens, at + 1)
        return Span(at, stop, (tokens.between(at + 1, stop),))
    found, stop = phrases(tokens, at + 1)
    start = of_image(tokens, at - 1, left) if tokens[at - 1] in BE else at
    return Span(start if start < at - 1 else at, shown_tail(tokens, stop), tuple(found)) if found else None


def of_not(tokens: Tokens, at: int, left: int) -> Span | None:
    """Handle "not" after a verb, after a noun, and before a noun phrase."""
    following = tokens[at + 1]
    verb = tokens[at - 1]
    if (following, tokens[at + 2]) == ("to", "be") and verb in BE and shown_tail(tokens, at + 1) > at + 1:
        return of_subject(tokens, at - 1, shown_tail(tokens, at + 1), left)
    if following in NOT_NEGATED or verb in ("or", "why", "whether"):
        return None
    if verb in BE | MODALS | DO | {"have", "has", "had"}:
        return of_verb(tokens, at, left)
    if following in ARTICLES:
        if following in ("a", "an") and tokens[at + 2] == "single":
            following = "single"
        found, stop = phrases(tokens, at + 1)
        return Span(at, shown_tail(tokens, stop), tuple(found)) if found else None
    if following == "one" and noun_phrase(tokens, at + 2) > at + 2:
        found, stop = phrases(tokens, at + 2)
        return Span(at, shown_tail(tokens, stop), tuple(found))
    if verb in IMAGE and following in SHOW:
        # "a photo not showing a dog"
        return of_object(tokens, at, at + 2, left)
    if following == "to" or not following or not following[0].isalnum():
        return None
    if tokens[at - 1] in ARTICLES:
        # "a not white cat"
        stop = noun_phrase(tokens, at + 1)
        return Span(at, at + 2, (tokens.between(at + 1, stop),)) if stop > at + 2 else None
    tail = shown_tail(tokens, at + 1)
    if tail > at + 1 and tokens[tail] in ("", ".", ","):
        return of_subject(tokens, at, tail, left)
    stop = before_verb(tokens, at + 1, predicate_end(tokens, at + 1))
    return Span(at, stop, (tokens.between(at + 1, stop),))


def before_verb(tokens: Tokens, at: int, stop: int) -> int:
    """Return where the sentence continues after what is denied of its subject: "not wearing a hat | is climbing"."""
    for place in range(at + 1, stop):
        before = tokens[place - 1]
        follows = not before.endswith("ing") and before not in PREPOSITIONS | ARTICLES
        if tokens[place] in BE or (follows and tokens[place].endswith("s") and is_verb(tokens[place])):
            return place
    return stop


def predicate_end(tokens: Tokens, at: int) -> int:
    """Return the end of a verb phrase, adjective or prepositional phrase that "not" negates."""
    stop = clause_end(tokens, at)
    return stop if stop > at else at + 1


def of_verb(tokens: Tokens, at: int, left: int) -> Span | None:
    """Handle "not" after "is", "does", "can" and "has"."""
    verb = at - 1
    following = at + 1
    if tokens[verb - 1] in ("there", "here") and tokens[verb] in BE:
        found, stop = phrases(tokens, skip(tokens, following, word_set("appear to be")))
        return Span(max(left, verb - 1), shown_tail(tokens, stop), tuple(found)) if found else None
    if tokens[verb] in DO | MODALS | {"have", "has", "had"}:
        return of_did_not(tokens, at, left)
    tail = shown_tail(tokens, following)
    if tail > following or not tokens[following] or not tokens.is_word[following] or tokens[following] in CLAUSE:
        return of_subject(tokens, verb, max(tail, following), left)
    if tokens[following] in ARTICLES and tokens[verb] in BE and tokens[verb - 1] in ("this", "it", "that"):
        found, stop = phrases(tokens, following)
        return Span(max(left, verb - 1), stop, tuple(found)) if found else None
    stop = predicate_end(tokens, following)
    if tokens[verb - 1] in ("who", "that", "which"):
        stop = before_verb(tokens, following, stop)
    return Span(verb, stop, (tokens.between(following, stop),))


def of_did_not(tokens: Tokens, at: int, left: int) -> Span | None:
    """Handle "does not include a car", "does not appear", "cannot be seen", "does not hold a bat"."""
    verb, following = at - 1, at + 1
    if tokens[verb] == "do" and (tokens[verb - 1] in ARTICLES or not tokens[verb - 1].isalpha()):
        # "a Do Not Walk sign"
        return None
    if tokens[following] == "be" or tokens[following] in APPEAR - {"show"}:
        tail = shown_tail(tokens, following + (tokens[following] in APPEAR))
        if tail > following:
            return of_subject(tokens, verb, tail, left)
        stop = predicate_end(tokens, following + 1)
        return Span(verb, stop, (tokens.between(following + 1, stop),))
    if not tokens[following] or not tokens.is_word[following] or tokens[following] in CLAUSE:
        return of_subject(tokens, verb, following, left)
    thing = skip(tokens, following, SHOW | word_set("want need wish like to got"))
    if thing > following or tokens[verb] in ("have", "has", "had"):
        return of_object(tokens, verb, thing, left)
    stop = predicate_end(tokens, following)
    return Span(verb, stop, (tokens.between(following, stop),))


def of_object(tokens: Tokens, start: int, at: int, left: int) -> Span | None:
    """Handle a verb such as "lacks" from `start` on whose object begins at `at`."""
    found, stop = both_phrases(tokens, at, len(tokens)) if tokens[at] == "both" else phrases(tokens, at)
    if not found:
        return None
    start -= tokens[start - 1] in ("is", "noticeably", "notably", "clearly", "completely", "entirely")
    return Span(max(left, of_image(tokens, start, left)), shown_tail(tokens, stop), tuple(found))


def of_of(tokens: Tokens, at: int, left: int) -> Span | None:
    """Handle "free of cars", "devoid of any cars", "an absence of cars"."""
    if tokens[at] in ("free", "clear") and (tokens[at - 1] in NOT_FREE_OF):
        return None
    found, stop = phrases(tokens, at + 2)
    if not found:
        return None
    start = at
    while tokens[start - 1] in word_set(
        "a an the is are was with there noticeable notable noticeably notably complete "
        "completely clear clearly total entirely obvious conspicuous apparent its and by"
    ):
        start -= 1
    return Span(max(left, of_image(tokens, start, left)), shown_tail(tokens, stop), tuple(found))


def of_absent(tokens: Tokens, at: int, left: int) -> Span | None:
    """Handle "a car is absent", "missing from the image", "nowhere to be seen", "notably absent is a car"."""
    word = tokens[at]
    stop = at + 1
    if word == "nowhere":
        if tokens[stop] != "to" and image_phrase(tokens, stop) == stop:
            return None
        stop = shown_tail(tokens, stop)
    from_image = image_phrase(tokens, stop)
    if tokens[from_image] in BE and tokens[at - 1] not in BE:
        found, stop = phrases(tokens, from_image + 1)
        start = at - (tokens[at - 1] in DEGREES)
        return Span(max(left, start), shown_tail(tokens, stop), tuple(found)) if found else None
    verb = at - 1
    while tokens[verb] in word_set(
        "notably noticeably conspicuously clearly completely entirely totally also obviously"
    ):
        verb -= 1
    tail = image_phrase(tokens, stop)
    if word in ("missing", "absent") and tail == stop and tokens[stop] in ARTICLES:
        return of_object(tokens, at, stop, left)
    if tokens[verb] in BE:
        return of_subject(tokens, verb, tail, left)
    if tail > stop or word != "missing":
        return of_subject(tokens, verb + 1, tail, left)
    return None


def of_subject(tokens: Tokens, verb: int, stop: int, left: int) -> Span | None:
    """Handle a verb at `verb` that denies its subject: "a car is not visible"."""
    start = verb
    plural = tokens[verb] in ("are", "were", "do")
    if tokens[verb - 1] == "," and tokens[verb - 2] in ("however", "though") and tokens[verb - 3] == ",":
        start = verb = verb - 3
    while start > left and tokens.is_word[start - 1]:
        word = tokens[start - 1]
        if word == "and" and plural:
            start -= 1
            continue
        if word in CLAUSE or word in BE | SHOW - {"show", "display", "hold"} or word == "with":
            break
        start -= 1
    start += tokens[start] == "and"
    found, end = phrases(tokens, start) if not plural else both_phrases(tokens, start, verb)
    if not found or end > verb:
        return None
    if tokens[start - 1] == "with":
        start -= 1
    return Span(start, stop, tuple(found))


def both_phrases(tokens: Tokens, at: int, stop: int) -> tuple[list[str], int]:
    """Return the noun phrases of "a car and a bus", and where they end."""
    found = []
    at += tokens[at] == "both"
    while at < stop:
        more, at = phrases(tokens, at)
        if not more:
            break
        found += more
        if tokens[at] == "and":
            at += 1
    return found, at


def of_neither(tokens: Tokens, at: int, left: int) -> Span | None:
    """Handle "neither a car nor a bus"."""
    nor = next((place for place in range(at + 1, len(tokens)) if tokens[place] == "nor"), None)
    if nor is None:
        return None
    first = skip(tokens, at + 1, ARTICLES)
    second, stop = phrases(tokens, nor + 1)
    if not second:
        start, stop = nor + 1, predicate_end(tokens, nor + 1)
        second = [tokens.between(start, stop)]
    between = tokens.between(first, nor - (tokens[nor - 1] == ","))
    return Span(before_there(tokens, at, left), shown_tail(tokens, stop), (between, *second))


# --- What is left ---

_CONJUNCTION = (
    "but|and|while|although|though|even|yet|however|instead|where|whereas|which|as|because|since|when|so|who|that"
)
_ADVERB = "noticeably|notably|remarkably|strangely|surprisingly|conspicuously|interestingly|curiously"
_LEADING = re.compile(
    rf"(?i)^(?:[\s,;:.\-–—]|\b(?:{_CONJUNCTION}|{_ADVERB}|with|is|shows|showcases|features|depicts)\b)*"
)
_TRAILING = re.compile(
    rf"(?i)(?:[\s,;:\-–—]|\b(?:{_CONJUNCTION}|{_ADVERB}|with|there|is|are|both|it|seems to|in)\b)*$"
)


# "There is no chair in the room, but …": the place goes with the denial.
_PLACE_OF_DENIAL = re.compile(
    r"(?i)^(?:in|on|at|near|under|behind|inside|around) [^,;.]*[,;.]\s*"
    r"(?:but|and|just|only|instead|however|where|while|which)\b"
)
_IMAGES = "|".join(sorted(IMAGE - {"view", "sight", "background", "foreground", "vicinity", "setting"}))
_IN_IMAGE = rf"(?: (?:in|on|from) (?:the|this|an?) (?:{_IMAGES}))"
# "This image features a car" wants a car.
_SHOWS, _ELSEWHERE = "|".join(sorted(SHOW)), {"there", "here", "nearby", "around", "inside", "outside"}
_SAYS_OF_IMAGE = re.compile(
    rf"(?i)^(?:(?:this|the|an?) (?:{_IMAGES}) (?:{_SHOWS}) (?:both )?|"
    rf"(?:in (?:this|the) (?:{_IMAGES}),? )?there(?: is| are|['’]s) (?:both )?|(?:we|you|one|i) (?:can )?sees? )"
)
_IS_SHOWN = re.compile(
    rf"(?i) (?:(?:is|are) (?:both )?(?:{'|'.join(sorted(SHOWN - _ELSEWHERE))})"
    rf"|can be seen|appears?|exists?|is|are){_IN_IMAGE}?$"
)


def without_frame(text: str) -> str:
    """Return a statement about an image without its frame: "a car is visible in the image" becomes "a car"."""
    return _IS_SHOWN.sub("", _SAYS_OF_IMAGE.sub("", text))


def remaining(tokens: Tokens, spans: list[Span]) -> str:
    """Return the query without the spans, and without the words that joined them to the rest."""
    kept, at, joint = "", 0, ""
    for span in [*spans, Span(len(tokens), len(tokens), ())]:
        piece = tokens.between(at, span.start) if span.start > at else ""
        piece = _TRAILING.sub("", piece.rstrip(" .")).strip()
        if not kept and at:
            piece = _PLACE_OF_DENIAL.sub("", piece)
        cleaned = _LEADING.sub("", piece)
        if cleaned and any(word not in EMPTY for word in Tokens(cleaned).low if word[0].isalnum()):
            if not kept:
                kept = cleaned
            elif piece.lower().startswith("and "):
                # "a girl with no shoes and a lunchbox" keeps the "with".
                kept = f"{kept} {joint} {cleaned}"
            else:
                kept = f"{kept} {piece.lstrip(' ,;:.-–—')}"
        joint = "with" if tokens[span.start] == "with" else "and"
        at = max(at, span.stop)
    return without_frame(kept)
