"""Embedding that was stopped by a signal or an error continues from the cache."""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate_state import reset_accelerate
from bad_rows import truncated
from embedded import Watch, image, stored, write_inputs, write_rows
from runs import command, log, refusal, run
from tiny import save_tiny

from conclip import atomic_write as whole_files
from conclip.__main__ import main as conclip
from conclip.embedding import store as embeddings
from conclip.embedding.images import check_cache_dir
from modeling_conclip import ConCLIPModel

ROOT = Path(__file__).parents[2]
# The script as it is, but that each batch takes a while and is written at once.
SLOWLY = """
import runpy, sys, time
import conclip.embedding.store as embeddings
from modeling_conclip import ConCLIPModel
embeddings.SECONDS_PER_SHARD = 0
embed = ConCLIPModel.embed_images
ConCLIPModel.embed_images = lambda *args, **options: time.sleep(0.1) or embed(*args, **options)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    save_tiny(folder, ConCLIPModel)
    return folder


@pytest.fixture
def inputs(clip, tmp_path):
    return write_inputs(tmp_path, clip)


@pytest.fixture
def seen(monkeypatch):
    return Watch(monkeypatch)


def test_killed_while_embedding_and_started_again(inputs, tmp_path, seen):
    """A real process and SIGKILL, after which no handler runs."""
    argv = command(inputs, tmp_path / "parts", per_device_eval_batch_size=1)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, str(ROOT / "train_accelerate.py"), *argv],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 100
    while len(stored(tmp_path / "cache")) < 5 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    there = stored(tmp_path / "cache")
    assert 5 <= len(there) < 26
    assert run(argv) == 0
    assert seen.new_counts()[0] == 26 - len(there)
    whole = {**inputs, "embedding_cache_dir": tmp_path / "whole-cache"}
    assert run(command(whole, tmp_path / "whole", per_device_eval_batch_size=1)) == 0
    # Another process computed some of them: in it, the weights lie elsewhere in memory, and the last bit may differ.
    for found, expected in zip(log(tmp_path / "parts"), log(tmp_path / "whole"), strict=True):
        assert found == pytest.approx(expected, rel=1e-5)
    found, expected = stored(tmp_path / "cache"), stored(tmp_path / "whole-cache")
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[key], expected[key], atol=1e-6) for key in expected)


def test_ctrl_c_loses_only_the_batch_at_work(inputs, tmp_path, seen, monkeypatch, capsys):
    embed, batches = ConCLIPModel.embed_images, []

    def stopped(self, pixels, **options):
        batches.append(len(pixels))
        if len(batches) == 3:
            raise KeyboardInterrupt
        return embed(self, pixels, **options)

    argv = command(inputs, tmp_path / "out", per_device_eval_batch_size=4)
    with monkeypatch.context() as patch:
        patch.setattr(ConCLIPModel, "embed_images", stopped)
        assert run(argv) == 130
    assert capsys.readouterr().err.endswith(
        "Interrupted. No file is incomplete; the same command starts the run again.\n"
    )
    assert len(stored(tmp_path / "cache")) == 8
    assert not list((tmp_path / "cache").rglob("unfinished-*"))
    seen.new_counts()
    assert run(argv) == 0
    assert seen.new_counts()[0] == 18


def test_embeddings_before_a_broken_image_are_cached(inputs, tmp_path, seen, capsys):
    write_rows(tmp_path / "data", {30: {"image": {"bytes": truncated()}}})
    argv = command(inputs, tmp_path / "out", per_device_eval_batch_size=4)
    says = refusal(argv, capsys)
    assert says.startswith("Split 'train', row 30: cannot read image: image file is truncated")
    assert len(stored(tmp_path / "cache")) == 12 and seen.new_counts()[0] == 12
    write_rows(tmp_path / "data", {30: {"image": image(30)}})
    assert run(argv) == 0
    assert seen.new_counts()[0] == 26 - 12


def test_a_truncated_shard_is_embedded_again(inputs, tmp_path, seen):
    assert run(command(inputs, tmp_path / "first")) == 0
    seen.new_counts()
    victim = min((tmp_path / "cache").glob("*/shard-*"), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=f"{victim} is damaged"):
        assert run(command(inputs, tmp_path / "second")) == 0
    assert seen.new_counts()[0] == 6
    assert log(tmp_path / "first") == log(tmp_path / "second")


@pytest.mark.parametrize("name", ["train", "evaluate", "embed"])
def test_an_unwritable_cache_is_found_before_a_model_is_loaded(name, inputs, tmp_path, capsys, monkeypatch):
    (tmp_path / "cache").touch()
    for module, function in (
        *(("conclip.models.clip", "load_model"), ("conclip.models.loading", "load_encoders")),
        ("conclip.evaluation.benchmarking", "load_encoders"),
    ):
        monkeypatch.setattr(importlib.import_module(module), function, None)
    if name == "train":
        says = refusal(command(inputs, tmp_path / "out"), capsys)
    else:
        (tmp_path / "images").mkdir()
        (tmp_path / "images" / "0.png").write_bytes(image(0)["bytes"])
        shared = ["--model_name_or_path", inputs["model_name_or_path"], "--embedding_cache_dir", tmp_path / "cache"]
        own = ["--output_dir", tmp_path / "out"]
        if name == "embed":
            own = ["--image_dir", tmp_path / "images", "--output_file", tmp_path / "out.npz"]
        reset_accelerate()
        assert conclip([name, *map(str, [*shared, *own])]) == 1
        says = capsys.readouterr().err.strip().removeprefix("Error: ")
    assert says.startswith(f"--embedding_cache_dir: cannot write to {tmp_path}/cache (") and says.count("\n") == 0


def test_a_filled_cache_may_be_read_only(tmp_path, capsys, monkeypatch):
    (tmp_path / "texts").mkdir()

    def read_only(**_):
        raise OSError(30, "Read-only file system", str(tmp_path / "x"))

    monkeypatch.setattr(whole_files.tempfile, "TemporaryFile", read_only)
    check_cache_dir(str(tmp_path))
    assert capsys.readouterr().out == (
        f"Warning: --embedding_cache_dir: cannot write to {tmp_path} (Read-only file system): the run ends if "
        "something is not in it yet.\n"
    )
    (tmp_path / "texts").rmdir()
    with pytest.raises(whole_files.WriteError):
        check_cache_dir(str(tmp_path))


@pytest.mark.slow
def test_two_runs_that_share_a_cache(inputs, tmp_path):
    """Two real processes that embed the same images at the same time: both end as one alone does."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SLOWLY, str(ROOT / "train_accelerate.py")]
            + command(inputs, tmp_path / name, per_device_eval_batch_size=1),
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        for name in ("first", "second")
    ]
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    another = {"embedding_cache_dir": tmp_path / "another", "per_device_eval_batch_size": 1}
    assert run(command(inputs, tmp_path / "alone", **another)) == 0
    assert log(tmp_path / "first") == log(tmp_path / "second") == log(tmp_path / "alone")


def test_a_disk_that_fills_up(inputs, tmp_path, seen, monkeypatch, capsys):
    replace = os.replace

    def full(source, target):
        if Path(target).name.startswith("shard-") and len(stored(tmp_path / "cache")) >= 10:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(embeddings, "SECONDS_PER_SHARD", 0)
    argv = command(inputs, tmp_path / "out", per_device_eval_batch_size=5)
    with monkeypatch.context() as patch:
        patch.setattr(whole_files.os, "replace", full)
        says = refusal(argv, capsys)
    assert says.startswith(f"--embedding_cache_dir: cannot write to {tmp_path}/cache/")
    assert "(No space left on device, " in says and says.endswith(" needed): make room, then repeat the command.")
    assert len(stored(tmp_path / "cache")) == 10 and not list((tmp_path / "cache").rglob("unfinished-*"))
    seen.new_counts()
    assert run(argv) == 0
    assert seen.new_counts()[0] == 16
