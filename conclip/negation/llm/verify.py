"""Check that a language model's sentence negates what it should and adds nothing else."""

import re
from collections.abc import Collection

from conclip.negation.grammar.generator import count_negations
from conclip.negation.grammar.pairs import Pair, Parsed
from conclip.negation.grammar.text import comma, fit_case, split_end
from conclip.negation.lexicon import words
from conclip.negation.lexicon.inflection import gerund, plural, singular
from conclip.negation.rows import Negation

NO_NEGATION = "no negation"
NOT_TARGET = "target not negated"
NOT_THERE = "target not named"
ADDED = "words added"
MISSING = "words missing"
NOT_MINIMAL = "pair differs in more than the target"
ODD = "more than a sentence"

_TOKEN = re.compile(r"[\w'’-]+|[,;:]")
_ODD = re.compile(r"[\[\]{}<>|\\*_=~^\"“”()#]|https?:|[.!?]+\s+\S")
# A negation reaches no further than to these.
_BREAKS = frozenset("but and or while though although yet , ; :".split())
_REACH = 6
_DETERMINERS = frozenset("no without nobody none never neither nor minus lacking".split())
_ARTICLES = frozenset("a an the any some".split())
_BE = frozenset("is are was were be being been".split())
# Words that a negation may bring along.
_FREE = _ARTICLES | _BE | _BREAKS | words.NEGATIONS | frozenset(
    "do does did has have had having can could will would who which that it they there one anyone at all either of "
    "with nor instead rather than kind sign visible seen present anywhere around shown shows show showing see this "
    "its their his her him them even picture image photo photograph scene sight view".split()
)  # fmt: skip
_PICTURES = frozenset("picture image photo photograph scene sight view".split())
_CONTENT = ("NN", "VB", "JJ", "CD", "RB")


def tidy_answer(text: str, caption: str) -> str:
    """Give the sentence the case, spacing and end of the caption, so that these do not reveal its generator."""
    text = " ".join(text.split()).strip("\"'“”` ")
    text = split_end(text)[0]
    text = re.sub(r"\s*,", comma(caption), text)
    return fit_case(text, caption) + split_end(caption)[1]


def check_form(text: str, caption: str) -> str | None:
    """Return why the form of `text` is unacceptable; None if it is acceptable."""
    if _ODD.search(split_end(text)[0]) and not _ODD.search(split_end(caption)[0]):
        return ODD
    return None if count_negations(text) else NO_NEGATION


def check_false(parsed: Parsed, pair: Pair, text: str, max_missing: int) -> str | None:
    """Return why `text` is not the caption with `pair` negated; None if it seems to be."""
    reason = check_form(text, parsed.caption)
    if reason:
        return reason
    sentence = _split(text)
    # The parse takes "kid-sized" for several tokens.
    hyphened = [word for word in _split(parsed.text(pair.span)) if "-" in word]
    names = _content(parsed, pair.span) + hyphened or _split(parsed.text(pair.span))
    names = [pair.name] if pair.name else names
    places = [n for name in names for n in _find(sentence, name, parsed)]
    if not places:
        return NOT_THERE
    nouns = _nouns_but(parsed, pair.name)
    if not any(_is_negated(sentence, n, nouns, pair.kind == "object") for n in places):
        return NOT_TARGET
    return _check_words(parsed, sentence, (), max_missing)


def check_minimal_pair(parsed: Parsed, plan: tuple[Negation, Negation], texts: tuple[str, str]) -> str | None:
    """Return why `texts` are not a true negation and its foil, or a true and a false hybrid, as planned."""
    targets = [negation.target.lower() for negation in plan]
    sentences = [_split(text) for text in texts]
    for text, tokens, target, other in zip(texts, sentences, targets, targets[::-1], strict=True):
        reason = check_form(text, parsed.caption)
        if reason:
            return reason
        places = _find(tokens, target, parsed)
        if not places:
            return NOT_THERE
        # What the caption says elsewhere too ("a red shirt and a red hat") is in both.
        extra = len(_find(tokens, other, parsed))
        if plan[0].kind == "object" and plan[0].negation_type == "true" and (extra or len(places) > 1):
            return NOT_TARGET
        nouns = _nouns_but(parsed, target)
        if not any(_is_negated(tokens, n, nouns, plan[0].kind == "object") for n in places):
            return NOT_TARGET
        reason = _check_words(parsed, tokens, targets, None)
        if reason:
            return reason
    names = (*targets, *_nouns(parsed)) if plan[0].negation_type == "hybrid" else targets
    return None if _without(sentences[0], names, parsed) == _without(sentences[1], names, parsed) else NOT_MINIMAL


def check_affirmed(parsed: Parsed, text: str, name: str) -> str | None:
    """Return why a hybrid does not affirm `name`; None if it does."""
    sentence = _split(text)
    places = _find(sentence, name, parsed)
    if not places:
        return NOT_THERE
    return NOT_TARGET if any(_is_negated(sentence, n, (), True) for n in places) else None


def _split(text: str) -> list[str]:
    return _TOKEN.findall(text.lower())


def _nouns(parsed: Parsed) -> frozenset[str]:
    return frozenset(pair.name for pair in parsed.pairs if pair.name)


def _nouns_but(parsed: Parsed, name: str) -> set[str]:
    """The caption's nouns, without those that are part of `name`: "bike" in "bike ramp"."""
    return {noun for noun in _nouns(parsed) if not set(noun.split()) <= set(name.split())}


def _content(parsed: Parsed, span: tuple[int, int]) -> list[str]:
    tokens = (t for t in parsed.tokens if span[0] <= t.start and t.end <= span[1])
    return [t.text.lower() for t in tokens if t.tag[:2] in _CONTENT and t.lemma not in ("be", "have", "do")]


def _forms(word: str, parsed: Parsed | None = None) -> set[str]:
    """Return the inflected forms of `word`; with the parse also irregular ones that the caption has."""
    stems = {word, singular(word)}
    if parsed is not None:
        stems.update(t.lemma.lower() for t in parsed.tokens if t.text.lower() == word)
        stems.update(t.text.lower() for t in parsed.tokens if t.lemma.lower() == word)
    return stems | {form for stem in stems for form in (plural(stem), gerund(stem), f"{stem}s", f"{stem}es")}


def _find(sentence: list[str], name: str, parsed: Parsed | None = None) -> list[int]:
    """Return the places of `name` in any form; of a name of several words, the place of its last word."""
    *before, head = name.lower().split()
    forms = _forms(head, parsed)
    return [n for n, word in enumerate(sentence) if word in forms and sentence[max(n - len(before), 0) : n] == before]


def _is_negation(word: str) -> bool:
    return count_negations(word) > 0


def _is_negated(sentence: list[str], place: int, nouns: Collection[str], is_object: bool) -> bool:
    """Return whether a negation reaches the word at `place`.

    "No" and "without" do not reach past one of `nouns`, but what "no man" does is negated too.
    """
    for n, word in enumerate(sentence):
        if not _is_negation(word) or n == place:
            continue
        first, last = min(n, place) + 1, max(n, place)
        if _BREAKS.intersection(sentence[first:last]) or last - first >= _REACH:
            continue
        if n < place:
            is_subject = n == 0 and not is_object
            past = any(_find(sentence[first:last], noun) for noun in nouns)
            if is_subject or word not in _DETERMINERS or not past:
                return True
        elif word not in _DETERMINERS and n - place <= 3:
            # "The dog is not in the picture", "a dress that is not red".
            return True
    return False


def _check_words(parsed: Parsed, sentence: list[str], names: Collection[str], max_missing: int | None) -> str | None:
    # Words with hyphens are several tokens of the parse.
    known = set(_FREE).union(_split(parsed.caption))
    for token in parsed.tokens:
        known |= _forms(token.text.lower(), parsed)
    for name in names:
        *before, head = name.split()
        known.update(before, _forms(head, parsed))
    # A preposition that the caption lacks adds a meaning, except in "in the picture" and "in sight".
    new = [n for n, word in enumerate(sentence) if word not in known and not _is_negation(word)]
    if any(sentence[n] != "in" or _PICTURES.isdisjoint(sentence[n + 1 : n + 3]) for n in new):
        return ADDED
    if max_missing is None:
        return None
    word_parts = {part for word in sentence for part in (word, *word.split("-"))}
    content = _content(parsed, (0, len(parsed.caption)))
    skipped = sum(word_parts.isdisjoint(_forms(word, parsed)) for word in content)
    return MISSING if skipped > max_missing else None


def _without(sentence: list[str], names: Collection[str], parsed: Parsed) -> list[str]:
    """What is left when `names`, articles and the forms of "be" are taken out."""
    removed = {n - k for name in names for n in _find(sentence, name, parsed) for k in range(len(name.split()))}
    return [word for n, word in enumerate(sentence) if n not in removed and word not in _ARTICLES | _BE]
