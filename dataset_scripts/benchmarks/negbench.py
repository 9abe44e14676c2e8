"""
NegBench (Alhamoud et al., CVPR 2025), as https://github.com/m1k2zoo/negbench distributes it: multiple choice among
four captions that affirm and negate, and retrieval by captions with and without negation. Its videos are not here.
"""

from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from conclip.errors import UsageError
from dataset_scripts.benchmarks.captions_retrieval import listed_captions
from dataset_scripts.benchmarks.files import COCO_VAL2017, field, image_folder, read_csv
from dataset_scripts.benchmarks.schema import Benchmark, Kind, item

VOC2007 = ("voc2007/VOCdevkit/VOC2007/JPEGImages", "VOCdevkit/VOC2007/JPEGImages", "VOC2007/JPEGImages")
SYNTHETIC = ("negbench/synthetic",)
CHOICES = tuple(f"caption_{index}" for index in range(4))
RETRIEVAL = {
    "plain": "COCO_val_retrieval.csv",
    "negated": "COCO_val_negated_retrieval_llama3.1_rephrased_affneg_true.csv",
}

_FILES = (
    "Download {names} from https://drive.google.com/drive/folders/1kSEq0mkV1t1T8GuOAM65iz_iAA7e5gxB (linked from "
    "datasets.md of https://github.com/m1k2zoo/negbench) into negbench/; {images}."
)
_COCO_IMAGES = "the images, http://images.cocodataset.org/zips/val2017.zip, go into coco/val2017/"
_VOC_IMAGES = (
    "the images, http://host.robots.ox.ac.uk/pascal/VOC/voc2007/VOCtest_06-Nov-2007.tar, are unpacked in voc2007/"
)
_SYNTHETIC_IMAGES = (
    "the authors have not published the images (https://github.com/m1k2zoo/negbench/issues/6), which go where the "
    "file's image_path says or into negbench/synthetic/"
)


def _read_mcq(data_dir: Path, name: str, folders: tuple[str, ...], source: str) -> Iterator[dict]:
    """Yield items, numbered as the rows of the file, from 0."""
    path = data_dir / "negbench" / name
    place = _image_finder(data_dir, folders)
    for index, row in enumerate(
        read_csv(path, source, ["image_path", "correct_answer", *CHOICES, "correct_answer_template"])
    ):
        captions = [field(row, choice, str, path, index) for choice in CHOICES]
        answer = field(row, "correct_answer", str, path, index).strip()
        if answer not in ("0", "1", "2", "3"):
            raise UsageError(
                f"{path}, row {index}: 'correct_answer' is {answer!r}, not 0 to 3; correct it or download the file "
                "again."
            )
        template = field(row, "correct_answer_template", str, path, index)
        image = place(field(row, "image_path", str, path, index))
        yield item(index, [image], captions, answer=int(answer), category=template)


def _read_retrieval(data_dir: Path, source: str) -> Iterator[dict]:
    """Yield all images with their plain captions, then all with the negated ones; numbered by `image_id`."""
    place = _image_finder(data_dir, COCO_VAL2017)
    paths = {condition: data_dir / "negbench" / name for condition, name in RETRIEVAL.items()}
    rows = {
        condition: read_csv(path, source, ["filepath", "image_id", "captions"]) for condition, path in paths.items()
    }
    only = {row["filepath"] for row in rows["plain"]} ^ {row["filepath"] for row in rows["negated"]}
    if only:
        raise UsageError(
            f"{min(only)} is in only one of {paths['plain']} and {paths['negated']}, which must have the same "
            f"images. {source}"
        )
    for condition, path in paths.items():
        for index, row in enumerate(rows[condition]):
            image_id = field(row, "image_id", str, path, index)
            image = place(field(row, "filepath", str, path, index))
            captions = listed_captions(field(row, "captions", str, path, index), path, index)
            yield item(image_id, [image], captions, category=condition)


def _image_finder(data_dir: Path, folders: tuple[str, ...]):
    """
    Return a function from a path in the file to the path of the image: the same path, absolute or below `data_dir`, if
    its folder exists (the authors ask users to edit the paths); else the name in the first of `folders` that exists.
    """
    usual = image_folder(data_dir, *folders)

    @cache
    def folder(own: Path) -> Path:
        return own if own.is_dir() else usual

    def place(name: str) -> Path:
        own = data_dir / name
        return folder(own.parent) / own.name

    return place


def _mcq(name: str, title: str, file: str, folders: tuple[str, ...], images: str, split: str) -> Benchmark:
    source = _FILES.format(names=file, images=images)
    return Benchmark(
        name=name,
        title=title,
        kind=Kind.CAPTIONS,
        read=partial(_read_mcq, name=file, folders=folders, source=source),
        source=source,
        split=split,
    )


# 5,914 rows.
NEGBENCH_MCQ_COCO = _mcq(
    "negbench-mcq-coco",
    "NegBench MCQ, COCO",
    "COCO_val_mcq_llama3.1_rephrased.csv",
    COCO_VAL2017,
    _COCO_IMAGES,
    "val2017",
)
# 5,031 rows.
NEGBENCH_MCQ_VOC = _mcq(
    "negbench-mcq-voc", "NegBench MCQ, VOC2007", "VOC2007_mcq_llama3.1_rephrased.csv", VOC2007, _VOC_IMAGES, "test"
)
# 9,997 rows.
NEGBENCH_MCQ_SYNTHETIC = _mcq(
    "negbench-mcq-synthetic",
    "NegBench MCQ, synthetic",
    "synthetic_mcq_llama3.1_rephrased.csv",
    SYNTHETIC,
    _SYNTHETIC_IMAGES,
    "test",
)

_RETRIEVAL_FILES = _FILES.format(names=" and ".join(RETRIEVAL.values()), images=_COCO_IMAGES)
# 5,000 images; 25,014 plain captions.
NEGBENCH_RETRIEVAL_COCO = Benchmark(
    name="negbench-retrieval-coco",
    title="NegBench retrieval, COCO",
    kind=Kind.RETRIEVAL,
    read=partial(_read_retrieval, source=_RETRIEVAL_FILES),
    source=_RETRIEVAL_FILES,
    split="val2017",
)
