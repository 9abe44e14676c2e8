"""Readers of annotation files: items as written by hand, and one sentence for each way to damage a row."""

import json
from pathlib import Path

import pytest
from benchmark_files import (
    NEGREFCOCOG,
    SUB_CATEGORIES,
    SUGARCREPE,
    SUGARCREPE_PP,
    WINOGROUND,
    read,
    valse_row,
    write,
    write_sugarcrepe,
)

from conclip.errors import UsageError
from dataset_scripts.benchmarks.negrefcocog import NEGREFCOCOG as NEGREFCOCOG_BENCHMARK
from dataset_scripts.benchmarks.schema import Kind
from dataset_scripts.benchmarks.sugarcrepe import SUGARCREPE as SUGARCREPE_BENCHMARK
from dataset_scripts.benchmarks.sugarcrepe import SUGARCREPE_PP as SUGARCREPE_PP_BENCHMARK
from dataset_scripts.benchmarks.svo_probes import SVO_PROBES
from dataset_scripts.benchmarks.two_by_two import WINOGROUND as WINOGROUND_BENCHMARK
from dataset_scripts.benchmarks.valse import VALSE_EXISTENCE, VALSE_EXISTENCE_UNFILTERED


def test_sugarcrepe(tmp_path):
    items = read(SUGARCREPE_BENCHMARK, write_sugarcrepe(tmp_path))
    assert items[:2] == [
        {
            "id": "add_att/0",
            "category": "add_att",
            "images": [str(tmp_path / "coco" / "val2017" / "000000085329.jpg")],
            "boxes": [],
            "captions": [
                "A drawing of a young woman with many facial piercings.",
                "A drawing of a tattooed young woman with many facial piercings.",
            ],
            "answer": 0,
        },
        {
            "id": "add_att/2",
            "category": "add_att",
            "images": [str(tmp_path / "coco" / "val2017" / "000000000139.jpg")],
            "boxes": [],
            "captions": ["A room with a table.", "A red room with a table."],
            "answer": 0,
        },
    ]
    assert sorted(item["category"] for item in items[1:]) == sorted(SUB_CATEGORIES)
    assert SUGARCREPE_BENCHMARK.kind is Kind.CAPTIONS
    # Every sub-category is scored in one group, the one its name starts with.
    groups = SUGARCREPE_BENCHMARK.groups
    assert sorted(sum(map(list, groups.values()), [])) == sorted(SUB_CATEGORIES)
    assert all(name.startswith(group) for group, names in groups.items() for name in names)


def test_sugarcrepe_pp(tmp_path):
    items = read(SUGARCREPE_PP_BENCHMARK, write_sugarcrepe(tmp_path))
    assert [item["id"] for item in items] == [
        "replace_att/0",
        "replace_obj/0",
        "replace_rel/0",
        "swap_att/0",
        "swap_obj/7",
    ]
    assert items[0]["captions"] == ["replace_att true", "replace_att also true", "replace_att false"]
    row = SUGARCREPE_PP["swap_obj"][0]
    assert items[-1]["captions"] == [row["caption"], row["caption2"], row["negative_caption"]]
    assert items[-1]["images"] == [str(tmp_path / "coco" / "val2017" / "000000222235.jpg")]
    assert SUGARCREPE_PP_BENCHMARK.kind is Kind.TWO_TRUE
    assert {name: list(names) for name, names in SUGARCREPE_PP_BENCHMARK.groups.items()} == {
        "replace": ["replace_att", "replace_obj", "replace_rel"],
        "swap": ["swap_att", "swap_obj"],
    }


def test_images_are_taken_from_the_folder_that_is_there(tmp_path):
    (tmp_path / "val2017").mkdir()
    assert read(SUGARCREPE_BENCHMARK, write_sugarcrepe(tmp_path))[0]["images"] == [
        str(tmp_path / "val2017" / "000000085329.jpg")
    ]


def test_valse_keeps_what_two_annotators_confirm(tmp_path):
    rows = {f"existence_visual7w_{votes}": valse_row(votes, number=votes) for votes in (3, 1, 2, 0)}
    rows["existence_visual7w_9"] = valse_row(
        3, "something_to_zero", number=9, caption="There is a cat.", foil="No cat."
    )
    write(tmp_path / "valse" / "existence.json", rows)
    items = read(VALSE_EXISTENCE, tmp_path)
    assert [item["id"] for item in items] == [f"existence_visual7w_{number}" for number in (3, 2, 9)]
    assert items[0]["captions"] == ["There are no people in the picture.", "There are people in the picture."]
    assert items[0]["images"] == [str(tmp_path / "visual7w" / "images" / "v7w_3.jpg")]
    assert [item["category"] for item in items] == ["zero_to_something"] * 2 + ["something_to_zero"]
    assert [item["id"] for item in read(VALSE_EXISTENCE_UNFILTERED, tmp_path)] == list(rows)


def test_negrefcocog_boxes_are_corners_and_the_right_one_is_found(tmp_path):
    write(tmp_path / "negrefcocog" / "NegRefCOCOg.json", NEGREFCOCOG)
    first, second = read(NEGREFCOCOG_BENCHMARK, tmp_path)
    image = str(tmp_path / "coco" / "train2014" / "COCO_train2014_000000374391.jpg")
    assert first["images"] == [image, image]
    assert first["boxes"] == [[301.74, 0, 301.74 + 338.26, 480], [0, 0, 392.41, 480]]
    assert (first["id"], first["answer"]) == ("0", 0)
    assert first["captions"] == ["a without hairy brown color teddy bear"]
    assert second["boxes"] == [[149.5, 0, 499.5, 288.5], [1, 2, 4, 6], [10, 20, 40, 60]]
    assert (len(second["images"]), second["answer"]) == (3, 2)


FILES = {
    "sugarcrepe/add_att.json": (SUGARCREPE_BENCHMARK, SUGARCREPE["add_att"]),
    "sugarcrepe_pp/swap_obj.json": (SUGARCREPE_PP_BENCHMARK, SUGARCREPE_PP["swap_obj"]),
    "valse/existence.json": (VALSE_EXISTENCE, {"existence_visual7w_1": valse_row(3)}),
    "negrefcocog/NegRefCOCOg.json": (NEGREFCOCOG_BENCHMARK, NEGREFCOCOG),
    "winoground/examples.jsonl": (WINOGROUND_BENCHMARK, WINOGROUND),
}
USED = {
    "sugarcrepe/add_att.json": ("filename", "caption", "negative_caption"),
    "sugarcrepe_pp/swap_obj.json": ("id", "filename", "caption", "caption2", "negative_caption"),
    "valse/existence.json": ("image_file", "caption", "foil", "mturk", "provenance_of_foils"),
    "negrefcocog/NegRefCOCOg.json": ("image", "phrase", "ref_bbox", "bbox_list"),
    "winoground/examples.jsonl": ("id", "image_0", "image_1", "caption_0", "caption_1"),
}


def damaged(rows, changes):
    """A copy of the rows with fields of the last changed, or (`None`) missing; and the key of that row."""
    rows = json.loads(json.dumps(rows))
    key = list(rows)[-1] if isinstance(rows, dict) else len(rows) - 1
    rows[key].update(changes)
    rows[key] = {name: value for name, value in rows[key].items() if value is not None}
    return rows, key


def refusal(name, rows, tmp_path) -> str:
    """The sentence with which a benchmark refuses these rows of one of its files."""
    write_sugarcrepe(tmp_path)
    path = write(tmp_path / name, rows)
    with pytest.raises(UsageError) as caught:
        list(FILES[name][0].read(tmp_path))
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("value", [None, "  ", 1.5, {}])
@pytest.mark.parametrize(("name", "field"), [(name, field) for name, fields in USED.items() for field in fields])
def test_a_field_that_is_missing_blank_or_of_another_type(tmp_path, name, field, value):
    rows, key = damaged(FILES[name][1], {field: value})
    message = refusal(name, rows, tmp_path)
    assert f"row {key}" in message and f"'{field}'" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"bbox_list": [[1, 2, 3, 4], [10, 20, 30]]},
        {"bbox_list": [[10, 20, 30, 40], [1, 2, 3, "4"]]},
        {"bbox_list": [[10, 20, 30, 40], [1, 2, 3, float("nan")]]},
        {"bbox_list": [[10, 20, 30, 40], [1, 2, 3, True]]},
        {"bbox_list": [[10, 20, 30, 40], [1, 2, 0, 4]]},
        {"bbox_list": [[10, 20, 30, 40], [1, 2, 3, -4]]},
        {"bbox_list": [[10, 20, 30, 40], None]},
        {"bbox_list": []},
        {"bbox_list": [[10, 20, 30, 40]]},
        {"bbox_list": [[10, 20, 30, 40], [10, 20, 30, 40]]},
        {"bbox_list": [[1, 2, 3, 4], [5, 6, 7, 8]]},
        {"ref_bbox": [10, 20, 30]},
        {"ref_bbox": [10, 20, 30, True]},
    ],
)
def test_boxes_that_cannot_be_right(tmp_path, changes):
    rows, key = damaged(NEGREFCOCOG, changes)
    assert f"row {key}: " in refusal("negrefcocog/NegRefCOCOg.json", rows, tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_files_that_hold_no_rows(tmp_path, name):
    for rows in ([], [None], [[]], ["text"]):
        refusal(name, rows, tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_absent_or_cut_off_say_where_to_get_them(tmp_path, name):
    write_sugarcrepe(tmp_path)
    benchmark, rows = FILES[name]
    path = write(tmp_path / name, rows)
    path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    for damage in (lambda: None, path.unlink):
        damage()
        with pytest.raises(UsageError) as caught:
            list(benchmark.read(tmp_path))
        assert str(path) in str(caught.value) and benchmark.source in str(caught.value)


def test_a_quotation_mark_without_its_partner_is_damage(tmp_path):
    (tmp_path / "svo_probes").mkdir()
    path = tmp_path / "svo_probes/svo_probes.csv"
    path.write_text('sentence\n"a dog runs' + "\na cat sits" * 20_000)
    with pytest.raises(UsageError) as caught:
        list(SVO_PROBES.read(tmp_path))
    assert str(path) in str(caught.value) and SVO_PROBES.source in str(caught.value)


@pytest.mark.parametrize(("benchmark", "_"), FILES.values())
def test_sources_are_addresses(benchmark, _):
    assert "https://" in benchmark.source and benchmark.source.endswith(".")


def test_items_come_one_by_one(tmp_path):
    """A damaged row stops the reading there, not before."""
    rows, _ = damaged(NEGREFCOCOG, {"phrase": ""})
    write(tmp_path / "negrefcocog" / "NegRefCOCOg.json", rows)
    items = NEGREFCOCOG_BENCHMARK.read(Path(tmp_path))
    assert next(items)["id"] == "0"
    with pytest.raises(UsageError, match="row 1"):
        next(items)
