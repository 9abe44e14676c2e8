"""Training that pushes to a stand-in of the Hub."""

import errno
import json
import threading
import time
from pathlib import Path

import pytest
from hub_server import TOKEN
from peft import PeftModel
from runs import command, refusal, run, weights, write_inputs
from transformers import CLIPModel

import conclip.training.loop as loop
import conclip.training.pushes as pushes_module
from conclip.training.pushes import Pushes

COMMIT = ("POST", "/commit/")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def texts(folder: Path) -> str:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return "".join(path.read_bytes().decode("latin-1") for path in found)


def test_the_finished_folder_is_pushed_without_checkpoints_and_tokens(hub, inputs, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    out = tmp_path / "mine"
    options = {"push_to_hub": True, "hub_model_id": "me/model", "hub_token": TOKEN, "hub_private_repo": True}
    options["hub_revision"] = "trial"
    assert run(command(inputs, out, max_steps=1, save_steps=1, **options)) == 0
    printed = capsys.readouterr().out
    assert printed.endswith(f"Pushed to {hub.url}/me/model/tree/trial\n")
    assert "Left out: checkpoints (checkpoint-1/" in printed and TOKEN not in printed
    files = hub.files("me/model", branch="trial")
    assert files["model.safetensors"] == (out / "model.safetensors").read_bytes()
    assert {"README.md", "results.json", "scores.png", "modeling_conclip.py"} <= set(files)
    assert not [name for name in files if name.startswith(("checkpoint", "conclip/", "metrics", "."))]
    assert b'model="me/model"' in files["README.md"] and str(tmp_path).encode() not in b"".join(files.values())
    assert hub.repositories["model", "me/model"].private
    assert TOKEN not in texts(out), "in a report, a checkpoint or a log of the run"
    assert json.loads(files["results.json"])["command"].count("TOKEN") == 1


def test_every_save_is_pushed_while_adapters_are_still_trained(hub, inputs, tmp_path, capsys):
    options = {"push_to_hub": True, "hub_model_id": "me/model", "hub_strategy": "every_save", "save_steps": 1}
    hub.faults[COMMIT] = [500]
    assert run(command(inputs, tmp_path, max_steps=3, use_lora=True, eval_split="none", **options)) == 0
    printed = capsys.readouterr().out
    assert "Warning: step 1 was not pushed: me/model was not changed: the Hub has a problem (500)" in printed
    commits = hub.repositories["model", "me/model"].commits
    pushed = [message for _, message in commits]
    assert printed.count("\nModel: ") == 1, "the uploads before the last say nothing"
    missed = printed.count("an earlier upload is still running.")
    assert pushed[-1] == "Upload model" and len(pushed) + missed == 3
    assert pushed[:-1] == [f"Training in progress, step {step}" for step in (2, 3)][: len(pushed) - 1] or missed
    # What was trained on after the first push is what a run that pushes nothing trains.
    assert run(command(inputs, tmp_path / "alone", max_steps=3, use_lora=True, eval_split="none", save_steps=0)) == 0
    plain = weights(tmp_path / "alone")
    assert all((weights(tmp_path)[name] == plain[name]).all() for name in plain)
    for name, content in hub.files("me/model").items():
        path = tmp_path / "pulled" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    CLIPModel.from_pretrained(tmp_path / "pulled")
    base = CLIPModel.from_pretrained(inputs["model_name_or_path"])
    PeftModel.from_pretrained(base, tmp_path / "pulled" / "adapter")


def test_a_model_that_cannot_be_saved_for_an_upload_does_not_end_the_training(capsys):
    def save(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    pushes = Pushes("me/model", False, None, TOKEN)
    pushes.push_in_background(30, save)
    assert pushes.thread is None
    printed = capsys.readouterr().out
    assert printed.startswith("Warning: step 30 was not pushed: ") and "No space left on device" in printed


def test_one_upload_at_a_time_and_the_last_waits(tmp_path, capsys, monkeypatch):
    ended, may_end = [], threading.Event()

    def push_folder(folder, repo_id, message=None, **options):
        if message:
            may_end.wait(60)
            time.sleep(0.1)
        ended.append(message)
        return "address"

    monkeypatch.setattr(pushes_module, "push_folder", push_folder)
    pushes = Pushes("me/model", False, None, TOKEN)
    pushes.push_in_background(10, lambda folder: None)
    pushes.push_in_background(20, lambda folder: None)
    may_end.set()
    pushes.push_finished(tmp_path)
    assert ended == ["Training in progress, step 10", None]
    said = "Step 20 is not pushed: an earlier upload is still running.\nPushed to address\n"
    assert capsys.readouterr().out == said


def test_a_token_that_is_refused_is_noticed_before_training(hub, inputs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loop, "train_step", None)
    argv = command(inputs, tmp_path, push_to_hub=True, hub_model_id="me/model", hub_token="hf_other")
    assert refusal(argv, capsys).startswith("me/model cannot be created: the Hub does not accept the token (401)")
    monkeypatch.delenv("HF_TOKEN")
    argv = command(inputs, tmp_path, push_to_hub=True, hub_model_id="me/model")
    assert refusal(argv, capsys) == (
        "me/model cannot be written: there is no token: run `hf auth login`, or set HF_TOKEN."
    )


def test_data_that_cannot_be_read_leaves_no_repository(hub, inputs, tmp_path, capsys):
    argv = command({**inputs, "dataset_name": tmp_path}, tmp_path / "out", push_to_hub=True, hub_model_id="me/model")
    assert "dataset_name" in refusal(argv, capsys)
    assert hub.repositories == {}


def test_an_upload_that_fails_loses_nothing(hub, inputs, tmp_path, capsys):
    hub.faults[COMMIT] = ["drop"]
    argv = command(inputs, tmp_path, max_steps=1, eval_split="none", push_to_hub=True, hub_model_id="me/model")
    message = refusal(argv, capsys)
    assert message.startswith(f"The model is saved in {tmp_path}, but me/model was not changed: the connection to ")
    assert message.endswith(f"; to push it: conclip push {tmp_path} me/model")
    CLIPModel.from_pretrained(tmp_path)
    assert (tmp_path / "README.md").is_file() and (tmp_path / "results.json").is_file()
