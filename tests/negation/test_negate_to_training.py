"""From captions and images to a tuned model: embed, search distractors, negate, train, each by its command line."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from runs import command, refusal, run
from small_benchmarks import write_images
from tiny import save_tiny

from conclip.distractors.command import main as search
from conclip.models.embed_command import main as embed
from conclip.negation.pipeline.command import main as negate

NAMES = [f"{number:03d}.jpg" for number in range(12)]
THINGS = "ball hat stick umbrella bag kite".split()


@pytest.fixture
def inputs(tmp_path):
    """Twelve images with a caption each, a pool of nine others, a tiny CLIP."""
    save_tiny(tmp_path / "clip")
    write_images(tmp_path / "images", NAMES)
    write_images(tmp_path / "pool", [f"pool-{number}.jpg" for number in range(9)], size=(50, 40))
    rows = [
        {"image": name, "caption": f"a {'man dog woman'.split()[at % 3]} with a {THINGS[at % 6]} sits on a bench"}
        for at, name in enumerate(NAMES)
    ]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def options(folder, **more) -> list[str]:
    given = {
        "dataset_name": folder / "captions.jsonl",
        "image_column": "image",
        "image_dir": folder / "images",
        "output_dir": folder / "negated",
        "test_size": 4,
        **more,
    }
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]


def test_every_step_reads_what_the_one_before_it_wrote(inputs):
    model = ["--model_name_or_path", str(inputs / "clip"), "--embedding_cache_dir", str(inputs / "cache")]
    for name in ("images", "pool"):
        assert embed([*model, "--image_dir", str(inputs / name), "--output_file", str(inputs / f"{name}.npz")]) == 0
    table = inputs / "distractors.parquet"
    found = [
        "--queries",
        str(inputs / "images.npz"),
        "--pool",
        str(inputs / "pool.npz"),
        "--output_file",
        str(table),
    ]
    assert search([*found, "--top_k", "3"]) == 0
    assert negate(options(inputs, distractor_mapping=table, distractor_dir=inputs / "pool", num_distractors=2)) == 0
    indices = pq.read_table(table)["distractor_indices"].to_pylist()
    pool = sorted((inputs / "pool").iterdir())
    splits = load_dataset(str(inputs / "negated"))
    assert (len(splits["train"]), len(splits["test"])) == (8, 4)
    stored = load_dataset(str(inputs / "negated"), split="train").with_format("arrow")[:]["distractor_images"]
    rows = load_dataset(str(inputs / "negated"), split="train")["source_row"]
    for row, images in zip(rows, stored.to_pylist(), strict=True):
        assert [image["bytes"] for image in images] == [pool[at].read_bytes() for at in indices[row][:2]]
    argv = command(
        {"model_name_or_path": str(inputs / "clip"), "dataset_name": str(inputs / "negated")},
        inputs / "tuned",
        max_steps=2,
        per_device_train_batch_size=4,
        embedding_cache_dir=inputs / "cache",
    )
    assert run(argv) == 0
    assert "true negation accuracy" in (inputs / "tuned" / "results.json").read_text()


def test_captions_alone_lead_to_a_model(inputs, capsys, monkeypatch):
    """Three captions for each image, no further option, in another working directory, after the folder has moved."""
    lines = [json.loads(line) for line in (inputs / "captions.jsonl").read_text().splitlines()]
    for line in lines:
        line["caption"] = [f"{line['caption']} {place}" for place in ("in a park", "near a tree", "by a car")]
    (inputs / "images" / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    captions = ["--dataset_name", str(inputs / "images" / "captions.jsonl"), "--output_dir", str(inputs / "negated")]
    assert negate([*captions, "--image_column", "image"]) == 0
    assert negate([*captions[:3], str(inputs / "texts")]) == 0
    (inputs / "elsewhere").mkdir()
    (inputs / "negated").rename(inputs / "elsewhere" / "moved")
    shutil.rmtree(inputs / "images")
    monkeypatch.chdir(inputs / "elsewhere")
    defaults = {"max_steps": 2, "per_device_train_batch_size": 4, "embedding_cache_dir": inputs / "cache"}
    argv = command({"model_name_or_path": inputs / "clip", "dataset_name": "moved"}, inputs / "tuned", **defaults)
    capsys.readouterr()
    assert run(argv) == 0
    out = capsys.readouterr().out
    assert (
        "moved has no split to evaluate on: 1 of its 12 images (3 rows), drawn with --seed 42, are held out; " in out
    )
    assert "training with the paper's loss without them" in out and "Training with the negclip loss: 33 rows" in out
    assert json.loads((inputs / "tuned" / "results.json").read_text())["split"] == "held-out"
    texts = command(
        {"model_name_or_path": inputs / "clip", "dataset_name": inputs / "texts"}, inputs / "no", **defaults
    )
    assert refusal(texts, capsys).endswith(
        "holds texts alone: repeat `conclip negate` with --image_column, which puts the images into the folder."
    )


def test_a_table_of_other_rows_is_refused(inputs, capsys):
    model = ["--model_name_or_path", str(inputs / "clip"), "--embedding_cache_dir", str(inputs / "cache")]
    assert embed([*model, "--image_dir", str(inputs / "pool"), "--output_file", str(inputs / "pool.npz")]) == 0
    table = inputs / "distractors.parquet"
    assert search(["--queries", str(inputs / "pool.npz"), "--output_file", str(table), "--top_k", "1"]) == 0
    given = {"distractor_mapping": table, "distractor_dir": inputs / "pool"}
    for change, says in [
        ({}, "has 9 rows, the dataset 12"),
        ({"distractor_mapping": inputs / "captions.jsonl"}, "cannot be read"),
        ({"distractor_dir": None}, "go together"),
    ]:
        capsys.readouterr()
        more = {name: value for name, value in {**given, **change}.items() if value}
        assert negate(options(inputs, **more)) in (1, 2)
        assert says in capsys.readouterr().err
