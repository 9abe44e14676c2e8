"""
Benchmarks of rows in the project's own schema (`dataset_scripts.schema.FEATURES`): the scenes and CC-Neg.

Images stay encoded, and rows are read one at a time.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from conclip.data import pair_captions
from conclip.errors import UsageError
from dataset_scripts.benchmarks.files import dataset_rows, encoded_image, field, texts
from dataset_scripts.benchmarks.scenes_choice import PROBE, choices
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

SCENES_SPLIT = "scenes, split test"
SCENES_SOURCE = "The scenes are made on first use, without a download."
CCNEG_SOURCE = (
    "Write the folder ccneg with `conclip ccneg` from the files of CC-Neg's authors "
    "(https://github.com/jaisidhsingh/CoN-CLIP)."
)
NEGATIONS = ["negated_captions", "negation_kinds"]
TRUE_NEGATIONS = ["true_negations", "true_negation_foils", "true_negation_kinds"]


def scenes_rows() -> Iterator[tuple[int, dict]]:
    """Yield (index, row) of the scenes' test split: 2,000 rows."""
    # Imported late, so that the list of benchmarks is there at once.
    from datasets import Image

    from dataset_scripts.scenes import load_scenes

    dataset = load_scenes("test").select_columns(["image", "caption", "objects", *NEGATIONS, *TRUE_NEGATIONS])
    return enumerate(dataset.cast_column("image", Image(decode=False)))


def ccneg_rows(data_dir: Path) -> Iterator[tuple[int, dict]]:
    """
    Yield (index, row) of CC-Neg's test split: of the folder `<data_dir>/ccneg`, or, if there is none, of
    `load_dataset("ccneg")`.

    Raises:
        UsageError: there is no such dataset, or it is damaged.
    """
    folder, columns = data_dir / "ccneg", ["image", "caption", *NEGATIONS]
    if not folder.is_dir():
        # Possibly in the cache, which cannot be streamed and need not be: it is mapped into memory.
        return dataset_rows("ccneg", CCNEG_SOURCE, columns, ["image"], {"split": "test"})
    # With `columns`, the distractors are not read at all. pyarrow keeps the part of a file that it has read until the
    # file ends, so that memory grows with the size of a Parquet file (500 MB), not with the number of files.
    options = {"split": "test", "streaming": True, "columns": columns}
    return dataset_rows(str(folder), CCNEG_SOURCE, columns, ["image"], options)


def commas_are_stripped(folder: Path) -> bool:
    """Return whether `conclip ccneg --strip_commas` wrote the folder, by its dataset card."""
    card = folder / "README.md"
    return card.is_file() and "Commas: stripped" in card.read_text(encoding="utf-8", errors="replace")


def pairs(rows: Iterable[tuple[int, dict]], path: Path | str) -> Iterator[dict]:
    """
    Yield the caption against each negated caption; ids are row and index of the pair, such as "12/0". A list of
    captions is paired with the negated captions as in training's evaluation (`pair_captions`).
    """
    for index, row in rows:
        image, negations = encoded_image(row, "image", path, index), [*_together(row, NEGATIONS, path, index)]
        # An empty list is refused as a missing caption is.
        several = isinstance(row["caption"], list) and row["caption"]
        captions = texts(row, "caption", path, index) if several else [field(row, "caption", str, path, index)]
        for place, (caption, negation) in enumerate(pair_captions(len(captions), len(negations))):
            negated, kind = negations[negation]
            yield item(f"{index}/{place}", [image], [captions[caption], negated], category=kind)


def true_negations(rows: Iterable[tuple[int, dict]], path: Path | str) -> Iterator[dict]:
    """Yield each true negation against its foil; the category is the foil's kind."""
    for index, row in rows:
        image = encoded_image(row, "image", path, index)
        for place, (true, foil, kind) in enumerate(_together(row, TRUE_NEGATIONS, path, index)):
            yield item(f"{index}/{place}", [image], [true, foil], category=kind)


def retrieval(rows: Iterable[tuple[int, dict]], path: Path | str) -> Iterator[dict]:
    """
    Yield the caption ("plain") and the true negation ("negated") of each row with its image.

    A caption may also be true of other images. These count as wrong in recall@k, so that no model can reach 100 %.
    """
    for index, row in rows:
        image, caption = encoded_image(row, "image", path, index), field(row, "caption", str, path, index)
        yield item(index, [image], [caption], category="plain")
        negated = dict.fromkeys(texts(row, "true_negations", path, index))
        yield item(index, [image], list(negated), category="negated")


def scenes_truth(captions: list[str], ids: list[str]):
    """Return a boolean array, (captions, ids): of which rows of the test split, by their ids, each caption is true."""
    from dataset_scripts.scenes import load_scenes
    from dataset_scripts.scenes_truth import truth

    objects = load_scenes("test")["objects"][:]
    return truth(captions, [objects[int(row)] for row in ids])


def _together(row: dict, names: list[str], path: Path | str, index: int) -> Iterator[tuple[str, ...]]:
    columns = [texts(row, name, path, index) for name in names]
    if len({len(column) for column in columns}) != 1:
        raise UsageError(f"{path}, row {index}: {' and '.join(names)} differ in length; write the dataset again.")
    return zip(*columns, strict=True)


def _scenes(name: str, title: str, kind: Kind, items: Callable[..., Iterator[dict]], **more) -> Benchmark:
    def read(data_dir: Path, **options) -> Iterator[dict]:
        return items(scenes_rows(), SCENES_SPLIT, **options)

    return Benchmark(name=name, title=title, kind=kind, read=read, source=SCENES_SOURCE, split="test", **more)


def read_ccneg(data_dir: Path) -> Iterator[dict]:
    folder = data_dir / "ccneg"
    if commas_are_stripped(folder):
        raise UsageError(
            f"{folder} was written with --strip_commas, so that it has no commas to keep; run --benchmarks "
            "ccneg-commas-stripped, or write the folder again."
        )
    yield from pairs(ccneg_rows(data_dir), f"{folder}, split test")


def read_ccneg_without_commas(data_dir: Path) -> Iterator[dict]:
    """Yield the pairs as the authors' readers do: without the commas of the negated caption, and only of those."""
    for pair in pairs(ccneg_rows(data_dir), f"{data_dir / 'ccneg'}, split test"):
        caption, negated = pair["captions"]
        yield {**pair, "captions": [caption, negated.replace(",", "")]}


SCENES_PAIRS = _scenes("scenes-pairs", "Scenes, pairs", Kind.CAPTIONS, pairs)
SCENES_TRUE_NEGATION = _scenes("scenes-true-negation", "Scenes, true negation", Kind.CAPTIONS, true_negations)
SCENES_CHOICE = _scenes("scenes-choice", "Scenes, multiple choice", Kind.CAPTIONS, choices, sampled=True, probe=PROBE)
SCENES_RETRIEVAL = _scenes("scenes-retrieval", "Scenes, retrieval", Kind.RETRIEVAL, retrieval, truth=scenes_truth)
SCENES = (SCENES_PAIRS, SCENES_TRUE_NEGATION, SCENES_CHOICE, SCENES_RETRIEVAL)

CCNEG = Benchmark(
    name="ccneg",
    title="CC-Neg, commas kept",
    kind=Kind.CAPTIONS,
    read=read_ccneg,
    source=CCNEG_SOURCE,
    split="test",
)
# The published score. A caption with a comma can be told from its negation by the comma alone.
CCNEG_COMMAS_STRIPPED = Benchmark(
    name="ccneg-commas-stripped",
    title="CC-Neg as published, commas stripped from the negated captions alone",
    kind=Kind.CAPTIONS,
    read=read_ccneg_without_commas,
    source=CCNEG_SOURCE,
    split="test",
    first_wins=True,
)
