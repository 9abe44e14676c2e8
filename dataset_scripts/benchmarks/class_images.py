"""Find images with classes on disk: folders of class folders, and Parquet files as `datasets` writes them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conclip.data import image_files
from conclip.errors import UsageError

SPLIT_NAMES = frozenset({"train", "test", "val", "validation"})

# Id, image (a path, or {"bytes": …, "path": …}), index of the label, and place of the row, for a message.
Row = tuple[str, Path | str | dict, object, str]


@dataclass(frozen=True)
class ClassImages:
    """
    Images with classes.

    Args:
        where: the folder with the images.
        labels: the labels in their order, unchanged; None if only their indices are known.
        rows: reads the images, undecoded; each call reads them again.
    """

    where: Path
    labels: list[str] | None
    rows: Callable[[], Iterator[Row]]


def find_images(root: Path, splits: tuple[str, ...], label: str) -> ClassImages | None:
    """
    Find Parquet files below `root` or, if there are none, class folders, `<root>/<class>/<image>` or
    `<root>/<split>/<class>/<image>`. Hidden files and folders are ignored.

    Args:
        splits: the first of them that exists is read; if no path names a split, everything is read.
        label: the column of Parquet files with the class; the images are the one column of `datasets.Image`.

    Returns:
        None if there are neither. Class folders are in the order of their names, by number if all are numbers.

    Raises:
        UsageError: there are only other splits, or a file is missing or damaged.
    """
    files = _parquet_files(root, splits)
    if files:
        return _of_parquet(root, files, label)
    return _of_folders(root, splits) if any(_folders(root)) else None


def _parquet_files(root: Path, splits: tuple[str, ...]) -> list[Path]:
    words = {}
    for path in sorted(root.rglob("*.parquet")):
        inside = path.relative_to(root)
        if not any(part.startswith(".") for part in inside.parts):
            words[path] = set(re.split(r"[-_./\\]", str(inside).lower()))
    found = next((files for split in splits if (files := [path for path in words if split in words[path]])), [])
    if not found and any(SPLIT_NAMES & named for named in words.values()):
        raise UsageError(f"{root} holds Parquet files, but none of the split {' or '.join(splits)}; download it.")
    found = found or list(words)
    _check_shards(found)
    return found


def _check_shards(files: list[Path]) -> None:
    # `test-00000-of-00002.parquet` alone would be half a benchmark.
    shards = [(match[1], int(match[2])) for path in files if (match := re.match(r"(.*?)-\d+-of-(\d+)", path.name))]
    for stem, total in set(shards):
        count = shards.count((stem, total))
        if count < total:
            raise UsageError(f"{files[0].parent} holds {count} of the {total} files {stem}-*; download the others.")


def _of_parquet(root: Path, files: list[Path], label: str) -> ClassImages:
    # Imported late, so that the list of benchmarks is there at once.
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import ClassLabel, Features, Image

    try:
        features = Features.from_arrow_schema(pq.read_schema(files[0]))
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{files[0]} is damaged ({error}); download it again.") from error
    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    if len(images) != 1 or label not in features:
        raise UsageError(
            f"{files[0]} has columns {', '.join(features)}; write it with `datasets`, with one column of images and "
            f"a column {label!r}."
        )
    names = list(features[label].names) if isinstance(features[label], ClassLabel) else None
    return ClassImages(root, names, partial(_rows, files, images[0], label))


def _rows(files: list[Path], image: str, label: str) -> Iterator[Row]:
    records = ((file, record) for file in files for record in _records(file, [image, label]))
    for row, (file, record) in enumerate(records):
        place = f"{file.name}, row {row} of the split"
        yield str(row), _stored(record[image], place), record[label], place


def _records(file: Path, columns: list[str]) -> Iterator[dict]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Read as Arrow, images stay undecoded and are not copied on disk; a buffered file would stay in memory.
        with pq.ParquetFile(file, pre_buffer=False) as table:
            for batch in table.iter_batches(batch_size=64, columns=columns):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{file} is damaged ({error}); download it again.") from error


def _stored(image: dict | None, place: str) -> dict | str:
    if not image or not (image["bytes"] or image["path"]):
        raise UsageError(f"{place}, holds no image; download the file again.")
    return image if image["bytes"] else image["path"]


def _of_folders(root: Path, splits: tuple[str, ...]) -> ClassImages:
    within = {folder.name.lower(): folder for folder in _folders(root)}
    top = next((within[split] for split in splits if split in within and any(_folders(within[split]))), root)
    folders = list(_folders(top))
    if top == root and within.keys() <= SPLIT_NAMES:
        raise UsageError(
            f"{root} holds {', '.join(within)}, but no class folders in {' or '.join(splits)}; put them there."
        )
    if all(folder.name.isdigit() for folder in folders):
        folders.sort(key=lambda folder: int(folder.name))
    return ClassImages(top, [folder.name for folder in folders], partial(_files, top, folders))


def _folders(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from (path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith("."))


def _files(root: Path, folders: list[Path]) -> Iterator[Row]:
    for label, folder in enumerate(folders):
        files = [path for path in image_files(folder) if not path.name.startswith(".")]
        if not files:
            raise UsageError(f"Class folder {folder} holds no images; fill it or remove it.")
        yield from ((path.relative_to(root).as_posix(), path, label, str(path)) for path in files)
