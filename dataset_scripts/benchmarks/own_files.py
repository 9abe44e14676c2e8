"""
Sets of one's own: an image and two captions (`pairs:FILE.jsonl`), or an image and several captions
(`choice:FILE.jsonl`). Sets of two images and two captions are in `two_by_two.py`.

Each line is a JSON object. "id" and "category" may be absent; "image" is relative to the folder of the file.

    pairs      {"image": "1.jpg", "caption": "a street with no cars", "negative_caption": "a street with cars"}
    choice     {"image": "1.jpg", "captions": ["a dog", "a cat", "no dog"], "answer": 1}
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from conclip.errors import UsageError
from dataset_scripts.benchmarks.files import field, read_rows, texts
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

PAIRS_SOURCE = (
    "{file} must hold a JSON object with image (relative to its folder), caption and negative_caption on each line."
)
CHOICE_SOURCE = "{file} must hold a JSON object with image (relative to its folder), captions and answer on each line."


def read_pairs(data_dir: Path, path: Path, source: str) -> Iterator[dict]:
    """
    Yield the items of a file of pairs; the id is the row, from 0, if the row has none.

    Raises:
        UsageError: the file is missing or a row is damaged.
    """
    for index, row in read_rows(path, source):
        captions = [field(row, name, str, path, index) for name in ("caption", "negative_caption")]
        yield _item(row, captions, 0, path, index)


def read_choice(data_dir: Path, path: Path, source: str) -> Iterator[dict]:
    """Yield the items of a file of multiple choice; otherwise as `read_pairs`."""
    for index, row in read_rows(path, source):
        captions, answer = texts(row, "captions", path, index), row.get("answer")
        if type(answer) is not int or len(captions) < 2 or not 0 <= answer < len(captions):
            raise UsageError(
                f"{path}, row {index}: 'answer' is {answer!r}, but it has to be the index of the right one of two or "
                f"more captions, from 0; there are {len(captions)}. Correct it."
            )
        yield _item(row, captions, answer, path, index)


def _item(row: dict, captions: list[str], answer: int, path: Path, index: int) -> dict:
    image = path.parent / field(row, "image", str, path, index)
    category = field(row, "category", str, path, index) if row.get("category") else ""
    item_id = field(row, "id", (int, str), path, index) if "id" in row else index
    return item(item_id, [image], captions, answer=answer, category=category)


def pairs(name: str, path: Path) -> Benchmark:
    """
    Return a benchmark of a file of pairs.

    Args:
        name: the name in commands and tables.
        path: the file; `.jsonl`, or `.json` with a list of the same rows.
    """
    return _benchmark(name, path, read_pairs, PAIRS_SOURCE, choice=False)


def choice(name: str, path: Path) -> Benchmark:
    """Return a benchmark of a file of multiple choice; see `pairs`."""
    return _benchmark(name, path, read_choice, CHOICE_SOURCE, choice=True)


def _benchmark(name: str, path: Path, read: Callable, source: str, choice: bool) -> Benchmark:
    source = source.format(file=path)
    return Benchmark(
        name=name,
        title=name,
        kind=Kind.CAPTIONS,
        read=partial(read, path=path, source=source),
        source=source,
        split="test",
        choice=choice,
    )
