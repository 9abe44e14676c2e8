"""
Tokens of a caption, as spaCy reads them, with verbs that it takes for nouns put right.

What is asked of the tokens alone is here too; what is asked of a noun and its phrase is in `noun_phrases`.
"""

from typing import NamedTuple

from conclip.negation.lexicon.inflection import is_person
from conclip.negation.lexicon.words import ANIMALS

_VERB_LIKE = frozenset({"NNS", "NN", "NNPS", "NNP"})
# Third-person verbs that the tagger takes for plural nouns after a noun ("a red scarf smiles").
_TAKEN_FOR_NOUNS = frozenset(
    "runs jumps walks rides plays stands sits smiles looks holds leaps swims eats sleeps poses lies lays rests climbs "
    "surfs skis skates dives slides swings kicks hits throws catches carries chases crosses watches waits works talks "
    "travels flies races dances sings performs practices reads drinks laughs cries hangs hikes floats rolls bounces "
    "snowboards skateboards paddles rows wades splashes digs drives turns pulls pushes waves points stares gazes "
    "wears rounds approaches passes gets goes makes takes walks tackles competes soars falls crawls kneels leans "
    "balances stretches shakes attempts tries prepares licks bites barks sniffs grabs lifts shows plays covers "
    "overlooks faces enters leaves moves speaks".split()
)
_BASES = {"ies": "y", "ches": "ch", "shes": "sh", "sses": "ss", "xes": "x", "zzes": "zz", "oes": "o"}
_SHORT_BASES = {
    "is": "be",
    "'s": "be",
    "has": "have",
    "lies": "lie",
    "ties": "tie",
    "dies": "die",
    "does": "do",
    "aches": "ache",
    "shoes": "shoe",
    "toes": "toe",
}
# With these, or more than two commas, a caption speaks of several things in turn, or of parts of what it named.
_TELLING_APART = frozenset(
    "one ones another other others third second each both either neither rest remaining same different".split()
)
_DIVIDING = frozenset({";", ":", '"', "``", "''", "“", "”", "(", ")", "-", "--", "–", "/", "-LRB-", "-RRB-"})


class Token(NamedTuple):
    """One token of spaCy's: `head`, `left` and `right` (edges of the subtree) are token indices."""

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


def read_tokens(doc) -> tuple[list[Token], list[list[int]]]:
    """Return the tokens of a `spacy.tokens.Doc` and the indices of each token's children, in order."""
    read = [(token.text, token.idx, token.tag_, token.lemma_.lower(), token.dep_, token.head.i) for token in doc]
    texts, starts, tags, lemmas, deps, heads = map(list, zip(*read, strict=True)) if read else ([] for _ in range(6))
    for i, text in enumerate(texts):
        if tags[i] in _VERB_LIKE and (text in _TAKEN_FOR_NOUNS or tags[i] == "NNS" and text.endswith("s")):
            _mend_verb(i, texts, tags, lemmas, deps, heads)
        elif text.endswith("s") and (tags[i] == "VBZ" or tags[i] in ("VBP", "VB") and lemmas[i] != text.lower()):
            # The lemmatizer makes "rid" of "rides".
            tags[i], lemmas[i] = "VBZ", _base(text.lower())
    left, right = list(range(len(read))), list(range(len(read)))
    children: list[list[int]] = [[] for _ in texts]
    for i, head in enumerate(heads):
        if head != i:
            children[head].append(i)
        while True:
            if left[head] > i:
                left[head] = i
            if right[head] < i:
                right[head] = i
            if heads[head] == head:
                break
            head = heads[head]
    tokens = [
        Token(i, text, start, start + len(text), tags[i], lemmas[i], deps[i], heads[i], left[i], right[i])
        for i, (text, start) in enumerate(zip(texts, starts, strict=True))
    ]
    return tokens, children


def may_be_verb(noun: Token) -> bool:
    """Return whether captions use a plural noun as a verb too: "waves"."""
    return noun.text.lower() in _TAKEN_FOR_NOUNS


def is_plain(tokens: list[Token]) -> bool:
    """
    Return whether a caption may be changed inside: one sentence or phrase, without words that tell things apart.

    "One chasing the other", "a third", a semicolon or a bracket refer to other parts of the caption, which the parse
    does not show.
    """
    if sum(token.head == token.i for token in tokens) != 1 or sum(token.text == "," for token in tokens) > 2:
        return False
    # "A T-shirt", "black-haired" hold a hyphen without spaces around.
    return not any(
        token.text.lower() in _TELLING_APART
        or token.text in _DIVIDING
        and not (token.text == "-" and tokens[token.i - 1].end == token.start)
        for token in tokens
    )


def is_last(tokens: list[Token], token: int) -> bool:
    """Return whether only marks and spaces follow."""
    return all(t.dep == "punct" or t.tag in ("_SP", ".", ",") for t in tokens[token + 1 :])


def _base(verb: str) -> str:
    if verb in _SHORT_BASES:
        return _SHORT_BASES[verb]
    for ending, base in _BASES.items():
        if verb.endswith(ending):
            return verb[: -len(ending)] + base
    return verb[:-1]


def _mend_verb(i: int, texts: list[str], tags: list[str], lemmas: list[str], deps: list[str], heads: list[int]):
    """Make token `i` a verb again if the tokens around it leave no doubt."""
    kids = [k for k, head in enumerate(heads) if head == i and k != i]
    if any(deps[k] in ("nsubj", "nsubjpass") and k < i for k in kids):
        tags[i], lemmas[i] = "VBZ", _base(texts[i])
        return
    noun = i - 1
    singular = any(deps[k] == "det" and texts[k].lower() in ("a", "an") for k in kids)
    singular = singular or (noun >= 0 and is_person(texts[noun].lower()) or texts[noun].lower() in ANIMALS)
    if noun < 0 or heads[noun] != i or deps[noun] != "compound" or tags[noun] not in ("NN", "NNP") or not singular:
        return
    if deps[i] not in ("ROOT", "pobj", "dobj", "conj"):
        return
    for k in kids:
        if k < noun:
            heads[k] = noun
    if deps[i] == "ROOT":
        subject, heads[i] = noun, i
    else:
        root = i
        while heads[root] != root:
            root = heads[root]
        # Only a caption that begins with its subject ("a woman in a scarf smiles") is put right.
        if root > i or tags[root] not in _VERB_LIKE or texts[heads[i]].lower() == "of":
            for k in kids:
                if k < noun:
                    heads[k] = i
            return
        deps[noun], heads[noun] = deps[i], heads[i]
        deps[i], heads[i] = "ROOT", i
        subject = root
    tags[i], lemmas[i] = "VBZ", _base(texts[i])
    deps[subject], heads[subject] = "nsubj", i
