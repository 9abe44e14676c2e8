"""`conclip negate`: what the folder holds, that it loads, and what the options change."""

import json
import random
import re
from collections import Counter

import datasets
import PIL.Image
import pyarrow.parquet as pq
from ccneg_files import run_python
from negate_runs import IMAGES, captions, load

from conclip.negation import REASONS, STRATEGIES
from conclip.negation.lexicon.names import may_corefer
from conclip.negation.rows import features
from dataset_scripts.schema import FEATURES

pytest_plugins = ["negate_runs"]
TEXTS = ("negated_captions", "true_negations", "true_negation_foils", "hard_negatives")


def test_loads_by_name_without_code(folder):
    program = """
        import json, sys
        from datasets import load_dataset
        data = load_dataset("out")
        print(json.dumps([repr(data["train"].features), len(data["train"]), list(data), len(
            [name for name in sys.modules if name.startswith("dataset_scripts")])]))
    """
    found = json.loads(run_python(program, cwd=folder.parent, HF_HOME=str(folder.parent / "hf")))
    assert found == [repr(features(False)), len(load(folder)), ["train"], 0]
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "data", "report.json", "samples.md", "settings.json"
    ]  # fmt: skip
    assert [path.name for path in sorted((folder / "data").iterdir())] == [
        f"train-{number:05}-of-00004.parquet" for number in range(4)
    ]


def test_rows_are_the_captions_in_order(folder):
    rows = load(folder)
    assert len(rows) >= 0.9 * 2 * IMAGES
    for row in rows:
        assert row["caption"] == captions(row["source_row"])[row["source_caption"]]
    places = [(row["source_row"], row["source_caption"]) for row in rows]
    assert places == sorted(set(places))


def test_every_text_has_its_record(folder):
    for row in load(folder):
        assert len(row["negated_captions"]) == 1
        assert len(row["true_negations"]) == len(row["true_negation_foils"]) == len(row["true_negation_kinds"])
        for texts, prefix in zip(
            TEXTS, ("negation", "true_negation", "true_negation_foil", "hard_negative"), strict=True
        ):
            for name in ("rules", "generators", "targets", "spans"):
                assert len(row[f"{prefix}_{name}"]) == len(row[texts])
            assert all(0 <= start < end <= len(row["caption"]) for start, end in row[f"{prefix}_spans"])
            assert all(0 <= start < end for start, end in row[f"{prefix}_spans"])
        assert set(row["negation_kinds"]) <= set(STRATEGIES[1:])
        assert row["true_negation_kinds"][1:] in ([], ["hybrid"])
        (start, end), target = row["negation_spans"][0], row["negation_targets"][0]
        assert may_corefer(row["caption"][start:end].lower(), target) or target in row["caption"][start:end]


def test_objects_denied_truly_are_neither_said_nor_labelled(folder):
    denied = Counter()
    for row in load(folder):
        for kind, target in zip(row["true_negation_kinds"], row["true_negation_targets"], strict=True):
            if kind in ("object", "hybrid"):
                denied[target] += 1
                said = re.findall(r"\w+", " ".join(captions(row["source_row"])).lower())
                assert not any(may_corefer(word, target) for word in [*said, "lamp"])
        for target in row["true_negation_foil_targets"]:
            assert target.split()[-1] in row["caption"].lower() or row["true_negation_kinds"][0] != "object"
    assert len(denied) > 8


def test_report_counts_what_the_rows_hold(folder):
    report, rows = json.loads((folder / "report.json").read_text()), load(folder)
    assert (report["captions"], report["rows"]) == (2 * IMAGES, len(rows))
    assert report["skipped"] == 2 * IMAGES - len(rows)
    hybrids = sum(kind == "hybrid" for row in rows for kind in row["true_negation_kinds"])
    trues = sum(len(row["true_negations"]) for row in rows) - hybrids
    swaps = sum(len(row["hard_negatives"]) for row in rows)
    assert {name: made["texts"] for name, made in report["yield"].items()} == {
        "false": len(rows), "true": trues, "true_foil": trues, "hybrid": hybrids, "hybrid_foil": hybrids, "swap": swaps
    }  # fmt: skip
    assert report["yield"]["true"]["share"] == round(trues / (2 * IMAGES), 4)
    assert report["negation_types"]["false"]["rules"] == Counter(
        rule for row in rows for rule in row["negation_rules"]
    )
    assert report["negation_types"]["false"]["kinds"] == Counter(
        kind for row in rows for kind in row["negation_kinds"]
    )
    texts = [text.lower() for row in rows for text in row["negated_captions"]]
    assert report["duplicates"]["false"] == len(texts) - len(set(texts))
    for negation_type, reasons in report["not_made"].items():
        assert set(reasons) <= set(REASONS)
        # Rows that are left out have no texts, whatever was made.
        assert sum(reasons.values()) <= 2 * IMAGES - report["yield"].get(negation_type, {"texts": 0})["texts"]
    middles = sorted(round(50 * sum(row["negation_spans"][0]) / len(row["caption"])) for row in rows)
    assert report["negation_types"]["false"]["position_percent"]["50%"] == middles[(len(middles) - 1) // 2]


def test_samples_can_be_read(folder):
    page = (folder / "samples.md").read_text()
    rows = {row["caption"]: row for row in load(folder)}
    headings = re.findall(r"^## (.*)$", page, re.M)
    assert len(headings) == 40 and page.startswith("# 40 random rows of ")
    assert all(heading.replace("\\", "") in rows for heading in headings)
    assert rows[headings[0]]["negated_captions"][0] in page.replace("\\", "")


def test_card_names_every_column_and_count(folder):
    card = (folder / "README.md").read_text()
    assert "$" not in card
    assert f"| train | {len(load(folder))} |" in card and f"Made from {2 * IMAGES} captions" in card
    for name in ("caption", "negated_captions", "true_negations", "objects", "hard_negatives", "source_row"):
        assert f"`{name}`" in card


def test_splits_products_strategy_and_captions_a_row(negate, tmp_path):
    options = ("--test_size", 20, "--captions_per_row", 1, "--negation_types", "false", "--strategy", "attribute")
    assert negate(*options)[0] == 0
    data = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: (min(split["source_row"]), max(split["source_row"])) for name, split in data.items()} == {
        "train": (0, 39), "test": (40, 59)
    }  # fmt: skip
    rows = [*data["train"], *data["test"]]
    for row in rows:
        assert row["source_caption"] == 0
        assert row["true_negations"] == row["hard_negatives"] == []
    # "A black umbrella runs": the parse is wrong, and another kind stands in.
    assert Counter(kind for row in rows for kind in row["negation_kinds"]) == {"attribute": 59, "object": 1}


def test_rows_of_one_image_know_of_each_other(negate, tmp_path):
    """Of a CSV with a caption a row, as Flickr8k has them."""
    lines = ["image,caption"]
    for image in range(30):
        rng = random.Random(image)
        one, other = rng.sample(["dog", "ball", "tree", "car", "bench", "kite"], 2)
        lines += [f"{image}.jpg,a {one} near a fence"] + [f"{image}.jpg,a {other} by the lake"] * 2
    (tmp_path / "captions.csv").write_text("\n".join(lines))

    def denied_and_said(*options):
        output = tmp_path / f"out{len(options)}"
        assert negate(*options, dataset=tmp_path / "captions.csv", output=output)[0] == 0
        found = 0
        for row in datasets.load_dataset(str(output), split="train", cache_dir=str(tmp_path / "cache")):
            image = row["source_row"] // 3
            said = " ".join(lines[1 + 3 * image : 4 + 3 * image])
            found += any(target in said for target in row["true_negation_targets"])
        return found

    assert denied_and_said("--image_id_column", "image") == 0
    assert denied_and_said() > 0


def test_images_are_embedded_as_they_are(negate, tmp_path):
    (tmp_path / "images").mkdir()
    lines = []
    for image in range(6):
        PIL.Image.new("RGB", (4, 4), (40 * image, 0, 0)).save(tmp_path / "images" / f"{image}.png")
        lines.append(json.dumps({"caption": captions(image), "file": f"{image}.png"}))
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    options = ("--image_column", "file", "--image_dir", tmp_path / "images")
    assert negate(*options, dataset=tmp_path / "data.jsonl")[0] == 0
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows.features == features(True)
    assert set(FEATURES) <= set(rows.column_names)
    for row in rows:
        assert row["image"].getpixel((0, 0)) == (40 * row["source_row"], 0, 0)
        assert row["distractor_images"] == []
    stored = pq.read_table(tmp_path / "out" / "data")["image"][0].as_py()
    assert stored == {"bytes": (tmp_path / "images" / "0.png").read_bytes(), "path": "0.png"}
    # An image column of a dataset, in place of paths.
    again = ("--image_column", "image", "--negation_types", "false")
    assert negate(*again, dataset=tmp_path / "out", output=tmp_path / "again")[0] == 0
    assert pq.read_table(tmp_path / "again" / "data")["image"][0].as_py() == stored
    (tmp_path / "images" / "3.png").unlink()
    status, _, error = negate(*options, dataset=tmp_path / "data.jsonl", output=tmp_path / "third")
    assert status == 1 and "split 'train', row 3: cannot read file: " in error
    assert f"{tmp_path}/images/3.png: No such file or directory; --image_dir is the folder" in error


def test_captions_that_openais_tokenizer_repairs_are_counted_and_stay_as_they_are(negate, tmp_path):
    caption = "a man\u2019s dog sits on a bench"
    (tmp_path / "data.csv").write_text(f"caption\n{caption}\na man with a hat\n", encoding="utf-8")
    status, out, _ = negate("--negation_types", "false", dataset=tmp_path / "data.csv")
    assert status == 0 and out.startswith("Warning: OpenAI's tokenizer repairs 1 of 2 texts")
    assert load(tmp_path / "out")["caption"][0] == caption


def test_too_long_texts_are_skipped(negate, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = Tokenizer(models.WordLevel({"?": 0}, "?"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=letters, unk_token="?").save_pretrained(tmp_path / "letters")
    long = "a man with a long coat stands beside the very old and rather crooked wooden fence near a dog"
    (tmp_path / "data.csv").write_text(f"caption\n{long}\na man with a hat\n")
    options = ("--tokenizer_name", tmp_path / "letters", "--negation_types", "false", "--strategy", "verb")
    assert negate(*options, dataset=tmp_path / "data.csv")[0] == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["not_made"]["false"].get("too long") == 1
    assert report["rows"] == 1


def test_rows_with_the_same_path_share_their_captions(negate, tmp_path):
    """As with --image_id_column: what another caption of the image mentions is not absent from it."""
    (tmp_path / "images").mkdir()
    lines = []
    for image in range(12):
        PIL.Image.new("RGB", (4, 4), (20 * image, 0, 0)).save(tmp_path / "images" / f"{image}.png")
        lines += [{"caption": caption, "image": f"images/{image}.png"} for caption in captions(image)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert negate("--image_column", "image", dataset=tmp_path / "data.jsonl")[0] == 0
    again = ("--image_column", "image", "--image_id_column", "image")
    assert negate(*again, dataset=tmp_path / "data.jsonl", output=tmp_path / "again")[0] == 0
    assert pq.read_table(tmp_path / "out" / "data").equals(pq.read_table(tmp_path / "again" / "data"))
    cut = ("--image_column", "image", "--test_size", 3)
    status, _, error = negate(*cut, dataset=tmp_path / "data.jsonl", output=tmp_path / "cut")
    assert status == 1 and "another split has captions of its image too" in error


def test_a_file_that_is_no_image_is_not_put_into_the_folder(negate, tmp_path):
    (tmp_path / "secret.txt").write_text("my password")
    (tmp_path / "data.csv").write_text("image,caption\nsecret.txt,a dog on a bench\n")
    status, _, error = negate("--image_column", "image", dataset=tmp_path / "data.csv")
    assert status == 1 and error.endswith("secret.txt: not an image that Pillow can read.")
    assert not list((tmp_path / "out" / "data").iterdir())
