"""
The tables of CoN-CLIP's paper (arXiv 2403.20312), their published numbers, and how to make them again.

Numbers are per cent. The ablation and the gains are those of the paper. The scores on the parts of SugarCrepe, and
those beside them on CC-Neg, are from an independent run of the released checkpoints.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

SUGARCREPE, CCNEG = "sugarcrepe", "ccneg-commas-stripped"
ZERO_SHOT = (
    "imagenet",
    "cifar10",
    "cifar100",
    "stanford-cars",
    "caltech101",
    "food101",
    "flowers102",
    "oxford-pets",
)
PARTS = ("replace_obj", "replace_att", "replace_rel", "add_obj", "add_att", "swap_obj", "swap_att")
# Option of `conclip reproduce` -> CLIP with OpenAI's weights.
BASES = {
    "clip_b32": "openai/clip-vit-base-patch32",
    "clip_b16": "openai/clip-vit-base-patch16",
    "clip_l14": "openai/clip-vit-large-patch14",
}
# Loss of the ablation -> weights of its terms: image to text, text to image, distractors.
LOSSES = {"L1": (1, 0, 0), "L2": (0, 1, 0), "L1+L2": (1, 1, 0), "L_conclip": (1, 1, 1)}
# (benchmark, part) -> the score of one model, per cent. The part "" is the headline of the benchmark.
Scores = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Row:
    """
    A row of a table: a model.

    Args:
        base: a key of `BASES`.
        loss: a key of `LOSSES`; `None` for the base itself.
        published: a number for each column; `None` where there is none.
    """

    base: str
    loss: str | None
    published: tuple[float | None, ...]

    @property
    def model(self) -> str:
        """Return the name of the model, and of its folder."""
        return self.base if self.loss is None else f"{self.base}-{self.loss}"


@dataclass(frozen=True)
class Table:
    """
    A table of the paper.

    Args:
        title: what it shows.
        benchmarks: the benchmarks that it needs.
        columns: name -> takes the scores of the row's model and of its base and returns the number.
        rows: label -> the row.
        needs_base: whether a column needs the scores of the base.
    """

    title: str
    benchmarks: tuple[str, ...]
    columns: dict[str, Callable[[Scores, Scores], float]]
    rows: dict[str, Row]
    needs_base: bool = False

    @property
    def models(self) -> list[Row]:
        """Return a row for each model to score, the bases first."""
        bases = [Row(row.base, None, ()) for row in self.rows.values() if self.needs_base]
        found = {row.model: row for row in [*bases, *self.rows.values()]}
        return sorted(found.values(), key=lambda row: row.loss is not None)


def score(benchmark: str, part: str = "") -> Callable[[Scores, Scores], float]:
    return lambda own, base: own[benchmark, part]


def zero_shot_mean(own: Scores, base: Scores) -> float:
    return sum(own[name, ""] for name in ZERO_SHOT) / len(ZERO_SHOT)


def zero_shot_gains(own: Scores, base: Scores) -> list[float]:
    return [own[name, ""] - base[name, ""] for name in ZERO_SHOT]


TABLES = {
    "ablation": Table(
        title="ViT-B/32, terms of the loss",
        benchmarks=(SUGARCREPE, CCNEG, *ZERO_SHOT),
        columns={
            **{f"SugarCrepe {part}": score(SUGARCREPE, part) for part in ("replace", "add", "swap")},
            "CC-Neg": score(CCNEG),
            "zero-shot mean": zero_shot_mean,
        },
        rows={
            "L1": Row("clip_b32", "L1", (79.36, 82.22, 61.64, 99.76, 73.32)),
            "L2": Row("clip_b32", "L2", (79.38, 85.26, 65.88, 56.07, 72.97)),
            "L1+L2": Row("clip_b32", "L1+L2", (80.55, 83.29, 64.07, 99.72, 73.37)),
            "L_conclip": Row("clip_b32", "L_conclip", (79.67, 82.97, 65.18, 99.70, 73.95)),
        },
    ),
    "sugarcrepe": Table(
        title="parts of SugarCrepe, and CC-Neg",
        benchmarks=(SUGARCREPE, CCNEG),
        columns={**{part: score(SUGARCREPE, part) for part in PARTS}, "CC-Neg": score(CCNEG)},
        rows={
            "CLIP B/32": Row("clip_b32", None, (90.80, 80.08, 68.85, 76.87, 68.50, 60.41, 63.36, 65.75)),
            "CoN-CLIP B/32": Row("clip_b32", "L_conclip", (90.86, 81.47, 66.15, 84.92, 76.73, 62.45, 66.07, 99.64)),
            "CLIP L/14": Row("clip_l14", None, (93.95, 79.06, 65.01, 78.32, 71.39, 60.00, 62.16, 66.92)),
            "CoN-CLIP L/14": Row("clip_l14", "L_conclip", (94.98, 81.22, 67.28, 88.70, 76.45, 63.67, 62.91, None)),
        },
    ),
    "zero-shot": Table(
        title="gain in zero-shot accuracy over CLIP, on 8 datasets",
        benchmarks=ZERO_SHOT,
        columns={
            "mean": lambda own, base: sum(zero_shot_gains(own, base)) / len(ZERO_SHOT),
            "max": lambda own, base: max(zero_shot_gains(own, base)),
            "min": lambda own, base: min(zero_shot_gains(own, base)),
        },
        rows={
            "ViT-B/32": Row("clip_b32", "L_conclip", (2.95, 7.13, 0.0)),
            "ViT-B/16": Row("clip_b16", "L_conclip", (3.85, 10.95, 0.39)),
            "ViT-L/14": Row("clip_l14", "L_conclip", (3.25, 9.44, 0.42)),
        },
        needs_base=True,
    ),
}


def compare(table: Table, scores: Mapping[str, Scores]) -> dict[str, dict[str, dict]]:
    """
    Compare a table with the published one.

    Args:
        scores: name of a model -> its scores.

    Returns:
        label of a row -> name of a column -> {"value", "published", "difference"}, in per cent; the last two are
        `None` where nothing is published.
    """
    found: dict[str, dict[str, dict]] = {}
    for label, row in table.rows.items():
        base = scores[row.base] if table.needs_base else {}
        cells = found[label] = {}
        for (name, column), published in zip(table.columns.items(), row.published, strict=True):
            value = column(scores[row.model], base)
            difference = None if published is None else value - published
            cells[name] = {"value": value, "published": published, "difference": difference}
    return found


def format_comparison(title: str, rows: Mapping[str, Mapping[str, dict]]) -> str:
    """Return a table for a terminal: for each row ours, what is published, and the difference."""
    columns = list(next(iter(rows.values())))
    first = max(len(f"{label}, difference") for label in rows)
    widths = [max(len(column), 8) for column in columns]
    lines = [title, " ".join([" " * first, *map(str.rjust, columns, widths)])]
    for label, cells in rows.items():
        for kind, key, form in (
            ("ours", "value", ".2f"),
            ("published", "published", ".2f"),
            ("difference", "difference", "+.2f"),
        ):
            values = [cells[column][key] for column in columns]
            texts = ["-" if value is None else format(value, form) for value in values]
            lines.append(" ".join([f"{label}, {kind}".ljust(first), *map(str.rjust, texts, widths)]))
    return "\n".join(lines)
