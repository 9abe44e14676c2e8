"""A stopped run continues from its last checkpoint; unfinished files are never taken for finished ones."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from payload import payload
from runs import command, log, refusal, results, run, weights, write_inputs

import conclip.training.loop as loop
import conclip.training.trainer as training

OPTIONS = {"save_steps": 2, "max_steps": 6, "eval_split": "none"}

# A learning rate that does not depend on the length of the run.
EVALUATED = {"save_steps": 2, "eval_steps": 2, "max_steps": 6, "lr_scheduler_type": "constant_with_warmup"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    """A finished run with checkpoints 4 and 6, which tests must not change."""
    output_dir = tmp_path_factory.mktemp("finished") / "run"
    assert run(command(inputs, output_dir, **OPTIONS)) == 0
    return output_dir


@pytest.fixture(scope="module")
def evaluated(inputs, tmp_path_factory):
    """A finished run that was evaluated at its checkpoints, which tests must not change."""
    output_dir = tmp_path_factory.mktemp("evaluated") / "run"
    assert run(command(inputs, output_dir, **EVALUATED)) == 0
    return output_dir


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def names(folder: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in folder.glob(pattern))


def same_weights(first: Path, second: Path) -> bool:
    tensors = weights(second)
    return all(torch.equal(tensor, tensors[name]) for name, tensor in weights(first).items())


def test_ctrl_c_and_then_latest_ends_as_if_nothing_had_happened(inputs, tmp_path):
    """A real process and a real signal; the image encoder is trained so that steps take longer."""
    options = {
        "save_steps": 5,
        "max_steps": 120,
        "train_image_encoder": True,
        "eval_split": "none",
    }
    argv = command(inputs, tmp_path / "parts", **options)
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, str(root / "train_accelerate.py"), *argv],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background processes with this signal ignored, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until = time.monotonic() + 100
    while not names(tmp_path / "parts", "checkpoint-10") and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.strip().splitlines()[-1] == (
        "Interrupted. No file is incomplete; the same command with --resume_from_checkpoint latest continues the run."
    )
    assert "Traceback" not in errors
    assert not (tmp_path / "parts/model.safetensors").exists()
    stopped_at = int(names(tmp_path / "parts", "checkpoint-*")[-1].rpartition("-")[2])
    assert stopped_at < 120
    assert run([*argv, "--resume_from_checkpoint", "latest"]) == 0
    assert run(command(inputs, tmp_path / "whole", **options)) == 0
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    assert log(tmp_path / "whole") == log(tmp_path / "parts")


def test_killed_while_it_saves_a_checkpoint(inputs, finished, tmp_path, monkeypatch):
    save_state, saves = Accelerator.save_state, []

    def killed(self, folder, **options):
        saves.append(folder)
        save_state(self, folder, **options)
        if len(saves) == 2:
            Path(folder, "from_a_third_process.pkl").write_bytes(b"stale")
            raise KeyboardInterrupt

    monkeypatch.setattr(Accelerator, "save_state", killed)
    argv = command(inputs, tmp_path, **OPTIONS)
    assert run(argv) == 130
    monkeypatch.undo()
    assert names(tmp_path, "*checkpoint-*") == ["checkpoint-2", "unfinished-checkpoint-4"]
    (tmp_path / "unfinished-checkpoint-3").mkdir()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "train/lo')
    assert run([*argv, "--resume_from_checkpoint", "latest"]) == 0
    assert names(tmp_path, "*checkpoint-*") == ["checkpoint-4", "checkpoint-6"]
    assert names(tmp_path / "checkpoint-4", "*") == names(finished / "checkpoint-4", "*")
    assert same_weights(tmp_path, finished)
    assert log(tmp_path) == log(finished)


def test_killed_while_it_removes_a_checkpoint(inputs, copied, monkeypatch):
    """A checkpoint that is half removed no longer counts as one."""

    def killed(folder, *arguments, **options):
        if Path(folder).name.startswith("unfinished-checkpoint"):
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    argv = command(inputs, copied, **{**OPTIONS, "max_steps": 9, "resume_from_checkpoint": "latest"})
    assert run(argv) == 130
    assert names(copied, "*checkpoint-*") == ["checkpoint-6", "checkpoint-8", "unfinished-checkpoint-4-removed"]


def test_a_finished_run_can_be_resumed_to_the_same_end(inputs, finished, copied):
    (copied / "model.safetensors").unlink()
    argv = command(inputs, copied, **{**OPTIONS, "eval_split": "test"}, resume_from_checkpoint="latest")
    assert run(argv) == 0
    assert same_weights(copied, finished)
    assert log(copied) == log(finished)
    assert results(copied)["training"]["steps"] == 6 and results(copied)["training"]["loss"] is None


@pytest.mark.parametrize("at", ["log_evaluation", "save_checkpoint"])
def test_killed_at_a_step_with_checkpoint_and_evaluation(at, evaluated, inputs, tmp_path, monkeypatch):
    """Before the evaluation is logged, or after: it is made and logged once, and the run ends the same."""
    plain, calls = getattr(loop, at), []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(loop, at, killed)
    argv = command(inputs, tmp_path, **EVALUATED)
    assert run(argv) == 130
    monkeypatch.undo()
    assert names(tmp_path, "checkpoint-*") == ["checkpoint-2"]
    assert run([*argv, "--resume_from_checkpoint", "latest"]) == 0
    lines = log(tmp_path)
    assert lines == log(evaluated) and same_weights(tmp_path, evaluated)
    assert [line["step"] for line in lines if "eval/negation pair accuracy" in line] == [2, 4]
    assert [line["step"] for line in lines if "train/loss" in line] == list(range(1, 7))


def test_a_longer_run_also_evaluates_where_the_shorter_one_ended(evaluated, inputs, tmp_path):
    assert run(command(inputs, tmp_path, **{**EVALUATED, "max_steps": 4})) == 0
    assert run(command(inputs, tmp_path, **EVALUATED, resume_from_checkpoint="latest")) == 0
    assert log(tmp_path) == log(evaluated) and same_weights(tmp_path, evaluated)


def test_resuming_a_finished_run_changes_no_file(evaluated, inputs, tmp_path, capsys, monkeypatch):
    shutil.copytree(evaluated, tmp_path / "run")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"results.json", "README.md", "scores.png", "metrics.jsonl"} <= {path.name for path in files}
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    monkeypatch.setattr(training.ConCLIPTrainer, "evaluate", None)
    argv = command(inputs, tmp_path / "run", **EVALUATED, resume_from_checkpoint="latest")
    capsys.readouterr()
    assert run(argv) == 0
    assert (
        f"The run in {tmp_path / 'run'} is already finished: its model and results stay as they are.\n"
        in capsys.readouterr().out
    )
    found = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found} == before
    monkeypatch.undo()
    assert "learning_rate was 0.001" in refusal([*argv, "--learning_rate", "2e-3"], capsys)


def test_a_run_that_was_killed_before_its_results_were_written_writes_them(inputs, evaluated, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "write_report", lambda *arguments: os.kill(os.getpid(), signal.SIGINT))
    argv = command(inputs, tmp_path, **EVALUATED)
    assert run(argv) == 130
    monkeypatch.undo()
    assert not (tmp_path / "results.json").exists()
    assert run([*argv, "--resume_from_checkpoint", "latest"]) == 0
    assert results(tmp_path)["after"] == results(evaluated)["after"] and log(tmp_path) == log(evaluated)


def test_a_longer_run_goes_on_under_the_longer_schedule(inputs, copied, finished):
    argv = command(inputs, copied, **{**OPTIONS, "max_steps": 9, "resume_from_checkpoint": "latest"})
    assert run(argv) == 0
    lines = log(copied)
    assert [line["step"] for line in lines] == list(range(1, 10))
    assert lines[:6] == log(finished)
    rates = [line["train/learning_rate"] for line in lines]
    # After two updates of warm-up, a half cosine of four updates, then the end of a half cosine of seven.
    shares = [0.5, 1, 1, *((1 + math.cos(math.pi * part)) / 2 for part in (1 / 4, 2 / 4, 3 / 4, 4 / 7, 5 / 7, 6 / 7))]
    assert rates == pytest.approx([1e-3 * share for share in shares], rel=1e-9)


def test_a_shorter_run_than_the_checkpoint_is_refused(inputs, copied, capsys):
    argv = command(inputs, copied, **{**OPTIONS, "max_steps": 5}, resume_from_checkpoint="latest")
    assert refusal(argv, capsys) == (
        f"{copied}/checkpoint-6 was saved after step 6, beyond the 5 updates of this run: raise --max_steps or "
        "--num_train_epochs."
    )


def test_a_new_run_does_not_mix_with_the_checkpoints_of_an_earlier_one(inputs, finished, copied, capsys):
    message = refusal(command(inputs, copied, **OPTIONS), capsys)
    assert message.startswith(f"{copied} holds checkpoints of an earlier run, up to checkpoint-6: ")
    assert "--resume_from_checkpoint latest" in message and "another --output_dir" in message
    assert names(copied, "*") == names(finished, "*") and log(copied) == log(finished)


def test_latest_without_a_checkpoint(inputs, tmp_path, capsys):
    for name in ("checkpoint-best", "checkpoint-7", "unfinished-checkpoint-8"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-best/trainer_state.json").write_text("{}")
    message = refusal(command(inputs, tmp_path, resume_from_checkpoint="latest"), capsys)
    assert (
        message == f"--resume_from_checkpoint latest: no checkpoint in {tmp_path}; leave the option out to start anew."
    )


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, Path.touch], ids=["nothing", "folder", "file"])
def test_a_path_that_is_no_checkpoint(make, inputs, tmp_path, capsys):
    make(tmp_path / "elsewhere")
    message = refusal(command(inputs, tmp_path / "out", resume_from_checkpoint=tmp_path / "elsewhere"), capsys)
    assert message.startswith(f"--resume_from_checkpoint {tmp_path / 'elsewhere'}: no finished checkpoint there")


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.bin", "random_states_0.pkl"])
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_checkpoint(file, damage, inputs, copied, capsys):
    path = copied / "checkpoint-6" / file
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = (copied / "model.safetensors").read_bytes()
    longer = {**OPTIONS, "max_steps": 8}
    message = refusal(command(inputs, copied, **longer, resume_from_checkpoint="latest"), capsys)
    assert re.fullmatch(rf"{copied}/checkpoint-6 is damaged \(.+\): resume from another checkpoint\.", message), (
        message
    )
    assert (copied / "model.safetensors").read_bytes() == before
    again = command(inputs, copied, **longer, resume_from_checkpoint=copied / "checkpoint-4")
    assert run(again) == 0


# What `Accelerator.load_state` reads or might read.
READ = ["optimizer.bin", "random_states_0.pkl", "pytorch_model.bin", "custom_checkpoint_0.pkl"]
NOT_READ = ["scheduler.bin", "sampler.bin", "dl_state_dict.bin", "scaler.pt", "random_states_1.pkl"]


@pytest.mark.parametrize("how", ["pickle", "torch"])
@pytest.mark.parametrize("file", [*READ, "model.safetensors", "trainer_state.json"])
def test_no_file_of_a_checkpoint_runs_code(file, how, inputs, copied, tmp_path, capsys):
    checkpoint = copied / "checkpoint-6"
    if file == "pytorch_model.bin":
        (checkpoint / "model.safetensors").unlink()
    (checkpoint / file).write_bytes(payload(tmp_path / "ran", how))
    message = refusal(command(inputs, copied, **{**OPTIONS, "max_steps": 8}, resume_from_checkpoint="latest"), capsys)
    assert not (tmp_path / "ran").exists()
    assert "weights_only" not in message and message.endswith("resume from another checkpoint.")
    if file in ("optimizer.bin", "random_states_0.pkl"):
        assert message == (
            f"{checkpoint / file} holds more than plain data, which could run code, and was not loaded: resume from "
            "another checkpoint."
        )
    if file == "custom_checkpoint_0.pkl":
        assert message.startswith(f"{checkpoint / file} was not loaded: ")
    if file == "pytorch_model.bin":
        assert message.startswith(f"{checkpoint} is damaged (model.safetensors is missing)")


def test_other_files_in_a_checkpoint_are_not_read(inputs, copied, tmp_path):
    for file in NOT_READ:
        (copied / "checkpoint-6" / file).write_bytes(payload(tmp_path / "ran", "pickle"))
    assert run(command(inputs, copied, **{**OPTIONS, "max_steps": 8}, resume_from_checkpoint="latest")) == 0
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"progress": {}}', '{"progress": {"stride": 3}, "fixed": {}}'])
def test_damaged_progress(content, inputs, copied, capsys):
    (copied / "checkpoint-6/trainer_state.json").write_text(content)
    message = refusal(command(inputs, copied, **OPTIONS, resume_from_checkpoint="latest"), capsys)
    assert message.startswith(f"{copied}/checkpoint-6/trainer_state.json is damaged (")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"learning_rate": 2e-3}, "learning_rate was 0.001, is 0.002"),
        ({"seed": 1, "loss": "negclip"}, "loss was conclip, is negclip; seed was 42, is 1"),
        ({"per_device_train_batch_size": 4}, "per_device_train_batch_size was 8, is 4"),
        ({"max_train_samples": 40}, "training rows was 50, is 40"),
        ({"bf16": True}, "mixed precision was no, is bf16"),
        ({"use_lora": True}, "use_lora was False, is True"),
    ],
    ids=str,
)
def test_changed_arguments(options, says, inputs, copied, capsys):
    argv = command(inputs, copied, **{**OPTIONS, **options}, resume_from_checkpoint="latest")
    assert refusal(argv, capsys) == (
        f"Cannot resume from {copied}/checkpoint-6: {says}. Use the settings that the run started with."
    )


def test_what_a_checkpoint_fixes_is_an_argument(finished):
    fixed = json.loads((finished / "checkpoint-6/trainer_state.json").read_text())["fixed"]
    assert {"learning_rate", "image_to_text_weight", "lora_rank", "warmup_steps"} <= fixed.keys()
    assert not {"max_steps", "num_train_epochs", "output_dir", "logging_steps"} & fixed.keys()
