"""Read the statements about scenes, and say of which scenes each is true."""

import re
from dataclasses import dataclass, replace

import numpy as np

from .scenes_drawing import COLOURS, RADIUS, SHAPES

OPENING = r"(?:there is |a picture |of |with )*"
EMPHASIS = re.compile(r"\b(?:clearly|no doubt|without doubt|not only|also) ")
PLACE = r"at the (?P<row>top|bottom) (?P<column>left|right)"
MENTION = (
    rf"(?:an? )?(?:({'|'.join(RADIUS)}) )?(?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)}|thing)"
    r"(?: that is (not )?(\w+))?"
)
ABSENCE = re.compile(rf"{OPENING}(?:no|without) {MENTION}")
STATEMENT = re.compile(
    rf"{OPENING}{MENTION}(?: (?P<not>not )?{PLACE})?"
    r" (?:(?P<not_related>not )?(?P<relation>left of|right of|above|below)|(?:and|with|but|without)(?P<no> no)?) "
    rf"{MENTION}"
)


@dataclass(frozen=True)
class Described:
    """
    The words by which a statement describes one object; "" for a word that it does not say.

    Args:
        unlike: a colour or size that the object does not have.
        place: row and column, 0 or 1 each.
        elsewhere: whether the object is not at that place.
    """

    shape: str = ""
    colour: str = ""
    size: str = ""
    unlike: str = ""
    place: tuple[int, int] | None = None
    elsewhere: bool = False


@dataclass(frozen=True)
class Statement:
    """
    What a statement says.

    Args:
        present: the objects that it affirms, one or two.
        absent: the object that it denies.
        relation: "left of", "right of", "above" or "below", of the first object to the second.
        unrelated: whether the relation does not hold.
    """

    present: tuple[Described, ...]
    absent: Described | None = None
    relation: str = ""
    unrelated: bool = False


def read_statement(text: str) -> Statement:
    """
    Read a caption, negated caption, true negation, foil or candidate of a question about the scenes.

    Raises:
        ValueError: the text is none of these.
    """
    plain = EMPHASIS.sub("", text)
    if match := ABSENCE.fullmatch(plain):
        return Statement(present=(), absent=_described(match.groups()))
    # "without" denies what follows it; "without doubt" has been removed.
    match = STATEMENT.fullmatch(plain.replace(" without ", " with no "))
    if not match:
        raise ValueError(f"not a statement about a scene: {text!r}")
    groups, named = match.groups(), match.groupdict()
    first, second = _described(groups[:5]), _described(groups[-5:])
    if named["row"]:
        place = (named["row"] == "bottom", named["column"] == "right")
        first = replace(first, place=place, elsewhere=bool(named["not"]))
    if named["no"]:
        return Statement((first,), second)
    return Statement((first, second), relation=named["relation"] or "", unrelated=bool(named["not_related"]))


def _described(groups: tuple[str | None, ...]) -> Described:
    size, colour, shape, negation, word = groups
    words = {"shape": "" if shape == "thing" else shape, "colour": colour or "", "size": size or ""}
    if word:
        words["unlike" if negation else "size" if word in RADIUS else "colour"] = word
    return Described(**words)


def truth(statements: list[str], scenes: list[list[str]]) -> np.ndarray:
    """
    Say of which scenes each statement is true. No two objects of a scene have the same shape or colour.

    Args:
        statements: texts that `read_statement` reads.
        scenes: the column "objects" of each scene, such as ["small red star at the top left", …].

    Returns:
        bool, (statements, scenes).
    """
    objects = _Objects(scenes)
    # Many statements are equal: each is compared with the scenes once.
    known: dict[str, np.ndarray] = {}
    for text in statements:
        if text not in known:
            known[text] = _true_of(read_statement(text), objects)
    return np.stack([known[text] for text in statements])


class _Objects:
    """The objects of scenes as arrays, (scenes, most objects of a scene); missing ones are "" everywhere."""

    def __init__(self, scenes: list[list[str]]):
        most = max(map(len, scenes))
        words = [[*(text.split() for text in own), *[[""] * 7] * (most - len(own))] for own in scenes]
        self.size, self.colour, self.shape, _, _, row, column = np.array(words).transpose(2, 0, 1)
        self.exists = self.shape != ""
        self.row, self.column = row == "bottom", column == "right"

    def fit(self, described: Described) -> np.ndarray:
        """Return bool, (scenes, objects): which objects are as described."""
        found = self.exists
        for name in ("shape", "colour", "size"):
            if word := getattr(described, name):
                found = found & (getattr(self, name) == word)
        if described.unlike:
            found = found & (self.colour != described.unlike) & (self.size != described.unlike)
        if described.place:
            row, column = described.place
            found = found & (((self.row == row) & (self.column == column)) != described.elsewhere)
        return found


def _true_of(statement: Statement, objects: _Objects) -> np.ndarray:
    found = [objects.fit(described) for described in statement.present]
    if statement.absent:
        found_absent = objects.fit(statement.absent).any(axis=1)
        return np.logical_and.reduce([~found_absent, *(own.any(axis=1) for own in found)])
    first, second = found
    pairs = first[:, :, None] & second[:, None, :] & ~np.eye(first.shape[1], dtype=bool)
    if statement.relation:
        axis = objects.column if statement.relation in ("left of", "right of") else objects.row
        one, other = axis[:, :, None], axis[:, None, :]
        holds = one < other if statement.relation in ("left of", "above") else one > other
        pairs &= holds != statement.unrelated
    return pairs.any(axis=(1, 2))
