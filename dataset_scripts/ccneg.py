"""CC-Neg: 228,246 images with a caption and its negation, from the files that its authors distribute.

`conclip ccneg` writes it as a folder that `load_dataset` reads with any version of `datasets` and without remote code:

    conclip ccneg --data_dir CC-Neg --coco_dir coco --output_dir ccneg

It can also be built into the cache, from Python (`CCNeg(data_dir="CC-Neg").download_and_prepare()`) or, up to
`datasets` 3.6, with `load_dataset("dataset_scripts/ccneg.py", data_dir="CC-Neg", trust_remote_code=True)`.
"""

import dataclasses
import functools
import json
import os

import datasets
import pyarrow as pa

# datasets 3.6 copies the modules imported here beside the script, but not the modules that those import in turn.
from .ccneg_images import BrokenImageError, CCNegError, read_image
from .ccneg_source import ANNOTATION_ROW, CCNegSource, read_source
from .schema import ANNOTATION_FEATURES, FEATURES

logger = datasets.utils.logging.get_logger(__name__)

ROWS_PER_TABLE = 100
SKIPPED_FILE = "skipped.jsonl"


@dataclasses.dataclass
class CCNegConfig(datasets.BuilderConfig):
    """Options of `CCNeg`, in addition to `name`: "default" (with images) or "annotations" (only text and file names).

    Args:
        data_dir (`str`): folder that holds `ccneg_preprocessed.pt`, `ccneg_images/` and, for distractors,
            `distractor_image_mapping.pt`.
        coco_dir (`str`, *optional*): folder that holds COCO's `train2017/` and
            `annotations/captions_train2017.json`. Without it there are no distractor images.
        num_distractors (`int`, defaults to 1): number of distractors to keep of the three in the mapping. The paper
            uses the first.
        strip_commas (`bool`, defaults to `False`): remove the commas of the negated captions, and only of those, as
            the official readers do. The comma alone then separates a caption with a comma from its negation.
        skip_broken_images (`bool`, defaults to `False`): skip rows whose image or distractor is missing or cannot be
            decoded, and list them in `skipped.jsonl`, instead of stopping at the first.
        test_size (`int`, *optional*): number of rows at the end that are the test split; see `choose_test_size`.
    """

    coco_dir: str | None = None
    num_distractors: int = 1
    strip_commas: bool = False
    skip_broken_images: bool = False
    test_size: int | None = None


class CCNeg(datasets.ArrowBasedBuilder):
    """Builder of CC-Neg (arXiv 2403.20312), splits "train" and "test".

    Rows follow `dataset_scripts.schema.FEATURES` ("default", images embedded as their original bytes) or
    `dataset_scripts.ccneg_source.ANNOTATION_ROW` ("annotations", one row for every row of the file, no image opened).
    The key of the cache is the options alone: after a change of the files, pass `download_mode="force_redownload"`.

    Raises `CCNegError` for files that are missing, damaged or do not fit together.
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = CCNegConfig
    BUILDER_CONFIGS = [
        CCNegConfig(name="default", version=VERSION, description="Images, captions, distractor images."),
        CCNegConfig(name="annotations", version=VERSION, description="Captions and file names, no images."),
    ]
    DEFAULT_CONFIG_NAME = "default"

    @functools.cached_property
    def source(self) -> CCNegSource:
        return read_source(self.config)

    @property
    def has_images(self) -> bool:
        return self.config.name == "default"

    def _info(self):
        return datasets.DatasetInfo(
            features=FEATURES if self.has_images else ANNOTATION_ROW,
            homepage="https://github.com/jaisidhsingh/CoN-CLIP",
        )

    def _split_generators(self, dl_manager):
        rows = self.source.table.num_rows
        first_test_row = rows - self.source.test_size
        if self.has_images and self.source.missing and not self.config.skip_broken_images:
            row, path = self.source.missing[0]
            raise CCNegError(
                f"Row {row}: there is no image {path} ({len(self.source.missing):,} missing in all); extract all "
                "images, or skip such rows with skip_broken_images."
            )
        return [
            _split_generator(datasets.Split.TRAIN, 0, first_test_row),
            _split_generator(datasets.Split.TEST, first_test_row, rows),
        ]

    def _generate_tables(self, row_ranges):
        decodable: set[str] = set()
        for start, stop in row_ranges:
            table = self.source.table.slice(start, stop - start)
            if self.has_images:
                table = self._embed(table, start, decodable)
            if table.num_rows:
                yield start, table

    def _embed(self, table: pa.Table, first_row: int, decodable: set[str]) -> pa.Table:
        complete, images, distractors = [], [], []
        for offset, row in enumerate(table.select(["image_file", "distractor_files"]).to_pylist()):
            try:
                image = read_image(os.path.join(self.config.data_dir, row["image_file"]), decodable)
                row_distractors = [
                    read_image(os.path.join(self.config.coco_dir, file), decodable) for file in row["distractor_files"]
                ]
            except BrokenImageError as error:
                self._skip(first_row + offset, error)
                continue
            complete.append(offset)
            images.append(image)
            distractors.append(row_distractors)
        texts = table.select(list(ANNOTATION_FEATURES)).take(pa.array(complete, pa.int64()))
        columns = {name: texts[name] for name in ANNOTATION_FEATURES}
        columns |= {"image": images, "distractor_images": distractors}
        return pa.table(columns, schema=FEATURES.arrow_schema)

    def _skip(self, row: int, error: BrokenImageError) -> None:
        if not self.config.skip_broken_images:
            raise CCNegError(
                f"Row {row}: the image {error.path} {error.reason}; replace it, or skip such rows with "
                "skip_broken_images."
            )
        # There is no folder when the rows are streamed. One write per line, since several processes append.
        if os.path.isdir(self._output_dir):
            with open(os.path.join(self._output_dir, SKIPPED_FILE), "a", encoding="utf-8") as file:
                file.write(json.dumps({"row": row, "path": error.path, "reason": error.reason}) + "\n")

    def download_and_prepare(self, *args, **kwargs):
        super().download_and_prepare(*args, **kwargs)
        skipped = read_skipped(self._output_dir)
        if skipped:
            logger.warning(f"{len(skipped)} rows were skipped; {SKIPPED_FILE} beside the data lists them.")


def _split_generator(name: datasets.NamedSplit, start: int, stop: int) -> datasets.SplitGenerator:
    ranges = [(first, min(first + ROWS_PER_TABLE, stop)) for first in range(start, stop, ROWS_PER_TABLE)]
    generator = datasets.SplitGenerator(name, {"row_ranges": ranges})
    # The total of the progress bar; the builder replaces it by the number of rows written.
    generator.split_info.num_examples = stop - start
    return generator


def read_skipped(folder: str) -> list[dict]:
    """Return the rows that were skipped in a built folder, in order: dicts of `row` (first: 0), `path`, `reason`."""
    path = os.path.join(folder, SKIPPED_FILE)
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return sorted(map(json.loads, file), key=lambda skipped: skipped["row"])
