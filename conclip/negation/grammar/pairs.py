"""What the parse of a caption holds: the caption taken apart, and its pairs of a predicate and an object."""

from dataclasses import dataclass

from conclip.negation.grammar.tokens import Token
from conclip.negation.rows import Span


@dataclass(frozen=True, slots=True)
class Pair:
    """A predicate of a subject, and its object: what one negation negates.

    Attributes:
        kind (`str`): "object" (a thing may be negated), "attribute" (adjective), "relation" (preposition) or "verb".
        construction (`str`): how the caption says it, e.g. "finite", "participle", "adjective", "with"; decides the
            forms that fit.
        subject (`Span | None`): characters of the subject's noun phrase, without what follows the noun.
        predicate (`Span | None`): characters of the verb, preposition or adjective.
        object (`Span | None`): characters of the object's noun phrase, with its modifiers.
        modifiers (`tuple[Span, ...]`): characters of adverbs and prepositional phrases that hang on the predicate.
        span (`Span`): characters of what is negated: the verb, the phrase, the adjective or the noun.
        token (`int`): index of the token the pair hangs on.
        head (`int`): index of the token that it describes, -1 if there is none.
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
        """Return the characters of `span`, "" for None. Subject, predicate and object are the paper's triple."""
        return self.caption[span[0] : span[1]] if span else ""

    def phrase(self, token: int) -> Span:
        """Return the characters of the noun phrase of `token`, from its first modifier up to the noun itself."""
        return self.tokens[self.tokens[token].left].start, self.tokens[token].end

    def subtree(self, token: int) -> Span:
        """Return the characters of `token` with all its dependents."""
        return self.tokens[self.tokens[token].left].start, self.tokens[self.tokens[token].right].end

    def kid(self, token: int, *deps: str) -> int:
        """Return the index of the first child of `token` with one of these labels, or -1."""
        for k in self.children[token]:
            if self.tokens[k].dep in deps:
                return k
        return -1
