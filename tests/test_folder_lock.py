"""One run at a time in a folder, by real processes."""

import importlib
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from accelerate_state import reset_accelerate
from filelock import FileLock

from conclip.atomic_write import WriteError
from conclip.folder_lock import LOCK_FILE, InUse, in_use, waiting_for

HOLDER = Path(__file__).parent / "helpers" / "lock_holder.py"
ROOT = Path(__file__).parents[1]


@contextmanager
def holder(*arguments):
    """Another process that holds a lock, and a child of it that does not."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, str(HOLDER), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("beside", [(), ("beside",)], ids=["folder", "file"])
def test_a_second_process_is_refused_until_the_first_is_killed(beside, tmp_path):
    folder = tmp_path / "out"
    if not beside:
        folder.mkdir()
    with holder(folder, *beside) as process:
        for _ in range(2):
            with pytest.raises(InUse) as caught, in_use(folder, beside=bool(beside)):
                pass
        assert re.fullmatch(
            rf"--output_dir {folder} is in use by another run \(process {process.pid}, since \d{{4}}-\d\d-\d\d "
            r"\d\d:\d\d:\d\d\): choose another, or wait until that run has ended\.",
            str(caught.value),
        )
        process.kill()
        process.wait()
        # Its child lives.
        with in_use(folder, beside=bool(beside)):
            pass
    assert names(tmp_path) == ([] if beside else ["out"]) and not (folder.is_dir() and names(folder))


def test_the_lock_file_is_gone_after_an_error_too(tmp_path):
    with pytest.raises(KeyboardInterrupt), in_use(tmp_path):
        assert names(tmp_path) == [LOCK_FILE]
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_one_process_may_enter_again(tmp_path):
    """The command and the trainer that it makes both ask for the folder."""
    with in_use(tmp_path):
        with in_use(tmp_path):
            pass
        assert names(tmp_path) == [LOCK_FILE]
        with pytest.raises(TimeoutError):
            FileLock(tmp_path / LOCK_FILE, timeout=0).acquire()


def test_the_main_process_alone_holds_the_lock(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with in_use(tmp_path):
        assert names(tmp_path) == []


def test_two_folders_beside_each_other_are_apart(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with holder(tmp_path / "one"), in_use(tmp_path / "two"):
        pass


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch):
    def without(self, *_):
        raise NotImplementedError("FileSystem does not appear to support flock; use SoftFileLock instead")

    monkeypatch.setattr(FileLock, "acquire", without)
    with pytest.warns(UserWarning, match=rf"^{tmp_path} is on a file system without locks: make sure that no other"):
        with in_use(tmp_path):
            pass


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=rf"^--output_file: cannot write to {tmp_path}/file/a \(Not a directory\)"):
        with in_use(tmp_path / "file" / "a" / "b.npz", "--output_file", beside=True):
            pass


def test_a_run_waits_for_what_it_shares(tmp_path, monkeypatch):
    with holder(tmp_path / "base", "beside") as process:
        said = []

        def end_the_other(text, **_):
            said.append(text)
            os.killpg(process.pid, signal.SIGKILL)

        monkeypatch.setattr("builtins.print", end_the_other)
        with waiting_for(tmp_path / "base", "is training the base CLIP"):
            monkeypatch.undo()
    assert re.fullmatch(
        rf"Another process \(process {process.pid}, since .*\) is training the base CLIP: waiting for it\.", *said
    )
    assert names(tmp_path) == []


COMMANDS = {
    "train": ("train_accelerate", "--model_name_or_path no/model --dataset_name no/data --output_dir {}"),
    "default run": ("train_accelerate", "--output_dir {}"),
    "default run, second folder": ("train_accelerate", "--output_dir {first}"),
    "evaluate": ("conclip.evaluation.run", "--model_name_or_path no/model --output_dir {}"),
    "negate": ("conclip.negation.pipeline.command", "--dataset_name no.jsonl --output_dir {}"),
    "negate, replaced": ("conclip.negation.pipeline.command", "--dataset_name no.jsonl --overwrite --output_dir {}"),
}
REPLACED = {
    "ccneg": ("dataset_scripts.ccneg_folder", "--data_dir no --output_dir {}"),
    "convert": ("conclip.models.convert_command", "--model_name_or_path {source} --output_dir {}"),
    "embed": ("conclip.models.embed_command", "--model_name_or_path no/model --image_dir no --output_file {}"),
    "distractors": ("conclip.distractors.command", "--queries no.npz --output_file {}"),
}


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """A folder that a process writes, and the places of files that others write."""
    folder = tmp_path_factory.mktemp("taken")
    (folder / "run-distilled").mkdir()
    (folder / "model.pt").touch()
    files = folder / "file", folder / "file.npz"
    with holder(folder / "run-distilled"), holder(files[0], "beside"), holder(files[1], "beside"):
        yield folder


@pytest.mark.parametrize("name", [*COMMANDS, *REPLACED])
def test_every_command_refuses_a_folder_in_use(name, taken, capsys):
    module, line = {**COMMANDS, **REPLACED}[name]
    path = taken / ("file.npz" if name == "embed" else "file" if name in REPLACED else "run-distilled")
    before = {own: own.read_bytes() for own in taken.rglob("*") if own.is_file()}
    arguments = line.format(path, first=taken / "run", source=taken / "model.pt").split()
    reset_accelerate()
    assert importlib.import_module(module).main(arguments) == 1
    option = "--output_file" if name in ("embed", "distractors") else "--output_dir"
    errors = [text for text in capsys.readouterr().err.splitlines() if text.strip()]
    assert len(errors) == 1 and errors[0].startswith(f"Error: {option} {path} is in use by another run (process ")
    assert {own: own.read_bytes() for own in taken.rglob("*") if own.is_file()} == before
