"""The table of a benchmark run: models side by side, in a terminal and in a model card."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from conclip.evaluation.results import Line

# The condition that others, such as negated captions, are compared with.
PLAIN = "plain"
MISSING = "-"
CHANGE = "+/-"


@dataclass(frozen=True)
class Row:
    """
    Args:
        text: what the numbers are of.
        depth: 0 for a benchmark, 1 for its metrics, 2 for their parts.
        headline: the number the benchmark is known by.
        cells: one a column; none for a benchmark.
    """

    text: str
    depth: int
    headline: bool
    cells: list[str]


def model_labels(names: list[str]) -> list[str]:
    """
    A short label for each name of a model, in the same order and no two alike: the last part of its path, with as many
    of the parts before it as tell it from the others; the same name again gets a number.
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


def format_table(lines: list[Line], labels: list[str]) -> str:
    """
    For a terminal; columns are aligned and two or more spaces apart.

    Args:
        labels: of the models, in the order of the columns; each after the first is followed by its difference to the
            first, in points.
    """
    header, rows = _columns(lines, labels), list(table_rows(lines, labels))
    names = [f"{'  ' * row.depth}{row.text}{' *' if row.headline else ''}" for row in rows]
    first = max(map(len, names))
    widths = [max(len(name), *(len(row.cells[at]) for row in rows if row.cells), 6) for at, name in enumerate(header)]
    text = [_aligned("%", first, header, widths)]
    text += [_aligned(name, first, row.cells, widths) for name, row in zip(names, rows, strict=True)]
    return "\n".join([*text, "", f"* {notes(lines, labels)}"])


def markdown_table(lines: list[Line], labels: list[str]) -> str:
    """The same for a model card; the numbers that benchmarks are known by are bold."""
    header = _columns(lines, labels)
    text = [
        f"| {' | '.join(['benchmark, %', *map(_escaped, header)])} |",
        f"|---|{'---:|' * len(header)}",
    ]
    for row in table_rows(lines, labels):
        name = _escaped(row.text)
        if row.headline or not row.depth:
            name = f"**{name}**"
        cells = row.cells or [""] * len(header)
        text.append(f"| {'&nbsp;&nbsp;' * row.depth}{name} | {' | '.join(cells)} |")
    return "\n".join(text)


def notes(lines: list[Line], labels: list[str]) -> str:
    """What a reader has to know of the marked rows, the differences and the ties."""
    said = ["the number the benchmark is known by."]
    if len(labels) > 1:
        said.append(f"{CHANGE}: points against {labels[0]}.")
    ties = _any_ties(lines)
    said.append(
        "A tie counts as an error; " + ("how many each model had: last column." if ties else "there was none.")
    )
    if any(line.left_out for line in lines):
        said.append("Left out: items whose image is absent.")
    return " ".join(said)


def table_rows(lines: list[Line], labels: list[str]) -> Iterator[Row]:
    """A row for each benchmark and, below it, for each of its numbers; what conditions cost stands below them."""
    benchmarks: dict[tuple, dict[str, list[Line]]] = {}
    for line in lines:
        of_benchmark = benchmarks.setdefault((line.benchmark, line.title, line.split), {})
        of_benchmark.setdefault(line.metric, []).append(line)
    for (_, title, split), metrics in benchmarks.items():
        yield Row(f"{title}, {split}" if split else title, 0, False, [])
        for metric, of_metric in metrics.items():
            has_whole = any(not line.part for line in of_metric)
            prefix, depth = ("", 2) if has_whole else (f"{metric}, ", 1)
            for line in of_metric:
                name = f"{prefix}{line.part}" if line.part else metric
                yield Row(name, depth if line.part else 1, line.headline, _cells(line, lines, labels))
            for name, drop in _drops(of_metric, labels):
                cells = _values(drop, labels, _signed)
                yield Row(f"{prefix}{name}", depth, False, _framed(lines, "", "", "", cells, ""))


def _tail(path: PurePosixPath, depth: int) -> str:
    return str(PurePosixPath(*path.parts[-depth:]))


def _aligned(name: str, first: int, cells: list[str], widths: list[int]) -> str:
    cells = [f"{cell:>{width}}" for cell, width in zip(cells, widths if cells else [], strict=True)]
    return "  ".join([f"{name:<{first}}", *cells]).rstrip()


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _any_ties(lines: list[Line]) -> bool:
    return any(count for line in lines for count in line.ties.values())


def _columns(lines: list[Line], labels: list[str]) -> list[str]:
    models = [labels[0], *(name for label in labels[1:] for name in (label, CHANGE))]
    return _framed(lines, "count", "left out", "chance", models, "ties")


def _framed(lines: list[Line], count: str, left_out: str, chance: str, models: list[str], ties: str) -> list[str]:
    """The cells of a row, without the columns that no line has anything for."""
    left_out = [left_out] if any(line.left_out for line in lines) else []
    return [count, *left_out, chance, *models, *([ties] if _any_ties(lines) else [])]


def _cells(line: Line, lines: list[Line], labels: list[str]) -> list[str]:
    ties = [line.ties.get(label, 0) for label in labels]
    return _framed(
        lines,
        f"{line.count:,}",
        f"{line.left_out:,}",
        _percent(line.chance),
        _values(line.values, labels, _percent),
        "/".join(f"{count:,}" for count in ties) if any(ties) else "0",
    )


def _values(values: dict[str, float | None], labels: list[str], written) -> list[str]:
    first = values[labels[0]]
    cells = [written(first)]
    for label in labels[1:]:
        value = values[label]
        cells += [written(value), _signed(None if first is None or value is None else value - first)]
    return cells


def _drops(lines: list[Line], labels: list[str]) -> Iterator[tuple[str, dict[str, float | None]]]:
    """What each other condition of a metric gains or, negative, costs against the plain one."""
    plain = next((line for line in lines if line.part == PLAIN), None)
    for line in lines if plain else ():
        if line.part in ("", PLAIN):
            continue
        pairs = {label: (line.values[label], plain.values[label]) for label in labels}
        yield (
            f"{line.part} - {PLAIN}",
            {label: None if None in pair else pair[0] - pair[1] for label, pair in pairs.items()},
        )


def _percent(share: float | None) -> str:
    return MISSING if share is None else f"{100 * share:.2f}"


def _signed(share: float | None) -> str:
    # Adding zero makes +0.00 of what rounding left as -0.00.
    return MISSING if share is None else f"{round(100 * share, 2) + 0.0:+.2f}"
