"""`conclip push` against a stand-in of the Hub: uploads, refusals, and connections that break."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import TOKEN
from huggingface_hub import constants
from tiny import save_tiny

from conclip.errors import UsageError
from conclip.publish.command import main

COMMIT = ("POST", "/commit/")
CREATE = ("POST", "/api/repos/create")
OBJECT = ("PUT", "/objects/")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "mine"
    save_tiny(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n\n# mine\n")
    (folder / "metrics.jsonl").write_text("{}")
    return folder


@pytest.fixture
def push(model, capsys):
    """Runs the command line: exit status, standard output, the sentence after "Error: "."""

    def push_(*options, folder=model, repo_id="me/clip"):
        status = main([str(folder), repo_id, *options])
        out, err = capsys.readouterr()
        assert "Traceback" not in err and TOKEN not in out + err
        lines = [line for line in re.split(r"[\r\n]", err) if line.startswith("Error: ")]
        assert len(lines) == status
        return status, out, lines[0].removeprefix("Error: ") if lines else ""

    return push_


def test_a_push_is_one_commit_of_the_same_files(hub, push, model):
    status, out, _ = push()
    assert status == 0 and out.endswith(f"Pushed to {hub.url}/me/clip\n")
    files = hub.files("me/clip")
    assert files == {path.name: path.read_bytes() for path in model.iterdir() if path.name != "metrics.jsonl"}
    repository = hub.repositories["model", "me/clip"]
    assert repository.commits == [("main", "Upload model")] and not repository.private
    assert push()[0] == 0, "the repository exists now"
    assert [method for method, _ in hub.requests].count("PUT") == 1, "the weights had arrived"


def test_files_of_an_earlier_push_are_named(hub, push):
    assert "also holds" not in push()[1]
    hub.files("me/clip")["old.bin"] = b""
    assert "me/clip also holds 1 file that this folder does not, such as old.bin: delete" in push()[1]
    hub.files("me/clip").update({"adapter/x.safetensors": b"", "old.bin": b"", ".gitattributes": b""})
    assert "me/clip also holds 2 files that this folder does not, such as adapter/x.safetensors: delete" in push()[1]


def test_files_that_cannot_be_listed_are_a_warning_because_the_push_succeeded(hub, push, monkeypatch):
    def refused(*_):
        raise UsageError("me/clip was changed, but its files cannot be listed: the Hub has a problem.")

    monkeypatch.setattr("conclip.publish.push.other_files", refused)
    status, out, _ = push()
    assert status == 0 and out.endswith(f"Pushed to {hub.url}/me/clip\n") and "config.json" in hub.files("me/clip")


def test_a_folder_for_dry_run_that_is_not_empty_is_refused_first(push, tmp_path, monkeypatch):
    monkeypatch.setattr("conclip.publish.folders.read_contents", lambda *_: pytest.fail("the folder was read"))
    (tmp_path / "mine.txt").touch()
    assert push("--dry_run", str(tmp_path))[2] == f"--dry_run {tmp_path} is not empty: choose another folder."


def test_ctrl_c_promises_nothing_about_a_commit_that_was_sent(hub, monkeypatch, model, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("conclip.publish.push.upload", interrupted)
    assert main([str(model), "me/clip"]) == 130
    assert "The repository has all files of this upload or none" in capsys.readouterr().err


def test_options(hub, push):
    status, out, _ = push("--private", "--revision", "trial", "--commit_message", "First")
    repository = hub.repositories["model", "me/clip"]
    assert status == 0 and out.endswith(f"Pushed to {hub.url}/me/clip/tree/trial\n")
    assert repository.private and repository.commits == [("trial", "First")]
    assert repository.branches["main"] == {} and "config.json" in repository.branches["trial"]
    status, out, _ = push("--create_pr")
    assert status == 0 and out.endswith(f"Pushed to {hub.url}/me/clip/discussions/1\n")
    assert repository.branches["main"] == {} and repository.commits[-1] == ("refs/pr/1", "Upload model")
    assert push("--create_pr", "--revision", "trial")[2].startswith("--create_pr and --revision exclude each other")


def test_a_dataset_and_a_metric_have_repositories_of_their_kind(hub, push, write, tmp_path):
    assert write("--annotations_only")[0] == 0
    status, out, _ = push(folder=tmp_path / "ccneg", repo_id="me/cc-neg")
    assert status == 0 and out.endswith(f"Pushed to {hub.url}/datasets/me/cc-neg\n")
    metric = Path(__file__).resolve().parents[2] / "evaluate" / "pair_accuracy"
    status, out, _ = push(folder=metric, repo_id="me/pair_accuracy")
    assert status == 0 and out.endswith(f"Pushed to {hub.url}/spaces/me/pair_accuracy\n")
    assert hub.repositories["space", "me/pair_accuracy"].sdk == "gradio"
    assert "app.py" in hub.files("me/pair_accuracy", "space")


def test_a_token_as_an_option(hub, push, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert push()[2] == "me/clip cannot be written: there is no token: run `hf auth login`, or set HF_TOKEN."
    assert hub.requests == []
    assert push("--token", TOKEN)[0] == 0
    said = "me/x cannot be created: the Hub does not accept the token (401): run `hf auth login`, or set HF_TOKEN."
    assert push("--token", "hf_another", repo_id="me/x")[2] == said


def test_a_repository_that_is_public_is_not_taken_for_a_private_one(hub, push):
    assert push()[0] == 0
    before = dict(hub.files("me/clip"))
    message = push("--private")[2]
    assert message.startswith("me/clip exists and is public: make it private") and hub.files("me/clip") == before


@pytest.mark.parametrize(
    ("where", "answers", "says"),
    [
        (CREATE, [402], "me/clip cannot be created: the Hub asks for a paid plan (402)"),
        (
            CREATE,
            [403],
            "me/clip cannot be created: the token may not write there (403): use one with write access to me.",
        ),
        (CREATE, [503], "me/clip cannot be created: the Hub has a problem (503): push again: "),
        (CREATE, ["drop"], "me/clip cannot be created: the connection to http://127.0.0.1:"),
        (COMMIT, [403], "me/clip was not changed: the token may not write there (403)"),
        (COMMIT, [409], "me/clip was not changed: somebody else is changing it at the same time (409): push again."),
        (COMMIT, [422], "me/clip was not changed: the Hub refuses it (422, Error 422 on purpose)."),
        (COMMIT, [500], "me/clip was not changed: the Hub has a problem (500): push again: files that have arrived"),
        (COMMIT, ["drop"], "me/clip was not changed: the connection to http://127.0.0.1:"),
        (OBJECT, [403], "me/clip was not changed: the token may not write there (403)"),
        (OBJECT, [500] * 6, "me/clip was not changed: the Hub has a problem (500): push again"),
        (OBJECT, ["drop"] * 6, "me/clip was not changed: the connection to http://127.0.0.1:"),
    ],
)
def test_a_failure_is_one_sentence_and_pushing_again_helps(where, answers, says, hub, push, model):
    hub.faults[where] = list(answers)
    status, out, message = push()
    assert status == 1 and message.startswith(says), message
    assert "Pushed" not in out
    if where != CREATE:
        assert hub.files("me/clip") == {}, "all files or none"
    hub.faults.clear()
    hub.received = 0
    assert push()[0] == 0
    assert "model.safetensors" in hub.files("me/clip")
    if where == COMMIT:
        weights = (model / "model.safetensors").stat().st_size
        assert hub.received < weights, "the weights had arrived and are not sent again"


def test_a_fault_that_passes_is_not_noticed(hub, push):
    hub.faults[OBJECT] = ["drop", 503]
    assert push()[0] == 0


def test_no_network_and_names_that_are_none(push, monkeypatch):
    assert push(repo_id="clip")[2] == "'clip' is not the name of a repository, such as me/conclip-vit-base-patch32."
    assert push(repo_id="me/a b")[2].startswith("'me/a b' is not the name of a repository")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    said = "me/clip cannot be reached: the Hub does not answer, or HF_HUB_OFFLINE is set."
    assert push()[2] == said


def test_a_folder_that_is_not_complete_makes_no_repository(hub, push, model, tmp_path):
    for name in ("model.safetensors", "modeling_conclip.py"):
        shutil.copytree(model, tmp_path / name)
        (tmp_path / name / name).unlink()
        said = f"{tmp_path / name} is not complete: {name} is missing: save the model again."
        assert push(folder=tmp_path / name)[2] == said
    shutil.copytree(model, tmp_path / "cut")
    (tmp_path / "cut/model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:1000])
    assert "model.safetensors is cut short or damaged" in push(folder=tmp_path / "cut")[2]
    assert hub.repositories == {}


def test_the_address_of_another_hub_in_the_environment(hub, model, tmp_path):
    """HF_ENDPOINT is read when the library is imported, so this needs a process of its own."""
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "conclip", "push", str(model), "me/clip"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"Pushed to {hub.url}/me/clip\n") and "config.json" in hub.files("me/clip")
