"""
Stage 1, relation parsing: caption -> subjects, objects and predicate-object pairs (paper, section on CC-Neg).

`parse` goes through the tokens of a caption and asks `objects`, `verbs`, `relations` and `attributes` for its pairs.
"""

from conclip.negation.grammar.attributes import attribute_pair
from conclip.negation.grammar.noun_phrases import COMMON_NOUNS, SUBJECT_DEPS
from conclip.negation.grammar.objects import object_pair
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.relations import relation_pair
from conclip.negation.grammar.tokens import is_plain, read_tokens
from conclip.negation.grammar.verbs import verb_pair

_QUOTES = frozenset({'"', "``", "''", "“", "”"})


def parse(doc) -> Parsed:
    """
    Take a caption apart.

    Args:
        doc: a `spacy.tokens.Doc` with tags, lemmas and dependencies.
    """
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
            pair = attribute_pair(parsed, token) if token.dep == "amod" else verb_pair(parsed, token)
        elif tag in ("IN", "TO"):
            pair = relation_pair(parsed, token)
        elif tag == "JJ":
            pair = attribute_pair(parsed, token) if token.dep == "amod" else None
        elif tag in COMMON_NOUNS or tag in ("NNP", "NNPS"):
            pair = object_pair(parsed, token)
            if token.dep in SUBJECT_DEPS or token.dep == "ROOT":
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
