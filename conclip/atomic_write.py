"""Files that appear whole or not at all: written beside and renamed."""

import io
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from conclip.errors import UsageError

DAY = 24 * 60 * 60


class WriteError(UsageError):
    """Report a folder that cannot be written to, or a full disk; the message names the folder and says why."""


@contextmanager
def reporting_write_errors(folder: Path):
    """
    Turn any error of the operating system into one sentence.

    Raises:
        WriteError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise WriteError(f"cannot write to {folder}: {error.strerror or error}.") from error


def write_atomically(path: Path, content: bytes) -> None:
    """
    Write a file beside its place and rename it, so that no reader ever sees a part of it.

    Raises:
        WriteError: the folder cannot be made or written to, or the disk is full; nothing is left behind.
    """
    unfinished = path.with_name(f"unfinished-{uuid4().hex}")
    with reporting_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(content)
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def write_figure(figure, path: Path) -> None:
    """
    Write a matplotlib figure as PNG.

    Raises:
        WriteError: the folder cannot be made or written to.
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    write_atomically(path, content.getvalue())


def writable_folder(output_dir: str) -> Path:
    """
    Make the folder of a run, and find out before the work begins whether it can be written to.

    Raises:
        UsageError: the folder cannot be made or written to.
    """
    try:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_dir):
            pass
    except OSError as error:
        raise UsageError(f"--output_dir {output_dir}: cannot write there: {error.strerror}.") from error
    return Path(output_dir)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left: older than a day, since a younger file may belong to a running process."""
    for path in folder.glob("unfinished-*"):
        try:
            if path.stat().st_mtime < time.time() - DAY:
                path.unlink()
        # Another process was faster, or it is not ours to delete.
        except OSError:
            pass
