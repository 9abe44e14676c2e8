"""The scenes: deterministic, splits without overlap, every caption as true or false as its column says."""

import io
import random
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scene_captions import OBJECT, is_true

from dataset_scripts import scenes
from dataset_scripts.scenes import (
    COMBINATIONS,
    HELD_OUT,
    IN_TRAINING,
    NEGATION_KINDS,
    different_combinations,
    load_scenes,
    make_row,
)
from dataset_scripts.scenes_drawing import COLOURS, GRID, IMAGE_SIZE, PALETTE, SHADE, SHAPES, SceneObject, draw
from dataset_scripts.schema import FEATURES

SIZES = {"train": 60, "test": 40}


@pytest.fixture
def rows_with_objects(monkeypatch):
    """Rows with the objects of their image and of their distractor."""

    def rows(split, count):
        seen = []
        monkeypatch.setattr(scenes, "draw", lambda scene, *_: seen.append(list(scene)) or Image.new("RGB", (2, 2)))
        for index in range(count):
            seen.clear()
            row = make_row(split, index, seed=0)
            yield row, *seen

    return rows


@pytest.mark.parametrize("split", ["train", "test"])
def test_captions_are_as_true_or_false_as_their_column_says(rows_with_objects, split):
    kinds = set()
    for row, scene, distractor in rows_with_objects(split, 600):
        [negated] = row["negated_captions"]
        assert is_true(row["caption"], scene), row
        assert not is_true(negated, scene), row
        assert is_true(negated, distractor), row
        assert not is_true(row["caption"], distractor), row
        for true, foil in zip(row["true_negations"], row["true_negation_foils"], strict=True):
            assert is_true(true, scene) and not is_true(foil, scene), row
        rows, columns = ("top", "bottom"), ("left", "right")
        assert row["objects"] == [
            f"{item.size} {item.colour} {item.shape} at the {rows[item.row]} {columns[item.column]}" for item in scene
        ]
        kinds.update(row["negation_kinds"])
    assert kinds == set(NEGATION_KINDS)


def test_no_combination_of_the_test_split_is_in_training(rows_with_objects):
    assert set(HELD_OUT) | set(IN_TRAINING) == set(COMBINATIONS) and not set(HELD_OUT) & set(IN_TRAINING)
    for shape in SHAPES:
        assert {name for name, _ in HELD_OUT} == set(SHAPES) and any(shape == name for name, _ in IN_TRAINING)
    assert {colour for _, colour in IN_TRAINING} == set(COLOURS)
    for row, *images in rows_with_objects("train", 600):
        assert all((item.shape, item.colour) in IN_TRAINING for scene in images for item in scene)
        texts = [row["caption"], *row["negated_captions"], *row["true_negations"], *row["true_negation_foils"]]
        named = {f"{shape} {colour}" for shape, colour in HELD_OUT}
        for text in texts:
            assert not any(f"{m['shape']} {m['colour']}" in named for m in OBJECT.finditer(text)), text
    for _, scene, _ in rows_with_objects("test", 300):
        assert all((item.shape, item.colour) in HELD_OUT for item in scene)


def test_objects_and_absent_ones_are_equally_likely_in_any_order():
    """Four of the ten held-out combinations clash by colour: rejecting one at a time would favour some orders."""
    rng, counts = random.Random(0), Counter()
    for _ in range(8000):
        chosen = different_combinations(rng, HELD_OUT)
        assert {shape for shape, _ in chosen} == set(SHAPES) and len({colour for _, colour in chosen}) == len(SHAPES)
        counts[chosen[0][0], chosen[3][0]] += 1
    # Each ordered pair of shapes, the first in the scene and the other absent; 4 standard deviations.
    assert len(counts) == 20 and all(abs(count - 400) < 80 for count in counts.values())


def test_what_may_be_absent_shares_neither_shape_nor_colour_with_the_scene():
    rng, seen = random.Random(0), set()
    for _ in range(100):
        chosen = different_combinations(rng, HELD_OUT, besides=[("circle", "red"), ("square", "green")])
        assert {shape for shape, _ in chosen} == {"triangle", "star", "cross"}
        assert not {"red", "green"} & {colour for _, colour in chosen}
        seen.update(chosen)
    assert seen == {own for own in HELD_OUT if own[0] not in ("circle", "square") and own[1] not in ("red", "green")}


def test_text_alone_does_not_separate_true_from_false_negations():
    """The words of negation and their places are the same on both sides; only the object differs."""
    for index in range(200):
        row = make_row("train", index, seed=0)
        true, (_, foil) = row["true_negations"][0], row["true_negation_foils"]
        assert OBJECT.sub("*", true).replace("an *", "a *") == OBJECT.sub("*", foil).replace("an *", "a *")


def test_rows_depend_on_the_arguments_alone():
    assert make_row("train", 7, 0) == make_row("train", 7, 0)
    assert make_row("train", 7, 0) != make_row("train", 7, 1)
    assert make_row("train", 7, 0) != make_row("train", 8, 0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", ["small", "large"])
def test_an_object_is_drawn_in_its_colour_and_cell(shape, size):
    cell = IMAGE_SIZE // GRID
    for row in range(GRID):
        for column in range(GRID):
            image = np.asarray(draw([SceneObject(shape, "red", size, row, column)], 120, random.Random(0)))
            painted = (abs(image.astype(int) - PALETTE["red"]) <= SHADE).all(axis=2)
            inside = painted[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            assert inside.sum() == painted.sum() > 8
            assert (image == 120).all(axis=2).sum() > IMAGE_SIZE**2 / 2


def test_large_is_larger_than_small():
    for shape in SHAPES:
        areas = [
            (np.asarray(draw([SceneObject(shape, "blue", size, 0, 0)], 120, random.Random(1))) != 120)
            .any(axis=2)
            .sum()
            for size in ("small", "large")
        ]
        assert areas[1] > 1.6 * areas[0]


def test_builder_writes_the_schema(tmp_path):
    splits = load_scenes(split_sizes=SIZES, cache_dir=str(tmp_path))
    assert {name: len(split) for name, split in splits.items()} == SIZES
    assert splits["test"].features == FEATURES
    row, made = splits["test"][3], make_row("test", 3, 0)
    assert row["caption"] == made["caption"] and row["true_negation_foils"] == made["true_negation_foils"]
    assert row["image"].size == (IMAGE_SIZE, IMAGE_SIZE)
    expected = np.asarray(Image.open(io.BytesIO(made["distractor_images"][0]["bytes"])))
    assert (np.asarray(row["distractor_images"][0]) == expected).all()


def test_same_rows_for_any_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "ROWS_PER_SHARD", 20)
    one = load_scenes("train", split_sizes=SIZES, cache_dir=str(tmp_path / "1"))
    two = load_scenes("train", split_sizes=SIZES, cache_dir=str(tmp_path / "2"), num_proc=2)
    assert one["caption"][:] == two["caption"][:]


def test_other_code_or_sizes_do_not_use_the_old_cache(tmp_path, monkeypatch):
    first = load_scenes("train", split_sizes=SIZES, cache_dir=str(tmp_path))
    assert len(load_scenes("train", split_sizes={"train": 20, "test": 10}, cache_dir=str(tmp_path))) == 20
    monkeypatch.setattr(scenes, "code_fingerprint", lambda: "changed")
    monkeypatch.setattr(scenes, "OPENINGS", ("look: ",))
    changed = load_scenes("train", split_sizes=SIZES, cache_dir=str(tmp_path))
    assert changed[0]["caption"].startswith("look: ") and not first[0]["caption"].startswith("look: ")
