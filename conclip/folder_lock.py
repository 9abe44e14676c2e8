"""
One run at a time in a folder; and folders of a cache that processes read, and that are deleted when none does.

A lock is one of the operating system on a hidden file, so it ends with the process that holds it, however that ends.
On a network disk it needs the disk's lock service (NFS 4 has one); where there is none, runs are not kept apart, and a
warning says so.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from conclip.atomic_write import mark_used, naming_option, reporting_write_errors
from conclip.errors import UsageError

if TYPE_CHECKING:
    from filelock import BaseFileLock

try:
    import fcntl
# Windows, where a file that is open cannot be deleted anyway.
except ImportError:
    fcntl = None

LOCK_FILE = ".conclip.lock"
# In a folder of a cache: locked, together, by all processes that read it.
READERS_FILE = ".readers"
# The file system has no locks.
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
# Paths that this process has locked.
_held: set[Path] = set()


class InUse(UsageError):
    """Report a folder or file that another run is writing."""


@contextmanager
def in_use(path: Path, option: str = "--output_dir", beside: bool = False) -> Iterator[None]:
    """
    Keep a folder, or the place of a file, for this run.

    Of several processes of one run, the main process alone holds the lock. A process that holds it already may enter
    again. The lock file is in the folder, which is made if necessary, and removed at the end.

    Args:
        option: names the folder or file, for messages.
        beside: put the lock file beside `path`, which is a file or a folder that is replaced whole.

    Raises:
        InUse: another run holds it.
        WriteError: the folder cannot be written to.
    """
    if int(os.environ.get("RANK", 0)):
        yield
        return
    lock_file = _beside(path) if beside else (path / LOCK_FILE).absolute()
    if lock_file in _held:
        yield
        return
    # Versions 3 of filelock empty the file before they try to lock it.
    owner = _owner(lock_file)
    try:
        with naming_option(option):
            lock = _acquire(lock_file)
    except TimeoutError:
        raise InUse(
            f"{option} {path} is in use by another run{_owner(lock_file) or owner}: choose another, or wait until "
            "that run has ended."
        ) from None
    _held.add(lock_file)
    try:
        yield
    finally:
        _held.discard(lock_file)
        _release(lock)


@contextmanager
def waiting_for(path: Path, what: str) -> Iterator[None]:
    """
    Keep a path that several processes share for this one; wait while another process holds it.

    Args:
        what: what the other process does, for a line that says that this one waits.

    Raises:
        WriteError: the lock file beside `path` cannot be written.
    """
    lock_file = _beside(path)
    try:
        lock = _acquire(lock_file)
    except TimeoutError:
        if not int(os.environ.get("RANK", 0)):
            print(f"Another process{_owner(lock_file)} {what}: waiting for it.", flush=True)
        lock = _acquire(lock_file, timeout=-1)
    try:
        yield
    finally:
        _release(lock)


@contextmanager
def if_free(path: Path) -> Iterator[bool]:
    """Give whether no process holds a path by `waiting_for`; until the block ends, none begins to."""
    try:
        lock = _acquire(_beside(path))
    except TimeoutError:
        yield False
        return
    try:
        yield True
    finally:
        _release(lock)


def share(folder: Path) -> BinaryIO | None:
    """
    Mark a folder of a cache as read by this process; it is made if necessary.

    Returns:
        A file to keep as long as the folder is read; `None` if the folder cannot be marked, which a read-only cache
        that lacks it, or a file system without locks, does not allow.
    """
    marker = folder / READERS_FILE
    while fcntl:
        try:
            file = _open_marker(marker)
            fcntl.flock(file, fcntl.LOCK_SH)
        except OSError:
            return None
        with suppress(OSError):
            # Another process may have deleted the folder since the file was opened.
            if os.path.samestat(os.fstat(file.fileno()), marker.stat()):
                mark_used(marker)
                return file
        file.close()
    return None


def _open_marker(marker: Path) -> BinaryIO:
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        return marker.open("ab")
    # A read-only cache, which others may write elsewhere.
    except OSError:
        return marker.open("rb")


@contextmanager
def without_readers(folder: Path) -> Iterator[bool]:
    """Give whether no process reads the folder; until the block ends, none begins to."""
    file = None
    try:
        if fcntl:
            # On a full disk there may be no room for a file that nobody made yet.
            with suppress(OSError):
                file = (folder / READERS_FILE).open("ab")
        if file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        yield True
    else:
        yield True
    finally:
        if file:
            file.close()


def _beside(path: Path) -> Path:
    path = path.absolute()
    return path.with_name(f".{path.name}.lock")


def _acquire(lock_file: Path, timeout: float = 0) -> BaseFileLock | None:
    """
    Return the lock, or `None` where the file system has none.

    Raises:
        TimeoutError: another process holds it.
    """
    # Imported late: --help is answered without it.
    from filelock import FileLock

    try:
        with reporting_write_errors(lock_file.parent):
            lock_file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(lock_file, timeout=timeout)
            try:
                lock.acquire()
            except OSError as error:
                if error.errno not in WITHOUT_LOCKS:
                    raise
                raise NotImplementedError from error
    except NotImplementedError:
        warnings.warn(
            f"{lock_file.parent} is on a file system without locks: make sure that no other run writes there.",
            stacklevel=3,
        )
        return None
    owner = {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    # Only for messages. The disk may be full, and on Windows a locked file cannot be written.
    with suppress(OSError):
        lock_file.write_text(json.dumps(owner), "utf-8")
    return lock


def _owner(lock_file: Path) -> str:
    """Return which process holds a lock, in brackets; "" if that is not known."""
    try:
        owner = json.loads(lock_file.read_text("utf-8"))
        host = "" if owner["host"] == socket.gethostname() else f" on {owner['host']}"
        return f" (process {owner['process']}{host}, since {owner['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _release(lock: BaseFileLock | None) -> None:
    if lock is None:
        return
    # Removed while it is held: afterwards, it might be that of another run. Windows removes no file that is open, so
    # there it is removed afterwards, unless another run has opened it.
    remove = Path(lock.lock_file).unlink
    for step in (lock.release, remove) if os.name == "nt" else (remove, lock.release):
        # The disk may have become read-only.
        with suppress(OSError):
            step()
