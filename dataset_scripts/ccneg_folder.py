"""Writes the folder `ccneg/`: Parquet with embedded images, the annotations alone, a dataset card."""

import argparse
import os
import shutil
import string
import sys
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

from .ccneg import SKIPPED_FILE, CCNeg, read_skipped
from .ccneg_images import CCNegError
from .ccneg_source import ANNOTATION_ROW, CCNegSource

CARD_TEMPLATE = Path(__file__).with_name("ccneg_card.md")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("conclip ccneg", description=__doc__)
    add = parser.add_argument
    add("--data_dir", required=True, help="holds ccneg_preprocessed.pt, ccneg_images/, distractor_image_mapping.pt")
    add("--coco_dir", help="holds train2017/ and annotations/captions_train2017.json; without it: no distractors")
    add("--output_dir", default="ccneg", help="folder to write (default: ./ccneg)")
    add("--overwrite_output_dir", action="store_true", help="replace a folder that this command wrote before")
    add("--annotations_only", action="store_true", help="write no images; none need be there")
    add("--num_distractors", type=int, default=1, help="of the three in the mapping (default: 1, as in the paper)")
    add("--strip_commas", action="store_true", help="drop commas from negated captions, as the official code does")
    add("--skip_broken_images", action="store_true", help=f"leave such rows out and list them in {SKIPPED_FILE}")
    add("--test_size", type=int, help="rows at the end for the test split (default: 40,000; a sixth of a small file)")
    add("--num_proc", type=int, default=1, help="processes that read and check images (default: 1)")
    add("--max_shard_size", type=_size, default="500MB", help="of a Parquet file with images (default: 500MB)")
    return parser.parse_args(argv)


def _size(text: str) -> str:
    convert_file_size_to_int(text)
    return text


def write_folder(args: argparse.Namespace) -> str:
    """Writes `args.output_dir` and returns the report for the user.

    Everything is written to `<output_dir>.tmp-<process id>` beside it, which is renamed at the end and removed on any
    error: an interrupted run leaves nothing and starts from the beginning when repeated. Raises `CCNegError`.
    """
    started = time.time()
    output = Path(args.output_dir).absolute()
    check_output(output, args.overwrite_output_dir)
    temporary = output.with_name(f"{output.name}.tmp-{os.getpid()}")
    try:
        (temporary / ".work").mkdir(parents=True)
        builder = make_builder(args, cache_dir=temporary / ".work" / "cache")
        print("Reading the annotations ...", flush=True)
        source = builder.source
        rows = source.table.num_rows
        print(f"{rows:,} rows; the last {source.test_size:,} are the test split.", flush=True)
        infos = {}
        if not args.annotations_only:
            check_space(source, args, temporary)
            infos["default"] = write_images(builder, temporary, args)
        skipped = read_skipped(temporary)
        infos["annotations"] = write_annotations(source, skipped, temporary / "annotations")
        (temporary / "README.md").write_text(make_card(infos, args, len(skipped)), encoding="utf-8")
        shutil.rmtree(temporary / ".work")
        replace(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return make_report(output, infos, len(skipped), time.time() - started)


def make_builder(args: argparse.Namespace, cache_dir: Path) -> CCNeg:
    return CCNeg(
        config_name="annotations" if args.annotations_only else "default",
        cache_dir=str(cache_dir),
        data_dir=args.data_dir,
        coco_dir=args.coco_dir,
        num_distractors=args.num_distractors,
        strip_commas=args.strip_commas,
        skip_broken_images=args.skip_broken_images,
        test_size=args.test_size,
    )


def check_output(output: Path, overwrite: bool) -> None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not overwrite:
        raise CCNegError(f"{output} exists: choose another --output_dir, or replace it with --overwrite_output_dir.")
    card = output / "README.md"
    if not card.is_file() or "pretty_name: CC-Neg\n" not in card.read_text(encoding="utf-8", errors="replace"):
        raise CCNegError(f"{output} was not written by this command and is left alone: choose another --output_dir.")


def check_space(source: CCNegSource, args: argparse.Namespace, folder: Path) -> None:
    """Compares what the embedded images need, by their file sizes, with what the disk has."""
    needed = 0
    for base, column in ((args.data_dir, "image_file"), (args.coco_dir, "distractor_files")):
        values = source.table[column]
        counts = (values.combine_chunks().flatten() if column == "distractor_files" else values).value_counts()
        for entry in counts.to_pylist():
            path = os.path.join(base, entry["values"])
            needed += entry["counts"] * (os.path.getsize(path) if os.path.isfile(path) else 0)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CCNegError(
            f"The images need about {needed / 1e9:.1f} GB and {folder.parent} has {free / 1e9:.1f} GB free: make room "
            "or choose another --output_dir."
        )


def write_images(builder: CCNeg, folder: Path, args: argparse.Namespace) -> DatasetInfo:
    work = folder / ".work" / "data"
    builder.download_and_prepare(
        str(work), file_format="parquet", max_shard_size=args.max_shard_size, num_proc=args.num_proc
    )
    for split in builder.info.splits.values():
        if not split.num_examples:
            raise CCNegError(f"Every row of the {split.name} split was left out: no image could be read.")
    (work / "dataset_info.json").unlink()
    if (work / SKIPPED_FILE).exists():
        (work / SKIPPED_FILE).rename(folder / SKIPPED_FILE)
    work.rename(folder / "data")
    builder.info.download_size = _folder_size(folder / "data")
    return builder.info


def write_annotations(source: CCNegSource, skipped: list[dict], folder: Path) -> DatasetInfo:
    """Writes the same rows, in the same order, as the images' Parquet holds."""
    folder.mkdir()
    left_out = {row["row"] for row in skipped}
    first_test_row = source.table.num_rows - source.test_size
    splits = SplitDict()
    for name, rows in (("train", range(first_test_row)), ("test", range(first_test_row, source.table.num_rows))):
        table = source.table.take(pa.array([row for row in rows if row not in left_out], pa.int64()))
        pq.write_table(table, folder / f"{name}.parquet")
        splits.add(SplitInfo(name, num_bytes=table.nbytes, num_examples=table.num_rows))
    size = sum(split.num_bytes for split in splits.values())
    return DatasetInfo(features=ANNOTATION_ROW, splits=splits, dataset_size=size, download_size=_folder_size(folder))


def make_card(infos: dict[str, DatasetInfo], args: argparse.Namespace, num_skipped: int) -> str:
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
        num_distractors=args.num_distractors if args.coco_dir else 0,
        commas="stripped from the negated captions" if args.strip_commas else "kept",
        configs="`annotations`" if args.annotations_only else "`default` and `annotations`",
    )
    return f"---\n{data}\n---\n\n{body}"


def replace(temporary: Path, output: Path) -> None:
    """Puts the finished folder in place; a folder it replaces is deleted only after that."""
    old = output.with_name(f"{output.name}.old-{os.getpid()}")
    if output.exists():
        output.rename(old)
    temporary.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def make_report(output: Path, infos: dict[str, DatasetInfo], num_skipped: int, seconds: float) -> str:
    files = [path for path in output.rglob("*") if path.is_file()]
    lines = [f"Wrote {output} in {seconds:.0f} s: {len(files)} files, {_folder_size(output) / 1e6:,.1f} MB."]
    lines += [f"  {name}: {split.num_examples:,} rows" for name, split in infos["annotations"].splits.items()]
    lines += [f"  left out: {num_skipped:,} rows" + (f", listed in {SKIPPED_FILE}" if num_skipped else "")]
    lines += [
        "Load it:",
        f"  cd {output.parent}",
        f"  python -c 'import datasets; print(datasets.load_dataset(\"{output.name}\"))'",
    ]
    return "\n".join(lines)


def _folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(argv: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status; whatever goes wrong is told in one sentence."""
    args = parse_args(argv)
    try:
        print(write_folder(args))
    except KeyboardInterrupt:
        return _fail(f"interrupted; {args.output_dir} was not touched, the same command starts again.", 130)
    except CCNegError as error:
        return _fail(str(error))
    except (DatasetGenerationError, OSError) as error:
        return _fail(f"the folder could not be written: {error.__cause__ or error}")
    return 0


def _fail(message: str, status: int = 1) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status
