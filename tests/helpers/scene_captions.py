"""Read captions of scenes by other rules than those that made them: helpers, not a test."""

import re

from dataset_scripts.scenes_drawing import COLOURS, SHAPES, SceneObject

OBJECT = re.compile(
    rf"(?:(?P<size>small|large) )?(?:(?P<colour>{'|'.join(COLOURS)}) )?(?:(?P<shape>{'|'.join(SHAPES)})|thing)"
)


def is_true(caption: str, scene: list[SceneObject]) -> bool:
    """Return whether a caption is true of the objects of a scene."""
    caption = re.sub(r"^(there is|a picture( of)?) ", "", caption)
    if alone := re.fullmatch(r"(?:with )?(?:no|without an?) ([\w ]+)", caption):
        return not matching(alone.group(1), scene)
    caption = re.sub(r"not only (.*) but also", r"\1 and", caption)
    caption = re.sub(r"(clearly|no doubt|without doubt|also) ", "", caption)
    relation = re.search(r" (not )?(left of|right of|above|below) ", caption)
    if relation:
        left, right = caption[: relation.start()], caption[relation.end() :]
        word = relation.group(2)
        pairs = [(a, b) for a in matching(left, scene) for b in matching(right, scene) if a is not b]
        ahead = {
            "left of": lambda a, b: a.column < b.column,
            "right of": lambda a, b: a.column > b.column,
            "above": lambda a, b: a.row < b.row,
            "below": lambda a, b: a.row > b.row,
        }[word]
        return any(ahead(a, b) != bool(relation.group(1)) for a, b in pairs)
    first, joint, second = re.split(r" (and no|but no|with no|without|and|with) ", caption, maxsplit=1)
    absent = joint in ("and no", "but no", "with no", "without")
    if absent:
        return bool(matching(first, scene)) and not matching(second, scene)
    return any(a is not b for a in matching(first, scene) for b in matching(second, scene))


def matching(phrase: str, scene: list[SceneObject]) -> list[SceneObject]:
    words = OBJECT.search(phrase).groupdict()
    clause = re.search(r" that is (not )?(\w+)$", phrase)
    place = re.search(r" (not )?at the (top|bottom) (left|right)$", phrase)
    found = [item for item in scene if all(word in (None, getattr(item, name)) for name, word in words.items())]
    if clause:
        found = [item for item in found if (clause.group(2) in (item.colour, item.size)) != bool(clause.group(1))]
    if place:
        cell = (place.group(2) == "bottom", place.group(3) == "right")
        found = [item for item in found if ((item.row, item.column) == cell) != bool(place.group(1))]
    return found
