"""Full disks and folders that cannot be written to: one sentence, and nothing unfinished left."""

import errno
import os
import re
from collections import namedtuple
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets.exceptions import DatasetGenerationError
from safetensors import SafetensorError

import conclip.atomic_write as atomic_write
from conclip.atomic_write import (
    WriteError,
    as_size,
    naming_option,
    reporting_write_errors,
    require_room,
    scratch_folder,
    writable_folder,
    write_atomically,
    write_error_behind,
    written_beside,
)
from conclip.errors import UsageError

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def free(monkeypatch):
    """Sets how many bytes the disk has free, and in all."""

    def set_free(count: int, total: int = 10**9) -> None:
        monkeypatch.setattr(atomic_write.shutil, "disk_usage", lambda path: Usage(total, total - count, count))

    return set_free


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *[(0, "0 bytes"), (999, "999 bytes"), (1_000, "1.0 kB"), (1_234, "1.2 kB"), (99_949, "99.9 kB")],
        *[(123_456, "123 kB"), (999_499, "999 kB"), (999_600, "1.0 MB"), (605_157_884, "605 MB")],
        *[(1_710_540_580, "1.7 GB"), (5 * 10**12, "5.0 TB"), (5 * 10**16, "50000 TB")],
    ],
)
def test_sizes(count, text):
    assert as_size(count) == text


def test_the_sentence_names_path_room_and_remedy(free, tmp_path):
    free(1_234_000)
    with pytest.raises(WriteError) as caught:
        require_room(tmp_path / "checkpoint-7", 3_500_000)
    assert str(caught.value) == (
        f"cannot write to {tmp_path}/checkpoint-7 (No space left on device, 1.2 MB free, 3.5 MB needed): make room, "
        "then repeat the command."
    )
    require_room(tmp_path / "checkpoint-7", 1_234_000)


def test_a_file_system_that_does_not_say_what_is_free_is_not_refused(free, tmp_path):
    free(0, total=0)
    require_room(tmp_path, 10**15)


def test_room_is_that_of_the_first_folder_that_exists(tmp_path):
    assert atomic_write.free_bytes(tmp_path / "a" / "b") == pytest.approx(atomic_write.free_bytes(tmp_path), rel=0.1)


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


FULL_DISKS = {
    "system": OSError(errno.ENOSPC, "No space left on device"),
    "quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "safetensors": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    "tokenizers": Exception("No space left on device (os error 28)"),
    "torch": RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    "datasets": raised_from(DatasetGenerationError("An error occurred"), OSError(errno.ENOSPC, "full")),
    "while another error was handled": raised_from(ValueError("I/O operation on closed file"), OSError(28, "full")),
}


@pytest.mark.parametrize("error", FULL_DISKS.values(), ids=FULL_DISKS)
def test_a_full_disk_behind_the_errors_of_libraries(error, tmp_path):
    with pytest.raises(WriteError, match=rf"^cannot write to {tmp_path}/file \(.*, 5 bytes needed\): make room, "):
        with reporting_write_errors(tmp_path / "file", needed=5):
            raise error


OTHERS = {
    "no such image": FileNotFoundError(errno.ENOENT, "No such file or directory", "/elsewhere/image.jpg"),
    "an image of somebody else": PermissionError(errno.EACCES, "Permission denied", "/elsewhere/image.jpg"),
    "no network": ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    "an error of a library": ValueError("wrong shape"),
    "an error without a number": OSError("cannot identify image file"),
}


@pytest.mark.parametrize("error", OTHERS.values(), ids=OTHERS)
def test_other_errors_pass(error, tmp_path):
    with pytest.raises(type(error)) as caught, reporting_write_errors(tmp_path):
        raise error
    assert caught.value is error and write_error_behind(error) is None


def test_a_full_disk_elsewhere_names_that_disk(tmp_path):
    """A folder that is written from a cache on another disk, which is the full one."""
    with pytest.raises(WriteError, match=r"^cannot write to /cache/rows.arrow \("), reporting_write_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/rows.arrow")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")
@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write(b"x"),
        lambda file: pq.write_table(pa.table({"a": [1]}), file),
        lambda file: torch.save({"a": torch.zeros(10_000)}, file),
    ],
    ids=["python", "pyarrow", "torch"],
)
def test_errors_of_real_writers_on_a_full_device(write):
    """/dev/full takes nothing. It is opened here, since pyarrow deletes a file by its path after an error."""
    device = Path("/dev/full")
    with pytest.raises(WriteError, match=r"^cannot write to /dev/full \("), reporting_write_errors(device):
        with device.open("wb", buffering=0) as file:
            write(file)


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize(
    "error", [OSError(errno.EROFS, "Read-only file system"), ValueError("x"), KeyboardInterrupt()]
)
def test_after_an_error_nothing_is_left(kind, error, tmp_path):
    path = tmp_path / "new" / "result"
    with pytest.raises(WriteError if isinstance(error, OSError) else type(error)):
        with written_beside(path) as unfinished:
            if kind == "folder":
                unfinished.mkdir()
            (unfinished / "weights" if kind == "folder" else unfinished).write_bytes(b"half")
            raise error
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_file_or_folder_appears_when_it_is_complete(kind, tmp_path):
    path = tmp_path / "new" / "result"
    with written_beside(path) as unfinished:
        if kind == "folder":
            unfinished.mkdir()
        (unfinished / "weights" if kind == "folder" else unfinished).write_bytes(b"all")
        assert not path.exists() and unfinished.parent == path.parent
    assert [own.name for own in path.parent.iterdir()] == ["result"]
    assert (path / "weights" if kind == "folder" else path).read_bytes() == b"all"


def test_what_was_there_stays_if_the_new_file_cannot_be_written(tmp_path, monkeypatch):
    write_atomically(tmp_path / "file", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(WriteError, match=r"1\.0 kB needed"):
            write_atomically(tmp_path / "file", b"x" * 1_000)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


@pytest.mark.parametrize("below", ["", "below", "far/below"])
def test_a_file_where_a_folder_should_be(below, tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / below
    with pytest.raises(WriteError, match=rf"^--samples: cannot write to {folder} \(.*\): make it writable or choose "):
        writable_folder(folder, "--samples")


def test_a_full_disk_that_has_room_for_an_empty_file_is_noticed(tmp_path, monkeypatch):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        write = full

    monkeypatch.setattr(atomic_write.tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(WriteError, match=re.escape(f"--output_dir: cannot write to {tmp_path} (No space left")):
        writable_folder(tmp_path)


def test_the_option_is_named_once_and_the_error_stays_one_of_writing(tmp_path):
    with pytest.raises(WriteError, match=rf"^--cache_dir: cannot write to {tmp_path} \("):
        with naming_option("--cache_dir"), reporting_write_errors(tmp_path), reporting_write_errors(tmp_path):
            full()


def test_a_scratch_folder_that_fills_up(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_write.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(WriteError, match=rf"^cannot write to {tmp_path} \("), scratch_folder() as folder:
        assert Path(folder).parent == tmp_path
        raise raised_from(UsageError("pair_accuracy: An error occurred"), OSError(errno.ENOSPC, "full"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_made_for_nothing_is_removed_and_an_earlier_one_stays(tmp_path, monkeypatch):
    class Full:
        def __init__(self, **options):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic_write.tempfile, "TemporaryFile", Full)
    (tmp_path / "old").mkdir()
    for name in ("new", "old"):
        with pytest.raises(WriteError, match=f"cannot write to {tmp_path / name} "):
            writable_folder(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
