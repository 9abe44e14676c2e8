"""The picture of a benchmark run: bars, and a radar as in the paper (arXiv 2403.20312)."""

import math
from pathlib import Path
from textwrap import fill

from conclip.atomic_write import write_figure
from conclip.evaluation.results import BenchmarkReport, Line

# The first model, mostly the base of the others, is grey.
COLOURS = ("#9aa5b1", "#1f6feb", "#e8590c", "#2b8a3e", "#ae3ec9", "#c92a2a", "#0c8599", "#5c3d2e")
BAR_ROWS = 14
# Makes numbers readable where a line passes.
BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
CHANCE = {"color": "black", "lw": 1, "ls": ":"}


def draw_benchmarks(report: BenchmarkReport, path: Path) -> None:
    """
    The numbers that benchmarks are known by as a PNG: bars with values and chance levels and, of three or more, a
    radar.

    Raises:
        WriteError: the folder cannot be made or written to.
    """
    # Only here: a process that draws nothing needs no matplotlib. Without pyplot, no window system is looked for.
    from matplotlib.figure import Figure

    lines, labels = report.headlines, report.labels
    num_columns = math.ceil(len(lines) / BAR_ROWS)
    num_rows = math.ceil(len(lines) / num_columns)
    has_radar = len(lines) >= 3
    # Inches; a radar of many axes needs room for their names.
    radar = 0 if not has_radar else 7 if num_columns == 1 else 9
    widths = [6.5] * num_columns + [radar] * has_radar
    height = max(0.8 * radar, 1.3 + num_rows * (0.25 + 0.17 * len(labels)))
    figure = Figure(figsize=(sum(widths), height), layout="constrained")
    grid = figure.add_gridspec(1, len(widths), width_ratios=widths)
    for column in range(num_columns):
        axes = figure.add_subplot(grid[column])
        _draw_bars(axes, lines[column * num_rows : (column + 1) * num_rows], labels, num_rows)
    if has_radar:
        _draw_radar(figure.add_subplot(grid[-1], projection="polar"), lines, labels)
    _add_legend(figure, labels)
    write_figure(figure, path)


def _colours(labels: list[str]) -> list[str]:
    # One model alone is nobody's base.
    first = 1 if len(labels) == 1 else 0
    return [COLOURS[(first + index) % len(COLOURS)] for index in range(len(labels))]


def _percent(share: float | None) -> float:
    return math.nan if share is None else 100 * share


def _counted(line: Line) -> str:
    return f"{line.count:,} of {line.count + line.left_out:,}" if line.left_out else f"{line.count:,}"


def _draw_bars(axes, lines: list[Line], labels: list[str], num_rows: int) -> None:
    """Args: num_rows: of the longest column, so that bars are as thick in each."""
    thickness = 0.84 / len(labels)
    for at, line in enumerate(lines):
        for index, (label, colour) in enumerate(zip(labels, _colours(labels), strict=True)):
            y, value = at - 0.42 + thickness * (index + 0.5), line.values[label]
            axes.barh(y, _percent(value), thickness * 0.95, color=colour)
            end, text = (0, "not defined") if value is None else (100 * value, f"{100 * value:.1f}")
            axes.text(end + 1, y, text, va="center", fontsize=8, bbox=BOX, zorder=3)
        axes.plot([_percent(line.chance)] * 2, [at - 0.46, at + 0.46], **CHANCE)
    names = [f"{fill(f'{line.title} (n={_counted(line)})', 44)}\n{fill(line.name, 44)}" for line in lines]
    axes.set_yticks(range(len(lines)), names, fontsize=8)
    axes.set_xticks(range(0, 101, 20))
    axes.set(xlim=(0, 112), ylim=(num_rows - 0.4, -0.6), xlabel="%")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_radar(axes, lines: list[Line], labels: list[str]) -> None:
    angles = [2 * math.pi * at / len(lines) for at in range(len(lines))]

    def polygon(shares: list[float | None], **style) -> None:
        """Open where a value is missing."""
        values = list(map(_percent, shares))
        axes.plot([*angles, 0], [*values, values[0]], clip_on=False, **style)

    for label, colour in zip(labels, _colours(labels), strict=True):
        polygon([line.values[label] for line in lines], color=colour, lw=1.8, marker="o", ms=3.5)
    polygon([line.chance for line in lines], **CHANCE)
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_ylim(0, 100)
    axes.set_xticks(angles, [""] * len(lines))
    axes.set_yticks(range(20, 101, 20), [""] * 5)
    axes.grid(color="#dddddd", lw=0.8)
    axes.spines["polar"].set_color("#bbbbbb")
    # Texts of our own: the labels of ticks lie below the lines, and cannot be turned.
    for value in range(20, 101, 20):
        axes.text(math.pi / len(lines), value, value, fontsize=7, color="#666666", ha="center", va="center", bbox=BOX)
    for angle, name in zip(angles, _radar_names(lines), strict=True):
        axes.text(angle, 105, name, fontsize=8, rotation_mode="anchor", **_beside_circle(angle, len(lines) > BAR_ROWS))


def _beside_circle(angle: float, along_spoke: bool) -> dict:
    """How a text at this angle (clockwise from the top) stands so that it grows away from the circle."""
    right, up = math.sin(angle), math.cos(angle)
    if along_spoke:
        on_right = right >= -1e-9
        turned = 90 - math.degrees(angle) + (0 if on_right else 180)
        return {"rotation": turned, "ha": "left" if on_right else "right", "va": "center"}
    return {
        "ha": "center" if abs(right) < 0.1 else "left" if right > 0 else "right",
        "va": "center" if abs(up) < 0.7 else "bottom" if up > 0 else "top",
    }


def _radar_names(lines: list[Line]) -> list[str]:
    """The benchmark and, where it has several numbers, which of them."""
    titles = [line.title for line in lines]
    return [
        fill(line.title, 18) if titles.count(line.title) == 1 else f"{fill(line.title, 18)}\n{fill(line.name, 18)}"
        for line in lines
    ]


def _add_legend(figure, labels: list[str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Patch(color=colour) for colour in _colours(labels)] + [Line2D([], [], **CHANCE)]
    width = figure.get_figwidth()
    # A label takes about 0.075 inches a letter, and its handle half an inch.
    columns = max(1, int(width / (0.6 + 0.075 * max(map(len, labels)))))
    figure.legend(
        handles,
        [*labels, "chance"],
        loc="outside upper center",
        ncols=min(columns, len(handles)),
        fontsize=9,
        frameon=False,
    )
