"""docs/results.md says what the measurements in docs/results/ say."""

import importlib.util
import itertools
from pathlib import Path

import pytest
from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def results():
    spec = importlib.util.spec_from_file_location("results_page", DOCS / "results" / "page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes(results):
    assert (DOCS / "results.md").read_text(encoding="utf-8") == results.page()


def test_a_cell_is_a_mean_and_a_standard_deviation(results):
    found = {
        "scores": [{"key": "a", "name": "A", "count": 1_000, "chance": 25.0}],
        "rows": [{"name": "one", "scores": {"a": 50.04}}, {"name": "three", "scores": {"a": [1.0, 2.0, 3.0]}}],
    }
    lines = results.table(found).splitlines()
    assert lines[0] == "| % | A |" and lines[2:4] == ["| count | 1,000 |", "| chance | 25.0 |"]
    # The standard deviation of a sample: the root of (1 + 0 + 1) / 2.
    assert lines[4:] == ["| one | 50.0 |", "| three | 2.0 ± 1.0 |"]


def test_every_trained_row_has_its_options_and_seeds(results):
    found = results.read("flickr8k")
    for row in found["rows"]:
        if "options" in row:
            counts = {len(value) if isinstance(value, list) else 1 for value in row["scores"].values()}
            assert counts == {len(row["seeds"])}, row["name"]


def test_the_figure_is_drawn(results, tmp_path):
    results.draw(results.read("flickr8k"), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_numbers_of_points_cover_neither_points_nor_each_other(results):
    figure = Figure(figsize=(5, 5))
    axes = figure.subplots()
    x, y = [1.0, 1.0, 1.1, 3.0, 3.0, 3.3, 5.0, 5.0], [1.0, 1.2, 1.1, 3.0, 3.0, 3.1, 5.0, 4.9]
    axes.scatter(x, y)
    axes.set(xlim=(0, 6), ylim=(0, 6))
    results.number_points(axes, x, y)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [str(number) for number in range(1, 9)]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    points = axes.transData.transform(list(zip(x, y, strict=True)))
    assert not any(box.contains(*point) for box in boxes for point in points)
