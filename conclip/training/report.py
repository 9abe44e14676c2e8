"""The report of a training run: table, results.json and figure."""

import json
from pathlib import Path

import numpy as np

from conclip.atomic_write import write_atomically, write_figure
from conclip.training.statement_evaluator import FOUND, KEPT

QUERY_ARITHMETIC = (
    "Query arithmetic is the base model without training. It embeds a text that negates something as what the text "
    "wants, less what it denies."
)
# Beginning of a metric's name -> what the metric says, for readers of the card who know retrieval only.
MEANINGS = {
    "negation pair accuracy": "how often an image scores higher with its caption than with a negated caption that is "
    "false of it",
    "true negation accuracy": "how often an image scores higher with a true negation than with a false caption that "
    "differs from it in few words",
    "multiple choice accuracy": "how often the true one of four statements about an image scores highest",
    "first image true": "how often a text is true of the first image found for it",
    FOUND: "how often a text is nearer to its own target than to the targets of all others",
    KEPT: "how near plain captions stay to their embeddings by the base model",
}
RESULTS_FILE, FIGURE_FILE = "results.json", "scores.png"
# Of the default run.
COMPARISON_FILE, RANKINGS_FILE = "comparison.json", "rankings.png"
REPORT_FILES = (RESULTS_FILE, FIGURE_FILE, COMPARISON_FILE, RANKINGS_FILE)
COLOURS = {"before": "#9aa5b1", "query_arithmetic": "#e3a008", "after": "#1f6feb"}


def table_rows(before: dict, after: dict, query_arithmetic: dict | None = None) -> list[dict]:
    """
    Return a row for each metric and its categories: label, count, chance, before, after (shares of 1), ties.

    Args:
        before, after: metrics by name.
        query_arithmetic: metrics of the base model with query arithmetic. The rows then have the entry
            "query_arithmetic" too, `None` for a metric that is not among these.
    """

    def arithmetic(name: str, category: str | None = None) -> dict:
        if not query_arithmetic:
            return {}
        metric = query_arithmetic.get(name)
        value = metric and (metric["categories"][category]["accuracy"] if category else metric["value"])
        return {"query_arithmetic": value}

    rows = []
    for name, metric in after.items():
        rows.append(
            {"label": name, "count": metric["count"], "chance": metric["chance"], "ties": metric["ties"]}
            | {"before": before[name]["value"], "after": metric["value"]}
            | arithmetic(name)
        )
        for category, part in metric.get("categories", {}).items():
            rows.append(
                {"label": f"  {category}", "count": part["count"], "chance": metric["chance"], "ties": part["ties"]}
                | {"before": before[name]["categories"][category]["accuracy"], "after": part["accuracy"]}
                | arithmetic(name, category)
            )
    return rows


def format_table(rows: list[dict], title: str) -> str:
    """Return the rows of `table_rows` as a table for the terminal."""
    width = max(len(row["label"]) for row in rows)
    has_arithmetic = "query_arithmetic" in rows[0]
    heading = f"{'%':<{width}}  {'count':>7}  {'chance':>6}  {'before':>6}  {'after':>6}  {'change':>6}  {'ties':>5}"
    lines = [title, heading + (f"  {'query arithmetic':>16}" if has_arithmetic else "")]
    for row in rows:
        chance, before, after = (100 * row[name] for name in ("chance", "before", "after"))
        lines.append(
            f"{row['label']:<{width}}  {row['count']:>7,}  {chance:>6.2f}  {before:>6.1f}  {after:>6.1f}  "
            f"{after - before:>+6.1f}  {row['ties']:>5,}"
            + (f"  {_percent(row['query_arithmetic']):>16}" if has_arithmetic else "")
        )
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def verdict(rows: list[dict], loss: str) -> str:
    """
    Say in words which scores fell, and which falls are within two standard errors, or that none did.

    Args:
        loss: what the model was trained with, such as "the conclip loss".
    """
    falls = []
    for row in rows:
        change = 100 * row["after"] - 100 * row["before"]
        if change >= 0:
            continue
        spread = sum(row[side] * (1 - row[side]) for side in ("before", "after"))
        error = 100 * (spread / row["count"]) ** 0.5
        # A mean cosine is no share of right answers, and its error is not known here.
        is_share = row["label"] != KEPT
        note = ", within two standard errors" if is_share and -change < 2 * error else ""
        points = f"{-change:.1f}"
        falls.append(f"{row['label'].strip()} by {'less than 0.1' if points == '0.0' else points} points{note}")
    if not falls:
        return f"No score fell with {loss}."
    return f"Lower after training with {loss}: {'; '.join(falls)}."


def draw_scores(results: dict, margins: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """
    Plot each metric before and after with its chance level and, for pair metrics, the distribution of the margins.

    Args:
        results: as in results.json.
        margins: "before" and "after" -> metric -> float, (pairs,): cosine of the true minus that of the false caption.
    """
    # Imported here because only the main process needs it. Without pyplot, matplotlib looks for no window system.
    from matplotlib.figure import Figure

    rows = table_rows(results["before"], results["after"], results.get("query_arithmetic"))
    figure = Figure(figsize=(6 + 4 * len(margins["after"]), max(4.5, 0.4 * len(rows))))
    bars, *plots = figure.subplots(1, 1 + len(margins["after"]), squeeze=False)[0]
    _draw_bars(bars, rows)
    for plot, name in zip(plots, margins["after"], strict=True):
        _draw_margins(plot, name, {side: margins[side][name] for side in ("before", "after")})
    figure.suptitle(results["title"], fontsize=10)
    figure.tight_layout()
    write_figure(figure, path)


def _draw_bars(bars, rows: list[dict]) -> None:
    """Draw a bar for each score of the rows of `table_rows`, with its chance level."""
    at = np.arange(len(rows))[::-1]
    sides = {side: colour for side, colour in COLOURS.items() if side in rows[0]}
    height = 0.8 / len(sides)
    for place, (side, colour) in enumerate(sides.items()):
        offset = height * ((len(sides) - 1) / 2 - place)
        shown = [(y + offset, 100 * row[side]) for y, row in zip(at, rows, strict=True) if row[side] is not None]
        label = "before, query arithmetic" if side == "query_arithmetic" else side
        bars.barh(*zip(*shown, strict=True), 0.95 * height, label=label, color=colour)
        for y, value in shown:
            bars.text(min(value, 92) + 1, y, f"{value:.1f}", va="center", fontsize=8 if len(sides) < 3 else 6)
    for y, row in zip(at, rows, strict=True):
        bars.plot([100 * row["chance"]] * 2, [y - 0.4, y + 0.4], color="black", lw=1, ls=":")
    bars.set_yticks(at, [f"{row['label'].strip()} (n={row['count']:,})" for row in rows], fontsize=8)
    bars.set(xlim=(0, 100), xlabel="% (dotted: chance)")
    # Above the bars, which may fill the plot.
    bars.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(sides), frameon=False)


def _draw_margins(plot, name: str, margins: dict[str, np.ndarray]) -> None:
    """Draw the distribution of the margins of a pair metric, "before" and "after"."""
    edges = np.linspace(*np.quantile(np.concatenate([*margins.values()]), [0.002, 0.998]), 61)
    for side, own in margins.items():
        plot.hist(own, edges, alpha=0.7, label=side, color=COLOURS[side])
    plot.axvline(0, color="black", lw=1, ls=":")
    plot.set_title(name, fontsize=10)
    plot.set_xlabel("cosine: true − false caption (right of 0 is correct)", fontsize=8)
    plot.set_yticks([])
    plot.legend(fontsize=8)


def results_markdown(results: dict) -> str:
    """Return the section of results of the model card."""
    rows = table_rows(results["before"], results["after"], results.get("query_arithmetic"))
    has_arithmetic = "query_arithmetic" in rows[0]
    lines = [
        f"{results['title']}. Base model: `{results['base_model']}`. A tie counts as an error.",
        "",
        "| metric, % | count | chance | before | after |" + (" query arithmetic |" if has_arithmetic else ""),
        "|---|---:|---:|---:|---:|" + ("---:|" if has_arithmetic else ""),
    ]
    for row in rows:
        label = f"&nbsp;&nbsp;{row['label'].strip()}" if row["label"].startswith(" ") else row["label"]
        numbers = " | ".join(f"{100 * row[name]:.1f}" for name in ("before", "after"))
        arithmetic = f" {_percent(row['query_arithmetic'])} |" if has_arithmetic else ""
        lines.append(f"| {label} | {row['count']:,} | {100 * row['chance']:.2f} | {numbers} |{arithmetic}")
    labels = [row["label"] for row in rows]
    meanings = [
        f"- *{name}*: {meaning}"
        for name, meaning in MEANINGS.items()
        if any(label.startswith(name) for label in labels)
    ]
    if meanings:
        lines += ["", *meanings]
    if has_arithmetic:
        lines += ["", QUERY_ARITHMETIC]
    if not_scored := results.get("not_scored"):
        lines += ["", " ".join(not_scored)]
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
