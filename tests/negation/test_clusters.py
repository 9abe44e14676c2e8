"""The scripts of docs/clusters.md on two workers each: Ray, Spark and `datasets` give the rows of the command."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from documents import code_blocks
from negate_runs import IMAGES, captions, load
from stand_ins import ROOT

from conclip.negation.pipeline.command import main

pytestmark = pytest.mark.slow
BLOCKS = [block.text for block in code_blocks(ROOT / "docs/clusters.md") if block.language == "python"]
RAY, SPARK, FILE = (text for text in BLOCKS if "CaptionNegator" in text)
# Nothing is written to the home folder, and nothing waits for the processes of other tests.
RAY_ENV = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
SPARK_ENV = {"PYSPARK_SUBMIT_ARGS": "--master local[2] --conf spark.ui.enabled=false pyspark-shell"}
LOCAL = {"OMP_NUM_THREADS": "1", "SPARK_LOCAL_IP": "127.0.0.1", "PYTHONPATH": str(ROOT)}
FILES = 3


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "captions").mkdir()
    table = pa.table({"index": range(IMAGES), "caption": [captions(image)[0] for image in range(IMAGES)]})
    # In another order than that of the indices.
    table = table.take([7 * row % IMAGES for row in range(IMAGES)])
    for part in range(FILES):
        first = part * (IMAGES // FILES)
        pq.write_table(table.slice(first, IMAGES // FILES), tmp_path / "captions" / f"{part}.parquet")
    return tmp_path


def run(script: str, folder: Path, *arguments: str, **environment: str) -> None:
    (folder / "script.py").write_text(script)
    settings = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    ran = subprocess.run(
        [sys.executable, "script.py", *arguments],
        cwd=folder,
        env={**settings, **LOCAL, **environment, "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]


def made(folder: Path) -> list[dict]:
    rows = [row for path in (folder / "negations").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    return [dict(sorted(row.items())) for row in sorted(rows, key=lambda row: row["index"])]


def of_the_command(folder: Path) -> list[dict]:
    ordered = sorted(pq.read_table(folder / "captions").to_pylist(), key=lambda row: row["index"])
    pq.write_table(pa.Table.from_pylist(ordered), folder / "ordered.parquet")
    assert main(["--dataset_name", str(folder / "ordered.parquet"), "--output_dir", str(folder / "out")]) == 0
    rows = [{"index": row["source_row"], **row} for row in load(folder / "out")]
    return [{name: row[name] for name in sorted(row) if "source" not in name} for row in rows]


@pytest.mark.parametrize(("script", "environment"), [(RAY, RAY_ENV), (SPARK, SPARK_ENV)], ids=["Ray", "Spark"])
def test_an_engine_makes_the_rows_of_the_command(script, environment, folder):
    """So does a job of `datasets` for a file, with the counts that the engine wrote."""
    run(script, folder, **environment)
    rows, expected = made(folder), of_the_command(folder)
    assert [row["index"] for row in rows] == list(range(IMAGES)) and len(expected) > 0.8 * IMAGES
    negated = {row["index"] for row in expected}
    assert [row for row in rows if row["index"] in negated] == expected
    assert not any(row["negated_captions"] for row in rows if row["index"] not in negated)
    for path in (folder / "negations").rglob("*"):
        path.unlink()
    run(FILE, folder, "1")
    of_file = set(pq.read_table(folder / "captions" / "1.parquet")["index"].to_pylist())
    assert made(folder) == [row for row in rows if row["index"] in of_file] and len(of_file) == IMAGES / FILES
