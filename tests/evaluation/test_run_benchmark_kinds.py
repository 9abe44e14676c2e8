"""Each kind of benchmark through evaluate/run_benchmarks.py, against the model's own forward, item by item."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark_runs import evaluate_models, items_of, report_of
from PIL import Image
from small_benchmarks import plain_scores, write_images
from tiny import save_tiny, tiny_processor

from modeling_conclip import ConCLIPModel

WORDS = ["cat", "dog", "man", "woman", "child", "car", "table", "bird"]
NAMES = [f"{number:012d}.jpg" for number in range(8)]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny(folder, seed=3)
    return folder


@pytest.fixture(scope="module")
def clip(model) -> ConCLIPModel:
    return ConCLIPModel.from_pretrained(model).eval()


@torch.no_grad()
def unit_texts(clip: ConCLIPModel, texts: list[str]) -> torch.Tensor:
    tokens = tiny_processor()(text=texts, padding="max_length", max_length=77, return_tensors="pt")
    return torch.nn.functional.normalize(clip.get_text_features(**tokens).pooler_output, dim=1)


def test_two_by_two(model, clip, tmp_path):
    folder = tmp_path / "mine"
    write_images(folder / "images", [f"{name}.png" for name in "abcd"])
    rows = [
        {"id": 0, "image_0": "a", "image_1": "b", "caption_0": "a cat", "caption_1": "a dog on a table"},
        {"id": 1, "image_0": "c", "image_1": "d", "caption_0": "the man left", "caption_1": "the left man"},
        {"id": 2, "image_0": "d", "image_1": "a", "caption_0": "a bird", "caption_1": "a bird"},
    ]
    (folder / "examples.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    evaluate_models([model], [f"two_by_two:{folder}"], tmp_path, tmp_path / "out", save_items=True)
    text = image = group = 0
    for row, item in zip(rows, items_of(tmp_path / "out", "tiny", "mine"), strict=True):
        images = [Image.open(folder / "images" / f"{row[f'image_{at}']}.png") for at in (0, 1)]
        scores = [plain_scores(clip, image, [row["caption_0"], row["caption_1"]]) for image in images]
        assert item["scores"] == pytest.approx(np.array(scores), abs=1e-5)
        (s00, s01), (s10, s11) = item["scores"]
        right = s00 > s01 and s11 > s10, s00 > s10 and s11 > s01
        text, image, group = text + right[0], image + right[1], group + all(right)
    values = report_of(tmp_path / "out")
    found = [values["mine", f"{name} score", ""] for name in ("text", "image", "group")]
    assert found == pytest.approx([text / 3, image / 3, group / 3])
    assert report_of(tmp_path / "out", whole_rows=True)["mine", "text score", ""]["ties"] == {"tiny": 1}


def test_crops_of_negrefcocog(model, clip, tmp_path):
    write_images(tmp_path / "train2014", NAMES[:2], size=(80, 60))
    rows = [
        {"image": NAMES[0], "phrase": "no cat", "bbox_list": [[0, 0, 40, 60], [30, 5, 20, 20]]},
        {"image": NAMES[1], "phrase": "a dog", "bbox_list": [[0, 0, 9, 9], [10.6, 3, 90, 20.2], [5, 5, 50, 50]]},
    ]
    for row, right in zip(rows, (0, 1), strict=True):
        row["ref_bbox"] = row["bbox_list"][right]
    (tmp_path / "negrefcocog").mkdir()
    (tmp_path / "negrefcocog" / "NegRefCOCOg.json").write_text(json.dumps(rows))
    evaluate_models([model], ["negrefcocog"], tmp_path, tmp_path / "out", save_items=True)
    correct = []
    for row, item in zip(rows, items_of(tmp_path / "out", "tiny", "negrefcocog"), strict=True):
        image = Image.open(tmp_path / "train2014" / row["image"])
        crops = [image.crop((x, y, x + width, y + height)) for x, y, width, height in row["bbox_list"]]
        expected = [plain_scores(clip, crop, [row["phrase"]])[0] for crop in crops]
        assert [own[0] for own in item["scores"]] == pytest.approx(expected, abs=1e-5)
        correct.append(int(np.argmax(expected)) == row["bbox_list"].index(row["ref_bbox"]))
    line = report_of(tmp_path / "out", whole_rows=True)["negrefcocog", "accuracy", ""]
    assert line["values"]["tiny"] == np.mean(correct) and line["chance"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_two_true_captions(model, clip, tmp_path):
    write_images(tmp_path / "val2017", NAMES)
    rng, itt, tot, number = np.random.default_rng(1), [], [], 0
    (tmp_path / "sugarcrepe_pp").mkdir()
    for name in ("replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj"):
        rows = []
        for turn in range(6):
            one, other, third = rng.choice(WORDS, 3, replace=False)
            texts = [f"a {one} on a {other}", f"the {one} on a {other}", f"a {third} on a {other}"]
            if turn % 2:
                texts[2] = f"{third} near the left hat, not sitting"
            image = str(rng.choice(NAMES))
            rows.append(dict(zip(("caption", "caption2", "negative_caption"), texts, strict=True)))
            rows[-1] |= {"id": number, "filename": image}
            number += 1
            s = plain_scores(clip, Image.open(tmp_path / "val2017" / image), texts)
            embeds = unit_texts(clip, texts)
            itt.append(min(s[:2]) > s[2])
            tot.append(embeds[0] @ embeds[1] > max(embeds[0] @ embeds[2], embeds[1] @ embeds[2]))
        (tmp_path / "sugarcrepe_pp" / f"{name}.json").write_text(json.dumps(rows))
    evaluate_models([model], ["sugarcrepe-pp"], tmp_path, tmp_path / "out")
    values = report_of(tmp_path / "out")
    assert values["sugarcrepe-pp", "ITT", ""] == pytest.approx(np.mean(itt))
    assert values["sugarcrepe-pp", "TOT", ""] == pytest.approx(np.mean(tot))
    assert 0 < np.mean(itt) < 1 and 0 < np.mean(tot) < 1


def recall_by_hand(queries: torch.Tensor, pool: torch.Tensor, right: list[set[int]], k: int) -> float:
    hits = 0
    for query, own in zip(queries, right, strict=True):
        scores = (pool @ query).tolist()
        best = max(scores[at] for at in own)
        hits += sum(score >= best for at, score in enumerate(scores) if at not in own) < k
    return hits / len(right)


def test_retrieval_plain_and_negated(model, clip, tmp_path):
    write_images(tmp_path / "coco" / "val2017", NAMES)
    rng, captions = np.random.default_rng(2), {}
    (tmp_path / "negbench").mkdir()
    files = {
        "plain": "COCO_val_retrieval.csv",
        "negated": "COCO_val_negated_retrieval_llama3.1_rephrased_affneg_true.csv",
    }
    for condition, name in files.items():
        own = {image: [f"a {rng.choice(WORDS)} and a {rng.choice(WORDS)}" for _ in range(3)] for image in NAMES}
        if condition == "negated":
            own = {image: [f"{text} but no {rng.choice(WORDS)}" for text in texts] for image, texts in own.items()}
        captions[condition] = own
        with open(tmp_path / "negbench" / name, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["positive_objects", "negative_objects", "filepath", "image_id", "captions"])
            for image, texts in own.items():
                writer.writerow(["[]", "[]", f"data/coco/images/val2017/{image}", image[:-4], str(texts)])
    evaluate_models([model], ["negbench-retrieval-coco"], tmp_path, tmp_path / "out")
    processor = tiny_processor()
    with torch.no_grad():
        pixels = [Image.open(tmp_path / "coco" / "val2017" / name).convert("RGB") for name in NAMES]
        features = clip.get_image_features(**processor(images=pixels, return_tensors="pt")).pooler_output
    images = torch.nn.functional.normalize(features, dim=1)
    values = report_of(tmp_path / "out")
    for condition, own in captions.items():
        queries = [(text, at) for at, texts in enumerate(own.values()) for text in texts]
        texts = unit_texts(clip, [text for text, _ in queries])
        right = [{at for other, at in queries if other == text} for text, _ in queries]
        for k in (1, 5):
            expected = recall_by_hand(texts, images, right, k)
            found = values["negbench-retrieval-coco", f"text-to-image recall@{k}", condition]
            assert found == pytest.approx(expected), (condition, k)
    distinct = sorted({text for texts in captions["plain"].values() for text in texts})
    right = [{distinct.index(text) for text in texts} for texts in captions["plain"].values()]
    expected = recall_by_hand(images, unit_texts(clip, distinct), right, 1)
    assert values["negbench-retrieval-coco", "image-to-text recall@1", "plain"] == pytest.approx(expected)


def test_classes_by_bare_names_and_templates(model, clip, tmp_path):
    classes = ["cat", "dog", "red_bird"]
    for number, name in enumerate(classes):
        write_images(tmp_path / "mine" / name, [f"{number}{at}.png" for at in range(4)])
    evaluate_models([model], [f"classes:{tmp_path / 'mine'}"], tmp_path, tmp_path / "out")
    lines = report_of(tmp_path / "out", whole_rows=True)
    line = lines["mine", "top-1", "bare names"]
    names = unit_texts(clip, ["cat", "dog", "red bird"])
    hits = []
    for number, name in enumerate(classes):
        for path in sorted((tmp_path / "mine" / name).iterdir()):
            with torch.no_grad():
                inputs = tiny_processor()(images=Image.open(path).convert("RGB"), return_tensors="pt")
                image = clip.get_image_features(**inputs).pooler_output[0]
            hits.append(int((names @ image).argmax()) == number)
    assert line["values"]["tiny"] == np.mean(hits) and line["count"] == 12
    assert ("mine", "top-1", "templates") in lines
