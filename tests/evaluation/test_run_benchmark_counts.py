"""The columns beside a score: count, ties, chance and skipped items, computed by hand."""

import json
from pathlib import Path

import pytest
from benchmark_runs import evaluate_models, report_of
from other_models import save_other
from small_benchmarks import CATEGORIES, write_images
from tiny import save_tiny

NAMES = [f"{number:012d}.jpg" for number in range(4)]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny(folder, seed=3)
    return folder


def write_relations(folder: Path, name: str, rows: list[dict]) -> None:
    box = {"bbox_x": 0, "bbox_y": 0, "bbox_w": 20, "bbox_h": 20}
    (folder / "aro").mkdir(exist_ok=True)
    (folder / "aro" / f"{name}.json").write_text(json.dumps([box | row for row in rows]))


def relation(image: str, name: str, true: str, false: str) -> dict:
    return {"image_path": image, "relation_name": name, "true_caption": true, "false_caption": false}


def test_a_mean_over_categories_counts_their_items_alone(model, tmp_path):
    write_images(tmp_path / "aro" / "images", NAMES)
    rows = [
        relation(NAMES[0], "holding", "a cat", "a dog"),
        relation(NAMES[1], "holding", "a hat", "a hat"),
        relation("gone.jpg", "holding", "a cat", "a dog"),
        relation(NAMES[2], "riding", "a man", "a bird"),
        # Left out of the mean.
        relation(NAMES[3], "near", "a car", "a car"),
        relation("gone.jpg", "near", "a cat", "a dog"),
    ]
    write_relations(tmp_path, "visual_genome_relation", rows)
    evaluate_models([model], ["vg-relation"], tmp_path, tmp_path / "out", allow_missing_images=True)
    lines = report_of(tmp_path / "out", whole_rows=True)
    counts = {part: (line["count"], line["ties"]["tiny"], line["skipped"]) for (_, _, part), line in lines.items()}
    assert counts == {"": (4, 2, 2), "macro": (3, 1, 1), "holding": (2, 1, 1), "riding": (1, 0, 0), "near": (1, 1, 1)}
    values = {part: line["values"]["tiny"] for (_, _, part), line in lines.items()}
    assert values["macro"] == (values["holding"] + values["riding"]) / 2
    assert [part for (_, _, part), line in lines.items() if line["headline"]] == ["macro"]


def test_a_mean_over_no_category(model, tmp_path):
    write_images(tmp_path / "aro" / "images", NAMES)
    rows = [{"attributes": ["red", "big"], **relation(name, "", "a cat", "a dog")} for name in NAMES]
    write_relations(tmp_path, "visual_genome_attribution", rows)
    evaluate_models([model], ["vg-attribution"], tmp_path, tmp_path / "out")
    lines = report_of(tmp_path / "out", whole_rows=True)
    macro = lines["vg-attribution", "pair accuracy", "macro"]
    assert macro["headline"] and macro["values"] == {"tiny": None}
    assert (macro["count"], macro["chance"], macro["skipped"]) == (0, 0.5, 0)
    assert lines["vg-attribution", "pair accuracy", "red_big"]["count"] == 4


def test_groups_of_sugarcrepe_pp(model, tmp_path):
    write_images(tmp_path / "val2017", NAMES)
    (tmp_path / "sugarcrepe_pp").mkdir()
    sizes = {"replace_att": 2, "replace_obj": 3, "replace_rel": 1, "swap_att": 4, "swap_obj": 1}
    for name, size in sizes.items():
        rows = [
            {"id": at, "filename": NAMES[at], "caption": "a cat", "caption2": "a dog", "negative_caption": "a dog"}
            | ({"caption2": f"the cat {at}", "negative_caption": "no hat"} if at else {})
            for at in range(size)
        ]
        rows.append({**rows[0], "id": 9, "filename": "gone.jpg"})
        (tmp_path / "sugarcrepe_pp" / f"{name}.json").write_text(json.dumps(rows))
    evaluate_models([model], ["sugarcrepe-pp"], tmp_path, tmp_path / "out", allow_missing_images=True)
    lines = report_of(tmp_path / "out", whole_rows=True)
    for metric in ("ITT", "TOT"):
        for group, number in {"replace": 3, "swap": 2}.items():
            own = [(size, lines["sugarcrepe-pp", metric, name]) for name, size in sizes.items() if group in name]
            found = lines["sugarcrepe-pp", metric, group]
            count = sum(size for size, _ in own)
            assert (found["count"], found["skipped"], found["ties"]["tiny"]) == (count, number, number)
            right = sum(size * line["values"]["tiny"] for size, line in own)
            assert found["values"]["tiny"] == pytest.approx(right / count)
            assert not found["headline"] and found["chance"] == pytest.approx(1 / 3)
        assert lines["sugarcrepe-pp", metric, ""]["skipped"] == 5


def test_what_retrieval_leaves_out_is_counted_as_its_queries_are(model, tmp_path):
    write_images(tmp_path / "val2017", NAMES[:3])
    captions = {0: ["a cat", "a cat", "a dog"], 1: ["a cat"], 2: ["a hat", "a bird"], 3: ["a man", "a car", "no man"]}
    annotations = [{"image_id": at, "caption": text} for at, texts in captions.items() for text in texts]
    images = [{"id": at, "file_name": name} for at, name in enumerate(NAMES)]
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "captions_val2017.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    evaluate_models([model], ["coco-val2017-retrieval"], tmp_path, tmp_path / "out", allow_missing_images=True)
    lines = report_of(tmp_path / "out", whole_rows=True)
    counts = {metric: (line["count"], line["skipped"]) for (_, metric, _), line in lines.items()}
    for k in (1, 5, 10):
        assert counts[f"text-to-image recall@{k}"] == (6, 3) and counts[f"image-to-text recall@{k}"] == (3, 1)
    assert [metric for (_, metric, _), line in lines.items() if line["headline"]] == ["text-to-image recall@1"]
    chance = lines["coco-val2017-retrieval", "text-to-image recall@1", ""]["chance"]
    # "a cat" describes two of the three images, but each of its queries asks for one.
    assert chance == pytest.approx(1 / 3)


@pytest.mark.parametrize("family", ["clip", "blip", "align"])
def test_texts_that_a_model_reads_alike_tie_always(family, tmp_path):
    """However they fall into batches: embedded apart, they differ by rounding, in favour of either."""
    write_images(tmp_path / "val2017", NAMES)
    (tmp_path / "sugarcrepe").mkdir()
    words = "cat dog man woman child car table bird hat red".split()
    for number, name in enumerate(CATEGORIES):
        texts = [f"a {one} and {'a ' * number}{other}" for one in words for other in words]
        rows = [{"filename": NAMES[0], "caption": text, "negative_caption": text.upper()} for text in texts]
        (tmp_path / "sugarcrepe" / f"{name}.json").write_text(json.dumps(dict(enumerate(rows))))
    if family == "clip":
        save_tiny(tmp_path / family)
    else:
        save_other(tmp_path / family, family)
    evaluate_models([tmp_path / family], ["sugarcrepe"], tmp_path, tmp_path / "out", per_device_eval_batch_size=9)
    line = report_of(tmp_path / "out", whole_rows=True)["sugarcrepe", "pair accuracy", ""]
    assert line["count"] == 700 and set(line["values"].values()) == {0.0} and set(line["ties"].values()) == {700}


def test_a_text_is_cut_where_the_model_ends_and_the_rest_is_no_difference(model, tmp_path):
    write_images(tmp_path / "val2017", NAMES)
    (tmp_path / "sugarcrepe").mkdir()
    long = "a cat and a dog " * 20
    rows = {"0": {"filename": NAMES[0], "caption": f"{long} left", "negative_caption": f"{long} and no more"}}
    rows["1"] = {"filename": NAMES[0], "caption": "a cat", "negative_caption": "a dog"}
    for name in CATEGORIES:
        (tmp_path / "sugarcrepe" / f"{name}.json").write_text(json.dumps(rows))
    evaluate_models([model], ["sugarcrepe"], tmp_path, tmp_path / "out", per_device_eval_batch_size=1)
    line = report_of(tmp_path / "out", whole_rows=True)["sugarcrepe", "pair accuracy", ""]
    assert line["count"] == 14 and line["ties"] == {"tiny": 7}
