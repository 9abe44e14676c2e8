"""
The index of a folder of images: which files there are, and the embedding of each.

An index is a folder with `index.json`, which says what the rows are, `embeds-*.npy`, float32 (images, d), unit rows,
and `tokenizer.json`. It imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np

from conclip.atomic_write import mark_used, remove, write_atomically, written_beside
from conclip.data import IMAGE_SUFFIXES

# Raise it whenever the files of an index change their form.
VERSION = 1
FOLDER = "searches"
# Image files that are not read: no Pillow, or not each, can.
NOT_READ = frozenset(".heic .heif .avif .jxl .jp2 .svg .psd .dng .cr2 .cr3 .nef .arw .orf .raf .rw2".split())


class ImageFile(NamedTuple):
    """A file with what tells whether it was changed: its size in bytes and when it was written, in nanoseconds."""

    path: str
    size: int
    mtime: int


@dataclass
class Index:
    """
    The embeddings of the images of a folder by one model.

    Args:
        files: the images, in the order of the rows; their paths are relative to the folder.
        embeds: float32, (files, d), unit rows.
        broken: images that cannot be read, with the reason.
        image_encoder: fingerprint of the image encoder.
        model: facts that show whether the model is still the same one, and how texts are embedded without torch; see
            `conclip.search.embedding.describe_model`.
    """

    files: list[ImageFile]
    embeds: np.ndarray
    broken: list[tuple[ImageFile, str]] = field(default_factory=list)
    image_encoder: str = ""
    model: dict = field(default_factory=dict)

    def is_current(self, found: Sequence[ImageFile]) -> bool:
        """Return whether these are the files of the folder, broken ones included, and the model's have not changed."""
        known = [*self.files, *(file for file, _ in self.broken)]
        return set(known) == set(found) and all(stamp(Path(path)) == was for path, was in self.model["files"].items())

    def openable(self, folder: Path) -> list[ImageFile]:
        """Return the broken files that could not be opened and can be now: new permissions leave the time as it is."""
        # Only the reasons why a file could not be opened name it.
        unopened = [file for file, reason in self.broken if file.path in reason]
        return [file for file in unopened if os.access(folder / file.path, os.R_OK)]

    def best(self, query: np.ndarray, top: int) -> list[tuple[int, float]]:
        """
        Return the rows nearest to a query and their scores, best first; of equal scores, the first row.

        Args:
            query: float32, (d,), of unit length.
            top: how many rows.
        """
        scores = self.embeds @ query
        if top < len(scores):
            least = np.partition(scores, -top)[-top]
            candidates = np.flatnonzero(scores >= least)
        else:
            candidates = np.arange(len(scores))
        order = candidates[np.argsort(-scores[candidates], kind="stable")][:top]
        return [(int(row), float(scores[row])) for row in order]


def stamp(path: Path) -> list[int] | None:
    """Return the size of a file in bytes and when it was written, in nanoseconds; `None` if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def index_folder(cache_dir: Path, settings: dict) -> Path:
    """
    Return the folder of an index.

    Args:
        cache_dir: folder of the cached embeddings.
        settings: what the index depends on besides the files themselves.
    """
    text = json.dumps([VERSION, settings], sort_keys=True)
    return cache_dir / FOLDER / hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def list_images(folder: Path, exclude_dir: Sequence[str] = ()) -> list[ImageFile]:
    """
    List the images in a folder and its subfolders, by path.

    Hidden files and folders, and links to folders, are left out. What else is left out is said on standard error.

    Args:
        exclude_dir: names of subfolders, at any depth, to leave out.
    """
    excluded, found, waiting, unread, links, others = {*exclude_dir}, [], [""], [], [], []
    while waiting:
        inside = waiting.pop()
        try:
            entries = list(os.scandir(folder / inside))
        except OSError:
            unread.append(inside)
            continue
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            path = f"{inside}/{name}" if inside else name
            if entry.is_dir(follow_symlinks=False):
                if name not in excluded:
                    waiting.append(path)
                continue
            suffix = os.path.splitext(name)[1].lower()
            if suffix in NOT_READ:
                others.append(suffix)
            elif suffix in IMAGE_SUFFIXES:
                try:
                    status = entry.stat()
                except OSError:
                    # Otherwise it was deleted just now.
                    if entry.is_symlink():
                        links.append(path)
                    continue
                if stat.S_ISREG(status.st_mode):
                    found.append(ImageFile(path, status.st_size, status.st_mtime_ns))
    _warn_of_left_out(folder, unread, links, others)
    return sorted(found)


def _warn_of_left_out(folder: Path, unread: list[str], links: list[str], others: list[str]) -> None:
    sentences = []
    if unread:
        what = "folders cannot be read and are left out, such as" if len(unread) > 1 else "folder cannot be read:"
        sentences.append(f"{len(unread):,} {what} {folder / unread[0]}")
    if links:
        what = "links lead to no file and are left out, such as" if len(links) > 1 else "link leads to no file:"
        sentences.append(f"{len(links):,} {what} {folder / links[0]}")
    if others:
        several = len(others) > 1
        what, them = ("images are of formats that are", "them") if several else ("image is of a format that is", "it")
        kinds = ", ".join(sorted({*others}))
        sentences.append(f"{len(others):,} {what} not read ({kinds}): convert {them} to JPEG or PNG.")
    # Not on standard output, where --filepath_only prints the paths.
    for sentence in sentences:
        print(f"Warning: {sentence}", file=sys.stderr)


def read_index(folder: Path) -> Index | None:
    """Return the index in a folder, its embeddings memory-mapped; `None` if there is none, or it is damaged."""
    try:
        content = json.loads((folder / "index.json").read_text("utf-8"))
        files = [ImageFile(*own) for own in content["files"]]
        embeds = np.load(folder / content["embeds"], mmap_mode="r")
        broken = [(ImageFile(*own), reason) for own, reason in content["broken"]]
        if embeds.dtype != np.float32 or embeds.ndim != 2 or len(embeds) != len(files):
            return None
        mark_used(folder / "index.json")
        return Index(files, embeds, broken, content["image_encoder"], content["model"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_index(folder: Path, index: Index, about: dict) -> None:
    """
    Write an index in place of an earlier one.

    Args:
        about: what it is, for people.

    Raises:
        WriteError: the folder cannot be written to, or the disk is full; the earlier index is still there.
    """
    name = f"embeds-{uuid4().hex}.npy"
    with written_beside(folder / name, index.embeds.nbytes) as path, path.open("wb") as file:
        np.save(file, index.embeds)
    content = {
        **about,
        "embeds": name,
        "image_encoder": index.image_encoder,
        "model": index.model,
        "broken": index.broken,
        "files": index.files,
    }
    try:
        write_atomically(folder / "index.json", json.dumps(content).encode())
    except BaseException:
        remove(folder / name)
        raise
    for path in folder.glob("embeds-*.npy"):
        if path.name != name:
            remove(path)
