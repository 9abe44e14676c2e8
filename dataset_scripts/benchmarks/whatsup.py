"""
What'sUp (Kamath et al., EMNLP 2023): which of two or four captions names the right place of an object.

Format and scoring are those of https://github.com/amitakamath/whatsup_vlms, `dataset_zoo/aro_datasets.py`.

Two sets of the authors' own photographs, a list of {image_path, caption_options} in which the first of four captions
is right: A, objects on, under, left and right of furniture; B, in front of, behind, left and right of another object.
Besides the accuracy, "pair of images" counts the two images of opposite places together, and "set of images" all four
images of two objects. Four sets on images of COCO and of Visual Genome (GQA) with one or two objects: lists of
[image id, right caption, wrong caption].

The right caption is the first in every row: an argmax that breaks ties by the first index scores ties as right.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from conclip.errors import UsageError
from dataset_scripts.benchmarks.files import COCO_VAL2017, field, image_folder, read_rows, texts
from dataset_scripts.benchmarks.schema import Benchmark, Joint, Kind, item

FILES = (
    "Download {names} from https://drive.google.com/drive/folders/164q6X9hrvP-QYpi3ioSnfMuyHpG5oRkZ (linked from "
    "https://github.com/amitakamath/whatsup_vlms) into whatsup/; {images}."
)
SIDES = ("left", "right")


def read_photographs(data_dir: Path, name: str, folder: str, source: str) -> Iterator[dict]:
    """
    Yield the items of a set of photographs; the id is the name of the image, such as "mug_left_of_chair", and the
    category the place in it, "left_of".

    Raises:
        UsageError: the file is missing or a row is damaged.
    """
    path, images = data_dir / "whatsup" / name, image_folder(data_dir, f"whatsup/{folder}")
    for index, row in read_rows(path, source):
        image = Path(field(row, "image_path", str, path, index))
        captions = texts(row, "caption_options", path, index)
        place = "_".join(image.stem.split("_")[1:-1])
        if not place or len(captions) != 4:
            raise UsageError(
                f"{path}, row {index}: {image.name!r} has {len(captions)} captions; an image named "
                "<object>_<place>_<object> with four captions was expected; correct it or download the file again."
            )
        yield item(image.stem, [images / image.name], captions, category=place)


def objects_of(item_id: str) -> str:
    """Return the two objects of an image, such as "mug chair": four images have the same."""
    return f"{item_id.split('_')[0]} {item_id.split('_')[-1]}"


def opposites_of(item_id: str) -> str:
    """Return what an image has in common with the image of the opposite place, such as "mug chair sideways"."""
    return f"{objects_of(item_id)} {'sideways' if item_id.split('_')[1] in SIDES else 'other'}"


def read_captions(
    data_dir: Path, name: str, image: Callable[[Path, int], Path], place: Callable[[str], str], source: str
) -> Iterator[dict]:
    """
    Yield the items of a list of captions, numbered as the rows of the file, from 0.

    Args:
        image: takes the folder and the id of an image and returns its path.
        place: takes the right caption and returns the category.

    Raises:
        UsageError: the file is missing or a row is damaged.
    """
    path = data_dir / "whatsup" / name
    for index, row in read_rows(path, source):
        if not isinstance(row, list) or len(row) != 3 or not str(row[0]).isdecimal():
            raise UsageError(
                f"{path}, row {index} is not the id of an image with two captions; correct it or download the file "
                "again."
            )
        captions = texts({"captions": row[1:]}, "captions", path, index)
        yield item(index, [image(data_dir, int(row[0]))], captions, category=place(captions[0]))


def coco_image(data_dir: Path, image_id: int) -> Path:
    return image_folder(data_dir, *COCO_VAL2017) / f"{image_id:012d}.jpg"


def gqa_image(data_dir: Path, image_id: int) -> Path:
    return image_folder(data_dir, "whatsup/vg_images") / f"{image_id}.jpg"


def last_word(caption: str) -> str:
    return caption.split()[-1]


def place_between(caption: str, places: tuple[str, ...]) -> str:
    """Return the first of the places that the caption names; the last of them if it names none, as the authors do."""
    return next((place for place in places if place in caption), places[-1])


def _photographs(which: str, title: str, name: str, folder: str) -> Benchmark:
    source = FILES.format(names=f"{name} and {folder}.tar.gz", images=f"its images go into whatsup/{folder}/")
    return Benchmark(
        name=f"whatsup-{which}",
        title=f"What'sUp, {title}",
        kind=Kind.CAPTIONS,
        read=partial(read_photographs, name=name, folder=folder, source=source),
        source=source,
        split="test",
        joint={"pair of images accuracy": Joint(opposites_of, 2), "set of images accuracy": Joint(objects_of, 4)},
        choice=True,
    )


def _captions(which: str, title: str, name: str, image: Callable, images: str, place: Callable) -> Benchmark:
    source = FILES.format(names=name, images=images)
    return Benchmark(
        name=f"whatsup-{which}",
        title=f"What'sUp, {title}",
        kind=Kind.CAPTIONS,
        read=partial(read_captions, name=name, image=image, place=place, source=source),
        source=source,
        split="test",
    )


COCO = "the images, http://images.cocodataset.org/zips/val2017.zip, go into coco/val2017/"
GQA = "the images of vg_images.tar.gz go into whatsup/vg_images/"
COCO_PLACES = ("left of", "right of", "above", "below")
GQA_PLACES = ("left of", "right of", "front of", "behind", "top")
WHATSUP = (
    _photographs("a", "photographs A", "controlled_images_dataset.json", "controlled_images"),
    _photographs("b", "photographs B", "controlled_clevr_dataset.json", "controlled_clevr"),
    _captions("coco-one", "COCO, one object", "coco_qa_one_obj.json", coco_image, COCO, last_word),
    _captions(
        "coco-two",
        "COCO, two objects",
        "coco_qa_two_obj.json",
        coco_image,
        COCO,
        partial(place_between, places=COCO_PLACES),
    ),
    _captions("gqa-one", "GQA, one object", "vg_qa_one_obj.json", gqa_image, GQA, last_word),
    _captions(
        "gqa-two", "GQA, two objects", "vg_qa_two_obj.json", gqa_image, GQA, partial(place_between, places=GQA_PLACES)
    ),
)
