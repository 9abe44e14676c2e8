"""Results of benchmarks written by hand, for the tests of table, figure and card."""

from conclip.evaluation.results import BenchmarkReport
from conclip.evaluation.table import ScoreRow

LABELS = ["base", "tuned", "cross"]


def row(benchmark, metric, part="", values=(0.5, 0.75, 0.25), ties=(0, 0, 0), headline=True, **more):
    numbers = {"count": 2000, "chance": 0.5, "skipped": 0, **more}
    return ScoreRow(
        benchmark=benchmark,
        title=benchmark.title(),
        split="val",
        metric=metric,
        part=part,
        headline=headline,
        values=dict(zip(LABELS, values, strict=False)),
        ties=dict(zip(LABELS, ties, strict=False)),
        **numbers,
    )


def report(rows, num_models=3):
    labels = LABELS[:num_models]
    return BenchmarkReport(
        rows=rows,
        models={label: {"name_or_path": f"some/{label}", "hidden_act": "quick_gelu"} for label in labels},
        versions={"torch": "2.0", "transformers": "5.0"},
        seed=7,
        arguments={"benchmarks": ["pairs"]},
        command="python evaluate/run_benchmarks.py --model_name_or_path base tuned",
        seconds=12.5,
    )


ROWS = [
    row("pairs", "pair accuracy", values=(0.5, 0.91234, 0.5), ties=(0, 3, 1200)),
    row("pairs", "pair accuracy", "add_obj", values=(0.25, 0.1234, 1.0), headline=False, count=692),
    row("pairs", "pair accuracy", "macro", values=(0.6, 0.6, 0.0), headline=False, chance=None),
    row("two true", "TOT", values=(0.4, 0.3, None), chance=1 / 3, skipped=1234),
    row("search", "recall@5", "plain", values=(0.8, 0.7, None), count=5000, chance=0.001),
    row("search", "recall@5", "negated", values=(0.7, 0.75, None), count=5000, chance=0.001),
    row("search", "recall@1", "plain", values=(0.4, 0.4, 0.4), count=5000, chance=0.0002, headline=False),
    row("search", "recall@1", "negated", values=(0.3, 0.4, 0.41), count=5000, chance=0.0002, headline=False),
]
