"""What a query wants: the text that is left when the denials are taken out."""

import re

from conclip.negation.lexicon.query_words import EMPTY, IMAGE, SHOW, SHOWN
from conclip.negation.query.denials import Denial
from conclip.negation.query.tokens import Tokens

_CONJUNCTION = (
    "but|and|while|although|though|even|yet|however|instead|where|whereas|which|as|because|since|when|so|who|that"
)
_ADVERB = "noticeably|notably|remarkably|strangely|surprisingly|conspicuously|interestingly|curiously"
_LEADING = re.compile(
    rf"(?i)^(?:[\s,;:.\-–—]|\b(?:{_CONJUNCTION}|{_ADVERB}|with|is|shows|showcases|features|depicts)\b)*"
)
_TRAILING = re.compile(
    rf"(?i)(?:[\s,;:\-–—]|\b(?:{_CONJUNCTION}|{_ADVERB}|with|there|is|are|both|it|seems to|in)\b)*$"
)


# "There is no chair in the room, but …": the place goes with the denial.
_PLACE_OF_DENIAL = re.compile(
    r"(?i)^(?:in|on|at|near|under|behind|inside|around) [^,;.]*[,;.]\s*"
    r"(?:but|and|just|only|instead|however|where|while|which)\b"
)
_IMAGES = "|".join(sorted(IMAGE - {"view", "sight", "background", "foreground", "vicinity", "setting"}))
_IN_IMAGE = rf"(?: (?:in|on|from) (?:the|this|an?) (?:{_IMAGES}))"
# "This image features a car" wants a car.
_SHOWS, _ELSEWHERE = "|".join(sorted(SHOW)), {"there", "here", "nearby", "around", "inside", "outside"}
_SAYS_OF_IMAGE = re.compile(
    rf"(?i)^(?:(?:this|the|an?) (?:{_IMAGES}) (?:{_SHOWS}) (?:both )?|"
    rf"(?:in (?:this|the) (?:{_IMAGES}),? )?there(?: is| are|['’]s) (?:both )?|(?:we|you|one|i) (?:can )?sees? )"
)
_IS_SHOWN = re.compile(
    rf"(?i) (?:(?:is|are) (?:both )?(?:{'|'.join(sorted(SHOWN - _ELSEWHERE))})"
    rf"|can be seen|appears?|exists?|is|are){_IN_IMAGE}?$"
)


def without_frame(text: str) -> str:
    """Return a statement about an image without its frame: "a car is visible in the image" becomes "a car"."""
    return _IS_SHOWN.sub("", _SAYS_OF_IMAGE.sub("", text))


def wanted_text(tokens: Tokens, denials: list[Denial]) -> str:
    """Return the query without the denials, and without the words that joined them to the rest."""
    kept, at, joint = "", 0, ""
    for denial in [*denials, Denial(len(tokens), len(tokens), ())]:
        piece = tokens.between(at, denial.start) if denial.start > at else ""
        piece = _TRAILING.sub("", piece.rstrip(" .")).strip()
        if not kept and at:
            piece = _PLACE_OF_DENIAL.sub("", piece)
        cleaned = _LEADING.sub("", piece)
        if cleaned and any(word not in EMPTY for word in Tokens(cleaned).words if word[0].isalnum()):
            if not kept:
                kept = cleaned
            elif piece.lower().startswith("and "):
                # "a girl with no shoes and a lunchbox" keeps the "with".
                kept = f"{kept} {joint} {cleaned}"
            else:
                kept = f"{kept} {piece.lstrip(' ,;:.-–—')}"
        joint = "with" if tokens[denial.start] == "with" else "and"
        at = max(at, denial.stop)
    return without_frame(kept)
