"""The table and the figure that compare models."""

import numpy as np
import torch
from PIL import Image
from training_results import AFTER, BEFORE, metric

from conclip.training.comparison import FALSE, SHOWN, TRUE, Search, compare_table, draw_rankings, most_ties, search


def test_table_has_a_column_for_each_model_and_the_rows_of_the_first_two():
    more = {**AFTER, "another": metric(0.6)}
    columns = {"base": BEFORE, "ours": more, "query arithmetic": {"pairs": BEFORE["pairs"]}}
    title, *lines = compare_table(columns, "title").splitlines()
    assert title == "title" and lines[0].split() == ["%", "count", "chance", "base", "ours", "query", "arithmetic"]
    assert [line.split() for line in lines[1:]] == [
        ["pairs", "100", "50.00", "50.0", "90.0", "50.0"],
        ["object", "40", "50.00", "25.0", "75.0", "25.0"],
        ["recall", "100", "50.00", "30.0", "10.0", "–"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_most_ties_of_a_score_in_the_table():
    assert most_ties({"base": BEFORE, "ours": {**AFTER, "recall": {**metric(0.5), "ties": 7}}}) == 7
    # No row of the table shows this metric.
    other = {"another": {**metric(0.5), "ties": 9}}
    assert most_ties({"base": BEFORE, "ours": {**AFTER, **other}, "third": {**other, "pairs": AFTER["pairs"]}}) == 2


def test_ranking_of_all_images():
    scores = torch.tensor([0.1, 0.9, 0.3, 0.9, -0.5])
    truth = np.array([[True, True, False, False, True], [False] * 4 + [True]])
    texts = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    images = torch.stack([scores, torch.zeros(5)], dim=1)
    first, second = search(["one", "other"], truth, {"base": texts, "ours": -texts}, images)
    # In the order of scores: 1, 3, 2, 0, 4; of equal ones the first.
    assert first.found == {"base": [1, 3, 2, 0, 4], "ours": [4, 0, 2, 1, 3]}
    assert first.true == {"base": [True, False, False, True, True], "ours": [True, True, False, True, False]}
    assert (first.text, first.share, second.share) == ("one", 0.6, 0.2) and second.found["base"][0] == 4
    many = torch.rand(50, 2)
    [found] = search(["one"], truth[:1].repeat(10, axis=1), {"base": texts[:1]}, many)
    assert len(found.found["base"]) == SHOWN


def test_frame_and_mark_say_whether_the_text_is_true(tmp_path):
    grey = [Image.new("RGB", (8, 8), "grey")] * 3
    counts = {}
    for true in (True, False):
        shown = {"base": [true] * 3, "ours": [true, True, False]}
        found = Search("a star but no circle", 0.5, {name: [0, 1, 2] for name in shown}, shown)
        draw_rankings([found, found], grey, tmp_path / "figure.png")
        pixels = np.asarray(Image.open(tmp_path / "figure.png").convert("RGB")).astype(int)
        for colour, _ in (TRUE, FALSE):
            rgb = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
            counts[true, colour] = (np.abs(pixels - rgb).max(axis=2) < 10).sum()
    # Of the frames of four images, those of three change their colour.
    blue, orange = TRUE[0], FALSE[0]
    assert counts[True, blue] > 3 * counts[True, orange] > 0
    assert counts[False, orange] > 3 * counts[False, blue] > 0
