"""A score of a model on a benchmark, and what all kinds of benchmarks need to make one."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from conclip.errors import UsageError, one_line
from conclip.evaluation.items import ItemReader

# Takes what is known of single items or queries, dicts that are ready for JSON.
Record = Callable[[Iterable[dict]], None]


@dataclass
class Score:
    """
    One score of one model.

    Args:
        metric: name of the metric, e.g. "pair accuracy".
        part: category, group or condition; "" for all items.
        value: the score, from 0 to 1; `None` if no category counts.
        count: number of items; for retrieval, of queries.
        chance: the score of random guessing.
        ties: number of items that are wrong because of equal scores.
        skipped: by how much `count` would grow if no image were missing.
        headline: whether this is the main score of the benchmark.
    """

    metric: str
    part: str
    value: float | None
    count: int
    chance: float
    ties: int
    skipped: int
    headline: bool = False


@contextmanager
def reporting_metric_errors(title: str) -> Iterator[None]:
    """
    Turn the error of a metric, e.g. about a score that is not a number, into one sentence.

    Raises:
        UsageError: in place of a `ValueError`.
    """
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{title} cannot be scored: {one_line(error)}") from error


def macro_score(metric: str, result: dict, reader: ItemReader) -> Score:
    """Return the mean over the categories that count; count, chance and ties cover the same categories."""
    benchmark = reader.benchmark
    counted = [
        entry
        for name, entry in result["categories"].items()
        if name not in benchmark.skipped_categories and entry["count"] >= benchmark.min_count
    ]
    chances = [entry.get("chance", result["chance"]) for entry in counted] or [result["chance"]]
    count, ties = (sum(entry[key] for entry in counted) for key in ("count", "ties"))
    skipped = sum(number for name, number in reader.skipped.items() if name not in benchmark.skipped_categories)
    chance = sum(chances) / len(chances)
    return Score(metric, "macro", result["macro_accuracy"], count, chance, ties, skipped, benchmark.macro)
