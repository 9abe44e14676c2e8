"""A disk that fills up, or becomes read-only, while a model is trained."""

import errno
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.tracking import TensorBoardTracker
from accelerate_state import reset_accelerate
from runs import command, log, refusal, run, weights, write_inputs
from safetensors import SafetensorError
from tensorboard.summary.writer.record_writer import RecordWriter
from tiny import tiny_model, tiny_processor

import conclip.atomic_write as atomic_write
import conclip.models.saving as saving
from conclip.atomic_write import WriteError
from conclip.models.saving import save_model, weights_bytes
from conclip.training.checkpoints import TrainingProgress, checkpoint_bytes, save_checkpoint
from conclip.training.trackers import JsonlTracker, finish_trackers, log_values, start_trackers

OPTIONS = {"save_steps": 2, "max_steps": 6, "eval_split": "none"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def accelerator():
    reset_accelerate()
    return Accelerator(cpu=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_disk_that_fills_up_keeps_the_last_checkpoint_from_which_the_run_continues(inputs, tmp_path, capsys):
    """The second checkpoint is begun and cannot be completed, as if another process took the room meanwhile."""
    argv, save_state = command(inputs, tmp_path / "run", **OPTIONS), Accelerator.save_state

    def full(self, folder, **options):
        save_state(self, folder, **options)
        if folder.endswith("checkpoint-4"):
            Path(folder, "optimizer.bin").write_bytes(b"half")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Accelerator, "save_state", full)
        says = refusal(argv, capsys)
    checkpoint = tmp_path / "run" / "checkpoint-4"
    assert says.startswith(f"cannot write to {checkpoint} (No space left on device, ")
    assert says.endswith(" needed): make room, then repeat the command with --resume_from_checkpoint latest.")
    assert names(tmp_path / "run") == ["checkpoint-2", "metrics.jsonl"]
    assert run([*argv, "--resume_from_checkpoint", "latest"]) == 0
    assert run(command(inputs, tmp_path / "whole", **OPTIONS)) == 0
    whole = weights(tmp_path / "whole")
    assert all(torch.equal(tensor, whole[name]) for name, tensor in weights(tmp_path / "run").items())
    assert log(tmp_path / "run") == log(tmp_path / "whole")


def test_too_little_room_is_found_before_any_work(inputs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(atomic_write, "free_bytes", lambda path: 400_000)
    says = refusal(command(inputs, tmp_path / "run", **OPTIONS), capsys)
    assert says.startswith(f"cannot write to {tmp_path}/run (No space left on device, 400 kB free, ")
    assert names(tmp_path / "run") == []
    # The model alone fits.
    assert run(command(inputs, tmp_path / "run", **{**OPTIONS, "save_steps": 0, "max_steps": 1})) == 0


def small_training(accelerator: Accelerator):
    model = torch.nn.Linear(100, 50)
    model.bias.requires_grad_(False)
    optimizer = torch.optim.AdamW([model.weight])
    model, optimizer = accelerator.prepare(model, optimizer)
    model(torch.ones(1, 100)).sum().backward()
    optimizer.step()
    return model


def test_a_checkpoint_takes_the_room_that_was_asked_for(accelerator, tmp_path):
    """Weights once, and two moments of what is trained; both are written in float32."""
    model = small_training(accelerator)
    needed = checkpoint_bytes(model)
    assert needed == 4 * (5_050 + 2 * 5_000) + (1 << 17)
    save_checkpoint(accelerator, model, tmp_path, TrainingProgress(step=3), {}, 2, needed)
    written = sum(path.stat().st_size for path in (tmp_path / "checkpoint-3").iterdir())
    assert 4 * (5_050 + 2 * 5_000) < written <= needed


@pytest.mark.parametrize("free", [60_000, 10**9])
def test_a_checkpoint_without_room_is_not_begun(free, accelerator, tmp_path, monkeypatch):
    model, begun = small_training(accelerator), []
    monkeypatch.setattr(Accelerator, "save_state", lambda self, folder: (begun.append(folder), Path(folder).mkdir()))
    monkeypatch.setattr(atomic_write, "free_bytes", lambda path: free)
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "trainer_state.json").write_text("{}")
    arguments = accelerator, model, tmp_path, TrainingProgress(step=3), {}, 1, checkpoint_bytes(model)
    if free == 10**9:
        save_checkpoint(*arguments)
        assert begun and names(tmp_path) == ["checkpoint-3"]
    else:
        with pytest.raises(WriteError, match=rf"^cannot write to {tmp_path}/checkpoint-3 \(.*, 60\.0 kB free, 191 kB"):
            save_checkpoint(*arguments)
        assert not begun and names(tmp_path) == ["checkpoint-1"]


def test_a_model_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch):
    save_model(tiny_model(seed=0), tiny_processor(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(saving, "save_processor", read_only)
        with pytest.raises(
            WriteError, match=rf"^cannot write to {tmp_path} \(Read-only file system\): make it writable"
        ):
            save_model(tiny_model(seed=1), tiny_processor(), tmp_path)
    monkeypatch.setattr(atomic_write, "free_bytes", lambda path: 1_000)
    with pytest.raises(WriteError, match=r"1\.0 kB free, 3\d\d kB needed"):
        save_model(tiny_model(seed=1), tiny_processor(), tmp_path, stale=["README.md", "config.json"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert weights_bytes(tiny_model()) <= len(before["model.safetensors"]) < weights_bytes(tiny_model()) + 20_000


def test_lines_without_room_are_written_later(tmp_path, capsys, monkeypatch):
    tracker = JsonlTracker(tmp_path / "metrics.jsonl")
    reset_accelerate()
    tracker.log({"loss": 0.5}, 1)
    tracker.path.rename(tmp_path / "elsewhere")
    tracker.path.mkdir()
    tracker.log({"loss": 0.25}, 2)
    tracker.log({"loss": 0.125}, 3)
    tracker.path.rmdir()
    (tmp_path / "elsewhere").rename(tracker.path)
    tracker.log({"loss": 0.0625}, 4)
    tracker.finish()
    lines = [json.loads(line) for line in tracker.path.read_text().splitlines()]
    assert lines == [{"step": step, "loss": 0.5**step} for step in (1, 2, 3, 4)]
    said = capsys.readouterr().out
    assert said.count("Warning: ") == 1
    assert f"Warning: cannot write to {tracker.path} (Is a directory): training continues" in said


def test_a_half_written_line_is_taken_back(tmp_path, capsys):
    """The disk takes a part of the first line, and nothing more."""
    tracker = JsonlTracker(tmp_path / "metrics.jsonl")
    tracker.path.write_text('{"step": 1}\n')

    class AlmostFull:
        def __init__(self, path):
            self.file, self.room = path.open("ab", buffering=0), 5

        def open(self, *_, **__):
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            written, self.room = self.file.write(content[: self.room]), 0
            return written

    real, tracker.path = tracker.path, AlmostFull(tracker.path)
    tracker.log({"loss": 2.0}, 2)
    assert real.read_text() == '{"step": 1}\n'
    tracker.path = AlmostFull(real)
    tracker.finish()
    assert real.read_text() == '{"step": 1}\n'
    assert "its last 1 lines are lost" in capsys.readouterr().out
    tracker.path = real
    tracker.finish()
    assert real.read_text() == '{"step": 1}\n{"step": 2, "loss": 2.0}\n'


def test_tensorboard_on_a_full_disk_is_left_out_without_a_traceback(tmp_path, capsys, monkeypatch):
    """TensorBoard writes in a thread of its own."""
    reset_accelerate()
    accelerator = Accelerator(cpu=True, log_with=["tensorboard"], project_dir=tmp_path)
    start_trackers(accelerator, {"seed": 1})
    assert isinstance(accelerator.trackers[0], TensorBoardTracker)
    log_values(accelerator, {"loss": 1.0}, 1)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", full)
    for step in (2, 3, 4):
        log_values(accelerator, {"loss": 1.0}, step)
    assert accelerator.trackers == []
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out and said.out.count("Warning: ") == 1
    assert said.out == (
        "Warning: --report_to tensorboard: cannot log step 2 (No space left on device): training continues without "
        "this tracker.\n"
    )


def test_a_tracker_that_cannot_close_is_a_warning(capsys):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    closed = []
    trackers = [SimpleNamespace(name="a", finish=lambda: closed.append("a")), SimpleNamespace(name="b", finish=full)]
    finish_trackers(SimpleNamespace(trackers=trackers))
    assert closed == ["a"] and trackers == []
    assert capsys.readouterr().out == (
        "Warning: --report_to b: cannot write its last values (No space left on device).\n"
    )


def test_a_tracker_that_cannot_start_ends_the_run_before_it_trains(inputs, tmp_path, capsys):
    """The folder of TensorBoard is a file."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "conclip").touch()
    says = refusal(command(inputs, tmp_path / "run", **OPTIONS, report_to="tensorboard"), capsys)
    assert says.startswith(f"cannot write to {tmp_path}/run/conclip (") and "make it writable" in says
