"""Stage 1, relation parsing: caption -> subjects, objects and predicate-object pairs (paper, section on CC-Neg)."""

from conclip.negation.grammar.parsed import Pair, Parsed
from conclip.negation.grammar.things import leads_on, object_pair
from conclip.negation.grammar.tree import read_tokens
from conclip.negation.lexicon import words
from conclip.negation.lexicon.morphology import is_person

FINITE = frozenset({"VBZ", "VBP", "VBD"})
NOUNS = frozenset({"NN", "NNS"})
_SUBJECTS = ("nsubj", "nsubjpass", "expl")
# Clauses that are not said of the subject here and now ("before diving", "if …").
_MARKS = frozenset("as because if before after until when although though since so that".split())


def parse(doc) -> Parsed:
    """`doc` is a `spacy.tokens.Doc` with tags, lemmas and dependencies."""
    tokens, children = read_tokens(doc)
    pairs: list[Pair] = []
    parsed = Parsed(doc.text, tokens, children, (), pairs)
    found = {"verb": [], "relation": [], "attribute": [], "object": []}
    subjects = []
    for token in tokens:
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
        if pair is not None:
            found[pair.kind].append(pair)
    for kind in found.values():
        pairs.extend(kind)
    return Parsed(parsed.caption, tokens, children, tuple(subjects), pairs)


def object_nouns(parsed: Parsed) -> list[str]:
    """Names of the things the caption names, e.g. `["dog", "tennis ball"]`: singular, lower case, each once.

    Statistics over these, and absent nouns drawn from them, are in the form `GrammarMaker.negate` wants. A noun drawn
    as often as captions name it, over the share of captions of which it is absent (`is_absent`), is denied truly as
    often as it is denied falsely; drawn otherwise, the noun alone tells true from false.
    """
    return list(dict.fromkeys(pair.name for pair in parsed.pairs if pair.kind == "object"))


def is_plural(parsed: Parsed, noun: int) -> bool:
    """Whether a verb agrees with `noun` in the plural."""
    token = parsed.tokens[noun]
    if token.tag in ("NNS", "NNPS") or token.text.lower() in ("people", "they", "we", "you"):
        return True
    return any(parsed.tokens[k].dep == "conj" and parsed.tokens[k].tag[:2] == "NN" for k in parsed.children[noun])


def _verb(parsed: Parsed, verb) -> Pair | None:
    tokens, children = parsed.tokens, parsed.children
    if verb.dep in ("aux", "auxpass", "compound", "pcomp", "xcomp", "csubj", "npadvmod", "pobj", "dobj", "intj"):
        return None
    first, subject, bare_aux = -1, -1, -1
    for k in children[verb.i]:
        kid = tokens[k]
        if kid.dep in _SUBJECTS and k < verb.i:
            subject = k
        elif kid.dep in ("aux", "auxpass"):
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
        elif kid.dep == "neg":
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
    kind = "verb"
    if verb.lemma == "be" and construction == "copula":
        if parsed.kid(verb.i, "acomp", "attr") >= 0:
            kind = "attribute"
        elif parsed.kid(verb.i, "prep") >= 0:
            kind = "relation"
        else:
            return None
    return _pair(parsed, kind, construction, verb.i, token, head)


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
    if subject < 0:
        # A verb without a subject is most often a noun, or a participle, that the tagger mistook.
        if verb.dep == "acl" and verb.tag == "VBD":
            return "participle"
        shares = verb.dep == "conj" and head.tag == verb.tag and verb.lemma != "be"
        return "finite" if shares and verb.tag != "VB" and parsed.kid(head.i, *_SUBJECTS) >= 0 else None
    if tokens[subject].dep == "expl":
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
    if verb.tag == "VBD" and verb.lemma in words.STATIVE and parsed.kid(verb.i, "dobj") < 0:
        return "participle"
    return "finite"


def _participle(parsed: Parsed, verb, subject: int) -> str | None:
    tokens, head = parsed.tokens, parsed.tokens[verb.head]
    if subject >= 0:
        return "participle" if verb.dep in ("ROOT", "ccomp", "acl", "conj", "relcl") else None
    if verb.dep == "acl" and head.tag[:2] == "NN":
        return "participle"
    if verb.dep == "advcl":
        before = tokens[tokens[verb.i].left].text.lower()
        if before == "while" or verb.tag == "VBN":
            return "bare"
        return "adverbial" if verb.tag == "VBG" and verb.i > head.i and verb.left == verb.i else None
    if verb.dep == "conj" and (head.tag == verb.tag or head.tag[:2] == "NN") and verb.i > 0:
        return "conjunct" if tokens[verb.i - 1].dep == "cc" else None
    return None


def _relation(parsed: Parsed, prep) -> Pair | None:
    tokens = parsed.tokens
    word = prep.text.lower()
    noun = parsed.kid(prep.i, "pobj")
    if prep.dep != "prep" or noun < 0 or tokens[noun].tag == "PRP":
        return None
    if prep.i and tokens[prep.i - 1].dep == "pobj" and tokens[prep.i - 1].tag[:2] not in ("NN", "PR"):
        return None
    base = prep
    if tokens[prep.head].text.lower() in ("next", "close", "adjacent") and word == "to":
        base = tokens[prep.head]
    elif word != "with" and (word in words.NO_RELATION or word not in words.PLACE):
        return None
    governor = tokens[base.head]
    if governor.i > base.i or governor.i == base.i:
        return None
    if governor.tag[:2] == "NN":
        if governor.lemma in words.NO_OBJECT and governor.lemma not in words.COLLECTIVES | {"hair", "gear"}:
            return None
        construction = "with" if word == "with" else "noun-prep"
    elif governor.tag[:2] == "VB" and governor.lemma != "be":
        if governor.tag == "VBN" and (word == "with" or governor.lemma in ("dress", "cover", "fill", "seat")):
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
    tokens = parsed.tokens
    noun = tokens[adjective.head]
    low = adjective.text.lower()
    if noun.tag not in NOUNS or noun.i < adjective.i or low in words.NOT_PREDICATIVE or not low.isalpha():
        return None
    if noun.lemma in words.NO_OBJECT and noun.lemma != "hair" or (low, noun.lemma) in words.FIXED_NAMES:
        return None
    if adjective.left and tokens[adjective.left - 1].dep in ("punct", "cc", "case"):
        return None
    if tokens[adjective.right + 1].dep in ("punct", "cc") or tokens[adjective.right + 1].tag == "POS":
        return None
    if any(tokens[k].dep in ("poss", "appos") for k in parsed.children[noun.i] if k > adjective.i):
        return None
    if leads_on(tokens, noun):
        return None
    if tokens[adjective.right].tag not in ("JJ", "VBN", "VBG", "VBD") or tokens[adjective.left - 1].tag == "HYPH":
        return None
    if low in words.COLORS and is_person(noun.lemma):
        return None
    span = parsed.subtree(adjective.i)
    if span[1] > noun.start or not all(t.text[0].isalpha() or t.text == "-" for t in tokens[adjective.left : noun.i]):
        return None
    return Pair("attribute", "adjective", parsed.phrase(noun.i), span, None, (), span, adjective.i, noun.i)
