"""
Files and folders that appear whole or not at all: written beside and renamed.

All that this package writes passes through here, so that a full disk and a folder that cannot be written to are one
sentence, and leave nothing unfinished behind. `write_atomically` writes a file from memory, `written_beside` gives a
place for what a library writes, and `reporting_write_errors` is for folders that a repeated command continues.
"""

import errno
import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from conclip.errors import UsageError

DAY = 24 * 60 * 60
UNFINISHED = "unfinished-"
FULL = {errno.ENOSPC, errno.EDQUOT}
# No reader gets these, so they need no path to be known as errors of a writer.
OF_WRITERS = {*FULL, errno.EROFS}
# Of other errors, it depends on the path that they name whether they are those of a writer, or on there being none.
WITH_PATH = {
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY),
    *(errno.ENAMETOOLONG, errno.ELOOP),
}
WITHOUT_PATH = {errno.EIO, errno.EFBIG, errno.ESTALE}
# How torch reports that it could not write; it says nothing of the reason.
OF_TORCH = ("PytorchStreamWriter failed writing", "inline_container.cc")


class WriteError(UsageError):
    """
    Report a path that cannot be written to, or a full disk.

    The message names the path and the reason, and ends with "then repeat the command.".
    """


def as_size(count: int) -> str:
    """Return a number of bytes in decimal units, such as "1.2 MB"."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:.1f} {unit}" if unit != "bytes" and size < 99.95 else f"{size:.0f} {unit}"


def free_bytes(path: Path) -> int | None:
    """Return how many bytes the disk of a path has free; `None` if the file system does not say."""
    path = Path(path).absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None
    # Some network file systems report 0 bytes for all.
    return usage.free if usage.total else None


def require_room(path: Path, needed: int) -> None:
    """
    Check, before something large is written, that the disk has room for it.

    Args:
        path: what will be written.
        needed: bytes.

    Raises:
        WriteError: there is less room.
    """
    free = free_bytes(path)
    if free is not None and free < needed:
        raise _write_error(path, os.strerror(errno.ENOSPC), needed, is_full=True)


def _write_error(path: Path, reason: str, needed: int | None, is_full: bool) -> WriteError:
    remedy = "make it writable or choose another folder"
    if is_full:
        remedy, free = "make room", free_bytes(path)
        reason += f", {as_size(free)} free" if free is not None else ""
        reason += f", {as_size(needed)} needed" if needed else ""
    return WriteError(f"cannot write to {path} ({reason}): {remedy}, then repeat the command.")


def write_error_behind(error: BaseException, path: Path | None = None, needed: int | None = None) -> WriteError | None:
    """
    Return the sentence for an error of a writer; `None` if the error is another one.

    Args:
        error: of the operating system or of a library, which may have hidden that of the operating system.
        path: what was written; without it, only errors that no reader gets are recognised.
        needed: bytes that were to be written, if known.
    """
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, WriteError):
            return each
        code = each.errno if isinstance(each, OSError) else None
        # safetensors and tokenizers, which are written in Rust.
        code = code or next((own for own in OF_WRITERS if f"(os error {own})" in str(each)), None)
        named = getattr(each, "filename", None)
        named = Path(os.fsdecode(named)) if isinstance(named, str | bytes) else None
        if code in OF_WRITERS:
            where = named if named and not (path and _is_near(named, path)) else path or named or Path("the disk")
            return _write_error(where, os.strerror(code), needed, code in FULL)
        is_own = code in WITHOUT_PATH if named is None else code in WITH_PATH | WITHOUT_PATH
        if path and each is error and is_own and (named is None or _is_near(named, path)):
            return _write_error(path, os.strerror(code), needed, is_full=False)
        if path and any(mark in str(each) for mark in OF_TORCH):
            return _write_error(path, "the file could not be written", needed, is_full=True)
        each = each.__cause__ or each.__context__
    return None


def _is_near(named: Path, path: Path) -> bool:
    """Return whether the file that an error names is `path`, in it, above it, or what will be renamed to it."""
    named, path = named.absolute(), Path(path).absolute()
    if named == path or path in named.parents or named in path.parents:
        return True
    beside = path.parent in named.parents and named.relative_to(path.parent).parts[0]
    return bool(beside) and beside.startswith(UNFINISHED)


@contextmanager
def reporting_write_errors(path: Path, needed: int | None = None) -> Iterator[None]:
    """
    Turn an error of a writer, also one that a library has hidden, into one sentence.

    Args:
        path: what is written; an error about a file elsewhere passes, unless no reader could get it.
        needed: bytes, if known.

    Raises:
        WriteError: in place of the error.
    """
    try:
        yield
    except Exception as error:
        found = write_error_behind(error, path, needed)
        if found is None or found is error:
            raise
        raise found from error


@contextmanager
def naming_option(option: str) -> Iterator[None]:
    """Begin the message of a `WriteError` with the option that names the folder."""
    try:
        yield
    except WriteError as error:
        raise WriteError(f"{option}: {error}") from error


@contextmanager
def written_beside(path: Path, needed: int | None = None) -> Iterator[Path]:
    """
    Give a path beside `path` for a file or folder; it is renamed into place at the end, and removed after any error.

    Args:
        path: its place; a folder must not exist yet.
        needed: bytes, if known.

    Raises:
        WriteError: the folder around it cannot be made or written to, or the disk is full.
    """
    unfinished = path.with_name(f"{UNFINISHED}{uuid4().hex}")
    try:
        with reporting_write_errors(path, needed):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield unfinished
            os.replace(unfinished, path)
    except BaseException:
        remove(unfinished)
        raise


def remove(path: Path) -> None:
    """Remove a file or folder as far as possible; it may be missing, or on a disk that became read-only."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """
    Write a file beside its place and rename it, so that no reader ever sees a part of it.

    Raises:
        WriteError: the folder cannot be made or written to, or the disk is full; nothing is left behind.
    """
    with written_beside(path, len(content)) as unfinished:
        unfinished.write_bytes(content)


def mark_used(path: Path) -> None:
    """Set the time at which a file of a cache was last used; a cache may be read-only."""
    with suppress(OSError):
        os.utime(path)


def write_figure(figure, path: Path) -> None:
    """
    Write a matplotlib figure as PNG.

    Raises:
        WriteError: the folder cannot be made or written to.
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    write_atomically(path, content.getvalue())


@contextmanager
def scratch_folder() -> Iterator[str]:
    """
    Give a temporary folder, removed at the end.

    Raises:
        WriteError: there is no room for what is written to it.
    """
    with reporting_write_errors(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory() as folder:
        yield folder


def writable_folder(folder: str | Path, option: str = "--output_dir") -> Path:
    """
    Make a folder, and find out before the work begins whether it can be written to.

    Args:
        option: names the folder, for messages.

    Raises:
        WriteError: the folder cannot be made or written to.
    """
    folder = Path(folder)
    is_new = not folder.exists()
    try:
        with naming_option(option), reporting_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # A byte: a full disk often has room for an empty file.
            with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
                file.write(b"\0")
    except WriteError:
        if is_new:
            with suppress(OSError):
                folder.rmdir()
        raise
    return folder


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left: older than a day, since a younger file may belong to a running process."""
    for path in folder.glob(f"{UNFINISHED}*"):
        try:
            if path.stat().st_mtime < time.time() - DAY:
                path.unlink()
        # Another process was faster, or it is not ours to delete.
        except OSError:
            pass
