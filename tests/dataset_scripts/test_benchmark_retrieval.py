"""COCO and Flickr30k retrieval, read from files of the formats in which their splits are distributed."""

import json

import pytest

from conclip.errors import UsageError
from dataset_scripts.benchmarks.captions_retrieval import COCO_RETRIEVAL, COCO_VAL2017_RETRIEVAL, FLICKR30K_RETRIEVAL
from dataset_scripts.benchmarks.schema import Kind, item_features

# The first two of the real file, to which the blank at the end belongs.
COCO = {
    "COCO_val2014_000000391895.jpg": [
        "A man with a red helmet on a small moped on a dirt road. ",
        "Man riding a motor bike on a dirt road on the countryside.",
        "A man riding on the back of a motorcycle.",
    ],
    "COCO_val2014_000000060623.jpg": ["A young girl inhales with the intent of blowing out a candle.  "],
}
FLICKR = {
    "1007129816.jpg": ["The man with pierced ears is wearing glasses and an orange hat.", "A man with glasses."],
    "1009434119.jpg": ["A black and white dog is running in a grassy garden.", "A Boston Terrier is running."],
}


def salesforce(captions, folder):
    return [{"image": f"{folder}/{name}", "caption": texts} for name, texts in captions.items()]


def karpathy(captions, **more):
    """With an image of another split before each of the test split, as they are mixed in the real files."""
    images = []
    for name, texts in captions.items():
        for split, file in (("train", f"other_{name}"), ("test", name)):
            sentences = [{"tokens": text.lower().split(), "raw": text, "imgid": 0, "sentid": 7} for text in texts]
            row = {"sentids": [7], "imgid": 0, "sentences": sentences, "split": split, "filename": file}
            images.append({**more, **row})
    return {"images": images, "dataset": "some"}


def write(data_dir, name, content):
    path = data_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("benchmark", "captions", "name", "content", "folder"),
    [
        (COCO_RETRIEVAL, COCO, "coco/coco_karpathy_test.json", salesforce(COCO, "val2014"), "coco/val2014"),
        (COCO_RETRIEVAL, COCO, "coco/dataset_coco.json", karpathy(COCO, filepath="val2014"), "coco/val2014"),
        (
            FLICKR30K_RETRIEVAL,
            FLICKR,
            "flickr30k/flickr30k_test.json",
            salesforce(FLICKR, "flickr30k-images"),
            "flickr30k/flickr30k-images",
        ),
        (
            FLICKR30K_RETRIEVAL,
            FLICKR,
            "flickr30k/dataset_flickr30k.json",
            karpathy(FLICKR),
            "flickr30k/flickr30k-images",
        ),
    ],
)
def test_both_files_of_a_karpathy_split(tmp_path, benchmark, captions, name, content, folder):
    write(tmp_path, name, content)
    items = list(benchmark.read(tmp_path))
    assert items == [
        {
            "id": file,
            "category": "plain",
            "images": [str(tmp_path / folder / file)],
            "boxes": [],
            "captions": [text.strip() for text in texts],
            "answer": 0,
        }
        for file, texts in captions.items()
    ]
    assert benchmark.kind == Kind.RETRIEVAL
    assert item_features().encode_example(items[0])["captions"] == [
        text.strip() for text in list(captions.values())[0]
    ]


def test_the_folder_that_is_there_is_taken(tmp_path):
    write(tmp_path, "coco/coco_karpathy_test.json", salesforce(COCO, "val2014"))
    (tmp_path / "val2014").mkdir()
    assert next(COCO_RETRIEVAL.read(tmp_path))["images"] == [str(tmp_path / "val2014" / next(iter(COCO)))]


def test_the_small_file_goes_before_the_large_one(tmp_path):
    write(tmp_path, "coco/dataset_coco.json", karpathy({"large.jpg": ["A dog."]}, filepath="val2014"))
    write(tmp_path, "coco/coco_karpathy_test.json", salesforce({"small.jpg": ["A dog."]}, "val2014"))
    assert [found["id"] for found in COCO_RETRIEVAL.read(tmp_path)] == ["small.jpg"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"image": "val2014/a.jpg", "caption": ["A dog."]}, {"image": "val2014/b.jpg"}], "row 1: 'caption' is None"),
        ([{"caption": ["A dog."]}], "row 0: 'image' is None"),
        ([{"image": "val2014/a.jpg", "caption": "A dog."}], "row 0: 'caption' is 'A dog.'"),
        ([{"image": "val2014/a.jpg", "caption": []}], "row 0: there is no list of captions"),
        ([{"image": "val2014/a.jpg", "caption": ["A dog.", " "]}], "row 0: 'caption' is ' '"),
        ({"images": [{"filename": "a.jpg", "sentences": []}]}, "row 0: 'split' is None"),
        ({"images": [{"filename": "a.jpg", "split": "test", "sentences": [{"raw": 3}]}]}, "row 0: 'raw' is 3"),
        ({"images": [{"filename": "a.jpg", "split": "test", "sentences": []}]}, "row 0: there is no list of captions"),
        ({"dataset": "coco"}, "holds no list 'images'"),
        ("A dog.", "holds no list 'images'"),
    ],
)
def test_damaged_karpathy_files_are_named(tmp_path, rows, message):
    path = write(tmp_path, "coco/coco_karpathy_test.json", rows)
    with pytest.raises(UsageError) as error:
        list(COCO_RETRIEVAL.read(tmp_path))
    assert message in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize(
    ("benchmark", "name"),
    [
        (COCO_RETRIEVAL, "coco_karpathy_test.json"),
        (FLICKR30K_RETRIEVAL, "flickr30k_test.json"),
        (COCO_VAL2017_RETRIEVAL, "captions_val2017.json"),
    ],
)
def test_a_missing_file_says_where_to_get_it(tmp_path, benchmark, name):
    with pytest.raises(UsageError, match=f"{name}: No such file.* Download http.*{name.split('_')[0]}"):
        list(benchmark.read(tmp_path))


def val2017(images=None, annotations=None):
    """As in captions_val2017.json: the captions of an image are not together, nor are they in the images' order."""
    return {
        "info": {"year": 2017},
        "images": images or [{"license": 4, "file_name": f"{id:012}.jpg", "id": id} for id in (397133, 37777)],
        "annotations": annotations
        or [
            {"image_id": 37777, "id": 38, "caption": "The dining table near the kitchen has fruit.\n"},
            {"image_id": 397133, "id": 370509, "caption": "A man is in a kitchen making pizzas."},
            {"image_id": 37777, "id": 182, "caption": "A small kitchen has various appliances."},
        ],
    }


def test_val2017(tmp_path):
    write(tmp_path, "coco/annotations/captions_val2017.json", val2017())
    (tmp_path / "val2017").mkdir()
    found = list(COCO_VAL2017_RETRIEVAL.read(tmp_path))
    assert [(one["id"], one["category"], one["captions"]) for one in found] == [
        ("397133", "plain", ["A man is in a kitchen making pizzas."]),
        (
            "37777",
            "plain",
            ["The dining table near the kitchen has fruit.", "A small kitchen has various appliances."],
        ),
    ]
    assert found[1]["images"] == [str(tmp_path / "val2017" / "000000037777.jpg")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": [{"id": 37777}]}, "row 0 of 'images': 'file_name' is None"),
        ({"images": [{"file_name": "a.jpg", "id": "a"}]}, "row 0 of 'images': 'id' is 'a'"),
        ({"annotations": [{"image_id": 37777}]}, "row 0 of 'annotations': 'caption' is None"),
        ({"annotations": [{"image_id": 37777, "caption": ""}]}, "row 0 of 'annotations': 'caption' is ''"),
        (
            {"annotations": [{"image_id": 1, "caption": "A."}]},
            "row 0 of 'annotations': there is no image 1 in the file",
        ),
        ({"annotations": [{"image_id": 397133, "caption": "A."}]}, "row 1 of 'images': there is no list of captions"),
    ],
)
def test_damaged_val2017_files_are_named(tmp_path, change, message):
    path = write(tmp_path, "annotations/captions_val2017.json", val2017(**change))
    with pytest.raises(UsageError) as error:
        list(COCO_VAL2017_RETRIEVAL.read(tmp_path))
    assert message in str(error.value) and str(path) in str(error.value)


def test_val2017_without_lists_is_refused(tmp_path):
    for content in ([], {"images": []}):
        write(tmp_path, "annotations/captions_val2017.json", content)
        with pytest.raises(UsageError, match="captions_val2017.json holds no list"):
            list(COCO_VAL2017_RETRIEVAL.read(tmp_path))
