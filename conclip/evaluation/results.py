"""The report of a benchmark run: scores, facts about the models, and the file that stores them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from conclip.evaluation.table import ScoreRow, format_table

RESULTS_FILE, FIGURE_FILE = "benchmarks.json", "benchmarks.png"

# `--preprocessing` and `--clean_text` -> what to say below the table.
IMAGES = {
    "transformers": "Images: preprocessed by transformers; OpenAI's code crops one in four shapes a pixel further "
    "(--preprocessing openai).",
    "openai": "Images: preprocessed as by OpenAI's code, without EXIF orientation.",
}
TEXTS = {
    True: "Texts for CLIP: cleaned as by OpenAI's tokenizer.",
    False: "Texts: not cleaned (--clean_text false).",
}


@dataclass(frozen=True)
class BenchmarkReport:
    """
    The scores of one or several models. `print(report)` prints the table.

    Args:
        rows: the scores in the order of the table; at least one of them is a headline.
        models: label -> facts: name_or_path, revision, model_type, hidden_act, image_processor.
        versions: package -> version.
        seed: seed of the benchmarks that sample.
        arguments: the settings of the run.
        command: the command that repeats the run; "" if it was no command.
        seconds: duration of the run.

    Raises:
        ValueError: no row is a headline, or the models of a row are not those of the report.
    """

    rows: list[ScoreRow]
    models: dict[str, dict]
    versions: dict[str, str]
    seed: int
    arguments: dict
    command: str
    seconds: float

    def __post_init__(self) -> None:
        if not self.headlines:
            raise ValueError("No row of the results is a headline, so no figure and no card can be made.")
        for row in self.rows:
            if set(row.values) != set(self.models):
                raise ValueError(
                    f"{row.title}, {row.name} has values of {sorted(row.values)}, but the models are "
                    f"{sorted(self.models)}."
                )

    def __str__(self) -> str:
        return self.table()

    @property
    def labels(self) -> list[str]:
        return list(self.models)

    @property
    def headlines(self) -> list[ScoreRow]:
        return [row for row in self.rows if row.headline]

    def table(self) -> str:
        """Return the table of all scores, in percent, for a terminal."""
        return "\n".join([format_table(self.rows, self.labels), *filter(None, [self.inputs])])

    @property
    def inputs(self) -> str:
        """Say how images and texts were preprocessed; "" for a report that was written before this was recorded."""
        found = IMAGES.get(self.arguments.get("preprocessing")), TEXTS.get(self.arguments.get("clean_text"))
        return " ".join(filter(None, found))

    def to_dict(self) -> dict:
        """Return the content of benchmarks.json."""
        return asdict(self)


def read_report(path: Path) -> BenchmarkReport:
    """
    Read benchmarks.json.

    Raises:
        ValueError: there is no such file, or it is not a report of `conclip evaluate`.
    """
    hint = "Write it with `conclip evaluate`."
    try:
        fields = json.loads(path.read_text("utf-8"))
        return BenchmarkReport(**{**fields, "rows": [ScoreRow(**row) for row in fields["rows"]]})
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}. {hint}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} holds no results of benchmarks. {hint}") from error
