"""Compare models on the same rows: a table with a column for each, and the images that each finds for a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image

from conclip.atomic_write import write_figure

# Images shown of each ranking.
SHOWN = 10
# Blue and vermilion of Okabe and Ito, which colour-blind readers tell apart.
TRUE, FALSE = ("#0072b2", "✓"), ("#d55e00", "✗")


def compare_table(columns: Mapping[str, dict], title: str) -> str:
    """
    Return a table for the terminal, with the rows that the first two models have.

    Args:
        columns: name of a model -> its metrics by name, as `ConCLIPTrainer.evaluate` returns them.
    """
    rows = _rows(columns)
    width, widths = max(len(label) for label, *_ in rows), [max(6, len(name)) for name in columns]
    heads = "  ".join(f"{name:>{wide}}" for name, wide in zip(columns, widths, strict=True))
    lines = [title, f"{'%':<{width}}  {'count':>7}  {'chance':>6}  {heads}"]
    for label, *parts in rows:
        values = ["–" if part is None else f"{100 * part['value']:.1f}" for part in parts]
        cells = "  ".join(f"{value:>{wide}}" for value, wide in zip(values, widths, strict=True))
        lines.append(f"{label:<{width}}  {parts[0]['count']:>7,}  {100 * parts[0]['chance']:>6.2f}  {cells}")
    return "\n".join(lines)


def most_ties(columns: Mapping[str, dict]) -> int:
    """Return the largest number of ties of a score in the table of `columns`."""
    return max(part["ties"] for _, *parts in _rows(columns) for part in parts if part)


def _rows(columns: Mapping[str, dict]) -> list[tuple]:
    """Return the rows that the first two models have: the label, then what `_part` returns for each column."""
    first, second = list(columns.values())[:2]
    rows = []
    for name in (name for name in first if name in second):
        for category in (None, *first[name].get("categories", {})):
            parts = (_part(metrics, name, category) for metrics in columns.values())
            rows.append((name if category is None else f"  {category}", *parts))
    return rows


def _part(metrics: dict, name: str, category: str | None = None) -> dict | None:
    """Return value, count, chance and ties of a metric or of one of its categories."""
    metric = metrics.get(name)
    if metric is None or category is None:
        return metric
    part = metric["categories"][category]
    return {"value": part["accuracy"], "count": part["count"], "chance": metric["chance"], "ties": part["ties"]}


@dataclass
class Search:
    """
    A text, and the images that each model ranks first for it.

    Args:
        text: what is searched for.
        share: how many of all images it is true of, 0 to 1.
        found: name of a model -> numbers of the first images, best first.
        true: name of a model -> whether the text is true of each of these.
    """

    text: str
    share: float
    found: dict[str, list[int]]
    true: dict[str, list[bool]]


def search(
    texts: Sequence[str], truth: np.ndarray, text_embeds: Mapping[str, torch.Tensor], image_embeds: torch.Tensor
) -> list[Search]:
    """
    Rank all images for each text.

    Args:
        truth: bool, (texts, images), of which images each text is true.
        text_embeds: name of a model -> float32, (texts, d), unit rows.
        image_embeds: float32, (images, d), unit rows, the same for all models.
    """
    searches = []
    for at, text in enumerate(texts):
        scores = {name: image_embeds.double() @ embeds[at].double() for name, embeds in text_embeds.items()}
        # Of equal scores, the first image.
        found = {name: own.argsort(descending=True, stable=True)[:SHOWN].tolist() for name, own in scores.items()}
        true = {name: truth[at, own].tolist() for name, own in found.items()}
        searches.append(Search(text, float(truth[at].mean()), found, true))
    return searches


def draw_rankings(searches: Sequence[Search], images: Sequence[Image], path: Path) -> None:
    """
    Draw the first images that each model finds for each text, best first, with a frame and a mark that say whether the
    text is true of them.

    Args:
        images: read on access, by the numbers in `Search.found`.
    """
    # Imported here because only the main process needs it. Without pyplot, matplotlib looks for no window system.
    from matplotlib.figure import Figure

    models = list(searches[0].found)
    lines = [(asked, name) for asked in searches for name in (None, *models)]
    columns = max(len(found) for asked in searches for found in asked.found.values())
    # A line of images is an inch high, the text above its lines less.
    heights = [0.5 if name is None else 1 for _, name in lines]
    figure = Figure(figsize=(1.6 + 0.95 * columns, 0.95 * sum(heights) + 0.3))
    grid = figure.add_gridspec(
        len(lines), columns + 1, height_ratios=heights, width_ratios=[1.6, *[0.95] * columns],
        left=0.01, right=0.99, top=1, bottom=0.05, wspace=0.12, hspace=0.2,
    )  # fmt: skip
    for line, (asked, name) in enumerate(lines):
        if name is None:
            axes = figure.add_subplot(grid[line, :])
            axes.text(0, 0.2, f"“{asked.text}”", fontsize=13, weight="bold", transform=axes.transAxes)
            note = f"true of {100 * asked.share:.0f} % of the {len(images):,} images"
            axes.text(1, 0.2, note, fontsize=10, ha="right", transform=axes.transAxes)
            axes.axis("off")
            continue
        axes = figure.add_subplot(grid[line, 0])
        true = asked.true[name]
        axes.text(0, 0.5, f"{name}\n{sum(true)} of {len(true)} true", fontsize=11, va="center")
        axes.axis("off")
        for place, (number, is_true) in enumerate(zip(asked.found[name], true, strict=True), 1):
            axes = figure.add_subplot(grid[line, place])
            axes.imshow(images[number])
            axes.set(xticks=[], yticks=[])
            colour, mark = TRUE if is_true else FALSE
            for spine in axes.spines.values():
                spine.set(color=colour, linewidth=3)
            # On the frame, where it hides little of the image.
            box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": colour, "linewidth": 1.5}
            axes.text(
                0.5, 0, mark, color=colour, fontsize=9, weight="bold", ha="center", va="center", bbox=box,
                transform=axes.transAxes,
            )  # fmt: skip
    legend = f"The first {columns} of all images, best first: the text is true (✓, blue) or not (✗, orange)."
    figure.text(0.01, 0.008, legend, fontsize=9)
    write_figure(figure, path)
