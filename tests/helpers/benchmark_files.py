"""Tiny annotation files of benchmarks, in the formats and with the first rows of the real ones."""

import json
from pathlib import Path

import datasets

from dataset_scripts.benchmarks.schema import item_features

SUGARCREPE = {
    "add_att": {
        "0": {
            "filename": "000000085329.jpg",
            "caption": "A drawing of a young woman with many facial piercings.",
            "negative_caption": "A drawing of a tattooed young woman with many facial piercings.",
        },
        # The real files have gaps as well.
        "2": {
            "filename": "000000000139.jpg",
            "caption": "A room with a table.",
            "negative_caption": "A red room with a table.",
        },
    }
}
SUGARCREPE_PP = {
    "swap_obj": [
        {
            "id": 7,
            "filename": "000000222235.jpg",
            "caption": "A cat sits on its hind legs, and swats at the plant.",
            "caption2": "The cat swats at the plant while sitting on its hind legs.",
            "negative_caption": "A cat sits on the plant, and swats at its hind legs.",
        }
    ]
}
SUB_CATEGORIES = ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")
NEGREFCOCOG = [
    {
        "image": "COCO_train2014_000000374391.jpg",
        "phrase": "a without hairy brown color teddy bear",
        "ref_bbox": [301.74, 0, 338.26, 480],
        "bbox_list": [[301.74, 0, 338.26, 480], [0, 0, 392.41, 480]],
    },
    {
        "image": "COCO_train2014_000000112226.jpg",
        "phrase": "a green umbrella with no one under it",
        "ref_bbox": [10, 20, 30, 40],
        "bbox_list": [[149.5, 0, 350, 288.5], [1, 2, 3, 4], [10, 20, 30, 40]],
    },
]
WINOGROUND = [
    {
        "id": 0,
        "image_0": "ex_0_img_0",
        "image_1": "ex_0_img_1",
        "caption_0": "an old person kisses a young person",
        "caption_1": "a young person kisses an old person",
        "tag": "Adjective-Age",
        "secondary_tag": "",
        "num_main_preds": 1,
        "collapsed_tag": "Object",
    },
    {
        "id": 1,
        "image_0": "left.jpg",
        "image_1": "ex_1_img_1",
        # JSON may hold this character raw; `str.splitlines` would cut the line there.
        "caption_0": "the taller person\u2028hugs the shorter",
        "caption_1": "the shorter person hugs the taller",
    },
]


def valse_row(votes: int, provenance: str = "zero_to_something", **fields) -> dict:
    number = fields.pop("number", 2371044)
    return {
        "dataset": "visual7w",
        "dataset_idx": f"{number}",
        "image_file": f"v7w_{number}.jpg",
        "linguistic_phenomena": "existence",
        "caption": "There are no people in the picture.",
        "classes": 0,
        "classes_foil": [2, 1, 8],
        "provenance_of_foils": provenance,
        "mturk": {"foil": 3 - votes, "caption": votes, "other": 0},
        "foil": "There are people in the picture.",
    } | fields


def write(path: Path, content) -> Path:
    """Writes JSON, or JSON Lines where the name ends so; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    else:
        text = json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def write_sugarcrepe(data_dir: Path) -> Path:
    for category in SUB_CATEGORIES:
        row = {"filename": f"{category}.jpg", "caption": f"{category} true", "negative_caption": f"{category} false"}
        write(data_dir / "sugarcrepe" / f"{category}.json", SUGARCREPE.get(category, {"0": row}))
        if not category.startswith("add"):
            row = {"id": 0, **row, "caption2": f"{category} also true"}
            write(data_dir / "sugarcrepe_pp" / f"{category}.json", SUGARCREPE_PP.get(category, [row]))
    return data_dir


def read(benchmark, data_dir: Path) -> list[dict]:
    """All items, which must have the fields and types of the schema."""
    items = list(benchmark.read(data_dir))
    assert all(list(item) == list(item_features()) for item in items)
    # Images may be paths of files that are not there: only their type is of interest.
    table = datasets.Dataset.from_list([item | {"images": []} for item in items], features=item_features())
    assert [row["captions"] for row in table] == [item["captions"] for item in items]
    return items
