"""False captions with the query that they ask: captions in which a verb, an attribute or a relation is negated."""

import re
from collections.abc import Sequence

from conclip.negation.grammar.generator import GrammarGenerator
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.parsing import parse
from conclip.negation.grammar.text import apply, fit_articles, fit_case, split_end, tidy
from conclip.negation.lexicon.query_words import is_verb
from conclip.negation.query import Query
from conclip.negation.rows import Negation, Span

STRATEGIES = ("verb", "attribute", "relation")
_BATCH = 512
_ARTICLE = re.compile(r"^(?:an?|the|some|his|her|its|their) ", re.I)
# What a text cannot end in, or what is left of it has lost its verb.
_DANGLING = re.compile(
    r"(?i)\b(?:and|or|but|while|as|of|with|who|that|which|is|are|to|in|on|at|for|there|his|her)\W*$"
)
_AND = re.compile(r"\band (\w+s)\b")
_WORD, _BRACKET = re.compile("[A-Za-z]"), re.compile("[()]")
# Nothing hangs on these that belongs to what a verb says.
_NOT_SAID = ("cc", "conj", "advcl", "ccomp", "parataxis", "punct")


def false_captions(captions: Sequence[str], seed: int) -> list[tuple[str, Query]]:
    """
    Return false negations of captions, each with what of the caption remains and what is denied.

    Captions of which the grammar can negate nothing, or of which nothing sensible remains, give none.

    Args:
        captions: affirmative captions.
        seed: of what is negated, and how.

    Raises:
        UsageError: spaCy or its model is not installed.
    """
    generators = [GrammarGenerator(seed, strategy, ("false",), batch_size=_BATCH) for strategy in STRATEGIES]
    made = []
    for number, doc in enumerate(generators[0].nlp.pipe(captions, batch_size=_BATCH)):
        parsed = parse(doc)
        # Another order for each caption, so that each strategy comes first as often as the others.
        for turn in range(len(STRATEGIES)):
            generator = generators[(number + turn) % len(STRATEGIES)]
            negation = generator.negate_parsed(parsed, number).negations.get("false")
            query = split(parsed, negation) if negation and negation.kind == generator.strategy else None
            if query:
                made.append((negation.text, query))
                break
    return made


def split(parsed: Parsed, negation: Negation) -> Query | None:
    """
    Return what remains of a caption whose verb, attribute or relation is negated, and what is denied.

        "a dog is not running on a beach" -> Query("a dog", ("running on a beach",))
        "a dog chases a ball that is not red" -> Query("a dog chases a ball", ("red ball",))

    Returns None if the parse does not tell, or if nothing sensible remains.
    """
    if negation.rule == "no-subject":
        return None
    for pair in parsed.pairs:
        if (pair.kind, pair.span) == (negation.kind, negation.span) and pair.construction != "noun":
            return _query(parsed, pair)
    return None


def _query(parsed: Parsed, pair: Pair) -> Query | None:
    found = _attribute(parsed, pair) if pair.construction == "adjective" else _phrase(parsed, pair)
    if not found:
        return None
    (start, stop), unwanted = found
    caption = parsed.caption
    rest = tidy(split_end(apply(caption, [(start, stop, " ")]))[0])
    wanted = fit_case(fit_articles(rest, caption), caption)
    joined = next((token.dep == "cc" for token in parsed.tokens if token.start >= stop), False)
    if not _WORD.search(wanted) or not unwanted or _DANGLING.search(wanted) or joined or _BRACKET.search(wanted):
        return None
    return Query(wanted, (unwanted,))


def _attribute(parsed: Parsed, pair: Pair) -> tuple[Span, str]:
    adjective = parsed.text(pair.span)
    return pair.span, f"{adjective[0].lower()}{adjective[1:]} {parsed.tokens[pair.head].text}"


def _phrase(parsed: Parsed, pair: Pair) -> tuple[Span, str] | None:
    """Return the characters of a verb or preposition with all that belongs to it, and how they read when denied."""
    tokens = parsed.tokens
    if pair.construction in ("noun-prep", "verb-prep"):
        return parsed.subtree(pair.token), parsed.text(parsed.subtree(pair.token))
    if pair.construction == "with":
        noun = parsed.kid(pair.token, "pobj")
        return parsed.subtree(pair.token), _ARTICLE.sub("", parsed.text(parsed.subtree(noun)))
    token = tokens[pair.token]
    is_auxiliary = token.dep in ("aux", "auxpass")
    verb = tokens[token.head] if is_auxiliary else token
    after = [tokens[k] for k in parsed.children[verb.i] if k > verb.i and tokens[k].dep in _NOT_SAID]
    if any(kid.dep == "conj" for kid in after):
        return None
    last = tokens[min([kid.left for kid in after], default=verb.right + 1) - 1]
    # Of "does not hold a bag and talks", what is denied?
    if any(is_verb(word) for word in _AND.findall(parsed.caption[verb.end : last.end])):
        return None
    if pair.object and last.end < pair.object[1]:
        return None
    first = token
    if verb.dep == "conj" and token.i and tokens[token.i - 1].dep == "cc":
        first = tokens[token.i - 1]
    elif tokens[first.i - 1].tag in ("WDT", "WP"):
        first = tokens[first.i - 1]
    # What hangs on the verb and is not denied with it would be left without one.
    span = (first.start, tokens[verb.right].end)
    rest = parsed.caption[verb.end : last.end]
    if pair.construction == "copula":
        return span, rest.strip()
    return span, (verb.lemma if pair.construction == "finite" else verb.text) + rest
