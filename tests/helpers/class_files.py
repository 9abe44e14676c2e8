"""Fixture files of classification sets, in the formats they come in, and what is read of them."""

import io
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PILImage

from conclip.errors import UsageError
from dataset_scripts.benchmarks.classification import CLASSIFICATION

SETS = {benchmark.name: benchmark for benchmark in CLASSIFICATION}


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", (4, 3), (shade, shade, shade)).save(buffer, format="PNG")
    return buffer.getvalue()


def class_folders(root: Path, files: dict[str, list[str]]) -> Path:
    for folder, names in files.items():
        (root / folder).mkdir(parents=True)
        for name in names:
            (root / folder / name).write_bytes(png(7))
    return root


def parquet(path: Path, labels: list[int], names: list[str] | None, image="image", label="label", first=0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    feature = Value("int64") if names is None else ClassLabel(names=names)
    rows = {image: [{"bytes": png(first + row), "path": None} for row in range(len(labels))], label: labels}
    extra = {"coarse_label": ClassLabel(names=["x", "y"])} if label == "fine_label" else {}
    rows |= {name: [1] * len(labels) for name in extra}
    Dataset.from_dict(rows, Features({image: Image(), label: feature} | extra)).to_parquet(path)
    return path


def names_of(benchmark, data_dir: Path) -> list[str]:
    [prompts] = [own for condition, own in benchmark.classes(data_dir).items() if condition.endswith(", bare")]
    return [name for [name] in prompts]


def answers(benchmark, data_dir: Path) -> list[tuple[str, str]]:
    """(id, name of the class) of each item."""
    names = names_of(benchmark, data_dir)
    return [(row["id"], names[row["answer"]]) for row in benchmark.read(data_dir)]


def fails(benchmark, data_dir: Path) -> str:
    with pytest.raises(UsageError) as caught:
        list(benchmark.read(data_dir))
    return str(caught.value)
