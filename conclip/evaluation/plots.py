"""The figure of a benchmark run: bars, and a radar chart as in the paper (arXiv 2403.20312)."""

import math
from pathlib import Path
from textwrap import fill

from conclip.atomic_write import write_figure
from conclip.evaluation.results import BenchmarkReport
from conclip.evaluation.table import ScoreRow

# The first model, usually the base of the others, is grey.
COLOURS = ("#9aa5b1", "#1f6feb", "#e8590c", "#2b8a3e", "#ae3ec9", "#c92a2a", "#0c8599", "#5c3d2e")
BAR_ROWS = 14
# Keeps numbers readable where a line crosses them.
BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
CHANCE = {"color": "black", "lw": 1, "ls": ":"}


def plot_benchmarks(report: BenchmarkReport, path: Path) -> None:
    """
    Plot the headline scores as a PNG: bars with values and chance levels and, for three scores or more, a radar chart.

    Raises:
        WriteError: the folder cannot be made or written to.
    """
    # Imported late: only the main process plots. Without pyplot, matplotlib does not look for a display.
    from matplotlib.figure import Figure

    rows, labels = report.headlines, report.labels
    num_columns = math.ceil(len(rows) / BAR_ROWS)
    num_rows = math.ceil(len(rows) / num_columns)
    has_radar = len(rows) >= 3
    # Inches; a radar chart with many axes needs room for their names.
    radar = 0 if not has_radar else 7 if num_columns == 1 else 9
    widths = [6.5] * num_columns + [radar] * has_radar
    height = max(0.8 * radar, 1.3 + num_rows * (0.25 + 0.17 * len(labels)))
    figure = Figure(figsize=(sum(widths), height), layout="constrained")
    grid = figure.add_gridspec(1, len(widths), width_ratios=widths)
    for column in range(num_columns):
        axes = figure.add_subplot(grid[column])
        _draw_bars(axes, rows[column * num_rows : (column + 1) * num_rows], labels, num_rows)
    if has_radar:
        _draw_radar(figure.add_subplot(grid[-1], projection="polar"), rows, labels)
    _add_legend(figure, labels)
    write_figure(figure, path)


def _colours(labels: list[str]) -> list[str]:
    # A single model is not a base: no grey.
    first = 1 if len(labels) == 1 else 0
    return [COLOURS[(first + index) % len(COLOURS)] for index in range(len(labels))]


def _percent(share: float | None) -> float:
    return math.nan if share is None else 100 * share


def _count_text(row: ScoreRow) -> str:
    return f"{row.count:,} of {row.count + row.skipped:,}" if row.skipped else f"{row.count:,}"


def _draw_bars(axes, rows: list[ScoreRow], labels: list[str], num_rows: int) -> None:
    """Draw one column of bars; `num_rows`: rows of the longest column, so that all bars have the same thickness."""
    thickness = 0.84 / len(labels)
    for at, row in enumerate(rows):
        for index, (label, colour) in enumerate(zip(labels, _colours(labels), strict=True)):
            y, value = at - 0.42 + thickness * (index + 0.5), row.values[label]
            axes.barh(y, _percent(value), thickness * 0.95, color=colour)
            end, text = (0, "not defined") if value is None else (100 * value, f"{100 * value:.1f}")
            axes.text(end + 1, y, text, va="center", fontsize=8, bbox=BOX, zorder=3)
        axes.plot([_percent(row.chance)] * 2, [at - 0.46, at + 0.46], **CHANCE)
    names = [f"{fill(f'{row.title} (n={_count_text(row)})', 44)}\n{fill(row.name, 44)}" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.set_xticks(range(0, 101, 20))
    axes.set(xlim=(0, 112), ylim=(num_rows - 0.4, -0.6), xlabel="%")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_radar(axes, rows: list[ScoreRow], labels: list[str]) -> None:
    angles = [2 * math.pi * at / len(rows) for at in range(len(rows))]

    def polygon(shares: list[float | None], **style) -> None:
        """Draw a closed line with gaps where a value is missing."""
        values = list(map(_percent, shares))
        axes.plot([*angles, 0], [*values, values[0]], clip_on=False, **style)

    for label, colour in zip(labels, _colours(labels), strict=True):
        polygon([row.values[label] for row in rows], color=colour, lw=1.8, marker="o", ms=3.5)
    polygon([row.chance for row in rows], **CHANCE)
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_ylim(0, 100)
    axes.set_xticks(angles, [""] * len(rows))
    axes.set_yticks(range(20, 101, 20), [""] * 5)
    axes.grid(color="#dddddd", lw=0.8)
    axes.spines["polar"].set_color("#bbbbbb")
    # Drawn as texts: tick labels would lie below the lines and cannot be rotated.
    for value in range(20, 101, 20):
        axes.text(math.pi / len(rows), value, value, fontsize=7, color="#666666", ha="center", va="center", bbox=BOX)
    for angle, name in zip(angles, _radar_names(rows), strict=True):
        axes.text(angle, 105, name, fontsize=8, rotation_mode="anchor", **_beside_circle(angle, len(rows) > BAR_ROWS))


def _beside_circle(angle: float, along_spoke: bool) -> dict:
    """Return the alignment of a text at this angle (clockwise from the top), away from the circle."""
    right, up = math.sin(angle), math.cos(angle)
    if along_spoke:
        on_right = right >= -1e-9
        turned = 90 - math.degrees(angle) + (0 if on_right else 180)
        return {"rotation": turned, "ha": "left" if on_right else "right", "va": "center"}
    return {
        "ha": "center" if abs(right) < 0.1 else "left" if right > 0 else "right",
        "va": "center" if abs(up) < 0.7 else "bottom" if up > 0 else "top",
    }


def _radar_names(rows: list[ScoreRow]) -> list[str]:
    """Return the title of each benchmark and, if it has several headlines, their names."""
    titles = [row.title for row in rows]
    return [
        fill(row.title, 18) if titles.count(row.title) == 1 else f"{fill(row.title, 18)}\n{fill(row.name, 18)}"
        for row in rows
    ]


def _add_legend(figure, labels: list[str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Patch(color=colour) for colour in _colours(labels)] + [Line2D([], [], **CHANCE)]
    width = figure.get_figwidth()
    # A label takes about 0.075 inches per letter, and its handle half an inch.
    columns = max(1, int(width / (0.6 + 0.075 * max(map(len, labels)))))
    figure.legend(
        handles,
        [*labels, "chance"],
        loc="outside upper center",
        ncols=min(columns, len(handles)),
        fontsize=9,
        frameon=False,
    )
