"""The report of a training run: table, results.json and figure."""

import json
from pathlib import Path

import numpy as np

from conclip.atomic_write import write_atomically, write_figure

RESULTS_FILE, FIGURE_FILE = "results.json", "scores.png"


def table_rows(before: dict, after: dict) -> list[dict]:
    """Return a row for each metric and its categories: label, count, chance, before, after (shares of 1), ties."""
    rows = []
    for name, metric in after.items():
        rows.append(
            {"label": name, "count": metric["count"], "chance": metric["chance"], "ties": metric["ties"]}
            | {"before": before[name]["value"], "after": metric["value"]}
        )
        for category, part in metric.get("categories", {}).items():
            rows.append(
                {"label": f"  {category}", "count": part["count"], "chance": metric["chance"], "ties": part["ties"]}
                | {"before": before[name]["categories"][category]["accuracy"], "after": part["accuracy"]}
            )
    return rows


def format_table(rows: list[dict], title: str) -> str:
    """Return the rows of `table_rows` as a table for the terminal."""
    width = max(len(row["label"]) for row in rows)
    lines = [
        title,
        f"{'%':<{width}}  {'count':>7}  {'chance':>6}  {'before':>6}  {'after':>6}  {'change':>6}  {'ties':>5}",
    ]
    for row in rows:
        chance, before, after = (100 * row[name] for name in ("chance", "before", "after"))
        lines.append(
            f"{row['label']:<{width}}  {row['count']:>7,}  {chance:>6.2f}  {before:>6.1f}  {after:>6.1f}  "
            f"{after - before:>+6.1f}  {row['ties']:>5,}"
        )
    return "\n".join(lines)


def verdict(rows: list[dict], loss: str) -> str:
    """Say in words which scores fell, and which falls are within two standard errors, or that none did."""
    falls = []
    for row in rows:
        change = 100 * row["after"] - 100 * row["before"]
        if change >= 0:
            continue
        spread = sum(row[side] * (1 - row[side]) for side in ("before", "after"))
        error = 100 * (spread / row["count"]) ** 0.5
        note = ", within two standard errors" if -change < 2 * error else ""
        falls.append(f"{row['label'].strip()} by {-change:.1f} points{note}")
    if not falls:
        return f"No score fell with the {loss} loss."
    return f"Lower after training with the {loss} loss: {'; '.join(falls)}."


def draw_scores(results: dict, margins: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """
    Plot each metric before and after with its chance level and, for pair metrics, the distribution of the margins.

    Args:
        results: as in results.json.
        margins: "before" and "after" -> metric -> float, (pairs,): cosine of the true minus that of the false caption.
    """
    # Imported here because only the main process needs it. Without pyplot, matplotlib looks for no window system.
    from matplotlib.figure import Figure

    rows = table_rows(results["before"], results["after"])
    figure = Figure(figsize=(6 + 4 * len(margins["after"]), 4.5))
    bars, *plots = figure.subplots(1, 1 + len(margins["after"]), squeeze=False)[0]
    at = np.arange(len(rows))[::-1]
    for side, offset, colour in (("before", 0.2, "#9aa5b1"), ("after", -0.2, "#1f6feb")):
        values = [100 * row[side] for row in rows]
        bars.barh(at + offset, values, 0.38, label=side, color=colour)
        for y, value in zip(at + offset, values, strict=True):
            bars.text(min(value, 92) + 1, y, f"{value:.1f}", va="center", fontsize=8)
    for y, row in zip(at, rows, strict=True):
        bars.plot([100 * row["chance"]] * 2, [y - 0.4, y + 0.4], color="black", lw=1, ls=":")
    bars.set_yticks(at, [f"{row['label'].strip()} (n={row['count']:,})" for row in rows], fontsize=8)
    bars.set(xlim=(0, 100), xlabel="% (dotted: chance)")
    # Above the bars, which may fill the plot.
    bars.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    for plot, name in zip(plots, margins["after"], strict=True):
        pooled = np.concatenate([margins[side][name] for side in ("before", "after")])
        edges = np.linspace(*np.quantile(pooled, [0.002, 0.998]), 61)
        for side, colour in (("before", "#9aa5b1"), ("after", "#1f6feb")):
            plot.hist(margins[side][name], edges, alpha=0.7, label=side, color=colour)
        plot.axvline(0, color="black", lw=1, ls=":")
        plot.set_title(name, fontsize=10)
        plot.set_xlabel("cosine: true − false caption (right of 0 is correct)", fontsize=8)
        plot.set_yticks([])
        plot.legend(fontsize=8)
    figure.suptitle(results["title"], fontsize=10)
    figure.tight_layout()
    write_figure(figure, path)


def results_markdown(results: dict) -> str:
    """Return the section of results of the model card."""
    rows = table_rows(results["before"], results["after"])
    lines = [
        f"{results['title']}. Base model: `{results['base_model']}`. A tie counts as an error.",
        "",
        "| metric, % | count | chance | before | after |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        label = f"&nbsp;&nbsp;{row['label'].strip()}" if row["label"].startswith(" ") else row["label"]
        numbers = " | ".join(f"{100 * row[name]:.1f}" for name in ("before", "after"))
        lines.append(f"| {label} | {row['count']:,} | {100 * row['chance']:.2f} | {numbers} |")
    lines += ["", results["verdict"], "", f"![Scores before and after]({FIGURE_FILE})"]
    if results["image_processor"]:
        lines += ["", f"Preprocessing: `{results['image_processor']}`."]
    if "command" in results:
        lines += ["", "Command:", "", "```bash", results["command"], "```"]
    return "\n".join(lines)


def write_report(results: dict, margins: dict | None, output_dir: Path) -> None:
    """
    Write results.json and, if there are scores, scores.png to `output_dir`, each whole or not at all.

    Args:
        results: as in results.json.
        margins: as `draw_scores` takes them; `None` without an evaluation.
    """
    write_atomically(output_dir / RESULTS_FILE, f"{json.dumps(results, indent=2)}\n".encode())
    if margins:
        draw_scores(results, margins, output_dir / FIGURE_FILE)
