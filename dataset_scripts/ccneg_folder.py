"""The command `conclip ccneg`: write CC-Neg as a folder that `load_dataset` reads."""

from dataclasses import dataclass

from conclip.cli import Parser, option
from conclip.runtime import run_command


@dataclass
class SourceArguments:
    data_dir: str = option(
        help="folder with ccneg_preprocessed.pt, ccneg_images/ and distractor_image_mapping.pt, as the authors of "
        "CC-Neg distribute them"
    )
    coco_dir: str | None = option(
        None, "folder with COCO's train2017/ and annotations/captions_train2017.json; without it, no distractors"
    )


@dataclass
class RowArguments:
    annotations_only: bool = option(False, "write no images, and read none")
    num_distractors: int = option(1, "distractors for each image; the mapping has 3, the paper uses 1", at_least=1)
    strip_commas: bool = option(False, "remove the commas of the negated captions, as the authors' code does")
    skip_broken_images: bool = option(
        False, "skip rows whose image is missing or broken, and list them in skipped.jsonl, instead of stopping"
    )
    test_size: int | None = option(
        None,
        "rows at the end that become the test split; by default, 40,000, or a sixth of the rows if there are fewer "
        "than 80,000",
        at_least=1,
    )


@dataclass
class OutputArguments:
    output_dir: str = option("ccneg", "folder to write")
    overwrite: bool = option(False, "replace a folder that this command wrote")
    num_proc: int = option(1, "number of processes that read and check the images", at_least=1)
    max_shard_size: str = option("500MB", "largest size of a Parquet file with images")


PARSER = Parser(
    {"Source": SourceArguments, "Rows": RowArguments, "Output": OutputArguments},
    prog="conclip ccneg",
    description="Write CC-Neg as a folder of Parquet files with a dataset card, which load_dataset reads.",
    example="conclip ccneg --data_dir CC-Neg --coco_dir coco --output_dir ccneg",
)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_command(
        lambda: run(*PARSER.parse(argv)),
        interrupted="Interrupted. The output folder was not changed; the same command starts again.",
    )


def run(source: SourceArguments, rows: RowArguments, output: OutputArguments) -> None:
    # Imported here, since `datasets` and torch take seconds and `--help` needs none of them.
    from .ccneg_writer import write_folder

    if source.coco_dir is None:
        PARSER.without_effect(["num_distractors"], "without --coco_dir")
    if rows.annotations_only:
        names = ["skip_broken_images", "num_proc", "max_shard_size"]
        PARSER.without_effect(names, "with --annotations_only, which reads no images")
    print(write_folder(**vars(source), **vars(rows), **vars(output)))
