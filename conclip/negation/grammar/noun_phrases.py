"""Questions about a noun of a parsed caption and its phrase: is it a thing, is it plural, what belongs to it?"""

from conclip.negation.grammar.pairs import Parsed
from conclip.negation.grammar.tokens import Token
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import is_mass, plural, singular
from conclip.negation.lexicon.nouns import is_visible

COMMON_NOUNS = frozenset({"NN", "NNS"})
# Labels that spaCy gives to a subject.
SUBJECT_DEPS = ("nsubj", "nsubjpass", "expl")
# Labels of a noun that heads a phrase of its own; with others, it is a part of a name or a description.
PHRASE_DEPS = frozenset({"ROOT", "nsubj", "nsubjpass", "dobj", "pobj", "conj", "attr", "dative", "appos", "oprd"})


def is_thing(noun: Token) -> bool:
    """Return whether a noun, a pronoun or a collective ("group") names what one can see."""
    low = noun.text.lower()
    if noun.tag[:2] != "NN" or low in words.INDEFINITE_PRONOUNS:
        return low in words.PRONOUNS
    head = singular(low) if noun.tag[-1] == "S" else low
    return is_visible(head) or head in words.COLLECTIVES


def is_plural(parsed: Parsed, noun: int) -> bool:
    """Return whether a verb agrees with `noun` in the plural."""
    token = parsed.tokens[noun]
    # "A sheep" may be tagged as a plural.
    if any(parsed.tokens[k].text.lower() in ("a", "an", "one") and k < noun for k in parsed.children[noun]):
        return False
    if token.tag in ("NNS", "NNPS") or token.text.lower() in ("people", "they", "we", "you"):
        return True
    if is_counted(parsed, noun):
        return True
    return any(parsed.tokens[k].dep == "conj" and parsed.tokens[k].tag[:2] == "NN" for k in parsed.children[noun])


def is_counted(parsed: Parsed, noun: int) -> bool:
    """Return whether a number greater than one is before the noun."""
    kids = (parsed.tokens[k] for k in parsed.children[noun])
    return any(kid.dep == "nummod" and kid.text.lower() in words.COUNTING for kid in kids)


def is_miscounted(parsed: Parsed, noun: Token) -> bool:
    """Return whether a number does not fit: "two adult (pheasants)", where the noun is the next word."""
    if noun.tag not in ("NN", "NNP") or not is_counted(parsed, noun.i):
        return False
    return is_mass(noun.lemma) or plural(noun.text.lower()) != noun.text.lower()


def first_noun(tokens: list[Token]) -> int:
    """Return the index of the noun that a caption begins with: what it is about; -1 if it begins otherwise."""
    for token in tokens:
        if token.tag[:2] == "NN":
            after = tokens[token.i + 1 : token.i + 2]
            if not (after and after[0].tag[:2] == "NN"):
                return token.i
        elif token.tag not in ("DT", "CD", "JJ", "JJR", "JJS", "PRP$", "CC", "VBG", "VBN", "PDT", "HYPH", "RB"):
            return -1
    return -1


def leads_on(tokens: list[Token], noun: Token) -> bool:
    """Return whether the next word belongs to the noun's name, or makes it part of a description."""
    if noun.i + 1 >= len(tokens):
        return False
    after = tokens[noun.i + 1]
    # "A chocolate frosted donut": the parser takes "frosted" for a verb.
    if after.text.endswith("ed") and noun.i + 2 < len(tokens) and tokens[noun.i + 2].tag[:2] == "NN":
        return True
    return (
        after.text.lower() in words.DESCRIBING
        or after.tag[:2] == "NN"
        or after.text == "-"
        and after.start == noun.end
    )


def is_simple(parsed: Parsed, noun: int, *deps: str) -> bool:
    """Return whether nothing behind a noun belongs to it but "of" and a noun, and what has one of these labels."""
    tokens = parsed.tokens
    return all(
        k < noun or tokens[k].dep in ("punct", *deps) or tokens[k].text == "of" and is_simple(parsed, k, "pobj")
        for k in parsed.children[noun]
    )
