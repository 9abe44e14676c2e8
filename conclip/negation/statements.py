"""
Statements for negation distillation: texts that affirm and deny, each with the query that its target is made of.

    >>> generator = StatementGenerator(captions)
    >>> generator(epoch=0, index=7)
    Statement(text="There isn't a dog in the photo.", query=Query(wanted='', unwanted=('dog',)), kind='absence')
"""

import logging
import random
import re
from bisect import bisect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from conclip.errors import UsageError
from conclip.negation.false_captions import false_captions
from conclip.negation.grammar.text import fit_articles
from conclip.negation.lexicon.inflection import plural, takes_who
from conclip.negation.lexicon.names import some
from conclip.negation.lexicon.query_words import BE, VERBS, is_verb
from conclip.negation.lexicon.scenes import COLORED, COLORS
from conclip.negation.plain_captions import denied_doings, plain_captions
from conclip.negation.query import Query, parse_query
from conclip.negation.statement_things import MANY, StatementThings, count_nouns
from conclip.negation.wording import Form, both, compose, form_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Statement:
    """
    A text, and what its embedding should be made of.

    Attributes:
        text: what the student reads.
        query: the wanted text ("" for none) and the unwanted things; nothing is unwanted in an affirmative text.
        kind: one of `KINDS`.
    """

    text: str
    query: Query
    kind: str


# "affirmative": a caption as it is. "absence": no X, or neither X nor Y. "hybrid": X but no Y, or X that is not red.
# "caption_absence": a caption and no X, where the caption may name X itself. "presence": X, or X and Y.
# "false_caption": a caption with a verb, an attribute or a relation negated. Each with its share of the statements.
SHARES = {
    "affirmative": 0.53,
    "absence": 0.13,
    "hybrid": 0.13,
    "caption_absence": 0.1,
    "presence": 0.05,
    "false_caption": 0.06,
}
KINDS = tuple(SHARES)

# Captions that are parsed for false captions.
PARSED = 4_000
# Pairs of things that "a dog and a cat" is said of: few, as each needs an embedding.
PAIRS = 2_000
# How often a caption is denied something that it names; two things are denied or wanted at once.
OWN, TWO = 0.4, 0.15
# How much of the hybrids is about a thing that is not red, or not doing something.
DESCRIBED = 0.12
# How often a thing is denied in the middle of a caption that can be parted.
PARTED = 0.3
# How much of the false captions denies a caption as a whole.
WHOLE = 0.2
# How much of the affirmative texts is a caption with another thing in the place of one that it names: texts of other
# sources keep their embedding too. So many of these at most.
VARIED, MOST_VARIED = 0.5, 20_000
# Statements composed until one has only the words that it may have.
_MOST_TRIES = 2_000

_COLORED, _COLORS = sorted(COLORED), sorted(COLORS)
_WORD = re.compile(r"[a-z]+")
_WORDS = re.compile(r"[\w'’-]+")
# What a text that negates has in it; `parse_query` decides.
_NEGATIVE = re.compile(
    r"(?i)\b(?:no|not|nobody|none|never|neither|nor|without|lack\w*|free|clear|devoid|empty|bare|void|absen\w+|missing"
    r"|nowhere|minus|sans|exclud\w+|un\w+ by|rather|instead|cannot)\b|n['’]t\b|-free\b|(?<!\S)[-−]"
)
_END = re.compile(r"[\s.,;:!]+$")
# "A man in a red hat | is riding a horse": where something fits between.
_SUBJECT = re.compile(
    r"^((?:an?|the|two|three|some|several) (?:[a-z]+ ){0,2}[a-z]+)(?<!that)(?<!who)(?<!which)(?<!there) "
    r"((?:is|are|was|were) [a-z].*)$",
    re.I | re.S,
)
# "A | man climbs a wall": "no man climbs a wall" denies the whole.
_WHOLE = re.compile(r"^(an?|some) (.*)$", re.I | re.S)
# Names that keep their capital inside a sentence.
_NAMES = frozenset(
    "I American Asian African European Chinese Japanese Indian Mexican British English French German Italian Spanish "
    "Caucasian Hispanic Christmas Halloween Santa".split()
)


class StatementGenerator:
    """
    Compose statements, each made anew from its number.

    Args:
        captions: any captions; without, those of `plain_captions`. Captions that negate something themselves keep
            their wording, and their target follows from `parse_query`. Blank ones are left out, with a warning.
        nouns: what statements are about, commonest first; by default the visible things that the captions name, and
            those of `nouns.tsv` and of a list, 1,500 at most.
        seed: of all random choices.
        shares: kind -> its share; kinds that are not named have none. By default `SHARES`.
        words: if given, statements hold no other words than these, in lower case. A kind of which no statement is
            found is left out, with a warning.

    Raises:
        UsageError: a caption that is no text, no caption that is not blank, too few nouns, shares of no known kind, or
            the extra `conclip[negate]` is not installed.
    """

    def __init__(
        self,
        captions: Sequence[str] = (),
        nouns: Sequence[str] | None = None,
        seed: int = 42,
        shares: Mapping[str, float] | None = None,
        words: Collection[str] | None = None,
    ):
        self.seed, self.shares, self.words = seed, shares, None if words is None else frozenset(words)
        self._kinds, self._shares = _read_shares(shares)
        self.captions = list(captions) if len(captions) else plain_captions(seed=seed)
        self._read_captions()
        self._things = StatementThings(count_nouns(self.captions) if nouns is None else nouns)
        rng = random.Random(seed)
        self._pairs = self._choose_pairs(rng)
        self._varied = self._vary(rng) if "affirmative" in self._kinds else []
        self._doings = denied_doings()
        self._false = self._negate(rng) if "false_caption" in self._kinds else []
        self._whole = [
            caption
            for number, caption in enumerate(self.captions)
            if number not in self._negated and _WHOLE.match(_END.sub("", caption))
        ]
        if "false_caption" in self._kinds and not self._false:
            logger.warning("No caption has a verb, an attribute or a relation to negate; there are no false captions.")
            shares = SHARES if shares is None else shares
            self._kinds, self._shares = _read_shares({kind: shares[kind] for kind in self._kinds[:-1]})
        if self.words is not None:
            self._leave_out_kinds(SHARES if shares is None else shares)

    # --- What is prepared ---

    def _read_captions(self) -> None:
        """Check the captions, drop blank ones, and find those that negate something."""
        kept, blank = [], 0
        for number, caption in enumerate(self.captions):
            if not isinstance(caption, str):
                raise UsageError(f"caption {number} is {caption!r}; it has to be a text.")
            if _WORD.search(caption.lower()):
                kept.append(caption)
            else:
                blank += 1
        if not kept:
            raise UsageError(f"none of the {blank} captions has a word in it.")
        if blank:
            logger.warning("%d of %d captions have no word in them and were left out.", blank, len(self.captions))
        self.captions = kept
        found = ((number, parse_query(text)) for number, text in enumerate(kept) if _NEGATIVE.search(text))
        self._negated = {number: query for number, query in found if query.unwanted}
        if len(self._negated) == len(kept):
            raise UsageError("every caption negates something; some have to be affirmative.")

    def _choose_pairs(self, rng: random.Random) -> list[tuple[int, int]]:
        """Return pairs of things that statements want together."""
        pairs: dict[tuple[int, int], None] = {}
        for _ in range(PAIRS):
            first = self._things.draw(rng)
            pairs[first, self._things.draw_other(rng, first)] = None
        return list(pairs)

    def _vary(self, rng: random.Random) -> list[str]:
        """Return captions, each with another thing in the place of one that it names."""
        varied: dict[str, None] = {}
        for _ in range(min(MOST_VARIED, len(self.captions))):
            number = int(rng.random() * len(self.captions))
            caption = self.captions[number]
            found = [word for word in _WORD.finditer(caption) if word[0] in self._things.of_word]
            if number in self._negated or not found:
                continue
            word = found[int(rng.random() * len(found))]
            thing = self._things.of_word[word[0]]
            name = self._things.names[self._things.draw_other(rng, thing)]
            name = name if word[0] == self._things.names[thing] else plural(name)
            text = caption[: word.start()] + name + caption[word.end() :]
            varied[fit_articles(text, caption)] = None
        return list(varied)

    def _negate(self, rng: random.Random) -> list[tuple[str, Query]]:
        """Return false captions, made of a sample of the affirmative ones."""
        affirmative = [number for number in range(len(self.captions)) if number not in self._negated]
        sample = sorted(rng.sample(affirmative, min(PARSED, len(affirmative))))
        try:
            return false_captions([self.captions[number] for number in sample], self.seed)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def _leave_out_kinds(self, shares: Mapping[str, float]) -> None:
        """Leave out the kinds of which no statement has the words that it may have."""
        rng = random.Random(self.seed)
        found = [kind for kind in self._kinds if self._compose(rng, kind) is not None]
        if not found:
            raise UsageError("no statement can be composed of the words that it may have.")
        if missing := [kind for kind in self._kinds if kind not in found]:
            logger.warning("No statement of the kinds %s can be composed of the words given.", ", ".join(missing))
            self._kinds, self._shares = _read_shares({kind: shares[kind] for kind in found})

    # --- What it may be asked ---

    def things(self) -> list[str]:
        """Return the things that statements are about, singular and without article."""
        return list(self._things.names)

    def base_texts(self) -> list[str]:
        """
        Return every text that a query may hold, other than a single thing, each once and always in the same order:
        captions, wanted things with their article, pairs of them, and the parts of negated and false captions.
        """
        parts = [one.some for one, _ in self._things.forms]
        parts += [self._both(pair).some for pair in self._pairs]
        parts += [f"{color} {name}" for name in _COLORED for color in _COLORS]
        parts += [some(name, False) for name in _COLORED]
        for who, done in self._doings:
            parts += (*(some(name, False) for name in who), *done)
        for query in [*self._negated.values(), *(query for _, query in self._false)]:
            parts += (query.wanted, *query.unwanted)
        return list(dict.fromkeys(filter(None, (*self.captions, *self._varied, *parts))))

    def __call__(self, epoch: int, index: int) -> Statement:
        """Return statement `index` of an epoch; it depends on the seed and these two numbers alone."""
        rng = random.Random((self.seed * 1_000_003 + epoch) * 1_000_000_007 + index)
        kind = self._kinds[bisect(self._shares, rng.random() * self._shares[-1])]
        while (statement := self._compose(rng, kind)) is None:
            pass
        return statement

    def _compose(self, rng: random.Random, kind: str) -> Statement | None:
        """Return a statement of a kind, or None if, in many tries, none had only the words that it may have."""
        for _ in range(1 if self.words is None else _MOST_TRIES):
            statement = getattr(self, f"_{kind}")(rng)
            if self.words is None or self.words.issuperset(words_of(statement.text)):
                return statement
        return None

    # --- The kinds ---

    def _affirmative(self, rng: random.Random) -> Statement:
        if self._varied and rng.random() < VARIED:
            caption = self._varied[int(rng.random() * len(self._varied))]
            return Statement(caption, Query(caption), "affirmative")
        while True:
            number = int(rng.random() * len(self.captions))
            if number not in self._negated:
                caption = self.captions[number]
                return Statement(caption, Query(caption), "affirmative")

    def _absence(self, rng: random.Random) -> Statement:
        first = self._things.draw(rng)
        if rng.random() < TWO:
            second = self._things.draw_other(rng, first)
            text = compose(rng, "absence_of_two", self._things.forms[first][0], self._things.forms[second][0])
            unwanted = (self._things.names[first], self._things.names[second])
        else:
            text, unwanted = compose(rng, "absence", self._things.draw_form(rng, first)), (self._things.names[first],)
        return Statement(_finish(rng, text), Query("", unwanted), "absence")

    def _hybrid(self, rng: random.Random) -> Statement:
        if rng.random() < DESCRIBED:
            return self._described(rng)
        wanted, form, number = self._wanted(rng)
        unwanted = self._things.draw_other(rng, number)
        text = compose(rng, "hybrid", self._things.forms[unwanted][form.is_ == "are"], wanted=form)
        return Statement(_finish(rng, text), Query(wanted, (self._things.names[unwanted],)), "hybrid")

    def _described(self, rng: random.Random) -> Statement:
        if rng.random() < 0.5:
            rule, name, denied = "described", rng.choice(_COLORED), rng.choice(_COLORS)
            unwanted = f"{denied} {name}"
        else:
            who, done = rng.choice(self._doings)
            rule, name, denied = "doing", rng.choice(who), rng.choice(done)
            unwanted = denied
        form = form_of(name, rng.random() < MANY)
        text = compose(rng, rule, wanted=form, described=(denied, "who" if takes_who(name) else "that"))
        return Statement(_finish(rng, text), Query(some(name, False), (unwanted,)), "hybrid")

    def _presence(self, rng: random.Random) -> Statement:
        wanted, form, _ = self._wanted(rng, 0.5)
        return Statement(_finish(rng, compose(rng, "presence", wanted=form)), Query(wanted), "presence")

    def _caption_absence(self, rng: random.Random) -> Statement:
        number = int(rng.random() * len(self.captions))
        caption = self.captions[number]
        if number in self._negated:
            return Statement(caption, self._negated[number], "caption_absence")
        own = self._things.named(caption)
        if own and rng.random() < OWN:
            denied = own[int(rng.random() * len(own))]
        else:
            denied = self._things.draw_absent(rng, own)
        form, plain = self._things.draw_form(rng, denied), _END.sub("", caption)
        parted = _SUBJECT.match(plain) if rng.random() < PARTED else None
        rule = "caption_parted" if parted else "caption_sentence" if _is_sentence(plain) else "caption_phrase"
        parts = (plain, _continued(plain), *(parted.groups() if parted else ("", "")))
        text = compose(rng, rule, form, caption=parts)
        return Statement(_finish(rng, text), Query(caption, (self._things.names[denied],)), "caption_absence")

    def _false_caption(self, rng: random.Random) -> Statement:
        if self._whole and rng.random() < WHOLE:
            caption = self._whole[int(rng.random() * len(self._whole))]
            plain = _END.sub("", caption)
            rule = "denied_sentence" if _is_sentence(plain) else "denied_phrase"
            text = compose(rng, rule, caption=(plain, _continued(plain), *_WHOLE.match(plain).groups()))
            return Statement(_finish(rng, text), Query("", (caption,)), "false_caption")
        text, query = self._false[int(rng.random() * len(self._false))]
        return Statement(text, query, "false_caption")

    def _wanted(self, rng: random.Random, share_of_two: float = TWO) -> tuple[str, Form, int]:
        """Return a wanted text, its forms, and the number of its first thing."""
        if rng.random() < share_of_two:
            pair = self._pairs[int(rng.random() * len(self._pairs))]
            form = self._both(pair)
            return form.some, form, pair[0]
        number = self._things.draw(rng)
        return self._things.forms[number][0].some, self._things.draw_form(rng, number), number

    def _both(self, pair: tuple[int, int]) -> Form:
        return both(*(self._things.forms[number][0] for number in pair))


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, with their apostrophes and hyphens: "there isn't" has two."""
    return _WORDS.findall(text.lower())


def _read_shares(shares: Mapping[str, float] | None) -> tuple[list[str], list[float]]:
    """Return the kinds that have a share, and the running sums of these."""
    shares = SHARES if shares is None else shares
    for kind, share in shares.items():
        if kind not in KINDS:
            raise UsageError(f"shares names the kind {kind!r}; known are {', '.join(KINDS)}.")
        if not share >= 0:
            raise UsageError(f"the share of {kind} is {share!r}; it has to be 0 or more.")
    kinds = [kind for kind in KINDS if shares.get(kind, 0) > 0]
    if not kinds:
        raise UsageError("all shares are 0; one kind of statement has to have a share.")
    return kinds, list(accumulate(shares[kind] for kind in kinds))


def _continued(caption: str) -> str:
    """Return a caption as it stands inside a sentence: its first word without capital, unless that is a name."""
    first = caption.split(None, 1)[0]
    if first in _NAMES or first.removesuffix("s") in _NAMES or first[1:] != first[1:].lower():
        return caption
    return caption[0].lower() + caption[1:]


def _is_sentence(caption: str) -> bool:
    """Return whether a caption seems to have a finite verb: "a dog runs", and not "a dog running"."""
    words = caption.lower().split()
    return any(word in BE or word in VERBS or word.endswith("s") and is_verb(word) for word in words[1:])


def _finish(rng: random.Random, text: str) -> str:
    """Give the text a capital and a full stop, or not."""
    if rng.random() < 0.5:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.6 and " -" not in text:
        text += "."
    return text
