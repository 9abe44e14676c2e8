"""Training on a stream gives what training on the same rows in the same order gives, and resumes to the bit."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from ready_embeddings import embed_dataset
from runs import command, log, refusal, run, weights, write_inputs

import conclip.stream
from conclip.training.stream_rows import RowStream

STREAM = {"streaming": True, "eval_split": "none"}


@pytest.fixture(autouse=True)
def fresh_state():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """48 rows in one file, six whole batches, and in three files of different sizes."""
    folder = tmp_path_factory.mktemp("inputs")
    inputs = write_inputs(folder)
    rows = datasets.load_dataset(inputs["dataset_name"], split="train").select(range(48))
    (folder / "one").mkdir()
    rows.to_parquet(folder / "one/train.parquet")
    (folder / "three").mkdir()
    for at, part in enumerate((range(0, 11), range(11, 30), range(30, 48))):
        rows.select(part).to_parquet(folder / f"three/train-{at}.parquet")
    return {**inputs, "dataset_name": str(folder / "one")}


def same(one, other) -> bool:
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """A run over buffers of two batches, from files that end within buffers, with all its checkpoints."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(buffered(inputs, folder / "run", save_steps=1, save_total_limit=99)) == 0
    return folder / "run"


def buffered(inputs, output_dir, **options) -> list[str]:
    three = {**inputs, "dataset_name": inputs["dataset_name"].replace("one", "three")}
    settings = {"shuffle_buffer_size": 16, "max_steps": 9, "warmup_steps": 1}
    return command(three, output_dir, **STREAM, **{**settings, **options})


@pytest.mark.parametrize("step", [3, 4])
def test_a_run_resumes_to_the_bit(inputs, whole, tmp_path, step):
    """Within a buffer of the first pass, and at the end of one."""
    checkpoint = whole / f"checkpoint-{step}"
    assert run(buffered(inputs, tmp_path / "run", save_steps=0, resume_from_checkpoint=checkpoint)) == 0
    assert same(whole, tmp_path / "run")
    losses = {line["step"]: line["train/loss"] for line in log(whole)}
    assert [losses[line["step"]] for line in log(tmp_path / "run")] == [
        line["train/loss"] for line in log(tmp_path / "run")
    ]
    assert len(log(tmp_path / "run")) == 9 - step


def test_a_stream_of_other_rows_is_refused(inputs, whole, tmp_path, capsys):
    (tmp_path / "three").mkdir()
    for path in Path(inputs["dataset_name"]).parent.glob("three/*.parquet"):
        rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
        rows.select(range(len(rows))[::-1]).to_parquet(tmp_path / "three" / path.name)
    others = {**inputs, "dataset_name": str(tmp_path / "one")}
    argv = buffered(others, tmp_path / "run", save_steps=0, resume_from_checkpoint=whole / "checkpoint-3")
    assert "does not continue where the checkpoint was saved" in refusal(argv, capsys)


def test_ready_embeddings_train_to_the_weights_of_the_dataset(inputs, tmp_path):
    ready = embed_dataset({**inputs, "dataset_name": inputs["dataset_name"]}, tmp_path / "ready")
    settings = {"eval_split": "none", "image_embeds_column": "image_embeds"}
    assert run(command(ready, tmp_path / "rows", **settings)) == 0
    assert run(command(ready, tmp_path / "stream", **settings, streaming=True, shuffle_buffer_size=48)) == 0
    assert same(tmp_path / "rows", tmp_path / "stream")


def write_shards(folder: Path, sizes: list[int]) -> datasets.IterableDataset:
    numbers = iter(range(sum(sizes)))
    folder.mkdir()
    for at, size in enumerate(sizes):
        rows = [next(numbers) for _ in range(size)]
        datasets.Dataset.from_dict({"n": rows}).to_parquet(folder / f"train-{at}.parquet", batch_size=4)
    return datasets.load_dataset(str(folder), split="train", streaming=True)


def read(stream: RowStream, count: int) -> list[int]:
    return stream.read(count)["n"].to_pylist()


@pytest.mark.parametrize("sizes", [[7, 13, 1, 9], [7, 13, 10]])
def test_each_row_is_read_once_a_pass_over_two_processes(tmp_path, sizes):
    """With as many shards for each, and with shards that two processes cannot share evenly."""
    dataset = write_shards(tmp_path / "shards", sizes)
    passes = []
    for seed in range(4):
        shares = []
        for rank in (0, 1):
            stream, own = RowStream(dataset, rank, 2, seed), []
            while stream._finished == 0:
                own += read(stream, 1)
            # The first row of the next pass ended the loop.
            shares.append(own[:-1])
        assert sorted(shares[0] + shares[1]) == list(range(30))
        assert min(map(len, shares)) > 1
        passes.append(shares)
    assert any(shares != passes[0] for shares in passes)


@pytest.mark.parametrize("world", [1, 2])
def test_a_stream_continues_at_each_position(tmp_path, monkeypatch, world):
    """Reads end within tables, at their ends, and across shards and passes."""
    monkeypatch.setattr(conclip.stream, "ROWS_AT_A_TIME", 5)
    dataset = write_shards(tmp_path / "shards", [7, 13, 1, 9])
    counts = [3, 2, 5, 1, 9, 4, 17, 30, 2]
    for rank in range(world):
        stream, positions, reads = RowStream(dataset, rank, world, 42), [], []
        for count in counts:
            positions.append(json.dumps(stream.position()))
            reads.append(read(stream, count))
        for at, position in enumerate(positions):
            other = RowStream(dataset, rank, world, 42)
            other.seek(json.loads(position))
            assert [read(other, count) for count in counts[at:]] == reads[at:]


def test_a_buffer_of_all_rows_is_the_run_on_the_dataset(inputs, tmp_path):
    """Two passes and a part of a third; the images are embedded in the loop, so the sums are in another order."""
    # With an epsilon this large, the size of AdamW's step depends on the size of the gradient, not only on its sign.
    settings = {"max_steps": 14, "eval_split": "none", "adam_epsilon": 1.0, "learning_rate": 0.1}
    assert run(command(inputs, tmp_path / "rows", **settings)) == 0
    assert run(command(inputs, tmp_path / "stream", **settings, streaming=True, shuffle_buffer_size=48)) == 0
    assert all(
        torch.allclose(value, weights(tmp_path / "stream")[name], atol=1e-5)
        for name, value in weights(tmp_path / "rows").items()
    )
    losses = [[line["train/loss"] for line in log(tmp_path / name)] for name in ("rows", "stream")]
    np.testing.assert_allclose(*losses, rtol=1e-4)
