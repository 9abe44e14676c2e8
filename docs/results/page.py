"""
Write docs/results.md and docs/results.png from the measurements in this folder:

    python docs/results/page.py

`flickr8k.json`, `scenes.json` and `step.json` hold what was measured, by hand or by the command that they name; a row
with several values of a score has one for each seed.
"""

import json
import math
import statistics
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE, FIGURE = FOLDER.with_suffix(".md"), FOLDER.with_suffix(".png")


def main() -> None:
    from conclip.atomic_write import write_atomically

    write_atomically(PAGE, page().encode())
    draw(read("flickr8k"), FIGURE)
    print(f"Written: {PAGE}, {FIGURE}")


def read(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def page() -> str:
    """Return the page in Markdown."""
    flickr, scenes, step = read("flickr8k"), read("scenes"), read("step")
    parts = [
        "# Results of negation distillation",
        "This page shows what [negation distillation](distillation.md) reaches, on photographs with a small CLIP and "
        "on the scenes of the [default run](default_run.md), and what was tried. `python docs/results/page.py` writes "
        "it from the JSON files in `docs/results/`.",
        "## On photographs",
        flickr["about"],
        table(flickr),
        "![Errors on pairs against absence; the colour is text-to-image recall@5](results.png)",
        "### What limits it",
        *flickr["limits"],
        "### Commands",
        commands(flickr),
        "### Tried and dropped",
        "\n".join(f"- {line}" for line in flickr["dropped"]),
        "## On scenes",
        scenes["about"],
        scenes_table(scenes),
        scenes["limits"],
        f"```text\n{scenes['command']}\n```",
        '![The first ten images that each model finds for three queries with "no"](rankings.png)',
        scenes["trials"]["about"],
        table(scenes["trials"]),
        "## Cost of a step",
        step_cost(step),
    ]
    return "\n\n".join(parts) + "\n"


def table(found: dict) -> str:
    """Return the scores of all rows, a mean and a standard deviation where there are several seeds."""
    scores = found["scores"]
    lines = [
        "| % | " + " | ".join(score["name"] for score in scores) + " |",
        "|---|" + "---:|" * len(scores),
        "| count | " + " | ".join(f"{score['count']:,}" for score in scores) + " |",
        "| chance | " + " | ".join(_number(score["chance"]) for score in scores) + " |",
    ]
    for row in found["rows"]:
        cells = [_cell(row["scores"].get(score["key"])) for score in scores]
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def scenes_table(found: dict) -> str:
    """Return the scores of the models, a row for each score."""
    lines = [
        "| % | count | chance | " + " | ".join(found["models"]) + " |",
        "|---|" + "---:|" * (2 + len(found["models"])),
    ]
    for row in found["rows"]:
        values = " | ".join(_number(value) or "–" for value in row["values"])
        lines.append(f"| {row['name']} | {row['count']:,} | {row['chance']:.2f} | {values} |")
    return "\n".join(lines)


def commands(found: dict) -> str:
    """Return the command of each row that was trained."""
    common, rows = found["command"], [row for row in found["rows"] if "options" in row]
    lines = [
        "All runs share this command; a row adds its options.",
        f"```text\n{common}\n```",
        "| row | options | seeds |",
    ]
    lines[-1] += "\n|---|---|---|\n" + "\n".join(
        f"| {row['name']} | {_code(row['options'])} | {', '.join(map(str, row['seeds']))} |" for row in rows
    )
    return "\n\n".join(lines)


def step_cost(found: dict) -> str:
    ratio, options = found["ratio"], found["options"]
    return (
        f"{options['model']}, random weights, {found['threads']} threads: a step of the paper's loss over "
        f"{options['pairs']} pairs takes {ratio['median']:.2f} times as long as a step over {options['statements']} "
        f"statements ({ratio['min']:.2f} to {ratio['max']:.2f}, {len(found['ours_s'])} rounds in turns in one "
        "process). The command is `python -m speed.distillation_step`."
    )


def draw(found: dict, path: Path) -> None:
    """Draw errors on pairs against absence, with text-to-image recall@5 as the colour."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.2), layout="constrained")
    axes, below = figure.subplots(2, height_ratios=(5, 1))
    rows = [row for row in found["rows"] if {"pairs", "absence", "recall5"} <= row["scores"].keys()]
    keys = ("pairs", "absence", "recall5")
    pairs, y, color = ([statistics.mean(_list(row["scores"][key])) for row in rows] for key in keys)
    x = [max(100 - value, 0.1) for value in pairs]
    points = axes.scatter(x, y, c=color, cmap="viridis", s=60)
    # The better, the further to the right.
    axes.set(
        xscale="log", xlim=(60, 0.07), xlabel="errors on captions against false negations, %, at least 0.1 (chance 50)"
    )
    axes.set_ylabel("questions about absence, % (chance 25)")
    axes.grid(alpha=0.3, which="both")
    figure.colorbar(points, ax=axes, label="text-to-image recall@5, % (chance 8.3)")
    below.axis("off")
    legend = [f"{number}  {row['short']}" for number, row in enumerate(rows, 1)]
    height = -(-len(legend) // 4)
    for column in range(4):
        lines = "\n".join(legend[column * height : (column + 1) * height])
        below.text(column / 4, 1, lines, transform=below.transAxes, va="top", fontsize=9)
    number_points(axes, x, y)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def number_points(axes, x: list[float], y: list[float]) -> None:
    """Write the number of each point on the side of it that is farthest from other points and numbers."""
    axes.figure.canvas.draw()
    places = axes.transData.transform(list(zip(x, y, strict=True)))
    taken = [*places]
    for number, place in enumerate(places, 1):
        # Pixels; numbers are wider than high.
        sides = [
            place + (17 * math.cos(angle), 14 * math.sin(angle)) for angle in (math.tau * k / 8 for k in range(8))
        ]
        room = [min(math.dist(side, other) for other in taken) for side in sides]
        side = sides[room.index(max(room))]
        taken.append(side)
        axes.annotate(str(number), axes.transData.inverted().transform(side), ha="center", va="center", fontsize=9)


def _list(value: float | list[float]) -> list[float]:
    return value if isinstance(value, list) else [value]


def _cell(value: float | list[float] | None) -> str:
    if value is None:
        return ""
    values = _list(value)
    mean = _number(statistics.mean(values))
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _code(options: str) -> str:
    return f"`{options}`" if options else "none"


if __name__ == "__main__":
    main()
