"""
Scenes: drawn pictures of a few objects with captions, false negations, true negations and distractors.

The embedded default: no download, no licence, the same rows on every machine. The pictures of the
test split are made of combinations of shape and colour that no training picture or caption shows (`HELD_OUT`).

    >>> from dataset_scripts.scenes import load_scenes
    >>> load_scenes("test")[0]["caption"]  # doctest: +SKIP
    'a small red star left of a blue circle'
"""

import inspect
import io
import random
import sys
from dataclasses import dataclass, replace

import datasets
from datasets.fingerprint import Hasher

from . import scenes_drawing
from .scenes_drawing import COLOURS, GRID, IMAGE_SIZE, SHAPES, SceneObject, draw
from .schema import FEATURES

SPLIT_SIZES = {"train": 20_000, "test": 2_000}
ROWS_A_SHARD = 1_000
COMBINATIONS = tuple((shape, colour) for shape in SHAPES for colour in COLOURS)
# Two colours of each shape.
HELD_OUT = tuple(
    (shape, colour) for shape, colour in COMBINATIONS if (COLOURS.index(colour) - SHAPES.index(shape)) % 4 == 0
)
IN_TRAINING = tuple(combination for combination in COMBINATIONS if combination not in HELD_OUT)
NEGATION_KINDS = ("object", "attribute", "relation")
OPENINGS = ("", "", "there is ", "a picture of ")
# Words that deny nothing, though some of them look so: a caption with "no" in it need not be a negation.
EMPHASIS = ("", "", "clearly ", "no doubt ", "without doubt ")
RELATIONS = ("left of", "right of", "above", "below")


def article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


@dataclass(frozen=True)
class Mention:
    """How a caption names one object: words of it, each of which may be left out."""

    shape: str = ""
    colour: str = ""
    size: str = ""

    @property
    def noun(self) -> str:
        return " ".join(word for word in (self.size, self.colour, self.shape or "thing") if word)


def place(item: SceneObject) -> str:
    return f"at the {('top', 'bottom')[item.row]} {('left', 'right')[item.column]}"


def holds(relation: str, first: SceneObject, second: SceneObject) -> bool:
    return {
        "left of": first.column < second.column,
        "right of": first.column > second.column,
        "above": first.row < second.row,
        "below": first.row > second.row,
    }[relation]


def make_scene(rng: random.Random, combinations) -> list[SceneObject]:
    """
    Two or three objects in different cells; the first two are those a caption names. No two share a shape or a
    colour, so that either word alone says which object is meant.
    """
    count = rng.choice((2, 2, 3))
    chosen = []
    while len(chosen) < count:
        shape, colour = rng.choice(combinations)
        if all(shape != other and colour != taken for other, taken in chosen):
            chosen.append((shape, colour))
    cells = rng.sample([(row, column) for row in range(GRID) for column in range(GRID)], count)
    return [
        SceneObject(shape, colour, rng.choice(("small", "large")), row, column)
        for (shape, colour), (row, column) in zip(chosen, cells, strict=True)
    ]


def change(rng: random.Random, scene: list[SceneObject], index: int, combinations, part: str) -> list[SceneObject]:
    """The scene with another "colour" for one object, or another "shape" (and colour), that no object there has."""
    item, others = scene[index], [other for at, other in enumerate(scene) if at != index]
    options = [
        (shape, colour)
        for shape, colour in combinations
        if getattr(item, part) != {"shape": shape, "colour": colour}[part]
        and (part == "shape" or shape == item.shape)
        and colour != item.colour
        and all(shape != other.shape and colour != other.colour for other in others)
    ]
    shape, colour = rng.choice(options)
    changed = list(scene)
    changed[index] = replace(item, shape=shape, colour=colour)
    return changed


def mention(rng: random.Random, item: SceneObject) -> Mention:
    shape, colour = rng.choice(((item.shape, item.colour),) * 3 + ((item.shape, ""), ("", item.colour)))
    return Mention(shape, colour, item.size if rng.random() < 0.4 else "")


def negate_object(rng, scene, mentions, relation, shown):
    """
    "a red circle with a blue square" -> "a red circle without a blue square"; the distractor has something else in
    place of the negated object.
    """
    kept, gone = rng.sample((0, 1), 2)
    start, noun = article(mentions[kept].noun), mentions[gone].noun
    if rng.random() < 0.5:
        start = f"{start} {place(scene[kept])}"
    form = rng.choice(("{} and {}", "{} with {}", "{} and also {}", "{} and no doubt {}", "not only {} but also {}"))
    caption = form.format(start, article(noun))
    phrase = rng.choice(("and no {}", "but no {}", "with no {}", "without {}"))
    negated = f"{start} {phrase.format(article(noun) if phrase.startswith('without') else noun)}"
    return caption, negated, change(rng, scene, gone, shown, "shape")


def negate_attribute(rng, scene, mentions, relation, shown):
    """
    "a circle that is red left of a blue square" -> "a circle that is not red left of a blue square"; the distractor
    has that object in another colour or size.
    """
    index = rng.choice((0, 1))
    item, named = scene[index], mentions[index]
    if named.size and rng.random() < 0.5:
        word, rest = named.size, replace(named, size="")
        distractor = list(scene)
        distractor[index] = replace(item, size="large" if item.size == "small" else "small")
    else:
        word, rest = item.colour, replace(named, shape=item.shape, colour="")
        distractor = change(rng, scene, index, shown, "colour")

    def caption(denial: str) -> str:
        nouns = [article(named.noun) for named in mentions]
        nouns[index] = f"{article(rest.noun)} that is {denial}{word}"
        return f"{nouns[0]} {relation} {nouns[1]}"

    return caption(rng.choice(EMPHASIS)), caption("not "), distractor


def negate_relation(rng, scene, mentions, relation, shown):
    """
    "a red circle left of a blue square" -> "a red circle not left of a blue square", or "a red circle at the top left
    with …" -> "a red circle not at the top left with …"; in the distractor the two have changed places.
    """
    distractor = list(scene)
    distractor[0] = replace(scene[0], row=scene[1].row, column=scene[1].column)
    distractor[1] = replace(scene[1], row=scene[0].row, column=scene[0].column)
    first, second = (article(named.noun) for named in mentions)
    where = rng.choice((f"{relation} {second}", f"{place(scene[0])} {rng.choice(('and', 'with'))} {second}"))
    return f"{first} {rng.choice(EMPHASIS)}{where}", f"{first} not {where}", distractor


NEGATE = {"object": negate_object, "attribute": negate_attribute, "relation": negate_relation}


def make_true_negation(rng, scene, mentions, combinations) -> tuple[str, list[str]]:
    """A caption that rightly denies an absent object; its foils affirm that object, or deny one that is there."""
    kept, denied = rng.sample((0, 1), 2)
    present = {(item.shape, item.colour) for item in scene}
    absent = Mention(*rng.choice([combination for combination in combinations if combination not in present])).noun
    there = Mention(scene[denied].shape, scene[denied].colour).noun
    phrase = rng.choice(("but no {}", "and no {}", "with no {}"))
    start = article(mentions[kept].noun)
    foils = [f"{start} and {article(absent)}", f"{start} {phrase.format(there)}"]
    return f"{start} {phrase.format(absent)}", foils


def make_row(split: str, index: int, seed: int) -> dict:
    """Row `index` of a split as the schema has it; depends on the arguments alone."""
    rng = random.Random(f"{seed}-{split}-{index}")
    combinations = IN_TRAINING if split == "train" else HELD_OUT
    scene = make_scene(rng, combinations)
    mentions = [mention(rng, item) for item in scene[:2]]
    relation = rng.choice([name for name in RELATIONS if holds(name, *scene[:2])])
    kind = rng.choice(NEGATION_KINDS)
    # Held-out combinations are too few to find a distractor among them alone.
    shown = IN_TRAINING if split == "train" else COMBINATIONS
    caption, negated, distractor = NEGATE[kind](rng, scene, mentions, relation, shown)
    true_negation, foils = make_true_negation(rng, scene, mentions, combinations)
    opening = rng.choice(OPENINGS)
    background = rng.randrange(190, 236)
    return {
        "image": encode(draw(scene, background, rng)),
        "caption": f"{opening}{caption}",
        "negated_captions": [f"{opening}{negated}"],
        "negation_kinds": [kind],
        "objects": [f"{item.colour} {item.shape}" for item in scene],
        "true_negations": [true_negation] * 2,
        "true_negation_foils": foils,
        "true_negation_kinds": ["false affirmation", "false negation"],
        "distractor_images": [encode(draw(distractor, background, rng))],
    }


def encode(image) -> dict:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return {"bytes": buffer.getvalue(), "path": None}


class ScenesConfig(datasets.BuilderConfig):
    """
    Args:
        seed (`int`): another seed, other scenes.
        split_sizes (`dict[str, int]`, *optional*): rows of "train" and "test"; 20,000 and 2,000 by default.
    """

    def __init__(self, seed: int = 0, split_sizes: dict | None = None, **kwargs):
        super().__init__(version=datasets.Version("1.0.0"), **kwargs)
        self.seed = seed
        self.split_sizes = split_sizes or SPLIT_SIZES


class Scenes(datasets.GeneratorBasedBuilder):
    """Drawn scenes on the project's schema (`schema.FEATURES`), splits "train" and "test"."""

    BUILDER_CONFIG_CLASS = ScenesConfig

    def _info(self):
        return datasets.DatasetInfo(
            description=f"{IMAGE_SIZE}-pixel pictures of coloured shapes with true and false negations.",
            features=FEATURES,
        )

    def _split_generators(self, dl_manager):
        return [
            datasets.SplitGenerator(
                name=split,
                gen_kwargs={
                    "split": split,
                    # A list, which `datasets` divides among the processes.
                    "shards": [range(at, min(at + ROWS_A_SHARD, size)) for at in range(0, size, ROWS_A_SHARD)],
                },
            )
            for split, size in self.config.split_sizes.items()
        ]

    def _generate_examples(self, split, shards):
        for shard in shards:
            for index in shard:
                yield index, make_row(split, index, self.config.seed)


def code_fingerprint() -> str:
    """Changes with the code that makes the scenes."""
    return Hasher.hash([inspect.getsource(module) for module in (sys.modules[__name__], scenes_drawing)])


def load_scenes(
    split: str | None = None,
    seed: int = 0,
    split_sizes: dict | None = None,
    cache_dir: str | None = None,
    num_proc: int | None = None,
):
    """
    The scenes as a `Dataset` (or, without `split`, a `DatasetDict`), drawn on first use and kept in the cache.

    The cache is keyed by this code, so that a change of it never meets old pictures.
    """
    builder = Scenes(seed=seed, split_sizes=split_sizes, cache_dir=cache_dir, hash=code_fingerprint())
    builder.download_and_prepare(num_proc=num_proc)
    return builder.as_dataset(split=split)
