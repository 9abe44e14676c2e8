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


class CannotWrite(OSError):
    """The message names the folder and says why."""


@contextmanager
def writing_to(folder: Path):
    """
    Raises:
        CannotWrite: for any error of the system.
    """
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"cannot write to {folder}: {error.strerror or error}.") from error


def write_whole(path: Path, content: bytes) -> None:
    """
    Writes beside and renames, so that a reader or a killed writer never leaves a part under the name of the whole.

    Raises:
        CannotWrite: the folder cannot be made or written to, or the disk is full; nothing is left behind.
    """
    unfinished = path.with_name(f"unfinished-{uuid4().hex}")
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(content)
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def save_figure(figure, path: Path) -> None:
    """
    The matplotlib figure as PNG, whole or not at all.

    Raises:
        CannotWrite: the folder cannot be made or written to.
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    write_whole(path, content.getvalue())


def writable_folder(output_dir: str) -> Path:
    """
    Raises:
        UsageError: the folder cannot be made or written to; found now, not after training.
    """
    try:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_dir):
            pass
    except OSError as error:
        raise UsageError(f"--output_dir {output_dir}: cannot write there: {error.strerror}.") from error
    return Path(output_dir)


def remove_unfinished(folder: Path) -> None:
    """What killed writers left: older than a day, since a younger one may belong to a writer at work."""
    for path in folder.glob("unfinished-*"):
        try:
            if path.stat().st_mtime < time.time() - DAY:
                path.unlink()
        # Another process was faster, or it is not ours to delete.
        except OSError:
            pass
