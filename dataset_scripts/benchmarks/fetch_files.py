"""Download a file, from where an earlier attempt stopped, and unpack an archive."""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

from conclip.atomic_write import remove, reporting_write_errors, require_room, written_beside
from conclip.errors import UsageError, one_line

# Attempts without a byte received in between, and seconds until the second, which double.
ATTEMPTS, FIRST_WAIT, TIMEOUT = 5, 1.0, 60.0
BLOCK = 1 << 20
PART = ".part"
# Statuses below 500 after which a server may answer later: a timeout, and too many requests.
LATER = (408, 429)
# What breaks a connection, in the middle or before it exists.
BROKEN = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Download:
    """
    A file of a benchmark.

    Args:
        url: its address.
        path: where it goes, below the folder of the benchmarks; of an archive, the folder that is unpacked there.
        checksum: "sha256:…" or "md5:…"; `None` if it is not known.
        size: bytes, which the message of a full disk names; 0 if not known.
        unpack: folder within a zip archive that becomes `path`; "" if the file is no archive.
    """

    url: str
    path: str
    checksum: str | None = None
    size: int = 0
    unpack: str = ""


def fetch(download: Download, data_dir: Path) -> str:
    """
    Put a file, or the folder of an archive, into its place, unless it is there.

    Returns:
        What was done, for the user: "there already", "fetched", or "fetched, checksum not known".

    Raises:
        UsageError: the address does not answer, the connection breaks again and again, or the file is not the one
            that was expected; what has arrived is kept for the next attempt, unless it is the wrong file.
        WriteError: the disk is full or cannot be written to.
    """
    place = data_dir / download.path
    if download.unpack and place.is_dir() and any(place.iterdir()):
        return "there already"
    if not download.unpack and place.is_file():
        if download.checksum and checksum_of(place, download.checksum) != download.checksum:
            raise UsageError(f"{place} is not the file of {download.url}: move it away to fetch that one.")
        return "there already"
    with reporting_write_errors(place, download.size or None):
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f"{place.name}{PART}")
        receive(download.url, part)
        if download.checksum and checksum_of(part, download.checksum) != download.checksum:
            remove(part)
            raise UsageError(
                f"{download.url} has another checksum than expected, so it was damaged on the way or is another file "
                "now; it was deleted: repeat the command."
            )
        if download.unpack:
            unpack(part, download.unpack, place, download.url)
            remove(part)
        else:
            os.replace(part, place)
    return "fetched" if download.checksum else "fetched, checksum not known"


def receive(url: str, part: Path) -> None:
    """
    Download to a file; what it holds already, of an earlier attempt, is not sent again.

    Raises:
        UsageError: see `fetch`.
    """
    failures = 0
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            if _receive_rest(url, part, before):
                return
            reason = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:
                # There is no rest: the file is complete, or another one.
                return
            if error.code < 500 and error.code not in LATER:
                hint = "the file is not there any more" if error.code in (404, 410) else "it cannot be fetched"
                raise UsageError(f"{url} answers {error.code} ({error.reason}): {hint}.") from error
            reason = f"{error.code} {error.reason}"
        except urllib.error.URLError as error:
            reason = str(getattr(error.reason, "strerror", None) or error.reason)
        except BROKEN as error:
            if isinstance(error, OSError) and error.filename:
                # The file of this machine, not the connection.
                raise
            reason = one_line(error)
        after = part.stat().st_size if part.is_file() else 0
        failures = 1 if after > before else failures + 1
        if failures >= ATTEMPTS:
            kept = f"; {part} keeps what has arrived" if after else ""
            raise UsageError(f"{url} cannot be fetched ({reason}): repeat the command{kept}.")
        time.sleep(FIRST_WAIT * 2 ** (failures - 1))


def _receive_rest(url: str, part: Path, start: int) -> bool:
    """Append what a server sends from byte `start` on; return whether that was all."""
    headers = {"User-Agent": "conclip"} | ({"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        if answer.status != 206:
            # The server does not send parts.
            start = 0
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        if total:
            require_room(part, total - start)
        with part.open("ab" if start else "wb") as file, _bar(part, start, total) as bar:
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    return total is None or part.stat().st_size >= total


def _bar(part: Path, start: int, total: int | None) -> tqdm:
    name = part.name.removesuffix(PART)
    return tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, disable=None)


def checksum_of(path: Path, like: str) -> str:
    """Return the checksum of a file, of the kind of another: "sha256:…" or "md5:…"."""
    kind = like.partition(":")[0]
    digest = hashlib.new(kind)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"


def unpack(archive: Path, inner: str, place: Path, url: str) -> None:
    """
    Unpack one folder of a zip archive; it appears when it is complete.

    Args:
        inner: the folder in the archive.
        place: what the folder becomes.
        url: where the archive is from, for messages.

    Raises:
        UsageError: the file is no zip archive, is damaged, or lacks the folder.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = [
                member for member in zipped.infolist() if _below(member.filename, inner) and not member.is_dir()
            ]
            if not members:
                raise UsageError(f"{url} holds no folder {inner}: it is another file now.")
            require_room(place, sum(member.file_size for member in members))
            with written_beside(place) as unfinished:
                for member in tqdm(members, desc=f"Unpacking {place.name}", disable=None):
                    target = unfinished / PurePosixPath(member.filename).relative_to(inner)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    # Reading checks the checksum that the archive has of each file.
                    with zipped.open(member) as source, target.open("wb") as file:
                        while block := source.read(BLOCK):
                            file.write(block)
    except (zipfile.BadZipFile, EOFError) as error:
        remove(archive)
        raise UsageError(f"{url} is damaged ({one_line(error)}) and was deleted: repeat the command.") from error


def _below(name: str, inner: str) -> bool:
    path = PurePosixPath(name)
    return ".." not in path.parts and path.is_relative_to(inner)
