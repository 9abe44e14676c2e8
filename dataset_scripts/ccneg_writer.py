"""Write the folder `ccneg/`: Parquet files with embedded images, the annotations alone, and a dataset card."""

import os
import shutil
import string
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import DatasetInfo, SplitDict, SplitInfo
from datasets.exceptions import DatasetGenerationError
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from datasets.utils.py_utils import convert_file_size_to_int
from huggingface_hub import DatasetCardData

from conclip.atomic_write import remove, require_room, write_error_behind
from conclip.errors import UsageError
from conclip.folder_lock import in_use

from .ccneg import SKIPPED_FILE, CCNeg, read_skipped
from .ccneg_images import CCNegError
from .ccneg_source import ANNOTATION_ROW, CCNegSource

CARD_TEMPLATE = Path(__file__).with_name("ccneg_card.md")


def write_folder(
    data_dir: str,
    coco_dir: str | None = None,
    output_dir: str = "ccneg",
    overwrite: bool = False,
    annotations_only: bool = False,
    num_distractors: int = 1,
    strip_commas: bool = False,
    skip_broken_images: bool = False,
    test_size: int | None = None,
    num_proc: int = 1,
    max_shard_size: str = "500MB",
) -> str:
    """
    Write CC-Neg as a folder that `load_dataset` reads; the parameters are the options of `conclip ccneg`.

    Everything is written to `<output_dir>.tmp-<process id>`, which is renamed at the end and removed after any error:
    an interrupted run leaves nothing behind.

    Returns:
        A report for the user, several lines.

    Raises:
        UsageError: the source files do not fit, or the folder cannot be written.
    """
    output = Path(output_dir).absolute()
    try:
        convert_file_size_to_int(max_shard_size)
    except ValueError as error:
        raise UsageError(f"--max_shard_size must be a size such as 500MB, got {max_shard_size!r}.") from error
    options = {
        "data_dir": data_dir,
        "coco_dir": coco_dir,
        "num_distractors": num_distractors,
        "strip_commas": strip_commas,
        "skip_broken_images": skip_broken_images,
        "test_size": test_size,
    }
    try:
        with in_use(output, beside=True):
            return _write(output, options, overwrite, annotations_only, num_proc, max_shard_size)
    except CCNegError as error:
        raise UsageError(str(error)) from error
    except (DatasetGenerationError, OSError) as error:
        if found := write_error_behind(error, output.parent):
            raise found from error
        raise UsageError(f"{output} cannot be written: {error.__cause__ or error}") from error


def _write(
    output: Path, options: dict, overwrite: bool, annotations_only: bool, num_proc: int, max_shard_size: str
) -> str:
    started = time.time()
    check_output(output, overwrite)
    # Left behind by runs that were killed: no other run writes this folder now.
    for path in output.parent.glob(f"{output.name}.tmp-*"):
        if path.suffix.rpartition("-")[2].isdecimal():
            remove(path)
    temporary = output.with_name(f"{output.name}.tmp-{os.getpid()}")
    try:
        (temporary / ".work").mkdir(parents=True)
        name = "annotations" if annotations_only else "default"
        builder = CCNeg(config_name=name, cache_dir=str(temporary / ".work" / "cache"), **options)
        print("Reading the annotations ...", flush=True)
        source = builder.source
        print(f"{source.table.num_rows:,} rows; the last {source.test_size:,} are the test split.", flush=True)
        infos = {}
        if not annotations_only:
            check_space(source, options["data_dir"], options["coco_dir"], temporary)
            infos["default"] = write_images(builder, temporary, num_proc, max_shard_size)
        skipped = read_skipped(temporary)
        infos["annotations"] = write_annotations(source, skipped, temporary / "annotations")
        card = make_card(
            infos,
            len(skipped),
            num_distractors=options["num_distractors"] if options["coco_dir"] else 0,
            strip_commas=options["strip_commas"],
        )
        (temporary / "README.md").write_text(card, encoding="utf-8")
        shutil.rmtree(temporary / ".work")
        replace(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return make_report(output, infos, len(skipped), time.time() - started)


def check_output(output: Path, overwrite: bool) -> None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not overwrite:
        raise CCNegError(f"{output} exists: choose another --output_dir, or replace it with --overwrite.")
    card = output / "README.md"
    if not card.is_file() or "pretty_name: CC-Neg\n" not in card.read_text(encoding="utf-8", errors="replace"):
        raise CCNegError(f"{output} was not written by this command and is not replaced: choose another --output_dir.")


def check_space(source: CCNegSource, data_dir: str, coco_dir: str | None, folder: Path) -> None:
    """Raise `WriteError` if the images, by their file sizes, need more space than the disk has."""
    needed = 0
    for base, column in ((data_dir, "image_file"), (coco_dir, "distractor_files")):
        values = source.table[column]
        counts = (values.combine_chunks().flatten() if column == "distractor_files" else values).value_counts()
        for entry in counts.to_pylist():
            path = os.path.join(base, entry["values"])
            needed += entry["counts"] * (os.path.getsize(path) if os.path.isfile(path) else 0)
    require_room(folder.parent, needed)


def write_images(builder: CCNeg, folder: Path, num_proc: int, max_shard_size: str) -> DatasetInfo:
    """Write `folder/data` and, if rows were skipped, their list; `folder/.work` holds unfinished files."""
    work = folder / ".work" / "data"
    builder.download_and_prepare(str(work), file_format="parquet", max_shard_size=max_shard_size, num_proc=num_proc)
    for split in builder.info.splits.values():
        if not split.num_examples:
            raise CCNegError(f"Every row of the {split.name} split was skipped: no image could be read.")
    (work / "dataset_info.json").unlink()
    if (work / SKIPPED_FILE).exists():
        (work / SKIPPED_FILE).rename(folder / SKIPPED_FILE)
    work.rename(folder / "data")
    builder.info.download_size = _folder_size(folder / "data")
    return builder.info


def write_annotations(source: CCNegSource, skipped: list[dict], folder: Path) -> DatasetInfo:
    """Write the annotations of the rows that `folder/../data` holds, in the same order."""
    folder.mkdir()
    skipped_rows = {row["row"] for row in skipped}
    first_test_row = source.table.num_rows - source.test_size
    splits = SplitDict()
    for name, rows in (("train", range(first_test_row)), ("test", range(first_test_row, source.table.num_rows))):
        table = source.table.take(pa.array([row for row in rows if row not in skipped_rows], pa.int64()))
        pq.write_table(table, folder / f"{name}.parquet")
        splits.add(SplitInfo(name, num_bytes=table.nbytes, num_examples=table.num_rows))
    size = sum(split.num_bytes for split in splits.values())
    return DatasetInfo(features=ANNOTATION_ROW, splits=splits, dataset_size=size, download_size=_folder_size(folder))


def make_card(infos: dict[str, DatasetInfo], num_skipped: int, num_distractors: int, strip_commas: bool) -> str:
    rows = {name: split.num_examples for name, split in infos["annotations"].splits.items()}
    total = sum(rows.values())
    data = DatasetCardData(
        language="en",
        license="other",
        license_name="cc-neg-cc3m-coco",
        pretty_name="CC-Neg",
        task_categories=["image-to-text", "zero-shot-image-classification"],
        tags=["negation", "contrastive-learning", "clip", "arxiv:2403.20312"],
        size_categories=next(
            name
            for limit, name in ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"))
            if total < limit
        ),
    )
    DatasetInfosDict(infos).to_dataset_card_data(data)
    patterns = {"default": "data/ccneg-{}*.parquet", "annotations": "annotations/{}.parquet"}
    files = {name: [{"split": split, "path": patterns[name].format(split)} for split in rows] for name in infos}
    MetadataConfigs({name: {"data_files": files[name]} for name in infos}).to_dataset_card_data(data)
    body = string.Template(CARD_TEMPLATE.read_text(encoding="utf-8")).substitute(
        train_rows=f"{rows['train']:,}",
        test_rows=f"{rows['test']:,}",
        skipped_rows=f"{num_skipped:,}",
        num_distractors=num_distractors,
        commas="stripped from the negated captions" if strip_commas else "kept",
        configs=" and ".join(f"`{name}`" for name in infos),
    )
    return f"---\n{data}\n---\n\n{body}"


def replace(temporary: Path, output: Path) -> None:
    """Move the finished folder to its place, and only then delete the folder that it replaces."""
    old = output.with_name(f"{output.name}.old-{os.getpid()}")
    if output.exists():
        output.rename(old)
    temporary.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def make_report(output: Path, infos: dict[str, DatasetInfo], num_skipped: int, seconds: float) -> str:
    files = [path for path in output.rglob("*") if path.is_file()]
    lines = [f"Wrote {output} in {seconds:.0f} s: {len(files)} files, {_folder_size(output) / 1e6:,.1f} MB."]
    lines += [f"  {name}: {split.num_examples:,} rows" for name, split in infos["annotations"].splits.items()]
    lines += [f"  skipped: {num_skipped:,} rows" + (f", listed in {SKIPPED_FILE}" if num_skipped else "")]
    lines += [
        "To load it:",
        f"  cd {output.parent}",
        f"  python -c 'import datasets; print(datasets.load_dataset(\"{output.name}\"))'",
    ]
    return "\n".join(lines)


def _folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
