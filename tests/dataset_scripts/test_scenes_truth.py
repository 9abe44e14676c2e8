"""Of which scenes a statement is true, against the helper that reads captions by other rules, and by hand."""

import pytest
from scene_captions import is_true

from dataset_scripts import scenes
from dataset_scripts.benchmarks.scenes_choice import choices
from dataset_scripts.scenes_truth import Described, Statement, read_statement, truth

RED_STAR, BLUE_CROSS = "small red star at the top left", "large blue cross at the top right"


@pytest.mark.parametrize("split", ["train", "test"])
def test_truth_of_all_texts_in_all_scenes(split, monkeypatch):
    drawn, rows = [], []
    monkeypatch.setattr(scenes, "draw", lambda scene, *_: drawn.append(scene))
    monkeypatch.setattr(scenes, "encode", lambda image: {"bytes": b"image", "path": None})
    for index in range(150):
        rows.append(scenes.make_row(split, index, 0))
    own = drawn[::2]
    texts = [row["caption"] for row in rows] + [
        text
        for row in rows
        for name in ("negated_captions", "true_negations", "true_negation_foils")
        for text in row[name]
    ]
    if split == "test":
        texts += [text for question in choices(enumerate(rows), "scenes") for text in question["captions"]]
    found = truth(texts, [row["objects"] for row in rows])
    expected = [[is_true(text, scene) for scene in own] for text in texts]
    assert found.tolist() == expected
    assert found[range(150), range(150)].all()


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("a star and a cross", Statement((Described("star"), Described("cross")))),
        (
            "there is a red thing no doubt above an orange cross",
            Statement((Described(colour="red"), Described("cross", "orange")), relation="above"),
        ),
        (
            "a star that is not red not left of a small cross",
            Statement((Described("star", unlike="red"), Described("cross", size="small")), None, "left of", True),
        ),
        (
            "a star not at the bottom left with a cross",
            Statement((Described("star", place=(True, False), elsewhere=True), Described("cross"))),
        ),
        ("a star without a large cross", Statement((Described("star"),), Described("cross", size="large"))),
        ("not only a star but also a cross", Statement((Described("star"), Described("cross")))),
        ("a picture without a cross", Statement((), Described("cross"))),
    ],
)
def test_statements_read_by_hand(text, statement):
    assert read_statement(text) == statement


@pytest.mark.parametrize(
    "text", ["", "a star", "a dog and a cat", "a star left of", "a star and a cross and no circle"]
)
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="not a statement about a scene"):
        read_statement(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a star left of a cross", [True, False]),
        ("a star right of a cross", [False, False]),
        ("a star not left of a cross", [False, False]),
        ("a star above a cross", [False, False]),
        ("a star at the top left and a cross", [True, False]),
        ("a star and no cross", [False, True]),
        ("no cross", [False, True]),
        ("a small star that is not blue with a thing", [True, False]),
    ],
)
def test_truth_by_hand(text, expected):
    assert truth([text], [[RED_STAR, BLUE_CROSS], [RED_STAR]]).tolist() == [expected]
