"""Find and read images inside a folder, whatever prefix the recorded paths have, and never outside the folder."""

import io
import os
from pathlib import Path

import PIL.Image
from datasets.exceptions import DatasetGenerationError


class CCNegError(DatasetGenerationError):
    """Report a file that does not fit; the message is one sentence that says what is wrong and where."""


class ImageIndex:
    """The files below `base/folder`, listed once, so that no recorded path is opened unchecked.

    Raises `CCNegError` for a link that leads out of `base`. Links to folders are not followed.
    """

    def __init__(self, base: Path, folder: str):
        self.base, self.folder = base, folder
        self.real_base = os.path.realpath(base)
        self.by_name: dict[str, list[str]] = {}
        self.folders = {folder}
        if (base / folder).is_dir():
            self._refuse_outside(base / folder)
            self._add(folder)

    def _refuse_outside(self, path: str | Path) -> None:
        if os.path.commonpath([os.path.realpath(path), self.real_base]) != self.real_base:
            raise CCNegError(f"{path} is a link that leads out of {self.base}: put the images themselves there.")

    def _add(self, relative: str) -> None:
        with os.scandir(self.base / relative) as entries:
            for entry in entries:
                if entry.is_symlink():
                    self._refuse_outside(entry.path)
                inside = f"{relative}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    self.folders.add(entry.name)
                    self._add(inside)
                elif entry.is_file():
                    self.by_name.setdefault(entry.name, []).append(inside)

    def find(self, recorded: str, row: int) -> str | None:
        """Return the file, relative to `base`, with the longest common ending; None if there is none."""
        parts = recorded.replace("\\", "/").split("/")
        if ".." in parts:
            raise CCNegError(
                f"Row {row}: the image path {recorded!r} has '..' and may lead out of {self.base}: correct it."
            )
        candidates = self.by_name.get(parts[-1])
        if not candidates:
            return None
        lengths = [_common_ending(parts, candidate.split("/")) for candidate in candidates]
        longest = max(lengths)
        # A file that shares only its name is another image if the recorded folder exists and does not hold it.
        if longest == 1 and len(parts) > 1 and parts[-2] in self.folders:
            return None
        if lengths.count(longest) > 1:
            raise CCNegError(
                f"Row {row}: the image path {recorded!r} fits more than one file in {self.base}: "
                f"{', '.join(sorted(candidates)[:2])}; leave only one of them there."
            )
        return candidates[lengths.index(longest)]

    def expected(self, recorded: str) -> str:
        """Return the path of `recorded`, relative to `base`, in the authors' layout."""
        parts = recorded.replace("\\", "/").split("/")
        if self.folder in parts:
            return "/".join(parts[parts.index(self.folder) :])
        return f"{self.folder}/{parts[-1]}"


def _common_ending(left: list[str], right: list[str]) -> int:
    length = 0
    for a, b in zip(reversed(left), reversed(right), strict=False):
        if a != b:
            break
        length += 1
    return length


class BrokenImageError(Exception):
    """An image is missing or cannot be decoded to the end; the arguments are its path and what is wrong with it."""

    def __init__(self, path: str, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = path, reason


def read_image(path: str, decodable: set[str]) -> dict:
    """Return the bytes and name of an image, as `datasets.Image` stores them, after decoding it to its last row.

    `decodable` holds the files that were decoded before, since a COCO image can be the distractor of several rows.
    Raises `BrokenImageError`.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
        if path not in decodable:
            with PIL.Image.open(io.BytesIO(content)) as image:
                # Pillow has an interpreter run it.
                if image.format == "EPS":
                    raise BrokenImageError(path, "is an EPS file, which is a program and is not run")
                image.load()
            decodable.add(path)
    except FileNotFoundError:
        raise BrokenImageError(path, "is missing") from None
    except PIL.UnidentifiedImageError:
        raise BrokenImageError(path, "is empty or not an image") from None
    except PIL.Image.DecompressionBombError:
        raise BrokenImageError(path, "has more pixels than Pillow opens") from None
    except BrokenImageError:
        raise
    except Exception as error:  # Pillow's readers raise a dozen types on damaged bytes
        raise BrokenImageError(path, f"cannot be decoded ({error})") from error
    return {"bytes": content, "path": os.path.basename(path)}
