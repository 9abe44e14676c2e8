"""The things that captions name again and again, with their adjectives: "red circle", "little girl"."""

import re
from collections import Counter
from collections.abc import Sequence

from conclip.negation.lexicon.inflection import singular
from conclip.negation.lexicon.query_words import ENDS_PHRASE, IMAGE, is_verb
from conclip.negation.lexicon.scenes import COLORS
from conclip.negation.lexicon.things import NO_THINGS
from conclip.negation.lexicon.words import THINGS_IN_ING

# A phrase recurs if this share of the captions has it, and so many at least.
SHARE, LEAST = 0.002, 2
_SIDE_OF = re.compile(r"\b(?:left|right|top|bottom|front|back|side) of\b")
_MOST_WORDS = 3
# They name nothing by themselves, but with an adjective they do: "red thing".
_ANYTHING = (["thing"], ["object"])


def recurring_things(captions: Sequence[str], share: float = SHARE) -> list[str]:
    """
    Return the things that recur in captions, commonest first: what follows "a" or "an" up to the first word that ends
    a noun phrase, of three words at most.

    The rule needs no dictionary of things, so that it finds those of any captions.

    Args:
        captions: English texts.
        share: of the captions, which have to name a thing.

    Returns:
        Names without article, singular: "circle", "red circle", "small red circle".
    """
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update({phrase for phrase in _phrases(caption.lower()) if phrase})
    least = max(LEAST, share * len(captions))
    return [name for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if count >= least]


def _phrases(caption: str):
    for start in re.finditer(r"(?<![\w'-])an? (?=[a-z])", caption):
        words = []
        rest = _SIDE_OF.split(caption[start.end() :])[0]
        for word in re.match(r"(?:[a-z]+ ?)*", rest)[0].split():
            if word in ENDS_PHRASE or word == "of" or word.endswith("ly") or is_verb(word) or _is_doing(word):
                break
            words.append(word)
        yield _name(words)


def _is_doing(word: str) -> bool:
    return word.endswith("ing") and word not in (*THINGS_IN_ING, "thing")


def _name(words: list[str]) -> str | None:
    if not 0 < len(words) <= _MOST_WORDS or words[-1] in (*IMAGE, *COLORS) or singular(words[-1]) != words[-1]:
        return None
    return None if words[-1] in NO_THINGS or words in _ANYTHING else " ".join(words)
