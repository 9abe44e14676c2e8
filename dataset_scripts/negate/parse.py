"""Stage 1, relation parsing: caption -> subjects, objects and predicate-object pairs (paper, section on CC-Neg)."""

from dataclasses import dataclass
from typing import NamedTuple

from .rows import Span


class Token(NamedTuple):
    """One token of spaCy's, in plain Python: `head`, `left` and `right` (edges of the subtree) are token indices."""

    i: int
    text: str
    start: int
    end: int
    tag: str
    lemma: str
    dep: str
    head: int
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Pair:
    """A predicate and its object, said of a subject: what one negation denies.

    Attributes:
        kind (`str`): "object" (the object may be denied), "attribute" (adjective), "relation" (preposition) or "verb".
        construction (`str`): how the caption says it, e.g. "finite", "participle", "adjective", "with"; decides the
            forms that fit.
        subject (`Span | None`): characters of the subject's noun phrase, without what follows the noun.
        predicate (`Span | None`): characters of the verb, preposition or adjective.
        object (`Span | None`): characters of the object's noun phrase, with its modifiers.
        modifiers (`tuple[Span, ...]`): characters of adverbs and prepositional phrases that hang on the predicate.
        span (`Span`): characters of the whole pair.
        token (`int`): index of the token the pair hangs on.
    """

    kind: str
    construction: str
    subject: Span | None
    predicate: Span | None
    object: Span | None
    modifiers: tuple[Span, ...]
    span: Span
    token: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """A caption taken apart.

    Attributes:
        caption (`str`): as given.
        tokens (`tuple[Token, ...]`): its tokens.
        subjects (`tuple[Span, ...]`): characters of the noun phrases the caption is about.
        pairs (`tuple[Pair, ...]`): in the order of the caption.
    """

    caption: str
    tokens: tuple[Token, ...]
    subjects: tuple[Span, ...]
    pairs: tuple[Pair, ...]

    def text(self, span: Span | None) -> str:
        """The characters of `span`; "" for None. `(subject, predicate, object)` of a pair make the paper's triple."""
        return self.caption[span[0] : span[1]] if span else ""


def parse(doc) -> Parsed:
    """`doc` is a `spacy.tokens.Doc` with tags, lemmas and dependencies."""
    raise NotImplementedError


def object_nouns(parsed: Parsed) -> list[str]:
    """Names of the things the caption names, e.g. `["dog", "tennis ball"]`: singular, lower case, each once.

    Statistics over these, and absent nouns drawn from them, are in the form `GrammarMaker.negate` wants.
    """
    raise NotImplementedError
