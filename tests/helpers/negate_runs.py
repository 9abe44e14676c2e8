"""Runs of `conclip negate` small enough for a test: fixtures and helpers, not a test."""

import json
import random
from pathlib import Path

import datasets
import pytest

from conclip.negation import negator
from conclip.negation.pipeline.command import main

IMAGES = 60


def captions(image: int) -> list[str]:
    """Two captions of an image."""
    rng = random.Random(image)
    who = rng.choice("man woman boy dog horse".split())
    thing, place = rng.choice("ball hat stick umbrella bag".split()), rng.choice("beach street field bench".split())
    color, act = rng.choice("red black small".split()), rng.choice("runs sits stands jumps".split())
    return [
        f"a {who} with a {color} {thing} {act} on the {place} .",
        f"A {color} {who} is near a {rng.choice('tree car house'.split())}",
    ]


def write_source(path: Path, images: int = IMAGES) -> Path:
    lines = [json.dumps({"caption": captions(image), "labels": ["lamp"]}) for image in range(images)]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def small_units():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(negator, "BATCH", 16)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_source(tmp_path_factory.mktemp("source") / "captions.jsonl")


@pytest.fixture
def negate(small_units, source, tmp_path, capsys):
    """Runs the command line into `tmp_path/out`: exit status, standard output, the last line of standard error."""

    def negate_(*options, dataset=source, output=tmp_path / "out"):
        status = main(["--dataset_name", str(dataset), "--output_dir", str(output), *map(str, options)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err.strip().splitlines()[-1] if err.strip() else ""

    return negate_


@pytest.fixture(scope="module")
def folder(small_units, source, tmp_path_factory):
    """One whole run, four shards."""
    output = tmp_path_factory.mktemp("whole") / "out"
    options = ["--captions_per_shard", "32", "--objects_column", "labels"]
    assert main(["--dataset_name", str(source), "--output_dir", str(output), *options]) == 0
    return output


def load(folder: Path) -> datasets.Dataset:
    return datasets.load_dataset(str(folder), split="train", cache_dir=str(folder.parent / "cache"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
