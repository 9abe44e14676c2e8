"""
Scenes: generated images of a few objects, with captions, false negations, true negations and distractors.

The default dataset: no download, no licence, the same rows on every machine. The images of the test split hold
combinations of shape and colour that no image or caption of the training split has (`HELD_OUT`).

    >>> from dataset_scripts.scenes import load_scenes
    >>> load_scenes("test")[0]["caption"]  # doctest: +SKIP
    'a small red star left of a blue circle'
"""

import inspect
import io
import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import datasets
from datasets.fingerprint import Hasher

from conclip.atomic_write import reporting_write_errors

from . import scenes_drawing
from .scenes_drawing import COLOURS, GRID, IMAGE_SIZE, SHAPES, SceneObject, draw
from .schema import FEATURES

SPLIT_SIZES = {"train": 20_000, "test": 2_000}
ROWS_PER_SHARD = 1_000
COMBINATIONS = tuple((shape, colour) for shape in SHAPES for colour in COLOURS)
# Two colours of each shape.
HELD_OUT = tuple(
    (shape, colour) for shape, colour in COMBINATIONS if (COLOURS.index(colour) - SHAPES.index(shape)) % 4 == 0
)
IN_TRAINING = tuple(combination for combination in COMBINATIONS if combination not in HELD_OUT)
NEGATION_KINDS = ("object", "attribute", "relation")
OPENINGS = ("", "", "there is ", "a picture of ")
# These negate nothing, though some hold a word such as "no": a caption with "no" in it need not be a negation.
EMPHASIS = ("", "", "clearly ", "no doubt ", "without doubt ")
RELATIONS = ("left of", "right of", "above", "below")


def article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


@dataclass(frozen=True)
class Mention:
    """The words by which a caption names one object; each may be missing."""

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


def different_combinations(rng: random.Random, combinations, besides=()) -> list[tuple[str, str]]:
    """
    Return a combination of each shape, all of different colours, in random order.

    All such lists are equally likely, so that the text of a question does not say which of them are in the scene.

    Args:
        besides: combinations that are chosen already; the list has none of their shapes and colours.
    """
    shapes, colours = (
        [name for name in names if name not in {own[at] for own in besides}]
        for at, names in enumerate((SHAPES, COLOURS))
    )
    options = [[own for own in combinations if own[0] == shape and own[1] in colours] for shape in shapes]
    while True:
        chosen = [rng.choice(own) for own in options]
        if len({colour for _, colour in chosen}) == len(shapes):
            return rng.sample(chosen, len(chosen))


def make_scene(rng: random.Random, combinations) -> list[SceneObject]:
    """
    Return two or three objects in different cells; captions name the first two. No two have the same shape or colour,
    so that each of these words alone says which object is meant.
    """
    count = rng.choice((2, 2, 3))
    chosen = different_combinations(rng, combinations)[:count]
    cells = rng.sample([(row, column) for row in range(GRID) for column in range(GRID)], count)
    return [
        SceneObject(shape, colour, rng.choice(("small", "large")), row, column)
        for (shape, colour), (row, column) in zip(chosen, cells, strict=True)
    ]


def change(rng: random.Random, scene: list[SceneObject], index: int, combinations, part: str) -> list[SceneObject]:
    """Return the scene with a new "colour", or a new "shape" and colour, for one object; no other object has them."""
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


def negate_object(rng, scene, mentions, relation, combinations):
    """
    Return a caption, its negation and a scene of which the negation is true: "a red circle with a blue square" -> "a
    red circle without a blue square"; the distractor has another object in the place of the negated one.
    """
    affirmed, negated_index = rng.sample((0, 1), 2)
    start, noun = article(mentions[affirmed].noun), mentions[negated_index].noun
    if rng.random() < 0.5:
        start = f"{start} {place(scene[affirmed])}"
    form = rng.choice(("{} and {}", "{} with {}", "{} and also {}", "{} and no doubt {}", "not only {} but also {}"))
    caption = form.format(start, article(noun))
    phrase = rng.choice(("and no {}", "but no {}", "with no {}", "without {}"))
    negated = f"{start} {phrase.format(article(noun) if phrase.startswith('without') else noun)}"
    return caption, negated, change(rng, scene, negated_index, combinations, "shape")


def negate_attribute(rng, scene, mentions, relation, combinations):
    """
    Likewise, "a circle that is red left of a blue square" -> "a circle that is not red left of a blue square"; in the
    distractor that object has another colour or size.
    """
    index = rng.choice((0, 1))
    item, named = scene[index], mentions[index]
    if named.size and rng.random() < 0.5:
        word, rest = named.size, replace(named, size="")
        distractor = list(scene)
        distractor[index] = replace(item, size="large" if item.size == "small" else "small")
    else:
        word, rest = item.colour, replace(named, shape=item.shape, colour="")
        distractor = change(rng, scene, index, combinations, "colour")

    def caption(negation: str) -> str:
        nouns = [article(named.noun) for named in mentions]
        nouns[index] = f"{article(rest.noun)} that is {negation}{word}"
        return f"{nouns[0]} {relation} {nouns[1]}"

    return caption(rng.choice(EMPHASIS)), caption("not "), distractor


def negate_relation(rng, scene, mentions, relation, combinations):
    """
    Likewise, "a red circle left of a blue square" -> "a red circle not left of a blue square", or "a red circle at the
    top left with …" -> "a red circle not at the top left with …"; in the distractor the two objects change places.
    """
    distractor = list(scene)
    distractor[0] = replace(scene[0], row=scene[1].row, column=scene[1].column)
    distractor[1] = replace(scene[1], row=scene[0].row, column=scene[0].column)
    first, second = (article(named.noun) for named in mentions)
    where = rng.choice((f"{relation} {second}", f"{place(scene[0])} {rng.choice(('and', 'with'))} {second}"))
    return f"{first} {rng.choice(EMPHASIS)}{where}", f"{first} not {where}", distractor


NEGATE = {"object": negate_object, "attribute": negate_attribute, "relation": negate_relation}


def make_true_negation(rng, scene, mentions, combinations) -> tuple[str, list[str]]:
    """
    Return a caption that negates an absent object, and two foils, which are false captions that differ in as few words
    as possible: one affirms the absent object, the other negates an object of the scene.
    """
    affirmed, negated = rng.sample((0, 1), 2)
    present = {(item.shape, item.colour) for item in scene}
    absent = Mention(*rng.choice([combination for combination in combinations if combination not in present])).noun
    present_noun = Mention(scene[negated].shape, scene[negated].colour).noun
    phrase = rng.choice(("but no {}", "and no {}", "with no {}"))
    start = article(mentions[affirmed].noun)
    foils = [f"{start} and {article(absent)}", f"{start} {phrase.format(present_noun)}"]
    return f"{start} {phrase.format(absent)}", foils


def make_row(split: str, index: int, seed: int) -> dict:
    """Return row `index` of a split, on the project's schema; it depends on the arguments alone."""
    rng = random.Random(f"{seed}-{split}-{index}")
    combinations = IN_TRAINING if split == "train" else HELD_OUT
    scene = make_scene(rng, combinations)
    mentions = [mention(rng, item) for item in scene[:2]]
    relation = rng.choice([name for name in RELATIONS if holds(name, *scene[:2])])
    kind = rng.choice(NEGATION_KINDS)
    # There are too few held-out combinations for the distractors.
    distractor_combinations = IN_TRAINING if split == "train" else COMBINATIONS
    caption, negated, distractor = NEGATE[kind](rng, scene, mentions, relation, distractor_combinations)
    true_negation, foils = make_true_negation(rng, scene, mentions, combinations)
    opening = rng.choice(OPENINGS)
    background = rng.randrange(190, 236)
    return {
        "image": encode(draw(scene, background, rng)),
        "caption": f"{opening}{caption}",
        "negated_captions": [f"{opening}{negated}"],
        "negation_kinds": [kind],
        "objects": [f"{item.size} {item.colour} {item.shape} {place(item)}" for item in scene],
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
    Options of `Scenes`.

    Args:
        seed (`int`): another seed gives other scenes.
        split_sizes (`dict[str, int]`, *optional*): number of rows of "train" and "test"; 20,000 and 2,000 by default.
    """

    def __init__(self, seed: int = 0, split_sizes: dict | None = None, **kwargs):
        super().__init__(version=datasets.Version("1.0.0"), **kwargs)
        self.seed = seed
        self.split_sizes = split_sizes or SPLIT_SIZES


class Scenes(datasets.GeneratorBasedBuilder):
    """Builder of the scenes, on the project's schema (`schema.FEATURES`), with the splits "train" and "test"."""

    BUILDER_CONFIG_CLASS = ScenesConfig

    def _info(self):
        return datasets.DatasetInfo(
            description=f"{IMAGE_SIZE}-pixel images of coloured shapes with true and false negations.",
            features=FEATURES,
        )

    def _split_generators(self, dl_manager):
        return [
            datasets.SplitGenerator(
                name=split,
                gen_kwargs={
                    "split": split,
                    # `datasets` divides a list among the processes.
                    "shards": [range(at, min(at + ROWS_PER_SHARD, size)) for at in range(0, size, ROWS_PER_SHARD)],
                },
            )
            for split, size in self.config.split_sizes.items()
        ]

    def _generate_examples(self, split, shards):
        for shard in shards:
            for index in shard:
                yield index, make_row(split, index, self.config.seed)


def code_fingerprint() -> str:
    """Return a hash that changes with the code that makes the scenes."""
    return Hasher.hash([inspect.getsource(module) for module in (sys.modules[__name__], scenes_drawing)])


def load_scenes(
    split: str | None = None,
    seed: int = 0,
    split_sizes: dict | None = None,
    cache_dir: str | None = None,
    num_proc: int | None = None,
):
    """
    Return the scenes as a `Dataset` (or, without `split`, a `DatasetDict`), made on first use and cached.

    The columns are those of `dataset_scripts.schema.FEATURES`. The key of the cache includes this code, so that no old
    images are used after a change of the code.

    Args:
        split: "train" or "test".
        seed: of the scenes; other seeds give other scenes with the same combinations in each split.
        split_sizes: split -> number of scenes; by default, 20,000 for training and 2,000 for testing.
        cache_dir: folder of the cache; by default, that of `datasets`.
        num_proc: number of processes that draw.

    Raises:
        WriteError: the cache cannot be written to.
    """
    with reporting_write_errors(Path(cache_dir or datasets.config.HF_DATASETS_CACHE)):
        builder = Scenes(seed=seed, split_sizes=split_sizes, cache_dir=cache_dir, hash=code_fingerprint())
        builder.download_and_prepare(num_proc=num_proc)
        return builder.as_dataset(split=split)
