"""
train_accelerate.py on two processes (gloo, CPU) does what it does on one with twice the batch.

All runs of two processes share one launch: importing torch takes most of the time.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from bad_rows import truncated
from embedded import stored, write_rows
from other_models import save_other
from PIL import Image
from ready_embeddings import embed_dataset
from runs import command, log, results, run, weights, write_inputs

from conclip.training.pair_rows import PairRows

SCENES = 17
BATCH, EPOCH = 4, 6  # 50 rows: 6 batches of 8, two rows left over
VARIANTS = {
    "plain": {"save_steps": 3, "max_steps": 8, "eval_steps": 4, "max_eval_samples": 11},
    # With an epsilon this large, the size of AdamW's step depends on the size of the gradient, not only on its sign.
    "accumulation": {
        "gradient_accumulation_steps": 4,
        "max_grad_norm": 10.0,
        "max_steps": 4,
        "adam_epsilon": 1.0,
        "learning_rate": 0.1,
    },
    "lora": {"use_lora": True, "max_steps": 3, "eval_split": "none"},
    "negclip with workers": {
        "loss": "negclip",
        "bf16": True,
        "dataloader_num_workers": 2,
        "max_steps": 2,
        "eval_split": "none",
    },
    "distilled": {
        "loss": "negation_distillation",
        "max_steps": 3,
        "eval_split": "none",
        "adam_epsilon": 1.0,
        "learning_rate": 0.01,
    },
    "mixed": {
        "loss": "negclip",
        "distillation_weight": 0.5,
        "max_steps": 2,
        "eval_split": "none",
        "adam_epsilon": 1.0,
        "learning_rate": 0.01,
    },
    "another family": {
        "loss": "negation_distillation",
        "max_steps": 3,
        "eval_split": "none",
        "adam_epsilon": 1.0,
        "learning_rate": 0.01,
    },
    "own negations": {
        "loss": "conclip",
        "max_steps": 3,
        "eval_split": "none",
        "adam_epsilon": 1.0,
        "learning_rate": 0.01,
    },
    "embeddings": {"image_embeds_column": "image_embeds", "max_steps": 3, "eval_split": "none"},
    # Two epochs: in the second one other captions and negated captions are drawn.
    "repeated": {"save_steps": 8, "max_steps": 12, "eval_split": "none"},
}
# One process reads the rows of a stream in another order. Step 3 is within the second buffer.
STREAMED = {"streaming": True, "shuffle_buffer_size": 8, "save_steps": 3, "max_steps": 8, "eval_split": "none"}
RESUMED = {"resumed": ("plain", 3), "repeated resumed": ("repeated", 8), "streamed resumed": ("streamed", 3)}


def write_repeated(scenes: str, folder: Path) -> Path:
    """Rows with three captions and three negated captions: 17 scenes with their distractors, three times each."""
    rows = datasets.load_dataset(scenes, split="train").select(list(range(SCENES)) * 3)
    texts = datasets.List(datasets.Value("string"))
    rows = rows.map(
        lambda row, at: {
            "caption": [f"{row['caption']} {at} {words}" for words in ("and grass", "and water", "and a hat")],
            "negated_captions": [f"{row['caption']} {at} {words}" for words in ("no grass", "no water", "no hat")],
        },
        with_indices=True,
        features=datasets.Features({**rows.features, "caption": texts, "negated_captions": texts}),
    )
    rows.to_parquet(folder / "train.parquet")
    return folder


def write_images_and_captions(folder: Path) -> Path:
    """50 images of a few large squares, which the model tells apart, with a caption each."""
    images = [
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (2, 2, 3), np.uint8)).resize((32, 32), 0)
        for number in range(50)
    ]
    captions = [
        f"a {'cat dog man'.split()[at % 3]} with a {'ball hat horse'.split()[at // 3 % 3]}" for at in range(50)
    ]
    rows = datasets.Dataset.from_dict({"image": images, "caption": captions})
    rows.cast_column("image", datasets.Image()).to_parquet(folder / "train.parquet")
    return folder


def cached(folder: Path, name: str) -> dict[str, Path]:
    """An embedding cache for each run; a resumed run shares that of the whole one."""
    return {"embedding_cache_dir": folder / f"embeddings-{RESUMED.get(name, [name])[0]}"}


def launch(folder: Path, runs: list[dict]) -> subprocess.CompletedProcess:
    (folder / "runs.json").write_text(json.dumps(runs))
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return subprocess.run(
        [*launcher, str(tests / "helpers/train_worker.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def variants(inputs, tmp_path_factory):
    repeated = write_repeated(inputs["dataset_name"], tmp_path_factory.mktemp("repeated"))
    siglip = tmp_path_factory.mktemp("siglip")
    save_other(siglip, "siglip")
    plain = write_images_and_captions(tmp_path_factory.mktemp("plain"))
    embedded = embed_dataset(inputs, tmp_path_factory.mktemp("embedded") / "ready")["dataset_name"]
    return {
        **VARIANTS,
        "repeated": {**VARIANTS["repeated"], "dataset_name": repeated},
        "own negations": {**VARIANTS["own negations"], "dataset_name": plain},
        "embeddings": {**VARIANTS["embeddings"], "dataset_name": embedded},
        "another family": {**VARIANTS["another family"], "model_name_or_path": siglip},
    }


@pytest.fixture(scope="module")
def two(inputs, variants, tmp_path_factory):
    """The folder of the runs on two processes, one for each variant and two resumed ones, and each rank's reports."""
    folder, variants = tmp_path_factory.mktemp("two"), {**variants, "streamed": STREAMED}
    resumed = {
        name: {**variants[whole], "resume_from_checkpoint": folder / whole / f"checkpoint-{step}"}
        for name, (whole, step) in RESUMED.items()
    }
    options = {**variants, **resumed}
    runs = [
        {"argv": command(inputs, folder / name, per_device_train_batch_size=BATCH, **cached(folder, name), **variant)}
        for name, variant in options.items()
    ]
    done = launch(folder, runs)
    assert done.returncode == 0, done.stderr
    reports = [
        dict(zip(options, json.loads((folder / f"done-{rank}.json").read_text()), strict=True)) for rank in (0, 1)
    ]
    return folder, reports


@pytest.fixture(scope="module")
def one(inputs, variants, tmp_path_factory):
    """The folder of the same runs in this process with twice the batch, and the rows of the plain run in order."""
    folder, rows = tmp_path_factory.mktemp("one"), []
    read_rows = PairRows.__getitems__
    with pytest.MonkeyPatch.context() as patch:
        for name, variant in variants.items():
            if name == "plain":
                patch.setattr(PairRows, "__getitems__", lambda self, at: rows.extend(at) or read_rows(self, at))
            options = {**variant, **cached(folder, name), "per_device_train_batch_size": 2 * BATCH}
            assert run(command(inputs, folder / name, **options)) == 0
            patch.undo()
    return folder, rows


def losses(folder: Path) -> torch.Tensor:
    return torch.tensor([line["train/loss"] for line in log(folder) if "train/loss" in line], dtype=torch.float64)


def test_two_processes_really_ran(two):
    folder, reports = two
    for rank in reports:
        assert {(run["exit_code"], run["world_size"]) for run in rank.values()} == {(0, 2)}
    assert results(folder / "plain")["num_processes"] == 2
    assert "--num_processes 2" in results(folder / "plain")["command"]


@pytest.mark.parametrize("name", VARIANTS)
def test_losses_are_those_of_one_process_with_twice_the_batch(two, one, name):
    found, expected = losses(two[0] / name), losses(one[0] / name)
    assert len(found) == VARIANTS[name]["max_steps"]
    # Sums are in another order (2e-7 here); after step 1, AdamW amplifies it by dividing by small numbers.
    # In bf16, batches of another shape are rounded differently (3e-4 here).
    first, later = (5e-3, 5e-3) if "bf16" in VARIANTS[name] else (1e-5, 1e-4)
    torch.testing.assert_close(found[0], expected[0], rtol=first, atol=0)
    torch.testing.assert_close(found, expected, rtol=later, atol=0)


def test_ranks_share_out_the_rows_one_process_takes(two, one):
    """Batch k of one process is batch k of rank 0, then of rank 1; rows that fill no batch are not used."""
    _, reports = two
    first, second = (rank["plain"]["rows"] for rank in reports)
    batches = [first[at : at + BATCH] + second[at : at + BATCH] for at in range(0, EPOCH * BATCH, BATCH)]
    assert sum(batches, []) == one[1][: 2 * BATCH * EPOCH]
    assert len(set(sum(batches, []))) == 2 * BATCH * EPOCH
    # The second epoch, in another order.
    assert first[EPOCH * BATCH :][:BATCH] + second[EPOCH * BATCH :][:BATCH] == one[1][2 * BATCH * EPOCH :][: 2 * BATCH]


def test_each_process_embeds_its_share_of_the_distinct_images(two, one):
    folder, reports = two
    found, expected = (stored(path / "embeddings-plain") for path in (folder, one[0]))
    assert found.keys() == expected.keys()
    for key, embeds in expected.items():
        torch.testing.assert_close(found[key], embeds, rtol=0, atol=1e-6)
    shares = [rank["plain"]["embedded"] for rank in reports]
    # Rank 0 embeds at most one more in each of three calls: evaluation, images, distractors.
    assert sum(shares) == len(expected) and 0 <= shares[0] - shares[1] <= 3
    assert [rank["resumed"]["embedded"] for rank in reports] == [0, 0]


@pytest.mark.parametrize("name", ["plain", "accumulation"])
def test_scores_of_the_same_weights_are_equal(two, one, name):
    """Scores of the base model: 11 and 12 rows and an odd number of texts, divided among two processes."""
    found, expected = (results(folder / name) for folder in (two[0], one[0]))
    assert found["before"]["text-to-image recall@1"]["count"] == (11 if name == "plain" else 12)
    assert found["before"] == expected["before"]


def test_no_image_is_twice_in_a_batch_of_both_processes(two):
    _, reports = two
    first, second = (rank["repeated"]["rows"] for rank in reports)
    for at in range(0, 2 * EPOCH * BATCH, BATCH):
        rows = first[at : at + BATCH] + second[at : at + BATCH]
        assert len({row % SCENES for row in rows}) == 2 * BATCH
    for epoch in (slice(EPOCH * BATCH), slice(EPOCH * BATCH, 2 * EPOCH * BATCH)):
        assert len({*first[epoch], *second[epoch]}) == 2 * BATCH * EPOCH


@pytest.mark.parametrize("name", RESUMED)
def test_resumed_on_two_processes_ends_the_same(two, name):
    """The second run continues in the middle of its second epoch."""
    (folder, reports), (whole, step) = two, RESUMED[name]
    expected, resumed = weights(folder / whole), weights(folder / name)
    assert all(torch.equal(tensor, resumed[parameter]) for parameter, tensor in expected.items())
    assert log(folder / name) == [line for line in log(folder / whole) if line["step"] > step]
    for rank in reports:
        assert rank[name]["rows"] == rank[whole]["rows"][step * BATCH :]
    if name == "resumed":
        assert results(folder / name)["after"] == results(folder / whole)["after"]


def test_checkpoint_of_two_processes_is_refused_by_one(two, inputs, tmp_path, capsys):
    checkpoint = two[0] / "plain/checkpoint-6"
    options = {**VARIANTS["plain"], "per_device_train_batch_size": BATCH, "resume_from_checkpoint": checkpoint}
    assert run(command(inputs, tmp_path, **options)) == 1
    assert f"Cannot resume from {checkpoint}: processes was 2, is 1." in capsys.readouterr().err


def test_a_fault_of_one_process_is_told_and_ends_the_other(inputs, tmp_path):
    """Rank 1 reads a damaged row while rank 0 waits for its embeddings."""
    argv = command(inputs, tmp_path / "out", per_device_train_batch_size=BATCH, eval_split="none")
    ended = launch(tmp_path, [{"argv": argv, "fails_at": {"1": 10}}])
    assert ended.returncode == 1
    reports = [line for line in ended.stderr.splitlines() if "Error: " in line and "Split 'train', row" in line]
    assert len(reports) == 1 and reports[0].endswith("cannot read image.") and "Process 1: Error: " in reports[0]
    assert "closed by peer" not in ended.stderr, "rank 0 only lost its peer"
    assert not (tmp_path / "out/model.safetensors").exists()


def test_a_fault_while_embedding_ends_both_and_what_was_embedded_is_kept(inputs, tmp_path):
    """Row 41 belongs to rank 1; rank 0 waits until rank 1 has written its shards."""
    data = write_rows(tmp_path / "data", {41: {"image": {"bytes": truncated()}}}, count=50)
    inputs = {**inputs, "dataset_name": data, "embedding_cache_dir": tmp_path / "cache"}
    options = {"per_device_train_batch_size": BATCH, "per_device_eval_batch_size": 2, "eval_split": "none"}
    ended = launch(tmp_path, [{"argv": command(inputs, tmp_path / "out", **options)}])
    assert ended.returncode == 1
    assert [line for line in ended.stderr.splitlines() if "Error: Split 'train', row 41: cannot read image" in line]
    assert len(stored(tmp_path / "cache")) >= 20


def test_a_fault_of_all_processes_is_told_once(inputs, tmp_path):
    """The data cannot be loaded; the main process loads it first, while rank 1 waits at a barrier."""
    ended = launch(tmp_path, [{"argv": command({**inputs, "dataset_name": tmp_path / "nowhere"}, tmp_path / "out")}])
    assert ended.returncode == 1
    assert ended.stderr.count("Error: --dataset_name") == 1
    assert "Process 1" not in ended.stderr and "closed by peer" not in ended.stderr
