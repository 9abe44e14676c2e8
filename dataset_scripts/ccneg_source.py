"""Read CC-Neg as its authors distribute it: annotations, images folder, distractor mapping.

Source of the layout: the official readers, `src/data/finetuning_datasets.py` and `src/data/evaluation_datasets.py`
of github.com/jaisidhsingh/CoN-CLIP.
"""

import dataclasses
import json
import os
import pickle
from pathlib import Path

import pyarrow as pa
import torch
from datasets import Features, Sequence, Value

from .ccneg_images import CCNegError, ImageIndex
from .schema import ANNOTATION_FEATURES

ANNOTATIONS_FILE = "ccneg_preprocessed.pt"
MAPPING_FILE = "distractor_image_mapping.pt"
IMAGES_FOLDER = "ccneg_images"
COCO_ANNOTATIONS_FILE = "annotations/captions_train2017.json"
COCO_FOLDER = "train2017"
OFFICIAL_TEST_SIZE = 40_000

# CC-Neg negates one predicate-object pair of the caption, chosen at random (arXiv 2403.20312, section on CC-Neg); the
# file does not say whether that is an object, an attribute or a relation.
NEGATION_KIND = "predicate-object"

ANNOTATION_ROW = Features(
    {
        **ANNOTATION_FEATURES,
        # Relative to `data_dir`, and to `coco_dir` for the distractors (none without a `coco_dir`).
        "image_file": Value("string"),
        "distractor_files": Sequence(Value("string")),
    }
)


@dataclasses.dataclass
class CCNegSource:
    """CC-Neg in memory, without pixels.

    Attributes:
        table (`pa.Table`): `ANNOTATION_ROW`, one row per example, in the order of the annotations file.
        test_size (`int`): how many of the last rows are the test split.
        missing (`list[tuple[int, str]]`): row and expected path of each image that is in none of the given folders.
    """

    table: pa.Table
    test_size: int
    missing: list[tuple[int, str]]


def load_plain(path: Path):
    """Load plain data (lists, dicts, text, numbers, tensors) with `torch.load`; refuse what could run code."""
    if not path.is_file():
        raise CCNegError(f"There is no {path.name} in {path.parent}: data_dir must be the folder that holds it.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CCNegError(
            f"{path} was refused: it is damaged or holds more than plain data, which could run code when loaded; "
            "download it again from CC-Neg's authors."
        ) from error
    except Exception as error:  # torch raises half a dozen types on a damaged file
        raise CCNegError(
            f"{path} cannot be read: it is cut short or not a PyTorch file; download it again."
        ) from error


def _nested(value, *keys: str):
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _text(value, row: int, what: str, path: Path) -> str:
    if not isinstance(value, str) or not value.strip():
        state = "is empty" if isinstance(value, str) else "is missing" if value is None else "is no text"
        raise CCNegError(f"Row {row} of {path} (the first is row 0): the {what} {state}; correct or remove the row.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CCNegError(
            f"Row {row} of {path} (the first is row 0): the {what} holds half of a character; correct or remove the "
            "row."
        ) from None
    return value


def _objects(annotation: dict) -> list[str]:
    named = (
        _nested(annotation, "sop_data", "sop_decomposition", "subject"),
        _nested(annotation, "sop_data", "sop_chosen_object"),
    )
    # PaLM-2's answer for "no subject" is the text "None".
    return [name for name in named if isinstance(name, str) and name.strip() and name != "None"]


def read_annotations(path: Path) -> tuple[list[str], list[str], list[str], list[list[str]]]:
    """Return the recorded image paths, captions, negated captions and named objects, one entry per row."""
    data = load_plain(path)
    annotations, paths = _nested(data, "annotations"), _nested(data, "image_paths")
    if not isinstance(annotations, list) or not isinstance(paths, list):
        keys = sorted(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise CCNegError(f"{path} must hold a dict of the lists 'image_paths' and 'annotations'; it holds {keys}.")
    if len(annotations) != len(paths):
        raise CCNegError(
            f"{path} holds {len(paths)} image paths for {len(annotations)} annotations; download it again."
        )
    captions, negated, objects = [], [], []
    for row, (annotation, recorded) in enumerate(zip(annotations, paths, strict=True)):
        _text(recorded, row, "image path", path)
        caption = _nested(annotation, "json", "caption")
        caption = _nested(annotation, "caption") if caption is None else caption
        captions.append(_text(caption, row, "caption", path))
        negation = _nested(annotation, "sop_data", "negative-prompt")
        negated.append(_text(negation, row, "negated caption (sop_data, negative-prompt)", path))
        objects.append(_objects(annotation))
    return paths, captions, negated, objects


def coco_file_names(coco_dir: Path) -> list[str]:
    """Return the file names of COCO train2017 in the order of torchvision's `CocoCaptions`: ascending image id."""
    path = coco_dir / COCO_ANNOTATIONS_FILE
    try:
        images = json.loads(path.read_text(encoding="utf-8"))["images"]
        return [name for _, name in sorted({int(image["id"]): str(image["file_name"]) for image in images}.items())]
    except FileNotFoundError:
        raise CCNegError(
            f"There is no {path}: coco_dir must be the folder that holds {COCO_FOLDER}/ and {COCO_ANNOTATIONS_FILE}."
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CCNegError(f"{path} is not a COCO captions file or is cut short; download it again.") from error


def read_distractors(data_dir: Path, coco_dir: Path, num_rows: int, num_distractors: int) -> list[list[str]]:
    """Return the COCO file names of the first `num_distractors` distractors of each row."""
    path = data_dir / MAPPING_FILE
    mapping = load_plain(path)
    if not isinstance(mapping, list) or len(mapping) != num_rows:
        length = len(mapping) if isinstance(mapping, list) else type(mapping).__name__
        raise CCNegError(
            f"{path} must be a list with an entry for each of the {num_rows} annotations; it has {length}: download "
            "the file that belongs to them."
        )
    names = coco_file_names(coco_dir)
    chosen = []
    for row, indices in enumerate(mapping):
        if not isinstance(indices, list) or len(indices) < num_distractors:
            raise CCNegError(
                f"Row {row} of {path} has fewer than num_distractors={num_distractors} entries, {indices}: lower it."
            )
        indices = indices[:num_distractors]
        if not all(isinstance(index, int) and 0 <= index < len(names) for index in indices):
            raise CCNegError(
                f"Row {row} of {path} points at COCO image {indices}, but {coco_dir / COCO_ANNOTATIONS_FILE} lists "
                f"{len(names)} images: use COCO train2017's own file."
            )
        chosen.append([names[index] for index in indices])
    return chosen


def choose_test_size(num_rows: int, test_size: int | None) -> int:
    """Return the number of rows at the end that are the test split.

    The official split has 40,000 of 228,246 rows. Of a file with fewer than 80,000 rows it is the last sixth (rounded
    down, at least one row), which is close to the official share. `test_size` overrides both.
    """
    size = test_size
    if size is None:
        size = OFFICIAL_TEST_SIZE if num_rows >= 2 * OFFICIAL_TEST_SIZE else max(1, num_rows // 6)
    if not 0 < size < num_rows:
        raise CCNegError(f"{num_rows} rows cannot be split into train and a test split of {size}: change test_size.")
    return size


def read_source(config) -> CCNegSource:
    """Read everything but the pixels. `config` is a `CCNegConfig`. Raises `CCNegError` for files that do not fit."""
    if config.data_dir is None or not os.path.isdir(config.data_dir):
        raise CCNegError(
            f"data_dir must be the folder that holds {ANNOTATIONS_FILE} and {IMAGES_FOLDER}/; "
            f"{config.data_dir} is not a folder."
        )
    if config.num_distractors < 1:
        raise CCNegError(f"num_distractors must be at least 1, got {config.num_distractors}.")
    data_dir = Path(config.data_dir)
    paths, captions, negated, objects = read_annotations(data_dir / ANNOTATIONS_FILE)
    rows = len(captions)
    test_size = choose_test_size(rows, config.test_size)
    if config.strip_commas:
        negated = [text.replace(",", "") for text in negated]
    image_files, missing = locate([[path] for path in paths], ImageIndex(data_dir, IMAGES_FOLDER))
    distractor_files: list[list[str]] = [[]] * rows
    if config.coco_dir is not None:
        coco_dir = Path(config.coco_dir)
        names = read_distractors(data_dir, coco_dir, rows, config.num_distractors)
        distractor_files, missing_distractors = locate(names, ImageIndex(coco_dir, COCO_FOLDER))
        missing += missing_distractors
    columns = {
        "caption": captions,
        "negated_captions": [[text] for text in negated],
        "negation_kinds": [[NEGATION_KIND]] * rows,
        "objects": objects,
        "true_negations": [[]] * rows,
        "true_negation_foils": [[]] * rows,
        "true_negation_kinds": [[]] * rows,
        "image_file": [file for (file,) in image_files],
        "distractor_files": distractor_files,
    }
    return CCNegSource(pa.table(columns, schema=ANNOTATION_ROW.arrow_schema), test_size, missing)


def locate(recorded: list[list[str]], index: ImageIndex) -> tuple[list[list[str]], list[tuple[int, str]]]:
    """Return the file of each recorded path, relative to the index's base, and row and path of each missing file.

    A missing file has its path in the authors' layout, so that the annotations can be read without the images.
    """
    missing = []
    files: list[list[str]] = []
    for row, paths in enumerate(recorded):
        files.append([])
        for path in paths:
            file = index.find(path, row)
            if file is None:
                file = index.expected(path)
                missing.append((row, str(index.base / file)))
            files[-1].append(file)
    return files, missing
