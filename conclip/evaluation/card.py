"""Benchmark results in a model card: a section of the text, and the metadata that the Hub reads."""

from pathlib import Path

from conclip.atomic_write import write_atomically
from conclip.errors import UsageError
from conclip.evaluation.results import BenchmarkReport, read_report
from conclip.evaluation.table import ScoreRow, markdown_table, notes
from conclip.model_cards import (
    BENCHMARKS_END,
    BENCHMARKS_START,
    eval_result,
    read_card,
    replace_section,
    with_eval_results,
)


def fill_card(results_file: str, model_card: str, model: str | None = None) -> None:
    """
    Fill the card in a file; see `fill_card_with_benchmarks`.

    Raises:
        UsageError: a file cannot be read or written, or the results have no such model.
    """
    path = Path(model_card)
    try:
        report = read_report(Path(results_file))
        if model is None and len(report.models) > 1:
            raise UsageError(f"--model is required, one of {', '.join(report.models)}.")
        filled = fill_card_with_benchmarks(checked_card(path), report, model or report.labels[0])
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error
    write_atomically(path, filled.encode())


def fill_card_with_benchmarks(card_text: str, report: BenchmarkReport, label: str) -> str:
    """
    Write results into the text and the metadata of a model card.

    The card's section of benchmarks is replaced, or added at the end. In the metadata (`model-index`, which the Hub
    reads) entries of other datasets, splits and metrics stay.

    Args:
        label: label of the card's model in the report; the table also shows the others.

    Raises:
        ValueError: the report has no such model, or the card is damaged.
    """
    if label not in report.models:
        raise ValueError(f"The results have no model {label!r}, but {', '.join(map(repr, report.models))}.")
    if BENCHMARKS_START not in card_text:
        card_text = f"{card_text.rstrip()}\n\n## Benchmarks\n\n{BENCHMARKS_START}\n{BENCHMARKS_END}\n"
    text = replace_section(card_text, BENCHMARKS_START, BENCHMARKS_END, benchmarks_markdown(report))
    results = [
        eval_result(row.benchmark, row.title, row.split, _metric_name(row), row.values[label])
        for row in report.headlines
        if row.values[label] is not None
    ]
    return with_eval_results(text, results, read_card(card_text).data.model_name or label)


def benchmarks_markdown(report: BenchmarkReport) -> str:
    """Return the section of benchmarks: table, models, versions and command."""
    legend = f"Bold: {notes(report.rows, report.labels)} {report.inputs}".rstrip()
    text = [markdown_table(report.rows, report.labels), "", legend, ""]
    for label, facts in report.models.items():
        summary = ", ".join(f"{name} `{value}`" for name, value in facts.items() if value is not None)
        text.append(f"- {label}: {summary}")
    versions = ", ".join(f"{package} {version}" for package, version in report.versions.items())
    text += ["", f"Seed {report.seed}; {versions}."]
    if report.command:
        text += ["Command:", "", "```bash", report.command, "```"]
    return "\n".join(text)


def checked_card(path: Path) -> str:
    """
    Read a model card and check that results can be written into it.

    Raises:
        UsageError: the file cannot be read, or its metadata or its section of benchmarks is damaged.
    """
    try:
        text = path.read_text("utf-8")
        read_card(text)
        if BENCHMARKS_START in text:
            replace_section(text, BENCHMARKS_START, BENCHMARKS_END, "")
    except (OSError, ValueError) as error:
        raise UsageError(f"--model_card {path}: {error.strerror if isinstance(error, OSError) else error}") from error
    return text


def _metric_name(row: ScoreRow) -> str:
    """Return the name of the score; a score over some of the items says so."""
    return f"{row.name} ({row.count:,} of {row.count + row.skipped:,} items)" if row.skipped else row.name
