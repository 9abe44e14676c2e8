"""
Results in a model card, where the Hub reads them: the metadata's `model-index`, and a section of the text.

Fills a card with the results of benchmarks:

    python -m conclip.evaluation.card outputs/benchmarks/benchmarks.json model_card.md --model conclip-scenes
"""

import argparse
import sys
from pathlib import Path

from conclip.atomic_write import write_atomically
from conclip.evaluation.results import BenchmarkReport, Line, read_report
from conclip.evaluation.table import markdown_table, notes
from conclip.model_cards import (
    BENCHMARKS_END,
    BENCHMARKS_START,
    eval_result,
    read_card,
    replace_section,
    with_eval_results,
)


def fill_card_with_benchmarks(card_text: str, report: BenchmarkReport, label: str) -> str:
    """
    The model card with its section of benchmarks, made at the end where there is none, and the Hub's `model-index`
    filled from a run's results. Entries of other datasets, splits and metrics stay.

    Args:
        label: of the model the card is about; the table shows the others beside it.

    Raises:
        ValueError: no such model in the report, or the card is damaged.
    """
    if label not in report.models:
        raise ValueError(f"The results have no model {label!r}, but {', '.join(map(repr, report.models))}.")
    if BENCHMARKS_START not in card_text:
        card_text = f"{card_text.rstrip()}\n\n## Benchmarks\n\n{BENCHMARKS_START}\n{BENCHMARKS_END}\n"
    text = replace_section(card_text, BENCHMARKS_START, BENCHMARKS_END, benchmarks_markdown(report))
    results = [
        eval_result(line.benchmark, line.title, line.split, _metric_name(line), line.values[label])
        for line in report.headlines
        if line.values[label] is not None
    ]
    return with_eval_results(text, results, read_card(card_text).data.model_name or label)


def benchmarks_markdown(report: BenchmarkReport) -> str:
    text = [markdown_table(report.lines, report.labels), "", f"Bold: {notes(report.lines, report.labels)}", ""]
    for label, facts in report.models.items():
        told = ", ".join(f"{name} `{value}`" for name, value in facts.items() if value is not None)
        text.append(f"- {label}: {told}")
    versions = ", ".join(f"{package} {version}" for package, version in report.versions.items())
    text += ["", f"Seed {report.seed}; {versions}. Command:", "", "```bash", report.command, "```"]
    return "\n".join(text)


def _metric_name(line: Line) -> str:
    """A score of some of the items must not pass for one of all."""
    return f"{line.name} ({line.count:,} of {line.count + line.left_out:,} items)" if line.left_out else line.name


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fills a model card with the results of benchmarks.")
    parser.add_argument("results", type=Path, help="benchmarks.json of evaluate/run_benchmarks.py")
    parser.add_argument("card", type=Path, help="model_card.md or README.md, filled before or not")
    parser.add_argument("--model", help="label of the card's model in the results; needed where there are several")
    arguments = parser.parse_args(argv)
    try:
        report = read_report(arguments.results)
        if arguments.model is None and len(report.models) > 1:
            raise ValueError(f"--model is needed, one of {', '.join(report.models)}.")
        label = arguments.model or report.labels[0]
        filled = fill_card_with_benchmarks(arguments.card.read_text("utf-8"), report, label)
        write_atomically(arguments.card, filled.encode())
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
