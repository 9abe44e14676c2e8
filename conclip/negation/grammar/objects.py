"""Objects: the things that a caption shows, which a negation may deny ("no dog")."""

from conclip.negation.grammar.noun_phrases import PHRASE_DEPS, is_miscounted, leads_on
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.tokens import Token
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import PLURAL_ONLY, is_mass, is_person, singular
from conclip.negation.lexicon.names import may_corefer
from conclip.negation.lexicon.nouns import is_known

# Names whose first word the parser takes for an adjective or a verb.
_NAMES_OF_TWO = frozenset({"swimming pool", "living room", "shopping cart"})


def object_pair(parsed: Parsed, noun: Token) -> Pair | None:
    """
    Return the thing that token `noun` names, as a pair that may be negated; None if there is none.

    The name has to be one that captions often use by itself (`is_known`), and one word behind an article, a number or
    a possessive, unless it names a substance, or the person or animal that the caption begins with.
    """
    tokens = parsed.tokens
    low = noun.text.lower()
    if noun.dep not in PHRASE_DEPS or noun.tag[:3] == "NNP" and not noun.text.islower() or low in words.PRONOUNS:
        return None
    if leads_on(tokens, noun) or _shares_noun(tokens, noun) or is_miscounted(parsed, noun) or _unseen(parsed, noun):
        return None
    head = singular(low) if noun.tag[-1] == "S" else low
    name, before = _read_name(head, tokens[noun.left : noun.i])
    # "A couple of signs" shows no couple.
    after = tokens[noun.i + 1].text.lower() if noun.i + 1 < len(tokens) else ""
    if not is_known(name) or _follows_noun(tokens, noun.left) or after == "of" and head in words.NOT_WITH_OF:
        return None
    for token in before:
        word = token.text.lower()
        # "Upside down kicking snow", "a carrots broccoli": a verb, or another thing.
        if word.endswith("ing") and word not in words.LOOKS or token.tag[:2] == "NN" and word not in words.COLORS:
            return None
        if word in words.UNREAL | words.SECOND_HALVES | {"no", "or"} or (word, head) in words.FIXED_NAMES:
            return None
        if word in ("a", "an") and (noun.tag == "NNS" and low not in PLURAL_ONLY or is_mass(head)):
            return None
    bare = not any(tokens[k].dep in ("det", "poss", "nummod") for k in parsed.children[noun.i])
    begins = noun.left == 0 and (is_person(head) or head in words.ANIMALS)
    if bare and noun.tag in ("NN", "NNP") and not is_mass(head) and not begins:
        return None
    # Players "on different teams" show no team.
    if head == "team":
        return None
    # "A banjo or guitar": one of the two.
    if any(tokens[k].text.lower() == "or" for n in (noun, tokens[noun.head]) for k in parsed.children[n.i]):
        return None
    # A slice of pizza is no whole one.
    if tokens[noun.head].text.lower() == "of" and tokens[tokens[noun.head].head].lemma.lower() in words.PARTS:
        return None
    # "Wearing a cat" is a slip of "hat".
    if (is_person(head) or head in words.ANIMALS) and noun.dep == "dobj" and tokens[noun.head].lemma == "wear":
        return None
    start = noun.i - name.count(" ")
    return Pair(
        "object",
        "noun",
        parsed.phrase(noun.i),
        None,
        None,
        (),
        (tokens[start].start, noun.end),
        noun.i,
        noun.head,
        name,
    )


def _read_name(head: str, before: list[Token]) -> tuple[str, list[Token]]:
    """Return the name of a thing, one word or two, and the words before it that say more about it."""
    if not before:
        return head, before
    word, is_noun = before[-1].text.lower(), before[-1].tag[:2] == "NN"
    two = f"{word} {head}"
    if may_corefer(word, head):
        # "A greyhound dog".
        return head, before[:-1]
    if is_noun and is_person(head) and word not in words.UNREAL:
        # "A mountain climber", "a shirtless man"; "football player" is a name of its own.
        return two if is_known(two) else head, before[:-1]
    if is_noun and word not in words.COLORS or two in _NAMES_OF_TWO:
        return two, before[:-1]
    return head, before


def _follows_noun(tokens: list[Token], first: int) -> bool:
    """Return whether a noun stands directly before token `first`: one of the two may be a verb ("girls ladle")."""
    return first > 0 and tokens[first - 1].tag in ("NN", "NNS") and tokens[first].start == tokens[first - 1].end + 1


def _shares_noun(tokens: list[Token], noun: Token) -> bool:
    """Return whether a word may belong to a later noun: "an adult and two baby elephants"."""
    return noun.text.lower() in words.ALSO_DESCRIBING and any(
        token.dep == "cc" and token.head == noun.i for token in tokens[noun.i + 1 : noun.i + 2]
    )


def _unseen(parsed: Parsed, noun: Token) -> bool:
    """Return whether the caption does not say that the thing is there: "looking for food", "a statue of a man"."""
    tokens = parsed.tokens
    # "Their kite is out of the picture".
    if noun.dep == "nsubj" and any(tokens[k].text.lower() == "out" for k in parsed.children[noun.head]):
        return True
    while noun.head != noun.i:
        head = tokens[noun.head]
        if noun.dep == "pobj":
            if head.text.lower() in words.UNSEEN_PREPOSITIONS:
                return True
            # "A player from the opposing team" is one player.
            if head.text.lower() == "from" and noun.lemma in words.COLLECTIVES:
                return True
            # "Students return to their schools" shows no school yet.
            if head.text.lower() == "to" and tokens[head.head].tag[:2] == "VB":
                return True
            if head.text.lower() == "of" and tokens[head.head].lemma in words.PICTURES:
                return tokens[head.head].dep != "ROOT" or tokens[head.head].lemma in ("statue", "sculpture", "toy")
        if noun.dep == "dobj" and head.lemma in words.UNSEEN_VERBS:
            return True
        # "Trying to catch a ball", "appears to be looking at an insect".
        if noun.tag in ("VB", "VBG") and any(tokens[k].tag == "TO" for k in parsed.children[noun.i]):
            return True
        noun = head
    return False
