"""What benchmarks of one or several models gave: the numbers, and the file that keeps them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS_FILE, PICTURE_FILE = "benchmarks.json", "benchmarks.png"


@dataclass(frozen=True)
class Line:
    """
    One number of one benchmark, of the same items for all models.

    Args:
        benchmark: as in `--benchmarks`, e.g. "sugarcrepe".
        title: as in tables, e.g. "SugarCrepe".
        split: of the annotations, e.g. "val".
        metric: e.g. "pair accuracy", "ITT", "recall@1".
        part: "" for the whole; else the category, group or condition, e.g. "add_obj", "negated", "macro".
        headline: the number the benchmark is known by; it goes into the picture and the Hub's metadata.
        count: items scored.
        chance: share of 1 that guessing gives; None where it is not known.
        left_out: items that were not scored because their image is absent.
        values: label of a model -> share of 1; None where the metric is not defined for the model.
        ties: label of a model -> items it lost by a tie; a model without ties may be absent.
    """

    benchmark: str
    title: str
    split: str
    metric: str
    part: str
    headline: bool
    count: int
    chance: float | None
    left_out: int
    values: dict[str, float | None]
    ties: dict[str, int]

    @property
    def name(self) -> str:
        """Of the number among those of its benchmark, e.g. "pair accuracy, add_obj"."""
        return f"{self.metric}, {self.part}" if self.part else self.metric


@dataclass(frozen=True)
class BenchmarkReport:
    """
    Args:
        lines: in the order of the tables; at least one of them a headline.
        models: label -> facts, in words: name_or_path, revision, model_type, hidden_act, image_processor.
        versions: package -> version.
        seed: of whatever the benchmarks draw.
        arguments: of the run.
        command: that repeats it.
        seconds: it took.

    Raises:
        ValueError: no headline, or a line whose models are not those of the report.
    """

    lines: list[Line]
    models: dict[str, dict]
    versions: dict[str, str]
    seed: int
    arguments: dict
    command: str
    seconds: float

    def __post_init__(self) -> None:
        if not self.headlines:
            raise ValueError("No line of the results is a headline: there is nothing to draw or to publish.")
        for line in self.lines:
            if set(line.values) != set(self.models):
                raise ValueError(
                    f"{line.title}, {line.name} has values of {sorted(line.values)}, but the models are "
                    f"{sorted(self.models)}."
                )

    @property
    def labels(self) -> list[str]:
        return list(self.models)

    @property
    def headlines(self) -> list[Line]:
        return [line for line in self.lines if line.headline]

    def to_dict(self) -> dict:
        return asdict(self)


def read_report(path: Path) -> BenchmarkReport:
    """
    Raises:
        ValueError: there is no such file, or it is not one that `write_report` wrote.
    """
    again = "Write it with evaluate/run_benchmarks.py."
    try:
        fields = json.loads(path.read_text("utf-8"))
        return BenchmarkReport(**{**fields, "lines": [Line(**line) for line in fields["lines"]]})
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}. {again}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} holds no results of benchmarks ({error}). {again}") from error
