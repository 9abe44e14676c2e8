"""ARO's VG-Relation and VG-Attribution, read from files of the real format."""

import hashlib
import json

import pytest

from conclip.errors import UsageError
from dataset_scripts.benchmarks.aro import SYMMETRIC, VG_ATTRIBUTION, VG_RELATION
from dataset_scripts.benchmarks.schema import Kind, item_features

RELATIONS = [
    {
        "image_id": 2410274,
        "image_path": "2410274.jpg",
        "true_caption": "the door is to the left of the man",
        "false_caption": "the man is to the left of the door",
        "bbox_x": 210,
        "bbox_y": 5,
        "bbox_w": 129,
        "bbox_h": 301,
        "relation_name": "to the left of",
    },
    {
        "image_id": 2353558,
        "image_path": "2353558.jpg",
        "true_caption": "the bench is near the tree",
        "false_caption": "the tree is near the bench",
        "bbox_x": 0,
        "bbox_y": 12.5,
        "bbox_w": 40,
        "bbox_h": 7.25,
        "relation_name": "near",
    },
]
ATTRIBUTES = [
    {
        "image_id": 2374134,
        "image_path": "2374134.jpg",
        "true_caption": "the paved road and the white house",
        "false_caption": "the white road and the paved house",
        "attributes": ["paved", "white"],
        "obj1_name": "road",
        "obj2_name": "house",
        "bbox_x": 1,
        "bbox_y": 2,
        "bbox_w": 30,
        "bbox_h": 40,
    }
]
BOTH = pytest.mark.parametrize(
    ("benchmark", "name", "rows"),
    [
        (VG_RELATION, "visual_genome_relation.json", RELATIONS),
        (VG_ATTRIBUTION, "visual_genome_attribution.json", ATTRIBUTES),
    ],
)


def write(data_dir, name, rows):
    path = data_dir / "aro" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_relations(tmp_path):
    write(tmp_path, "visual_genome_relation.json", RELATIONS)
    first, second = VG_RELATION.read(tmp_path)
    assert first == {
        "id": "0",
        "category": "to the left of",
        "images": [str(tmp_path / "aro" / "images" / "2410274.jpg")],
        "boxes": [[210.0, 5.0, 339.0, 306.0]],
        "captions": ["the door is to the left of the man", "the man is to the left of the door"],
        "answer": 0,
    }
    assert (second["id"], second["category"]) == ("1", "near")
    assert second["boxes"] == [[0.0, 12.5, 40.0, 19.75]]
    assert item_features().encode_example(second)["images"] == [{"path": second["images"][0], "bytes": None}]


def test_attributes(tmp_path):
    write(tmp_path, "visual_genome_attribution.json", ATTRIBUTES)
    (only,) = VG_ATTRIBUTION.read(tmp_path)
    assert only == {
        "id": "0",
        "category": "paved_white",
        "images": [str(tmp_path / "aro" / "images" / "2374134.jpg")],
        "boxes": [[1.0, 2.0, 31.0, 42.0]],
        "captions": ["the paved road and the white house", "the white road and the paved house"],
        "answer": 0,
    }


def test_averaging_is_the_official_one():
    """Both are means over categories; only attribute pairs have a least count, only relations a list to leave out."""
    assert VG_RELATION.kind == VG_ATTRIBUTION.kind == Kind.CAPTIONS
    assert VG_RELATION.macro and VG_ATTRIBUTION.macro
    assert (VG_RELATION.min_count, VG_ATTRIBUTION.min_count) == (1, 25)
    assert VG_RELATION.skipped_categories == SYMMETRIC and not VG_ATTRIBUTION.skipped_categories
    # Of the list in the official notebook, sorted, one per line; and relations that are not excluded.
    digest = hashlib.sha256("\n".join(sorted(SYMMETRIC)).encode()).hexdigest()
    assert digest == "3d3d8797704fc28a86d2e2d44f10fbd9f760e99e7ffbed899c3bb825152e2e4a" and len(SYMMETRIC) == 157
    assert {"adjusting", "lying on top of", "on the side of", "around", "near", "next to"} <= SYMMETRIC
    assert not {"to the left of", "to the right of", "on", "in", "wearing", "sitting on", "eating", ""} & SYMMETRIC


@BOTH
@pytest.mark.parametrize("key", ["image_path", "true_caption", "false_caption", "bbox_x", "bbox_h"])
def test_a_damaged_row_is_named(tmp_path, benchmark, name, rows, key):
    for value in (None, "  ", []):
        path = write(tmp_path, name, [rows[0], {**rows[0], key: value}])
        items = benchmark.read(tmp_path)
        # The items before it are returned first.
        assert next(items)["id"] == "0"
        with pytest.raises(UsageError, match=f"row 1: '{key}'") as error:
            next(items)
        assert str(path) in str(error.value)


@pytest.mark.parametrize(("key", "value"), [("bbox_w", 0), ("bbox_h", -3), ("bbox_x", float("nan"))])
def test_an_empty_box_is_named(tmp_path, key, value):
    write(tmp_path, "visual_genome_relation.json", [{**RELATIONS[0], key: value}])
    with pytest.raises(UsageError, match="visual_genome_relation.json, row 0: .* is not a box"):
        list(VG_RELATION.read(tmp_path))


@pytest.mark.parametrize("value", [None, "paved", ["paved"], ["paved", " "], ["paved", 3], ["a", "b", "c"]])
def test_attributes_are_two_names(tmp_path, value):
    write(tmp_path, "visual_genome_attribution.json", [{**ATTRIBUTES[0], "attributes": value}])
    with pytest.raises(UsageError, match="visual_genome_attribution.json, row 0: 'attributes' is"):
        list(VG_ATTRIBUTION.read(tmp_path))


def test_a_relation_has_a_name(tmp_path):
    write(tmp_path, "visual_genome_relation.json", [{**RELATIONS[0], "relation_name": ""}])
    with pytest.raises(UsageError, match="row 0: 'relation_name' is ''"):
        list(VG_RELATION.read(tmp_path))


@BOTH
def test_other_files_are_refused(tmp_path, benchmark, name, rows):
    with pytest.raises(UsageError, match=f"{name}: No such file.* Download {name} .*drive.google.com"):
        list(benchmark.read(tmp_path))
    write(tmp_path, name, {"0": rows[0]})
    with pytest.raises(UsageError, match=f"{name} holds no list of rows"):
        list(benchmark.read(tmp_path))
    write(tmp_path, name, ["a row"])
    with pytest.raises(UsageError, match="row 0: 'image_path' is None"):
        list(benchmark.read(tmp_path))
