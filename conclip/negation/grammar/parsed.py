"""What the parse of a caption holds."""

from dataclasses import dataclass

from conclip.negation.grammar.rows import Span
from conclip.negation.grammar.tree import Token


@dataclass(frozen=True, slots=True)
class Pair:
    """A predicate and its object, said of a subject: what one negation denies.

    Attributes:
        kind (`str`): "object" (a thing may be denied), "attribute" (adjective), "relation" (preposition) or "verb".
        construction (`str`): how the caption says it, e.g. "finite", "participle", "adjective", "with"; decides the
            forms that fit.
        subject (`Span | None`): characters of the subject's noun phrase, without what follows the noun.
        predicate (`Span | None`): characters of the verb, preposition or adjective.
        object (`Span | None`): characters of the object's noun phrase, with its modifiers.
        modifiers (`tuple[Span, ...]`): characters of adverbs and prepositional phrases that hang on the predicate.
        span (`Span`): characters of what is denied: the verb, the phrase, the adjective or the noun.
        token (`int`): index of the token the pair hangs on.
        head (`int`): index of the token it is said of, -1 if there is none.
        name (`str`): of an object: its name as `object_nouns` gives it.
    """

    kind: str
    construction: str
    subject: Span | None
    predicate: Span | None
    object: Span | None
    modifiers: tuple[Span, ...]
    span: Span
    token: int
    head: int = -1
    name: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A caption taken apart.

    Attributes:
        caption (`str`): as given.
        tokens (`list[Token]`): its tokens.
        children (`list[list[int]]`): of each token, in order.
        subjects (`tuple[Span, ...]`): characters of the noun phrases the caption is about.
        pairs (`list[Pair]`): by kind (verbs, relations, attributes, objects), in the order of the caption.
    """

    caption: str
    tokens: list[Token]
    children: list[list[int]]
    subjects: tuple[Span, ...]
    pairs: list[Pair]

    def text(self, span: Span | None) -> str:
        """The characters of `span`; "" for None. `(subject, predicate, object)` of a pair make the paper's triple."""
        return self.caption[span[0] : span[1]] if span else ""

    def phrase(self, token: int) -> Span:
        """Characters of the noun phrase of `token`, from its first modifier up to the noun itself."""
        return self.tokens[self.tokens[token].left].start, self.tokens[token].end

    def subtree(self, token: int) -> Span:
        """Characters of all that hangs on `token`."""
        return self.tokens[self.tokens[token].left].start, self.tokens[self.tokens[token].right].end

    def kid(self, token: int, *deps: str) -> int:
        """Index of the first child of `token` with one of these labels, or -1."""
        for k in self.children[token]:
            if self.tokens[k].dep in deps:
                return k
        return -1
