"""Rows of scores and their table, models side by side: for a terminal and for a model card."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

# Part of the names of metrics in which a tie is no error if the right option comes first, as in an argmax.
FIRST_WINS = "first of equals wins"
# Other conditions, such as negated captions, are compared with this one.
PLAIN = "plain"
MISSING = "-"
CHANGE = "+/-"


@dataclass(frozen=True)
class ScoreRow:
    """
    One score of one benchmark, over the same items for all models.

    Args:
        benchmark: name of the benchmark in `--benchmarks`, e.g. "sugarcrepe".
        title: name of the benchmark in tables, e.g. "SugarCrepe".
        split: split of the annotations, e.g. "val".
        metric: name of the metric, e.g. "pair accuracy", "ITT", "recall@1".
        part: "" for all items; else the category, group or condition, e.g. "add_obj", "negated", "macro".
        headline: whether this is the main score of the benchmark, which goes into the figure and the Hub's metadata.
        count: number of items scored.
        chance: score of random guessing, from 0 to 1; None if it is not known.
        skipped: number of items that were not scored because their image is missing.
        values: label of a model -> its score, from 0 to 1; None if the metric is not defined for the model.
        ties: label of a model -> number of items that it lost by a tie; a model without ties may be missing.
    """

    benchmark: str
    title: str
    split: str
    metric: str
    part: str
    headline: bool
    count: int
    chance: float | None
    skipped: int
    values: dict[str, float | None]
    ties: dict[str, int]

    @property
    def name(self) -> str:
        """Return the name of the score within its benchmark, e.g. "pair accuracy, add_obj"."""
        return f"{self.metric}, {self.part}" if self.part else self.metric


@dataclass(frozen=True)
class TableLine:
    """
    One line of a table.

    Args:
        text: name of the benchmark, metric or part.
        depth: 0 for a benchmark, 1 for its metrics, 2 for their parts.
        headline: whether it is the main score of the benchmark.
        cells: one per column; none for a benchmark.
    """

    text: str
    depth: int
    headline: bool
    cells: list[str]


def model_labels(names: list[str]) -> list[str]:
    """
    Return a short, unique label for each model, in the same order.

    It is the last part of the path, preceded by as many parts as make it unique; a repeated path gets a number.
    """
    paths = [PurePosixPath(name) for name in names]
    labels = []
    for path in paths:
        others = [other for other in paths if other != path]
        depths = range(1, len(path.parts) + 1)
        tails = (_tail(path, depth) for depth in depths if all(_tail(path, depth) != _tail(o, depth) for o in others))
        label = unnumbered = next(tails, str(path))
        number = 1
        while label in labels:
            number += 1
            label = f"{unnumbered} ({number})"
        labels.append(label)
    return labels


def format_table(rows: list[ScoreRow], labels: list[str]) -> str:
    """
    Return the table for a terminal, with aligned columns that are two or more spaces apart.

    Args:
        labels: labels of the models, in the order of the columns. After each but the first follows a column with the
            difference to the first model, in percentage points.
    """
    header, lines = _columns(rows, labels), list(table_lines(rows, labels))
    names = [f"{'  ' * line.depth}{line.text}{' *' if line.headline else ''}" for line in lines]
    first = max(map(len, names))
    widths = [
        max(len(name), *(len(line.cells[at]) for line in lines if line.cells), 6) for at, name in enumerate(header)
    ]
    text = [_aligned("%", first, header, widths)]
    text += [_aligned(name, first, line.cells, widths) for name, line in zip(names, lines, strict=True)]
    return "\n".join([*text, "", f"* {notes(rows, labels)}"])


def markdown_table(rows: list[ScoreRow], labels: list[str]) -> str:
    """Return the table for a model card; headline scores are bold."""
    header = _columns(rows, labels)
    text = [
        f"| {' | '.join(['benchmark, %', *map(_escaped, header)])} |",
        f"|---|{'---:|' * len(header)}",
    ]
    for line in table_lines(rows, labels):
        name = _escaped(line.text)
        if line.headline or not line.depth:
            name = f"**{name}**"
        cells = line.cells or [""] * len(header)
        text.append(f"| {'&nbsp;&nbsp;' * line.depth}{name} | {' | '.join(cells)} |")
    return "\n".join(text)


def notes(rows: list[ScoreRow], labels: list[str]) -> str:
    """Explain the marked rows, the differences, the ties and the skipped items."""
    sentences = ["Main score of the benchmark."]
    if len(labels) > 1:
        sentences.append(f"{CHANGE}: difference to {labels[0]} in percentage points.")
    ties = "the last column counts them per model." if _any_ties(rows) else "there are none."
    # Named in their metrics: published protocols that take an argmax.
    except_there = f", except where the {FIRST_WINS}" if any(FIRST_WINS in row.metric for row in rows) else ""
    sentences.append(f"Ties count as errors{except_there}; {ties}")
    if any(row.skipped for row in rows):
        sentences.append("Skipped: items whose image is missing.")
    return " ".join(sentences)


def table_lines(rows: list[ScoreRow], labels: list[str]) -> Iterator[TableLine]:
    """Yield a line for each benchmark, its scores below it, and then the differences between conditions."""
    benchmarks: dict[tuple, dict[str, list[ScoreRow]]] = {}
    for row in rows:
        of_benchmark = benchmarks.setdefault((row.benchmark, row.title, row.split), {})
        of_benchmark.setdefault(row.metric, []).append(row)
    for (_, title, split), metrics in benchmarks.items():
        yield TableLine(f"{title}, {split}" if split else title, 0, False, [])
        for metric, of_metric in metrics.items():
            has_whole = any(not row.part for row in of_metric)
            prefix, depth = ("", 2) if has_whole else (f"{metric}, ", 1)
            for row in of_metric:
                name = f"{prefix}{row.part}" if row.part else metric
                yield TableLine(name, depth if row.part else 1, row.headline, _cells(row, rows, labels))
            for name, change in _changes(of_metric, labels):
                cells = _values(change, labels, _signed)
                yield TableLine(f"{prefix}{name}", depth, False, _framed(rows, "", "", "", cells, ""))


def _tail(path: PurePosixPath, depth: int) -> str:
    return str(PurePosixPath(*path.parts[-depth:]))


def _aligned(name: str, first: int, cells: list[str], widths: list[int]) -> str:
    cells = [f"{cell:>{width}}" for cell, width in zip(cells, widths if cells else [], strict=True)]
    return "  ".join([f"{name:<{first}}", *cells]).rstrip()


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _any_ties(rows: list[ScoreRow]) -> bool:
    return any(count for row in rows for count in row.ties.values())


def _columns(rows: list[ScoreRow], labels: list[str]) -> list[str]:
    models = [labels[0], *(name for label in labels[1:] for name in (label, CHANGE))]
    return _framed(rows, "count", "skipped", "chance", models, "ties")


def _framed(rows: list[ScoreRow], count: str, skipped: str, chance: str, models: list[str], ties: str) -> list[str]:
    """Return the cells of a line, without the columns that are empty in all rows."""
    skipped_cells = [skipped] if any(row.skipped for row in rows) else []
    return [count, *skipped_cells, chance, *models, *([ties] if _any_ties(rows) else [])]


def _cells(row: ScoreRow, rows: list[ScoreRow], labels: list[str]) -> list[str]:
    ties = [row.ties.get(label, 0) for label in labels]
    return _framed(
        rows,
        f"{row.count:,}",
        f"{row.skipped:,}",
        _percent(row.chance),
        _values(row.values, labels, _percent),
        "/".join(f"{count:,}" for count in ties) if any(ties) else "0",
    )


def _values(values: dict[str, float | None], labels: list[str], as_text: Callable) -> list[str]:
    first = values[labels[0]]
    cells = [as_text(first)]
    for label in labels[1:]:
        value = values[label]
        cells += [as_text(value), _signed(None if first is None or value is None else value - first)]
    return cells


def _changes(rows: list[ScoreRow], labels: list[str]) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Yield the difference between each other condition of a metric and the plain one, e.g. "negated - plain"."""
    plain = next((row for row in rows if row.part == PLAIN), None)
    for row in rows if plain else ():
        if row.part in ("", PLAIN):
            continue
        pairs = {label: (row.values[label], plain.values[label]) for label in labels}
        yield (
            f"{row.part} - {PLAIN}",
            {label: None if None in pair else pair[0] - pair[1] for label, pair in pairs.items()},
        )


def _percent(share: float | None) -> str:
    return MISSING if share is None else f"{100 * share:.2f}"


def _signed(share: float | None) -> str:
    # Adding zero turns the -0.00 of rounding into +0.00.
    return MISSING if share is None else f"{round(100 * share, 2) + 0.0:+.2f}"
