"""The figure of benchmarks: the plotted values are read back from it, and the file opens."""

import math

import numpy as np
import pytest
from benchmark_rows import LABELS, ROWS, report, row
from matplotlib.figure import Figure
from PIL import Image

from conclip.evaluation.plots import plot_benchmarks


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved."""
    saved = []
    save = Figure.savefig

    def keep(figure, *args, **kwargs):
        saved.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def many(count, num_models=3, name="benchmark"):
    lines = [row(f"{name} {at}", "accuracy", values=[at / count] * num_models, chance=0.1) for at in range(count)]
    return report(lines, num_models)


@pytest.mark.parametrize(("num_lines", "num_models"), [(1, 1), (2, 1), (3, 1), (15, 2), (29, 3)])
def test_the_file_is_an_image_with_every_headline(tmp_path, figures, num_lines, num_models):
    plot_benchmarks(many(num_lines, num_models), tmp_path / "new/figure.png")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["figure.png"]
    with Image.open(tmp_path / "new/figure.png") as image:
        image.load()
        assert image.format == "PNG" and 500 < image.width < 5000 and 200 < image.height < 3000
        # Not blank: the colour of the first model's bars is there.
        colour = (31, 111, 235) if num_models == 1 else (154, 165, 177)
        assert (np.asarray(image.convert("RGB")) == colour).all(-1).mean() > (0.01 if num_lines > 1 else 0)
    [figure] = figures
    bars = [axes for axes in figure.axes if axes.name == "rectilinear"]
    assert sum(len(axes.patches) for axes in bars) == num_lines * num_models
    names = [text.get_text() for axes in bars for text in axes.get_yticklabels()]
    assert names == [f"Benchmark {at} (n=2,000)\naccuracy" for at in range(num_lines)]
    assert sum(axes.name == "polar" for axes in figure.axes) == (num_lines >= 3)


def test_bars_and_radar_show_the_values_and_chance(tmp_path, figures):
    plot_benchmarks(report(ROWS), tmp_path / "figure.png")
    [figure] = figures
    bars, radar = figure.axes
    lengths = [bar.get_width() for bar in bars.patches]
    expected = [50, 91.234, 50, 40, 30, math.nan, 80, 70, math.nan, 70, 75, math.nan]
    np.testing.assert_allclose(lengths, expected)
    shown = [text.get_text() for text in bars.texts]
    assert shown[:6] == ["50.0", "91.2", "50.0", "40.0", "30.0", "not defined"]
    assert [text.get_position()[0] for text in bars.texts][:6] == pytest.approx([51, 92.234, 51, 41, 31, 1])
    np.testing.assert_allclose([mark.get_xdata()[0] for mark in bars.lines], [50, 100 / 3, 0.1, 0.1])
    assert "Two True (n=2,000 of 3,234)\nTOT" in [text.get_text() for text in bars.get_yticklabels()]
    rings = [polygon.get_ydata() for polygon in radar.lines]
    # A polygon closes where it began.
    expected = [[50, 40, 80, 70, 50], [91.234, 30, 70, 75, 91.234], [50, math.nan, math.nan, math.nan, 50]]
    np.testing.assert_allclose(rings, [*expected, [50, 100 / 3, 0.1, 0.1, 50]])
    np.testing.assert_allclose(radar.lines[0].get_xdata()[:4], np.arange(4) * math.pi / 2)
    names = {"Pairs", "Two True", "Search\nrecall@5, plain", "Search\nrecall@5, negated"}
    assert names <= {text.get_text() for text in radar.texts}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*LABELS, "chance"]


@pytest.mark.parametrize(("num_lines", "num_models"), [(2, 3), (14, 2), (25, 3)])
def test_no_text_is_cut_off_or_covers_another(tmp_path, figures, num_lines, num_models):
    plot_benchmarks(many(num_lines, num_models, "a benchmark of many words"), tmp_path / "figure.png")
    [figure] = figures
    # As in the file; saving leaves the figure laid out for the file, at the density of a screen.
    figure.set_dpi(130)
    figure.draw_without_rendering()
    texts = [text for axes in figure.axes for text in [*axes.texts, *axes.get_yticklabels(), *axes.get_xticklabels()]]
    texts += figure.legends[0].get_texts()
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    page = figure.bbox
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)
    # Turned texts have boxes larger than themselves.
    upright = [text.get_window_extent() for text in texts if text.get_text() and text.get_rotation() % 360 == 0]
    for at, box in enumerate(upright):
        assert not any(box.padded(-2).overlaps(other.padded(-2)) for other in upright[at + 1 :])


def test_a_figure_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "figure.png").write_text("old")

    def fail(figure, file, **kwargs):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plot_benchmarks(many(3), tmp_path / "figure.png")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
