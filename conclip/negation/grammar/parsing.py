"""Stage 1, relation parsing: caption -> subjects, objects and predicate-object pairs (paper, section on CC-Neg)."""

from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.tokens import may_be_verb, read_tokens
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import PLURAL_ONLY, is_mass, is_person, plural, singular
from conclip.negation.lexicon.names import may_corefer
from conclip.negation.lexicon.nouns import is_known, is_visible

_QUOTES = frozenset({'"', "``", "''", "“", "”"})
# With these, or more than two commas, a caption speaks of several things in turn, or of parts of what it named.
_TELLING_APART = frozenset(
    "one ones another other others third second each both either neither rest remaining same different".split()
)
_DIVIDING = frozenset({";", ":", '"', "``", "''", "“", "”", "(", ")", "-", "--", "–", "/", "-LRB-", "-RRB-"})

_OBJECT_DEPS = frozenset({"ROOT", "nsubj", "nsubjpass", "dobj", "pobj", "conj", "attr", "dative", "appos", "oprd"})


def leads_on(tokens: list, noun) -> bool:
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


def follows_noun(tokens: list, first: int) -> bool:
    """Return whether a noun stands directly before token `first`: one of the two may be a verb ("girls ladle")."""
    return first > 0 and tokens[first - 1].tag in ("NN", "NNS") and tokens[first].start == tokens[first - 1].end + 1


def is_miscounted(parsed, noun) -> bool:
    """Return whether a number does not fit: "two adult (pheasants)", where the noun is the next word."""
    if noun.tag not in ("NN", "NNP") or not is_counted(parsed, noun.i):
        return False
    return is_mass(noun.lemma) or plural(noun.text.lower()) != noun.text.lower()


def is_counted(parsed, noun: int) -> bool:
    """Return whether a number greater than one is before the noun."""
    kids = (parsed.tokens[k] for k in parsed.children[noun])
    return any(kid.dep == "nummod" and kid.text.lower() in words.COUNTING for kid in kids)


def shares_noun(tokens: list, noun) -> bool:
    """Return whether a word may belong to a later noun: "an adult and two baby elephants"."""
    return noun.text.lower() in words.ALSO_DESCRIBING and any(
        token.dep == "cc" and token.head == noun.i for token in tokens[noun.i + 1 : noun.i + 2]
    )


def is_thing(noun) -> bool:
    """Return whether a noun, a pronoun or a collective ("group") names what one can see."""
    low = noun.text.lower()
    if noun.tag[:2] != "NN" or low in words.INDEFINITE_PRONOUNS:
        return low in words.PRONOUNS
    head = singular(low) if noun.tag[-1] == "S" else low
    return is_visible(head) or head in words.COLLECTIVES


def is_plain(tokens: list) -> bool:
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


def is_last(tokens: list, token: int) -> bool:
    """Return whether only marks and spaces follow."""
    return all(t.dep == "punct" or t.tag in ("_SP", ".", ",") for t in tokens[token + 1 :])


def is_simple(parsed, noun: int, *deps: str) -> bool:
    """Return whether nothing behind a noun belongs to it but "of" and a noun, and what has one of these labels."""
    tokens = parsed.tokens
    return all(
        k < noun or tokens[k].dep in ("punct", *deps) or tokens[k].text == "of" and is_simple(parsed, k, "pobj")
        for k in parsed.children[noun]
    )


def first_noun(tokens: list) -> int:
    """Return the index of the noun that a caption begins with: what it is about; -1 if it begins otherwise."""
    for token in tokens:
        if token.tag[:2] == "NN":
            after = tokens[token.i + 1 : token.i + 2]
            if not (after and after[0].tag[:2] == "NN"):
                return token.i
        elif token.tag not in ("DT", "CD", "JJ", "JJR", "JJS", "PRP$", "CC", "VBG", "VBN", "PDT", "HYPH", "RB"):
            return -1
    return -1


def object_pair(parsed: Parsed, noun) -> Pair | None:
    """
    Return the thing that token `noun` names, as a pair that may be negated; None if there is none.

    The name has to be one that captions often use by itself (`is_known`), and one word behind an article, a number or
    a possessive, unless it names a substance, or the person or animal that the caption begins with.
    """
    tokens = parsed.tokens
    low = noun.text.lower()
    if noun.dep not in _OBJECT_DEPS or noun.tag[:3] == "NNP" and not noun.text.islower() or low in words.PRONOUNS:
        return None
    if leads_on(tokens, noun) or shares_noun(tokens, noun) or is_miscounted(parsed, noun) or _unseen(parsed, noun):
        return None
    name = head = singular(low) if noun.tag[-1] == "S" else low
    before = tokens[noun.left : noun.i]
    if before and may_corefer(before[-1].text.lower(), head):
        # "A greyhound dog".
        before.pop()
    elif before and before[-1].tag[:2] == "NN" and is_person(head) and before[-1].text.lower() not in words.UNREAL:
        # "A mountain climber", "a shirtless man"; "football player" is a name of its own.
        kind = before.pop().text.lower()
        name = f"{kind} {head}" if is_known(f"{kind} {head}") else head
    elif before and before[-1].tag[:2] == "NN" and before[-1].text.lower() not in words.COLORS:
        name = f"{before.pop().text.lower()} {head}"
    elif before and f"{before[-1].text.lower()} {head}" in ("swimming pool", "living room", "shopping cart"):
        name = f"{before.pop().text.lower()} {head}"
    # "A couple of signs" shows no couple.
    after = tokens[noun.i + 1].text.lower() if noun.i + 1 < len(tokens) else ""
    if not is_known(name) or follows_noun(tokens, noun.left) or after == "of" and head in words.NOT_WITH_OF:
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


def _unseen(parsed: Parsed, noun) -> bool:
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


FINITE = frozenset({"VBZ", "VBP", "VBD"})
NOUNS = frozenset({"NN", "NNS"})
_SUBJECTS = ("nsubj", "nsubjpass", "expl")
# Clauses that do not describe the subject here and now ("before diving", "if …").
_MARKS = frozenset("as because if before after until when although though since so that".split())


def parse(doc) -> Parsed:
    """`doc` is a `spacy.tokens.Doc` with tags, lemmas and dependencies."""
    tokens, children = read_tokens(doc)
    pairs: list[Pair] = []
    parsed = Parsed(doc.text, tokens, children, (), pairs)
    found = {"verb": [], "relation": [], "attribute": [], "object": []}
    subjects = []
    quoted, plain = False, is_plain(tokens)
    for token in tokens:
        # A tie that says "Big Fish" shows none.
        quoted ^= token.text in _QUOTES
        if quoted:
            continue
        tag = token.tag
        pair = None
        if tag[:2] == "VB":
            pair = _attribute(parsed, token) if token.dep == "amod" else _verb(parsed, token)
        elif tag in ("IN", "TO"):
            pair = _relation(parsed, token)
        elif tag == "JJ":
            pair = _attribute(parsed, token) if token.dep == "amod" else None
        elif tag in NOUNS or tag in ("NNP", "NNPS"):
            pair = object_pair(parsed, token)
            if token.dep in _SUBJECTS or token.dep == "ROOT":
                subjects.append(parsed.phrase(token.i))
        if pair is not None and (plain or pair.kind == "object"):
            found[pair.kind].append(pair)
    for kind in found.values():
        pairs.extend(kind)
    return Parsed(parsed.caption, tokens, children, tuple(subjects), pairs)


def object_nouns(parsed: Parsed) -> list[str]:
    """Return the names of the things in the caption, e.g. `["dog", "tennis ball"]`: singular, lower case, each once.

    Absent nouns are counted over these and sampled from them (`lexicon.absent`), in the form that
    `GrammarGenerator.negate` takes.
    """
    return list(dict.fromkeys(pair.name for pair in parsed.pairs if pair.kind == "object"))


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


def _verb(parsed: Parsed, verb) -> Pair | None:
    tokens, children = parsed.tokens, parsed.children
    if verb.dep == "relcl" and _lacks_pronoun(parsed, verb):
        return None
    if verb.dep in ("aux", "auxpass", "compound", "pcomp", "xcomp", "csubj", "npadvmod", "pobj", "dobj", "intj"):
        return None
    first, subject, bare_aux = -1, -1, -1
    for k in children[verb.i]:
        kid = tokens[k]
        if kid.dep in _SUBJECTS and k < verb.i:
            subject = k
        elif kid.dep in ("aux", "auxpass"):
            # Nobody can tell whether "they could not be nearby" is false.
            if kid.text.lower() in ("may", "might", "could", "would", "should", "must"):
                return None
            if kid.tag in FINITE or kid.tag == "MD":
                first = k if first < 0 else first
            elif kid.tag == "VBG":
                bare_aux = k
            elif first < 0:
                return None
        elif kid.dep == "advmod" and kid.text.lower() in words.SCOPE_ADVERBS:
            return None
        elif kid.dep in ("mark", "advmod") and verb.dep == "advcl" and kid.text.lower() in _MARKS:
            return None
        # "Not smiling but laughing" says that they do more than smile.
        elif kid.dep == "neg" or kid.dep == "conj" and k > verb.i:
            return None
    if first >= 0:
        if subject < 0 and verb.dep not in ("conj", "relcl"):
            return None
        construction, token = "auxiliary", first
    elif verb.tag in FINITE or verb.tag == "VB":
        construction, token = _finite(parsed, verb, subject), verb.i
    else:
        construction, token = _participle(parsed, verb, subject), bare_aux if bare_aux >= 0 else verb.i
    if construction is None:
        return None
    head = subject if subject >= 0 else verb.head if verb.head != verb.i else -1
    # Whom a participle describes is sure of what the caption begins with.
    if construction == "participle" and head != first_noun(tokens):
        return None
    if (
        head >= 0
        and tokens[head].tag[:2] == "NN"
        and (not is_thing(tokens[head]) or is_miscounted(parsed, tokens[head]))
    ):
        return None
    kind = "verb"
    if verb.lemma == "be" and construction == "copula":
        if parsed.kid(verb.i, "acomp", "attr") >= 0:
            kind = "attribute"
        elif parsed.kid(verb.i, "prep") >= 0:
            kind = "relation"
        else:
            return None
    return _pair(parsed, kind, construction, verb.i, token, head)


def _lacks_pronoun(parsed: Parsed, verb) -> bool:
    """Return whether a relative clause has a subject of its own and no "that": "(the exercise) it provides"."""
    subject = parsed.kid(verb.i, *_SUBJECTS)
    return subject >= 0 and parsed.tokens[subject].tag not in ("WDT", "WP") and subject == verb.left


def _pair(parsed: Parsed, kind: str, construction: str, verb: int, token: int, head: int) -> Pair:
    tokens = parsed.tokens
    obj = parsed.kid(verb, "dobj", "attr", "acomp")
    modifiers = tuple(
        parsed.subtree(k) for k in parsed.children[verb] if tokens[k].dep in ("prep", "advmod", "prt", "agent")
    )
    span = (tokens[min(token, verb)].start, tokens[verb].end)
    subject = parsed.phrase(head) if head >= 0 and tokens[head].tag[:2] != "VB" else None
    return Pair(
        kind, construction, subject, span, parsed.subtree(obj) if obj >= 0 else None, modifiers, span, token, head
    )


def _finite(parsed: Parsed, verb, subject: int) -> str | None:
    tokens = parsed.tokens
    head = tokens[verb.head]
    if subject >= 0 and tokens[subject].tag == "JJ":
        # "Large made up bed": no adjective does something.
        return None
    if subject < 0:
        # A verb without a subject is most often a noun, or a participle, that the tagger mistook.
        if verb.dep == "acl" and verb.tag == "VBD":
            return "participle"
        # "(An elephant walks past) rocks boulders": nothing joins a verb here.
        before = tokens[tokens[verb.i].left - 1]
        joined = before.dep in ("cc", "punct") or before.tag[:2] == "RB"
        shares = verb.dep == "conj" and joined and head.tag == verb.tag and verb.lemma != "be"
        return "finite" if shares and verb.tag != "VB" and parsed.kid(head.i, *_SUBJECTS) >= 0 else None
    # "(Faces to help) people know what to do": a verb below another one need not be finite.
    if tokens[subject].dep == "expl" or verb.dep == "ccomp":
        return None
    if tokens[subject].tag[:2] == "NN":
        several = is_plural(parsed, subject)
        collective = tokens[subject].lemma in words.COLLECTIVES
        if verb.tag == "VBZ" and several and tokens[subject].tag == "NNS":
            return None
        if verb.tag in ("VBP", "VB") and not several and not collective:
            return None
    if verb.lemma == "be":
        return "copula"
    # "(A giraffe walks towards) a group trees", "(a boy in) black waves": a word that is used as a noun too is a verb
    # only between its subject and what belongs to a verb.
    after = tokens[verb.i + 1 : verb.i + 2]
    if is_visible(singular(verb.text.lower())) and (
        verb.i - 1 != subject or not after or after[0].tag not in ("DT", "PRP$", "IN", "RP", "TO", "RB")
    ):
        return None
    # "(A bedroom done in) animal prints": only the commonest verbs are sure behind another noun.
    before = tokens[verb.i - 1]
    if verb.tag == "VBZ" and before.tag[:2] == "NN" and before.i != subject and not may_be_verb(verb):
        return None
    if verb.tag == "VBD" and parsed.kid(verb.i, "dobj") < 0:
        if verb.lemma in words.STATIVE:
            return None if _describes_another(parsed, verb, tokens[subject]) else "participle"
        # "(People) packed into a boat": as often as not a participle.
        if verb.text.endswith("ed"):
            return None
    return "finite"


def _describes_another(parsed: Parsed, verb, noun) -> bool:
    """Return whether a participle may describe the word before it: "a room with walls painted beige"."""
    before = parsed.tokens[verb.i - 1]
    return before.tag == "NNS" and not is_plural(parsed, noun.i) and noun.lemma not in words.COLLECTIVES


def _participle(parsed: Parsed, verb, subject: int) -> str | None:
    tokens, head = parsed.tokens, parsed.tokens[verb.head]
    # Dogs that bound are not bound.
    if verb.text.lower() == "bound":
        return None
    # "Two dogs run": the tagger takes it for the participle.
    if verb.tag == "VBN" and verb.text.lower() == verb.lemma and parsed.kid(verb.i, "auxpass", "aux") < 0:
        return None
    if _describes_another(parsed, verb, tokens[subject] if subject >= 0 else head):
        return None
    # "A horse drawn carriage".
    after = tokens[verb.i + 1 : verb.i + 2]
    if verb.tag != "VBG" and (not after or after[0].tag not in ("IN", "TO", "RP")):
        return None
    if subject >= 0:
        return "participle" if verb.dep in ("ROOT", "ccomp", "acl", "conj", "relcl") else None
    beside = verb.tag == "VBG" or verb.i == head.i + 1
    return "participle" if verb.dep == "acl" and head.tag[:2] == "NN" and beside else None


def _relation(parsed: Parsed, prep) -> Pair | None:
    tokens = parsed.tokens
    word = prep.text.lower()
    noun = parsed.kid(prep.i, "pobj")
    if prep.dep != "prep" or noun < 0 or tokens[noun].tag == "PRP":
        return None
    if prep.i and tokens[prep.i - 1].dep == "pobj" and tokens[prep.i - 1].tag[:2] not in ("NN", "PR"):
        return None
    # "(A girl posing with a crowd) in the background": of the two, the parse does not tell which.
    if tokens[noun].lemma in ("background", "foreground", "distance"):
        return None
    base = prep
    if tokens[prep.head].text.lower() in ("next", "close", "adjacent") and word == "to":
        base = tokens[prep.head]
    elif word != "with" and (word in words.NO_RELATION or word not in words.PLACE):
        return None
    # "(A puppy playfully) nips at a dog": a verb.
    if base.i > 1 and tokens[base.i - 1].tag[:2] == "NN" and tokens[base.i - 2].tag == "RB":
        return None
    governor = tokens[base.head]
    if governor.i > base.i or governor.i == base.i or tokens[base.left].text.lower() in ("all", "both", "only"):
        return None
    if tokens[noun].tag[:2] == "NN" and not is_thing(tokens[noun]):
        # "On top" and "in front" without "of" is no place; nor is a word that names nothing.
        if tokens[noun].lemma not in words.NO_OBJECT or not parsed.children[noun]:
            return None
    # Only the phrase directly behind what it belongs to is sure to belong to it.
    if base.left != governor.i + 1 or not is_simple(parsed, noun, *(("cc", "conj") if word == "with" else ())):
        return None
    if governor.tag[:2] == "NN":
        if governor.i != first_noun(tokens):
            return None
        if governor.lemma in words.NO_OBJECT and governor.lemma not in words.COLLECTIVES | {"hair", "gear"}:
            return None
        if not is_thing(governor) and not governor.text.endswith("ing"):
            return None
        construction = "with" if word == "with" else "noun-prep"
    elif governor.tag[:2] == "VB" and governor.lemma != "be":
        # "(A board) goes, but not over a ramp", "a TV sitting, but not on a bench": the place belongs to what is said.
        subject = parsed.kid(governor.i, "nsubj") if governor.dep != "acl" else governor.head
        alive = subject >= 0 and (is_person(tokens[subject].lemma) or tokens[subject].lemma in words.ANIMALS)
        if not is_last(tokens, base.right) or governor.lemma not in words.FREE_VERBS:
            return None
        if word != "with" and governor.lemma in words.POSTURES and not alive:
            return None
        if governor.tag == "VBN" and (word == "with" or governor.lemma in ("dress", "cover", "fill", "seat")):
            return None
        # "(A sign mounted), but not on a pole" breaks off; one does not make one's way without saying where.
        is_bare = governor.tag == "VBN" or governor.tag == "VBD" and governor.lemma in words.STATIVE
        if is_bare and parsed.kid(governor.i, "auxpass") < 0:
            return None
        if any(tokens[k].dep == "dobj" and tokens[k].lemma == "way" for k in parsed.children[governor.i]):
            return None
        # One has one's hand somewhere.
        if governor.lemma == "have" and word != "with":
            return None
        construction = "with" if word == "with" else "verb-prep"
    else:
        return None
    predicate = (tokens[base.left].start if base is not prep else base.start, prep.end)
    head = governor.i
    return Pair(
        "relation",
        construction,
        parsed.phrase(head) if construction != "verb-prep" and governor.tag[:2] == "NN" else None,
        predicate,
        parsed.subtree(noun),
        (),
        parsed.subtree(base.i),
        base.i,
        head,
    )


def _attribute(parsed: Parsed, adjective) -> Pair | None:
    """Return an adjective of `words.LOOKS`, or two colours, alone between a determiner and a known noun."""
    tokens = parsed.tokens
    noun = tokens[adjective.head]
    first, last = adjective.left, adjective.right
    named = [token.text.lower() for token in tokens[first : last + 1]]
    if noun.tag not in NOUNS or last + 1 != noun.i or noun.dep not in _OBJECT_DEPS:
        return None
    if not set(named) <= words.LOOKS and not (len(named) == 3 and set(named) <= words.COLORS | {"and"}):
        return None
    if (named[0], noun.lemma) in words.FIXED_NAMES or not (is_known(noun.lemma) or noun.lemma == "hair"):
        return None
    before = tokens[noun.left : first]
    if not all(token.dep in ("det", "poss", "nummod") or token.text.lower() in words.LOOKS for token in before):
        return None
    # "(A boy in) black waves": bare, it is the noun of a phrase only where it cannot be a verb.
    if noun.tag == "NNS" and before and before[0].text.lower() in ("a", "an", "this"):
        return None
    determined = bool(before) and before[0].dep in ("det", "poss", "nummod") or noun.left == 0
    if not determined and (noun.tag != "NNS" or may_be_verb(noun)):
        return None
    if tokens[max(0, noun.left - 1)].dep == "cc" or leads_on(tokens, noun):
        return None
    person = is_person(noun.lemma)
    # "A child who is not young" contradicts itself.
    if person and (
        words.COLORS & set(named) or named[0] == "young" and noun.lemma in words.CHILDREN | {"boy", "girl"}
    ):
        return None
    after = tokens[noun.i + 1 : noun.i + 2]
    own = [k for k in parsed.children[noun.i] if k > noun.i and tokens[k].dep != "punct"]
    # What follows the noun would be parted from it: "(a motorcycle) on display", "(a dog) 's tail".
    if own and (
        own != [noun.i + 1] or not (after[0].tag == "VBG" and after[0].dep == "acl" or _is_place(parsed, after[0]))
    ):
        return None
    if after and not own and after[0].tag not in ("IN", "TO", "VBZ", "VBP", "VBD", "VBG", ".", ",", "_SP"):
        return None
    span = parsed.subtree(adjective.i)
    return Pair("attribute", "adjective", parsed.phrase(noun.i), span, None, (), span, adjective.i, noun.i)


def _is_place(parsed: Parsed, preposition) -> bool:
    """Return whether a preposition of place has a noun with its article: "on a chair", and not "on display"."""
    noun = parsed.kid(preposition.i, "pobj")
    return preposition.text in words.PLACE | {"with"} and noun >= 0 and parsed.kid(noun, "det", "poss") >= 0
