"""Readers of benchmarks of composition, and the scores of their authors, worked out by hand."""

import json

import datasets
import numpy as np
import pytest
from benchmark_files import read, write
from ccneg_files import jpeg
from compositional_files import (
    CREPE_COLUMNS,
    SVO_COLUMNS,
    scores_of,
    svo_row,
    touch,
    write_crepe,
    write_csv,
    write_lines,
    write_spec,
    write_vl_checklist,
)
from PIL import Image

from conclip.errors import UsageError
from dataset_scripts.benchmarks.bivlc import BIVLC
from dataset_scripts.benchmarks.cola import COLA
from dataset_scripts.benchmarks.colorswap import COLORSWAP
from dataset_scripts.benchmarks.crepe import CREPE
from dataset_scripts.benchmarks.eqben import EQBEN
from dataset_scripts.benchmarks.own_files import choice, pairs
from dataset_scripts.benchmarks.registry import choose_benchmarks
from dataset_scripts.benchmarks.spec import SPEC_IMAGE_TO_TEXT, SPEC_TEXT_TO_IMAGE, SUBSETS
from dataset_scripts.benchmarks.svo_probes import SVO_PROBES
from dataset_scripts.benchmarks.vl_checklist import FILES, VL_CHECKLIST
from dataset_scripts.benchmarks.whatsup import WHATSUP, place_between

ATOM, SWAP, NEGATE = CREPE
WHATSUP_BY_NAME = {benchmark.name: benchmark for benchmark in WHATSUP}


def test_crepe_scores_the_caption_above_its_negatives(tmp_path):
    more = {
        4: [["7.0", "0", "0", "5", "6", "right again", "['wrong 0']"], [8, 1, 2, 3, 4, "both", "['both', 'other']"]]
    }
    write_crepe(tmp_path, "negate", more)
    touch(tmp_path / "vg" / "VG_100K_2" / "5.jpg")
    items = read(NEGATE, tmp_path)
    assert [item["id"] for item in items] == ["4/0", "4/1", "4/2", *(f"{number}/0" for number in range(5, 13))]
    assert items[0]["captions"] == ["right 4", "wrong 0", "wrong 1", "wrong 2", "wrong 3", "wrong 4"]
    assert items[0]["boxes"] == [[10, 20, 40, 60]] and items[1]["boxes"] == [[0, 0, 5, 6]]
    # The image lies in one of the two folders of Visual Genome.
    assert items[3]["images"] == [str(tmp_path / "vg" / "VG_100K_2" / "5.jpg")]
    assert items[0]["images"] == [str(tmp_path / "vg" / "VG_100K" / "4.jpg")]
    # Right at complexity 4 in one of three (one is a tie), at 5, and wrong at 6 by the last negative.
    table = {("4", "right 4"): 1.0, ("8", "both"): 1.0, ("5", "right 5"): 0.5, ("5", "wrong 4"): 0.25}
    table |= {("6", "right 6"): 0.5, ("6", "wrong 4"): 0.75}
    scores = scores_of(NEGATE, tmp_path, table)
    # The seven rows without a score are ties, too.
    assert (scores["accuracy", ""].value, scores["accuracy", ""].ties) == (2 / 11, 8)
    assert scores["accuracy", "complexity 4"].value == 1 / 3
    assert scores["accuracy", "complexity 5"].value == 1 and scores["accuracy", "complexity 6"].value == 0
    assert scores["accuracy", "complexity 4"].chance == pytest.approx((1 / 6 + 1 / 2 + 1 / 3) / 3)
    assert scores["accuracy", "macro"].value == pytest.approx((1 / 3 + 1) / 9)


def test_crepe_reads_each_kind_of_negative_from_its_folder(tmp_path):
    write_crepe(tmp_path, "atom")
    assert len(read(ATOM, tmp_path)) == 9
    with pytest.raises(UsageError, match="swap/prod_vg_hard_negs_swap_complexity_4.csv: No such file"):
        list(SWAP.read(tmp_path))


def test_svo_probes_leaves_out_rows_that_differ_in_two_parts(tmp_path):
    rows = [
        svo_row("a man runs", (1, 2), "s"),
        svo_row("a dog sits", (3, 4), "vo"),
        svo_row("a cat eats fish", (5, 6), "o"),
        svo_row("a girl jumps", (5, 2), "v"),
        svo_row("no difference", (5, 2), ""),
        svo_row("a boy jumps", (1, 6), "v"),
    ]
    write_csv(tmp_path / "svo_probes" / "svo_probes.csv", SVO_COLUMNS, rows)
    items = read(SVO_PROBES, tmp_path)
    assert [(item["id"], item["category"]) for item in items] == [
        ("0", "subject"),
        ("2", "object"),
        ("3", "verb"),
        ("5", "verb"),
    ]
    assert items[0]["images"] == [str(tmp_path / "svo_probes" / "images" / name) for name in ("1.jpg", "2.jpg")]
    table = {("1", "a man runs"): 0.3, ("2", "a man runs"): 0.2, ("6", "a cat eats fish"): 0.1}
    table |= {("5", "a girl jumps"): 0.3, ("2", "a girl jumps"): 0.1}
    scores = scores_of(SVO_PROBES, tmp_path, table)
    values = {part: scores["accuracy", part].value for part in ("", "subject", "object", "verb")}
    assert values == {"": 2 / 4, "subject": 1, "object": 0, "verb": 1 / 2}
    assert scores["accuracy", ""].ties == 1 and scores["accuracy", ""].chance == 1 / 2


def test_vl_checklist_averages_the_files_of_a_source_and_then_the_sources(tmp_path):
    row = ["VG_100K/1.jpg", {"POS": ["true"], "NEG": ["false"]}]
    other = ["VG_100K/2.jpg", {"POS": ["true"], "NEG": ["false"]}]
    write_vl_checklist(tmp_path, {"Attribute/vg/color": [row, other, other, other]})
    items = read(VL_CHECKLIST, tmp_path)
    by_id = {item["id"]: item for item in items}
    assert by_id["Attribute/vg/color/3"]["category"] == "Attribute/vg/color"
    assert by_id["Attribute/vg/color/0"]["images"] == [str(tmp_path / "vg" / "VG_100K" / "1.jpg")]
    size = FILES.index("Object/Size/swig_size/swig_tool/swig_tool_large")
    assert by_id[f"{FILES[size]}/0"]["images"] == [str(tmp_path / "swig" / f"of-{size}.jpg")]
    assert by_id[f"{FILES[size]}/0"]["captions"] == ["true", "false"]
    action = by_id["Relation/hake_action/0"]["images"]
    assert action == [str(tmp_path / "hake" / f"of-{FILES.index('Relation/hake_action')}.jpg")]
    # Right: of large objects one of vg's two files, three of swig's four, and hake's; and one of vg's four colours.
    right = ["vg_size/vg_obj_large", "hake_size/hake_obj_large"]
    right += [f"swig_size/swig_{role}/swig_{role}_large" for role in ("agent", "item", "tool")]
    table = {(f"of-{FILES.index(f'Object/Size/{name}')}", "true"): 1.0 for name in right} | {("1", "true"): 1.0}
    scores = scores_of(VL_CHECKLIST, tmp_path, table)
    assert scores["pair accuracy", "object, large"].value == pytest.approx((1 / 2 + 3 / 4 + 1) / 3)
    assert (scores["pair accuracy", "object, large"].count, scores["pair accuracy", "object, large"].ties) == (7, 2)
    assert scores["pair accuracy", "attribute, color"].value == pytest.approx((1 / 4 + 0) / 2)
    assert scores["pair accuracy", "relation, spatial"].value == 0
    assert scores["pair accuracy", ""].value == 6 / (len(FILES) + 3)
    assert len([part for _, part in scores if ", " in part]) == 13


def test_vl_checklist_leaves_out_a_source_without_images(tmp_path):
    row = ["1.jpg", {"POS": ["true"], "NEG": ["false"]}]
    write_vl_checklist(tmp_path, {"Attribute/vg/color": [row, ["2.jpg", row[1]]]})
    touch(tmp_path / "vg" / "1.jpg")
    scores = scores_of(VL_CHECKLIST, tmp_path, {("1", "true"): 1.0}, allow_missing_images=True)
    assert scores["pair accuracy", "attribute, color"].value == 1
    assert (
        scores["pair accuracy", "attribute, color"].count,
        scores["pair accuracy", "attribute, color"].skipped,
    ) == (
        1,
        2,
    )
    assert ("pair accuracy", "attribute, size") not in scores


def photographs(tmp_path, name: str, places: list[str], objects: list[str]) -> None:
    rows = []
    for pair in objects:
        one, other = pair.split()
        for place in places:
            options = [
                f"A {one} {place} a {other}",
                *(f"A {one} {near} a {other}" for near in places if near != place),
            ]
            path = f"data/controlled_images/{one}_{place.replace(' ', '_')}_{other}.jpeg"
            rows.append({"image_path": path, "caption_options": options})
    write(tmp_path / "whatsup" / name, rows)


def test_whatsup_counts_pairs_and_sets_of_images(tmp_path):
    places = ["left of", "right of", "on", "under"]
    photographs(tmp_path, "controlled_images_dataset.json", places, ["beer-bottle chair", "mug table"])
    benchmark = WHATSUP_BY_NAME["whatsup-a"]
    items = read(benchmark, tmp_path)
    assert items[0]["id"] == "beer-bottle_left_of_chair" and items[0]["category"] == "left_of"
    folder = tmp_path / "whatsup" / "controlled_images"
    assert items[0]["images"] == [str(folder / "beer-bottle_left_of_chair.jpeg")]
    # Of the bottle all four are right; of the mug "left of", "on" and (a tie) not "right of" and not "under".
    right = [item for item in items if item["id"].startswith("beer")] + [items[4], items[6]]
    table = {(item["id"], item["captions"][0]): 1.0 for item in right}
    table |= {(items[7]["id"], items[7]["captions"][3]): 1.0}
    scores = scores_of(benchmark, tmp_path, table)
    assert scores["accuracy", ""].value == 6 / 8 and scores["accuracy", ""].ties == 1
    assert scores["accuracy", "on"].value == 1 and scores["accuracy", "right_of"].value == 1 / 2
    pair, whole = scores["pair of images accuracy", ""], scores["set of images accuracy", ""]
    # The pair of left and right is lost by the tie, that of on and under is not; nor is the set.
    assert (pair.value, pair.count, pair.ties, pair.chance) == (2 / 4, 4, 1, 1 / 16)
    assert (whole.value, whole.count, whole.ties, whole.chance) == (1 / 2, 2, 0, 1 / 256)


def test_whatsup_without_an_image_has_fewer_pairs_and_sets(tmp_path):
    places = ["left of", "right of", "in-front of", "behind"]
    photographs(tmp_path, "controlled_clevr_dataset.json", places, ["cap fork", "can cup"])
    benchmark = WHATSUP_BY_NAME["whatsup-b"]
    items = read(benchmark, tmp_path)
    assert [item["category"] for item in items[:4]] == ["left_of", "right_of", "in-front_of", "behind"]
    for item in items[1:]:
        touch(item["images"][0])
    table = {(item["id"], item["captions"][0]): 1.0 for item in items}
    scores = scores_of(benchmark, tmp_path, table, allow_missing_images=True)
    found = [scores[f"{name} of images accuracy", ""] for name in ("pair", "set")]
    assert [(score.value, score.count, score.skipped) for score in found] == [(1, 3, 1), (1, 1, 1)]


@pytest.mark.parametrize(
    ("name", "file", "captions", "places", "image"),
    [
        ("coco-one", "coco_qa_one_obj", ["a cat on the left", "a cat on the top"], ["left", "top"], "val2017/{:012d}"),
        (
            "coco-two",
            "coco_qa_two_obj",
            ["a cat left of a dog", "it is below"],
            ["left of", "below"],
            "val2017/{:012d}",
        ),
        ("gqa-one", "vg_qa_one_obj", ["a cat on the right", "a cat on top"], ["right", "top"], "whatsup/vg_images/{}"),
        ("gqa-two", "vg_qa_two_obj", ["in front of me", "on top of it"], ["front of", "top"], "whatsup/vg_images/{}"),
    ],
)
def test_whatsup_on_coco_and_gqa(tmp_path, name, file, captions, places, image):
    (tmp_path / "val2017").mkdir()
    rows = [[139, captions[0], "wrong"], ["2417997", captions[1], "wrong"]]
    write(tmp_path / "whatsup" / f"{file}.json", rows)
    benchmark = WHATSUP_BY_NAME[f"whatsup-{name}"]
    items = read(benchmark, tmp_path)
    assert [item["category"] for item in items] == places
    assert [item["images"] for item in items] == [
        [str(tmp_path / f"{image.format(number)}.jpg")] for number in (139, 2417997)
    ]
    stem = image.format(139).rpartition("/")[2]
    scores = scores_of(benchmark, tmp_path, {(stem, captions[0]): 1.0})
    assert scores["pair accuracy", ""].value == 1 / 2 and scores["pair accuracy", ""].ties == 1


def test_spec_is_the_mean_over_subsets_in_both_directions(tmp_path):
    rows = [{"query": f"{at}.jpg", "keys": ["yes", "no"], "label": at % 2} for at in range(2)]
    images = [{"query": "yes", "keys": ["0.jpg", "1.jpg"], "label": 1}]
    write_spec(tmp_path, {"existence": rows}, {"existence": images})
    items = read(SPEC_IMAGE_TO_TEXT, tmp_path)
    assert items[-1] == {
        "id": "existence/1",
        "category": "existence",
        "images": [str(tmp_path / "spec" / "existence" / "1.jpg")],
        "boxes": [],
        "captions": ["yes", "no"],
        "answer": 1,
    }
    table = {("0", "yes"): 0.2, ("1", "yes"): 0.4, ("1", "no"): 0.3, ("count", "one"): 0.1}
    scores = scores_of(SPEC_IMAGE_TO_TEXT, tmp_path, table)
    assert scores["accuracy", "macro"].value == pytest.approx((1 / 2 + 1) / 6) and scores["accuracy", "macro"].headline
    assert scores["accuracy", "existence"].value == 1 / 2 and scores["accuracy", "existence"].chance == 1 / 2
    assert scores["accuracy", "macro"].chance == pytest.approx((1 / 2 + 5 / 3) / 6)

    items = read(SPEC_TEXT_TO_IMAGE, tmp_path)
    assert items[0]["images"][2] == str(tmp_path / "spec" / SUBSETS[0] / "images" / f"{SUBSETS[0]}-2.jpg")
    assert (items[0]["captions"], items[0]["answer"]) == (["the count"], 1)
    table = {("1", "yes"): 0.2, ("count-1", "the count"): 0.3, ("count-0", "the count"): 0.31}
    scores = scores_of(SPEC_TEXT_TO_IMAGE, tmp_path, table)
    assert scores["accuracy", "macro"].value == pytest.approx(1 / 6) and scores["accuracy", "count"].value == 0


def test_a_caption_without_a_place_counts_for_the_last_as_the_authors_have_it():
    places = ("left of", "right of", "behind")
    captions = ["a cat right of a dog", "a cat behind a dog", "a cat and a dog"]
    assert [place_between(caption, places) for caption in captions] == ["right of", "behind", "behind"]


# Each of two captions with each of two images: own image, other image of caption 0; other, own image of caption 1.
GRIDS = {
    "both": (0.4, 0.1, 0.2, 0.3),
    "text": (0.3, 0.4, 0.2, 0.5),
    "image": (0.2, 0.1, 0.3, 0.4),
    "tie": (0.2, 0.2, 0, 0.3),
}


def grid_table(images: list[str], captions: list[str], grid: tuple) -> dict:
    pairs_of = [(image, caption) for caption in captions for image in images]
    return dict(zip(pairs_of, grid, strict=True))


def test_eqben_with_categories_and_arrays_of_bytes(tmp_path):
    folder, rows, table = tmp_path / "eqben" / "image_subset", [], {}
    for at, (name, grid) in enumerate(GRIDS.items()):
        images, captions = [f"{name}0", f"{name}1"], [f"a {name}", f"the {name}"]
        source = "eqbensd" if at % 2 else "eqbenag"
        values = [f"{source}/{image}.jpg" for image in images] + captions
        rows.append(dict(zip(("image0", "image1", "caption0", "caption1"), values, strict=True)))
        table |= grid_table(images, captions, grid)
    # Action Genome's annotations hold a list of captions.
    rows[0]["caption0"] = [rows[0]["caption0"], "another"]
    write(tmp_path / "eqben" / "eqben_subset_10percent_final.json", rows)
    items = read(EQBEN, tmp_path)
    assert items[0]["images"] == [str(folder / "eqbenag" / "both0.jpg"), str(folder / "eqbenag" / "both1.jpg")]
    assert items[0]["captions"] == ["a both", "the both"]
    scores = scores_of(EQBEN, tmp_path, table)
    values = [scores[f"{name} score", ""].value for name in ("text", "image", "group")]
    assert values == [3 / 4, 2 / 4, 1 / 4] and scores["image score", ""].ties == 1
    assert scores["text score", "eqbenag"].value == 1 / 2 and scores["image score", "eqbensd"].value == 0

    rows = [{"image0": "eqbenyoucook2/a.npy", "image1": "eqbenyoucook2/b.npy", "caption0": "a", "caption1": "b"}]
    write(tmp_path / "eqben" / "eqben_subset_10percent_final.json", rows)
    path = folder / "eqbenyoucook2" / "a.npy"
    touch(path)
    with pytest.raises(UsageError, match="a.npy is not an array of height × width × 3 bytes"):
        list(EQBEN.read(tmp_path))
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[..., 0] = 200
    np.save(path, pixels)
    [item] = EQBEN.read(tmp_path)
    assert isinstance(item["images"][0], Image.Image) and item["images"][0].size == (6, 4)
    # Blue comes first in the file and last in the image.
    assert item["images"][0].getpixel((1, 1)) == (0, 0, 200)
    assert item["images"][1] == str(folder / "eqbenyoucook2" / "b.npy")


def test_colorswap(tmp_path):
    rows, table = [], {}
    for at, (name, grid) in enumerate(GRIDS.items()):
        images, captions = [f"img_{at}_1", f"img_{at}_2"], [f"a {name} hat", f"a hat {name}"]
        row = {"id": at, "caption_1": captions[0], "caption_2": captions[1], "image_source": "midjourney"}
        rows.append(row | {"image_1": f"images/{images[0]}.png", "image_2": f"images/{images[1]}.png"})
        table |= grid_table(images, captions, grid)
    write(tmp_path / "colorswap" / "test.json", rows)
    items = read(COLORSWAP, tmp_path)
    assert items[1]["images"][1] == str(tmp_path / "colorswap" / "images" / "img_1_2.png")
    assert (items[1]["id"], items[1]["captions"]) == ("1", ["a text hat", "a hat text"])
    scores = scores_of(COLORSWAP, tmp_path, table)
    assert [scores[f"{name} score", ""].value for name in ("text", "image", "group")] == [3 / 4, 2 / 4, 1 / 4]


def test_cola_from_its_own_images_or_visual_genome(tmp_path):
    address = "https://cs-people.bu.edu/array/data/vg_gqa_images/{}.jpg"
    rows, table = [], {}
    for at, (name, grid) in enumerate(GRIDS.items()):
        images, captions = [f"{at}0", f"{at}1"], [f"a {name} hat", f"a hat {name}"]
        rows.append([address.format(images[0]), captions[0], address.format(images[1]), captions[1]])
        table |= grid_table(images, captions, grid)
    write(tmp_path / "cola" / "COLA_multiobjects_matching_benchmark.json", rows)
    assert read(COLA, tmp_path)[1]["images"][0] == str(tmp_path / "vg" / "VG_100K" / "10.jpg")
    scores = scores_of(COLA, tmp_path, table)
    # The published score.
    assert (scores["image score", ""].value, scores["image score", ""].ties) == (2 / 4, 1)
    touch(tmp_path / "cola" / "images" / "10.jpg")
    items = read(COLA, tmp_path)
    assert items[1]["images"] == [str(tmp_path / "cola" / "images" / f"{number}.jpg") for number in (10, 11)]
    assert items[1]["captions"] == ["a text hat", "a hat text"]


def test_bivlc_from_its_parquet_files(tmp_path):
    images = [{"bytes": jpeg((at, 0, 0)), "path": f"{at}.jpg"} for at in (0, 90, 180)]
    rows = [
        {
            "image": images[0],
            "negative_image": images[1],
            "caption": "a man",
            "negative_caption": "a men",
            "type": "swap",
        },
        {
            "image": images[0],
            "negative_image": images[2],
            "caption": "a dog",
            "negative_caption": "no dog",
            "type": "add",
        },
    ]
    table = datasets.Dataset.from_list([row | {"subtype": "obj"} for row in rows])
    for column in ("image", "negative_image"):
        table = table.cast_column(column, datasets.Image())
    (tmp_path / "bivlc" / "data").mkdir(parents=True)
    table.to_parquet(tmp_path / "bivlc" / "data" / "test-00000-of-00001.parquet")
    items = read(BIVLC, tmp_path)
    assert [(item["id"], item["category"], item["captions"]) for item in items] == [
        ("0", "swap", ["a man", "a men"]),
        ("1", "add", ["a dog", "no dog"]),
    ]
    assert items[1]["images"] == [{"bytes": images[0]["bytes"]}, {"bytes": images[2]["bytes"]}]
    table.remove_columns("type").to_parquet(tmp_path / "bivlc" / "data" / "test-00000-of-00001.parquet")
    with pytest.raises(UsageError, match="bivlc cannot be read .*type.*The Hub has it"):
        list(BIVLC.read(tmp_path))


def test_pairs_of_ones_own(tmp_path):
    rows = [
        {"image": "1.jpg", "caption": "a street with no cars", "negative_caption": "a street with cars"},
        {"image": "more/2.jpg", "caption": "a dog", "negative_caption": "no dog", "id": "x"},
    ]
    path = write_lines(tmp_path / "mine" / "streets.jsonl", rows)
    [benchmark] = choose_benchmarks([f"pairs:{path}"])
    assert (benchmark.name, benchmark.source) == (
        "streets",
        f"{path} must hold a JSON object with image (relative to its folder), caption and negative_caption on each "
        "line.",
    )
    items = read(benchmark, tmp_path / "elsewhere")
    assert [(item["id"], item["images"]) for item in items] == [
        ("0", [str(tmp_path / "mine" / "1.jpg")]),
        ("x", [str(tmp_path / "mine" / "more" / "2.jpg")]),
    ]
    scores = scores_of(benchmark, tmp_path, {("1", "a street with no cars"): 0.5, ("2", "no dog"): 0.5})
    assert scores["pair accuracy", ""].value == 1 / 2


def test_choices_of_ones_own_with_two_and_more_captions(tmp_path):
    rows = [
        {"image": "1.jpg", "captions": ["a dog", "a cat"], "answer": 1, "category": "animals"},
        {"image": "2.jpg", "captions": ["a man", "a girl", "a boy", "no man"], "answer": 2, "category": "people"},
        {"image": "3.jpg", "captions": ["a man", "a girl", "no man"], "answer": 0, "category": "people"},
    ]
    path = write_lines(tmp_path / "mine.jsonl", rows)
    [benchmark] = choose_benchmarks([f"choice:{path}"])
    table = {("1", "a cat"): 0.2, ("1", "a dog"): 0.1, ("2", "a boy"): 0.2, ("2", "no man"): 0.3, ("3", "a man"): 1.0}
    scores = scores_of(benchmark, tmp_path, table)
    assert scores["accuracy", ""].value == 2 / 3 and scores["accuracy", "people"].value == 1 / 2
    assert scores["accuracy", ""].chance == pytest.approx((1 / 2 + 1 / 4 + 1 / 3) / 3)


@pytest.mark.parametrize(
    "name, form",
    [("pairs", "pairs:FILE.jsonl"), ("choice:", "choice:FILE.jsonl"), ("two_by_two", "two_by_two:FOLDER")],
)
def test_a_set_of_ones_own_without_its_place(name, form):
    with pytest.raises(UsageError, match=f"^--benchmarks {name}: name your own set, {form}.$"):
        choose_benchmarks([name])


FOUR = {"image_path": "data/mug_on_table.jpeg", "caption_options": ["a", "b", "c", "d"]}
SPEC_ROW = {"query": "1.jpg", "keys": ["a", "b"], "label": 0}
TWO = {"image0": "a.jpg", "image1": "b.jpg", "caption0": "a", "caption1": "b"}
COLOURS = {"id": 0, "caption_1": "a", "caption_2": "b", "image_1": "a.png", "image_2": "b.png"}
TRUE_FALSE = {"POS": ["true"], "NEG": ["false"]}
BAD = [
    (
        "whatsup-a",
        "whatsup/controlled_images_dataset.json",
        [FOUR, FOUR | {"image_path": "data/mug.jpeg"}],
        "'mug.jpeg'",
    ),
    (
        "whatsup-a",
        "whatsup/controlled_images_dataset.json",
        [FOUR, FOUR | {"caption_options": ["a", "b"]}],
        "2 captions",
    ),
    ("whatsup-b", "whatsup/controlled_clevr_dataset.json", [FOUR, {}], "'image_path' is None"),
    ("whatsup-coco-one", "whatsup/coco_qa_one_obj.json", [[1, "a", "b"], [1, "a"]], "two captions"),
    ("whatsup-coco-two", "whatsup/coco_qa_two_obj.json", [[1, "a", "b"], ["x", "a", "b"]], "id of an image"),
    ("whatsup-gqa-one", "whatsup/vg_qa_one_obj.json", [[1, "a", "b"], [1, "a", " "]], "'captions' is ' '"),
    ("whatsup-gqa-two", "whatsup/vg_qa_two_obj.json", [[1, "a", "b"], {"a": 1}], "two captions"),
    ("spec-image-to-text", "spec/count/image2text.json", [SPEC_ROW, SPEC_ROW | {"label": 2}], "'label' is 2"),
    ("spec-image-to-text", "spec/count/image2text.json", [SPEC_ROW, SPEC_ROW | {"keys": ["a"]}], "of the 1 in 'keys'"),
    ("spec-text-to-image", "spec/count/text2image.json", [SPEC_ROW, SPEC_ROW | {"label": -1}], "'label' is -1"),
    ("spec-text-to-image", "spec/count/text2image.json", [SPEC_ROW, SPEC_ROW | {"query": None}], "'query' is None"),
    ("eqben", "eqben/eqben_subset_10percent_final.json", [TWO, TWO | {"caption1": []}], r"'caption1' is \[\]"),
    ("eqben", "eqben/eqben_subset_10percent_final.json", [TWO, TWO | {"image0": 7}], "'image0' is 7"),
    ("colorswap", "colorswap/test.json", [COLOURS, COLOURS | {"id": "a"}], "'id' is 'a'"),
    ("colorswap", "colorswap/test.json", [COLOURS, COLOURS | {"image_2": ""}], "'image_2' is ''"),
    ("cola", "cola/COLA_multiobjects_matching_benchmark.json", [["a", "b", "c", "d"], ["a", "b"]], "two images"),
    ("cola", "cola/COLA_multiobjects_matching_benchmark.json", [["a", "b", "c", "d"], ["a", "b", "c", 4]], "is 4"),
    ("vl-checklist", f"vl_checklist/data/{FILES[0]}.json", [["1.jpg", TRUE_FALSE], ["1.jpg"]], "with its texts"),
    ("vl-checklist", f"vl_checklist/data/{FILES[0]}.json", [["1.jpg", TRUE_FALSE], [1, TRUE_FALSE]], "'image' is 1"),
    (
        "vl-checklist",
        f"vl_checklist/data/{FILES[0]}.json",
        [["1.jpg", TRUE_FALSE], ["1.jpg", {"POS": [], "NEG": ["false"]}]],
        "'POS' holds no text",
    ),
]


@pytest.mark.parametrize(("name", "file", "rows", "message"), BAD)
def test_a_damaged_row_is_named(tmp_path, name, file, rows, message):
    path = write(tmp_path / file, rows)
    [benchmark] = choose_benchmarks([name])
    with pytest.raises(UsageError, match=f"{path}, row 1.*{message}"):
        list(benchmark.read(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": "left"}, "'x' is 'left'"),
        ({"width": "0"}, "not a box"),
        ({"height": "inf"}, "'height' is 'inf'"),
        ({"hard_negs": "wrong"}, "no list of captions"),
        ({"hard_negs": "[]"}, "no list of captions"),
        ({"caption": " "}, "'caption' is ' '"),
    ],
)
def test_a_damaged_row_of_crepe(tmp_path, changes, message):
    row = dict(zip(CREPE_COLUMNS, [1, 0, 0, 5, 6, "right", "['wrong']"], strict=True))
    write_crepe(tmp_path, "swap", {4: [[*(row | changes).values()]]})
    with pytest.raises(UsageError, match=f"complexity_4.csv, row 1.*{message}"):
        list(SWAP.read(tmp_path))


def test_a_damaged_row_of_svo_probes(tmp_path):
    row = svo_row("a man runs", (1, 2), "s")
    path = write_csv(tmp_path / "svo_probes" / "svo_probes.csv", SVO_COLUMNS, [row, [*row[:-1], "yes"]])
    with pytest.raises(UsageError, match=f"{path}, row 1: 'obj_neg' is 'yes', not True or False"):
        list(SVO_PROBES.read(tmp_path))
    write_csv(path, SVO_COLUMNS[:-1], [row[:-1]])
    with pytest.raises(UsageError, match="has no column 'obj_neg'"):
        list(SVO_PROBES.read(tmp_path))


@pytest.mark.parametrize(
    ("make", "row", "message"),
    [
        (pairs, {"image": "1.jpg", "caption": "a"}, "'negative_caption' is None"),
        (pairs, {"caption": "a", "negative_caption": "b"}, "'image' is None"),
        (pairs, ["1.jpg", "a", "b"], "'caption' is None"),
        (choice, {"image": "1.jpg", "captions": ["a", "b"]}, "'answer' is None"),
        (choice, {"image": "1.jpg", "captions": ["a", "b"], "answer": 2}, "'answer' is 2.*there are 2"),
        (choice, {"image": "1.jpg", "captions": ["a", "b"], "answer": True}, "'answer' is True"),
        (choice, {"image": "1.jpg", "captions": ["a"], "answer": 0}, "'answer' is 0.*there are 1"),
        (choice, "text", "'captions' is None"),
    ],
)
def test_a_damaged_row_of_ones_own(tmp_path, make, row, message):
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{json.dumps(row)}\n")
    with pytest.raises(UsageError, match=f"{path}, row 0: {message}"):
        list(make("mine", path).read(tmp_path))


NEW = [*CREPE, SVO_PROBES, VL_CHECKLIST, *WHATSUP, SPEC_IMAGE_TO_TEXT, SPEC_TEXT_TO_IMAGE, EQBEN, COLORSWAP, COLA]


@pytest.mark.parametrize("benchmark", NEW, ids=lambda own: own.name)
def test_absent_files_say_where_to_get_them(tmp_path, benchmark):
    with pytest.raises(
        UsageError, match="No such file or directory.*https?://|No such file or directory.*hf download"
    ):
        list(benchmark.read(tmp_path))
    assert choose_benchmarks([benchmark.name]) == [benchmark]
