"""NegCLIP's hard negatives: two nouns, adjectives, verbs or noun phrases of the caption change places."""

import random
import re
from itertools import pairwise

from conclip.negation.grammar.parsing import (
    Parsed,
    follows_noun,
    is_miscounted,
    is_plural,
    is_thing,
    leads_on,
    may_be_verb,
)
from conclip.negation.grammar.text import apply, fit_articles, fit_case
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import is_mass, is_person, singular
from conclip.negation.lexicon.names import is_place, may_corefer
from conclip.negation.rows import Negation, Span

# Words on both sides of these may change places while the caption stays true.
_SYMMETRIC = frozenset(
    "and or next near beside besides opposite amid amongst with by alongside between to around among against".split()
)
# What one does to the other, the other does as well, or may well do.
_MUTUAL = frozenset("kiss hug embrace face fight wrestle meet marry touch greet nuzzle resemble share".split())
# Somebody on, in or with a thing has it about him: "a man on a cellphone".
_ABOUT = frozenset("on in with at for of from by".split())
_UNMOVED = words.NO_OBJECT | words.PRONOUNS
_DOUBLED = re.compile(r"\b([a-z]+) \1\b", re.I)
_AGREE = ("nsubj", "nsubjpass")
_NOUN_DEPS = frozenset({"ROOT", "nsubj", "nsubjpass", "dobj", "pobj", "attr"})


def swap(parsed: Parsed, rng: random.Random) -> Negation | None:
    """Sample one swap that changes what the caption says (Yuksekgonul et al., ICLR 2023); None if there is none."""
    # These words point at one of the nouns: with another in its place, they would point at nothing.
    if any(token.text.lower() in words.POINTING for token in parsed.tokens):
        return None
    kinds = [
        (rule, kind, found)
        for rule, kind, find in (
            ("swap-nouns", "object", _nouns),
            ("swap-adjectives", "attribute", _adjectives),
            ("swap-verbs", "verb", _verbs),
            ("swap-phrases", "object", _phrases),
        )
        if (found := find(parsed))
    ]
    if not kinds:
        return None
    rule, kind, found = kinds[int(rng.random() * len(kinds))]
    one, other = found[int(rng.random() * len(found))]
    caption = parsed.caption
    text = apply(caption, [(*one, _lower_first(parsed, other)), (*other, _lower_first(parsed, one))])
    text = fit_case(fit_articles(text, caption), caption)
    if _DOUBLED.search(text):
        return None
    target = f"{parsed.text(one)} / {parsed.text(other)}"
    return Negation(text, "swap", kind, rule, target, (one[0], other[1]), False)


def _lower_first(parsed: Parsed, span: Span) -> str:
    """The words of `span`, without the capital that only a sentence's beginning gave them."""
    text = parsed.text(span)
    is_first = span[0] == parsed.tokens[0].start and (
        parsed.tokens[0].tag[:3] != "NNP" or parsed.tokens[0].text.lower() in words.COLORS
    )
    return text[0].lower() + text[1:] if is_first and not text.partition(" ")[0][1:].isupper() else text


def _pick(parsed: Parsed) -> list:
    return [
        t
        for t in parsed.tokens
        if t.tag in ("NN", "NNS")
        and t.dep in _NOUN_DEPS
        and len(t.text) > 2
        and t.lemma not in _UNMOVED
        and is_thing(t)
        and not is_miscounted(parsed, t)
        and not may_be_verb(parsed, t)
        and not _exists(parsed, t)
        # "A go cart".
        and parsed.tokens[t.i - 1].text.lower() != "go"
        and not _is_bare(parsed, t)
        and parsed.tokens[t.head].dep not in ("pcomp", "amod")
        and (not t.text.endswith("ing") or t.lemma in words.THINGS_IN_ING)
        and not _leads_on(parsed, t)
    ]


def _is_bare(parsed: Parsed, noun) -> bool:
    """Return whether a noun lacks an article, in a caption that has articles: "a stuffed animal" read as "animal"."""
    if noun.tag != "NN" or is_mass(noun.lemma):
        return False
    has_article = any(parsed.tokens[k].dep in ("det", "poss", "nummod") for k in parsed.children[noun.i])
    return not has_article and any(token.dep == "det" for token in parsed.tokens)


def _exists(parsed: Parsed, noun) -> bool:
    """Return whether "there is" brings the noun in: its verb agrees with it."""
    return noun.dep in ("attr", "nsubj") and parsed.kid(noun.head, "expl") >= 0


def _leads_on(parsed: Parsed, noun) -> bool:
    """Return whether the words beside it belong to the name of the noun: "fire hydrant", "cup of tea"."""
    after = parsed.tokens[noun.i + 1 : noun.i + 2]
    before = noun.i > noun.left and is_person(singular(parsed.tokens[noun.i - 1].text.lower()))
    return before or leads_on(parsed.tokens, noun) or bool(after) and after[0].text.lower() == "of"


def _pairs(tokens: list, fits) -> list[tuple]:
    return [(a, b) for n, a in enumerate(tokens) for b in tokens[n + 1 :] if fits(a, b)]


def _nouns(parsed: Parsed) -> list[tuple[Span, Span]]:
    def fits(a, b) -> bool:
        if (
            a.tag != b.tag
            or is_mass(a.lemma) != is_mass(b.lemma)
            or _fixed(parsed, a, b)
            or _determiner(parsed, a) != _determiner(parsed, b)
        ):
            return False
        return not any(parsed.kid(n.i, "compound") >= 0 or follows_noun(parsed.tokens, n.i) for n in (a, b))

    return [((a.start, a.end), (b.start, b.end)) for a, b in _pairs(_pick(parsed), fits)]


def _determiner(parsed: Parsed, noun) -> str:
    """Return whether a noun may replace another: both have the same kind of article, or none."""
    first = parsed.tokens[noun.left]
    if first.i == noun.i or first.dep not in ("det", "poss", "nummod"):
        return "none"
    if first.dep == "nummod":
        return "number"
    return "a" if first.text.lower() in ("a", "an") else "the"


def _phrases(parsed: Parsed) -> list[tuple[Span, Span]]:
    tokens = parsed.tokens

    def fits(a, b) -> bool:
        if _fixed(parsed, a, b) or a.i >= b.left:
            return False
        if any(tokens[k].dep == "conj" for n in (a, b) for k in parsed.children[n.i]):
            return False
        agrees = a.dep in _AGREE or b.dep in _AGREE
        # "A man in the background fishes": the parser takes the verb for the noun.
        if any(t.lemma in words.NO_OBJECT for n in (a, b) for t in tokens[n.left : n.i]):
            return False
        many = is_plural(parsed, a.i)
        return many == is_plural(parsed, b.i) and (not agrees or many == _is_plural_verb(parsed, a, b))

    return [(parsed.phrase(a.i), parsed.phrase(b.i)) for a, b in _pairs(_pick(parsed), fits)]


def _is_plural_verb(parsed: Parsed, a, b) -> bool:
    """Return whether the verb whose subject is one of two nouns has the plural: "a large and small giraffe are"."""
    verb = parsed.tokens[a.head if a.dep in _AGREE else b.head]
    finite = [verb, *(parsed.tokens[k] for k in parsed.children[verb.i] if parsed.tokens[k].dep in ("aux", "auxpass"))]
    for token in finite:
        if token.tag in ("VBZ", "VBP") or token.text.lower() in ("was", "were"):
            return token.tag == "VBP" or token.text.lower() == "were"
    return is_plural(parsed, a.i)


def _fixed(parsed: Parsed, a, b) -> bool:
    """Return whether the caption would stay true, or lose its sense, with `a` and `b` exchanged."""
    tokens = parsed.tokens
    if a.lemma == b.lemma or may_corefer(a.lemma, b.lemma):
        return True
    if is_place(a.lemma) and is_place(b.lemma):
        return True
    # "Holding newspapers and holding flags" says the same either way round.
    if a.head != b.head and tokens[a.head].lemma == tokens[b.head].lemma and a.dep == b.dep:
        return True
    # What stands between commas belongs to something else as often as not.
    if any(t.text in (",", ";", ":", "(", '"') for t in tokens[a.i : b.i]):
        return True
    if any(sum(t.lemma == noun.lemma for t in tokens) > 1 for noun in (a, b)):
        return True
    if tokens[b.head].text.lower() == "of" or tokens[a.head].text.lower() == "of":
        return True
    if a.dep == b.dep == "pobj":
        prepositions = {tokens[a.head].text.lower(), tokens[b.head].text.lower()}
        # "Walks in the rain through a puddle" and "in a puddle through the rain" say the same.
        if len(prepositions) == 1 or not any(is_person(n.lemma) or n.lemma in words.ANIMALS for n in (a, b)):
            return True
    # "Cows graze with birds": birds graze with cows too; and a bat hits a ball with a kid.
    if b.dep == "pobj" and tokens[b.head].text.lower() == "with":
        return True
    # A scarf is clothes.
    if any(noun.text == "clothes" for noun in (a, b)) and any(singular(n.text) in words.CLOTHES for n in (a, b)):
        return True
    between = tokens[a.i + 1 : b.left]
    # "A necklace on in the water": two of them belong to different words.
    if any(one.tag in ("IN", "RP") and other.tag == "IN" for one, other in pairwise(between)):
        return True
    links = {t.text.lower() for t in between if t.tag[:2] != "NN"}
    if any(t.tag[:2] == "VB" and t.lemma in _MUTUAL for t in tokens[a.i + 1 : b.left]):
        return True
    verbs = any(t.tag[:2] == "VB" and t.lemma not in words.POSTURES | {"be"} for t in tokens[a.i + 1 : b.left])
    if not verbs and links <= _ABOUT and (is_person(a.lemma) or is_person(b.lemma)):
        return True
    return bool(links & _SYMMETRIC) and not verbs


def _adjectives(parsed: Parsed) -> list[tuple[Span, Span]]:
    tokens = parsed.tokens

    def fits(a, b) -> bool:
        colored = a.text.lower() in words.COLORS or b.text.lower() in words.COLORS
        if colored and (is_person(tokens[a.head].lemma) or is_person(tokens[b.head].lemma)):
            return False
        # "A tan toilet in a small room": the toilet may be small too, and the room tan.
        if _sort_of(a.text.lower()) != _sort_of(b.text.lower()):
            return False
        # "A small red bench by a tall stool" would become a small tall bench.
        if any(tokens[k].dep == "amod" and k not in (a.i, b.i) for n in (a, b) for k in parsed.children[n.head]):
            return False
        return a.head != b.head and a.text.lower() != b.text.lower() and not _same_name(parsed, a.head, b.head)

    found = [
        t
        for t in tokens
        if t.tag == "JJ" and t.dep == "amod" and t.left == t.i == t.right and t.text.isalpha()
        if t.i + 1 == t.head
        # "A long haired dog": the parser takes "haired" for a noun.
        and not tokens[t.head].text.endswith("ed")
        and t.text.lower() not in words.NOT_PREDICATIVE
        and t.text.lower() not in ("dark", "light", "bright")
        and tokens[t.head].lemma not in words.NO_OBJECT
    ]
    return [((a.start, a.end), (b.start, b.end)) for a, b in _pairs(found, fits)]


def _sort_of(adjective: str) -> str:
    """Return what an adjective tells: of two that tell the same of two things, each is true of one alone."""
    if adjective in words.COLORS:
        return "color"
    return "size" if adjective in words.SIZES else adjective


def _same_name(parsed: Parsed, one: int, other: int) -> bool:
    """ "A black dog and a white dog" says the same with the adjectives exchanged, as often as not."""
    tokens = parsed.tokens
    return tokens[one].lemma == tokens[other].lemma and tokens[other].dep == "conj"


def _verbs(parsed: Parsed) -> list[tuple[Span, Span]]:
    tokens = parsed.tokens

    def subject(verb):
        own = parsed.kid(verb.i, "nsubj", "nsubjpass")
        return own if own >= 0 else verb.head

    def prepositions(verb) -> set[str]:
        return {tokens[k].text.lower() for k in parsed.children[verb.i] if tokens[k].dep == "prep"}

    def fits(a, b) -> bool:
        # "Watches" and "looks at" take different words.
        return (
            a.tag == b.tag
            and a.lemma != b.lemma
            and subject(a) != subject(b)
            and "at" not in prepositions(a) ^ prepositions(b)
        )

    found = [
        t
        for t in tokens
        if t.tag in ("VBZ", "VBP", "VBG", "VBD") and t.dep in ("ROOT", "acl", "relcl", "conj", "advcl", "ccomp")
        if t.lemma != "be" and (parsed.kid(t.i, "nsubj", "nsubjpass") >= 0 or t.dep in ("acl", "relcl"))
        if parsed.kid(t.i, "dobj", "prt", "acomp", "xcomp", "ccomp") < 0
    ]
    return [((a.start, a.end), (b.start, b.end)) for a, b in _pairs(found, fits)]
