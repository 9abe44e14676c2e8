"""Each kind of benchmark through evaluate/run_benchmarks.py, against the model's own forward, item by item."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark_runs import evaluate_models, report_of, run, samples_of
from PIL import Image
from scene_captions import OBJECT, is_true
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_benchmarks import plain_scores, write_images
from tiny import save_tiny, tiny_processor

from conclip.evaluation.score_classes import class_samples
from dataset_scripts import scenes
from dataset_scripts.benchmarks import imagenet
from dataset_scripts.benchmarks.caption_orders import COCO_ORDER, SAME
from dataset_scripts.benchmarks.scenes_and_ccneg import SCENES_CHOICE
from dataset_scripts.scenes_drawing import COLOURS, SHAPES, SceneObject
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
    evaluate_models([model], [f"two_by_two:{folder}"], tmp_path, tmp_path / "out", log_samples=True)
    text = image = group = 0
    for row, item in zip(rows, samples_of(tmp_path / "out", "tiny", "mine"), strict=True):
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
    evaluate_models([model], ["negrefcocog"], tmp_path, tmp_path / "out", log_samples=True)
    correct = []
    for row, item in zip(rows, samples_of(tmp_path / "out", "tiny", "negrefcocog"), strict=True):
        image = Image.open(tmp_path / "train2014" / row["image"])
        crops = [image.crop((x, y, x + width, y + height)) for x, y, width, height in row["bbox_list"]]
        expected = [plain_scores(clip, crop, [row["phrase"]])[0] for crop in crops]
        assert [own[0] for own in item["scores"]] == pytest.approx(expected, abs=1e-5)
        correct.append(int(np.argmax(expected)) == row["bbox_list"].index(row["ref_bbox"]))
    line = report_of(tmp_path / "out", whole_rows=True)["negrefcocog", "accuracy", ""]
    assert line["values"]["tiny"] == np.mean(correct) and line["chance"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_two_true_captions(model, clip, tmp_path):
    write_images(tmp_path / "val2017", NAMES)
    rng, itt, tot, samples, number = np.random.default_rng(1), [], [], [], 0
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
            between = [float(embeds[a] @ embeds[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
            tot.append(between[0] > max(between[1:]))
            samples.append((s, between))
        (tmp_path / "sugarcrepe_pp" / f"{name}.json").write_text(json.dumps(rows))
    evaluate_models([model], ["sugarcrepe-pp"], tmp_path, tmp_path / "out", log_samples=True)
    for (scores, between), sample in zip(samples, samples_of(tmp_path / "out", "tiny", "sugarcrepe-pp"), strict=True):
        assert sample["scores"] == [pytest.approx(scores, abs=1e-5)]
        assert sample["text_scores"] == pytest.approx(between, abs=1e-5)
    values = report_of(tmp_path / "out")
    assert values["sugarcrepe-pp", "ITT", ""] == pytest.approx(np.mean(itt))
    assert values["sugarcrepe-pp", "TOT", ""] == pytest.approx(np.mean(tot))
    assert 0 < np.mean(itt) < 1 and 0 < np.mean(tot) < 1


def write_negbench(folder: Path, captions: dict[str, dict[str, list[str]]]) -> None:
    """Write NegBench's retrieval files: condition -> image -> captions."""
    (folder / "negbench").mkdir()
    files = {
        "plain": "COCO_val_retrieval.csv",
        "negated": "COCO_val_negated_retrieval_llama3.1_rephrased_affneg_true.csv",
    }
    for condition, name in files.items():
        with open(folder / "negbench" / name, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["positive_objects", "negative_objects", "filepath", "image_id", "captions"])
            for image, texts in captions[condition].items():
                writer.writerow(["[]", "[]", f"data/coco/images/val2017/{image}", image[:-4], str(texts)])


def rank_by_hand(query: torch.Tensor, pool: torch.Tensor, right: set[int]) -> tuple[int, int]:
    """Return 1 + the number of wrong candidates at least as high as the best right one, and how many are equal."""
    scores = [round(score, 6) for score in (pool @ query).tolist()]
    best = max(scores[at] for at in right)
    wrong = [score for at, score in enumerate(scores) if at not in right]
    return 1 + sum(score >= best for score in wrong), sum(score == best for score in wrong)


@torch.no_grad()
def test_retrieval_plain_and_negated(model, clip, tmp_path):
    """Several images have the same caption, and the last two files hold the same image."""
    folder = tmp_path / "coco" / "val2017"
    write_images(folder, NAMES)
    (folder / NAMES[7]).write_bytes((folder / NAMES[6]).read_bytes())
    rng = np.random.default_rng(2)
    plain = {image: [f"a {rng.choice(WORDS)} and a {rng.choice(WORDS)}" for _ in range(3)] for image in NAMES}
    plain[NAMES[1]][0] = plain[NAMES[0]][0]
    negated = {image: [f"{text} but no {rng.choice(WORDS)}" for text in texts] for image, texts in plain.items()}
    write_negbench(tmp_path, {"plain": plain, "negated": negated})
    evaluate_models([model], ["negbench-retrieval-coco"], tmp_path, tmp_path / "out", log_samples=True)
    lines = report_of(tmp_path / "out", whole_rows=True)
    samples = samples_of(tmp_path / "out", "tiny", "negbench-retrieval-coco")

    pixels = [Image.open(folder / name).convert("RGB") for name in NAMES[:7]]
    features = clip.get_image_features(**tiny_processor()(images=pixels, return_tensors="pt")).pooler_output
    images = torch.nn.functional.normalize(features, dim=1)
    for condition, own in {"plain": plain, "negated": negated}.items():
        queries = [(text, at) for at, texts in enumerate(own.values()) for text in texts]
        texts = unit_texts(clip, [text for text, _ in queries])
        # The eighth file is the seventh image.
        searches = [("text-to-image", texts, images, [{min(at, 6)} for _, at in queries])]
        if condition == "plain":
            captions = [{at for at, (_, image) in enumerate(queries) if min(image, 6) == own} for own in range(7)]
            searches.append(("image-to-text", images, texts, captions))
        for direction, side, pool, right in searches:
            kind = {"category": condition, "direction": direction}
            found = [sample for sample in samples if sample.items() >= kind.items()]
            expected = [rank_by_hand(query, pool, own) for query, own in zip(side, right, strict=True)]
            assert [(sample["rank"], sample["tied"]) for sample in found] == expected
            if direction == "text-to-image":
                assert [(sample["caption"], sample["id"]) for sample in found] == [
                    (text, NAMES[at][:-4]) for text, at in queries
                ]
            else:
                assert [sample["id"] for sample in found] == [name[:-4] for name in NAMES[:7]]
                # The caption of the first two images.
                assert any(tied for _, tied in expected)
            for k in (1, 5, 10):
                line = lines["negbench-retrieval-coco", f"{direction} recall@{k}", condition]
                assert line["values"]["tiny"] == pytest.approx(np.mean([rank <= k for rank, _ in expected]))
                assert line["ties"]["tiny"] == sum(rank > k >= rank - tied for rank, tied in expected)
                assert line["count"] == len(side)
    assert len(samples) == 24 + 7 + 24
    assert lines["negbench-retrieval-coco", "text-to-image recall@1", "plain"]["chance"] == pytest.approx(1 / 7)


def test_classes_by_bare_names_and_templates(model, clip, tmp_path):
    classes = ["cat", "dog", "red_bird"]
    for number, name in enumerate(classes):
        write_images(tmp_path / "mine" / name, [f"{number}{at}.png" for at in range(4)])
    evaluate_models([model], [f"classes:{tmp_path / 'mine'}"], tmp_path, tmp_path / "out", log_samples=True)
    lines = report_of(tmp_path / "out", whole_rows=True)
    samples = samples_of(tmp_path / "out", "tiny", "mine")
    for prompts, template in {"bare": "{}", "1 template": "a photo of a {}."}.items():
        condition = f"names of the dataset, {prompts}"
        names = unit_texts(clip, [template.format(name) for name in ("cat", "dog", "red bird")])
        found = iter([sample for sample in samples if sample["category"] == condition])
        hits = []
        for number, name in enumerate(classes):
            for path in sorted((tmp_path / "mine" / name).iterdir()):
                with torch.no_grad():
                    inputs = tiny_processor()(images=Image.open(path).convert("RGB"), return_tensors="pt")
                    order = (names @ clip.get_image_features(**inputs).pooler_output[0]).argsort(descending=True)
                sample = next(found)
                assert sample["answer"] == number and path.stem in sample["id"]
                assert (sample["prediction"], sample["rank"]) == (order[0], 1 + order.tolist().index(number))
                hits.append(order[0] == number)
        line = lines["mine", "top-1", condition]
        assert line["values"]["tiny"] == np.mean(hits) and line["count"] == 12
    assert len(samples) == 24


@torch.no_grad()
def test_imagenet_as_published(model, clip, tmp_path):
    """Two of the four classes are missiles: OpenAI's names in its 80 templates, an argmax, and scikit-learn's mean."""
    names = {"n01608432": "kite (bird of prey)", "n02012849": "crane bird", "n03773504": "missile"}
    names["n04008634"] = "missile"
    folder, counts = tmp_path / "imagenet" / "val", {"n01608432": 2, "n02012849": 5, "n03773504": 6, "n04008634": 3}
    for at, (id, count) in enumerate(counts.items()):
        write_images(folder / id, [f"{at}{number}.png" for number in range(count)], size=(60, 48 + 7 * at))
    with pytest.warns(UserWarning, match=r"1 name belongs to two or more classes \(missile\)"):
        evaluate_models([model], ["imagenet"], tmp_path, tmp_path / "out", log_samples=True)
    classes = [
        unit_texts(clip, [template.replace("{}", name) for template in imagenet.TEMPLATES]).double().mean(dim=0)
        for name in names.values()
    ]
    weights, answers, predictions = torch.stack([mean / mean.norm() for mean in classes]), [], []
    for answer, id in enumerate(names):
        for path in sorted((folder / id).iterdir()):
            inputs = tiny_processor()(images=Image.open(path).convert("RGB"), return_tensors="pt")
            scores = weights @ clip.get_image_features(**inputs).pooler_output[0].double()
            answers.append(answer)
            predictions.append(int(np.argmax(scores.numpy().round(12))))
    assert 2 in predictions and 3 not in predictions
    rows, condition = report_of(tmp_path / "out", whole_rows=True), "OpenAI's names, 80 templates"
    published = rows["imagenet", "top-1, first of equals wins", condition]
    assert published["values"]["tiny"] == pytest.approx(accuracy_score(answers, predictions))
    assert (published["headline"], published["count"], published["ties"]["tiny"]) == (True, 16, 0)
    mean = rows["imagenet", "mean per class, first of equals wins", condition]["values"]["tiny"]
    assert mean == pytest.approx(balanced_accuracy_score(answers, predictions)) and mean != published["values"]["tiny"]
    strict = rows["imagenet", "top-1", condition]
    missiles = sum(answer >= 2 and prediction == 2 for answer, prediction in zip(answers, predictions, strict=True))
    assert strict["values"]["tiny"] == pytest.approx(
        sum(a == p < 2 for a, p in zip(answers, predictions, strict=True)) / 16
    )
    assert strict["ties"]["tiny"] == missiles > 0
    samples = samples_of(tmp_path / "out", "tiny", "imagenet")
    assert [sample["prediction"] for sample in samples if sample["category"] == condition] == predictions


def test_orders_as_published(model, clip, tmp_path, punkt_tab):
    names = ["COCO_val2014_1.jpg", "COCO_val2014_2.jpg"]
    write_images(tmp_path / "coco" / "val2014", names)
    captions = ["Dogs.", "A cat on a table.", "A man holding a red ball.", "A dog near the water.", "A green bird."]
    rows = [{"image": f"val2014/{name}", "caption": captions[at:]} for at, name in enumerate(names)]
    (tmp_path / "coco" / "coco_karpathy_test.json").write_text(json.dumps(rows))
    evaluate_models([model], ["coco-order"], tmp_path, tmp_path / "out", seed=1)
    items, right, chance = list(COCO_ORDER.read(tmp_path, seed=1)), [], []
    for item in items:
        # As the authors score: an argmax, which takes the true caption of several that are equal.
        scores = plain_scores(clip, Image.open(item["images"][0]), item["captions"])
        distinct = {text: scores[at] for at, text in reversed([*enumerate(item["captions"])])}
        right.append(distinct[item["captions"][0]] == max(distinct.values()))
        chance.append(1 / len(distinct))
    rows = report_of(tmp_path / "out", whole_rows=True)
    published = rows["coco-order", "accuracy, first of equals wins", ""]
    assert published["values"]["tiny"] == pytest.approx(np.mean(right)) and published["headline"]
    assert published["chance"] == pytest.approx(np.mean(chance)) and published["count"] == 9
    same = [item["category"] == SAME for item in items]
    degenerate = rows["coco-order", "accuracy, first of equals wins", SAME]
    assert degenerate["count"] == sum(same) > 1
    assert degenerate["values"]["tiny"] == pytest.approx(np.mean(np.array(right)[same]))
    strict = rows["coco-order", "accuracy", ""]
    assert strict["ties"]["tiny"] == sum(np.array(right)[same]) > 0
    assert strict["values"]["tiny"] == pytest.approx(published["values"]["tiny"] - strict["ties"]["tiny"] / 9)


def test_a_class_that_ties_is_not_predicted_right():
    items = [{"id": str(at), "answer": answer} for at, answer in enumerate([0, 0, 2, 1])]
    scores = np.array([[0.5, 0.1, 0.2], [0.5, 0.5, 0.2], [0.3, 0.4, 0.3], [0.3, 0.9, 0.3]], np.float32)
    found = [tuple(sample.values()) for sample in class_samples(items, "bare names", scores)]
    assert found == [
        ("0", "bare names", 0, 0, 1),
        ("1", "bare names", 0, 1, 2),
        ("2", "bare names", 2, 1, 3),
        ("3", "bare names", 1, 1, 1),
    ]


def test_ceiling_of_the_multiple_choice_of_the_scenes(model, clip, tmp_path):
    """Against scikit-learn's logistic regression on the model's own embeddings."""
    options = ["--output_dir", str(tmp_path / "out"), "--embedding_cache_dir", str(tmp_path / "cache")]
    assert run(["--model_name_or_path", str(model), "--benchmarks", "scenes-choice", *options]) == 0
    lines = report_of(tmp_path / "out", whole_rows=True)

    def embedded(rows):
        inputs = tiny_processor()(images=[row["image"] for row in rows], return_tensors="pt")
        with torch.no_grad():
            return (
                torch.nn.functional.normalize(clip.get_image_features(**inputs).pooler_output, dim=1).double().numpy()
            )

    train, test = list(scenes.load_scenes("train")), list(scenes.load_scenes("test"))
    images, logits = embedded(train), {}
    for word in (*SHAPES, *COLOURS):
        shown = [any(word in described.split() for described in row["objects"]) for row in train]
        probe = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-9, max_iter=5000)).fit(images, shown)
        logits[word] = probe.decision_function(embedded(test))
    correct = []
    for question in SCENES_CHOICE.read(tmp_path, seed=0):
        row, scores = int(question["id"]), []
        for text in question["captions"]:
            score = 0
            for match in OBJECT.finditer(text):
                words = [word for word in (match["colour"], match["shape"]) if word]
                denied = re.search(rf"(no|without an?) {match.group()}$", text)
                logit = np.mean([logits[word][row] for word in words])
                score -= np.logaddexp(0, logit if denied else -logit)
            scores.append(score)
        correct.append((question["category"], int(np.argmax(scores)) == question["answer"]))
    line = lines["scenes-choice", "ceiling (probe on the image embeddings)", ""]
    assert line["values"]["tiny"] == np.mean([own for _, own in correct]) and 0 < line["values"]["tiny"] < 1
    assert (line["count"], line["chance"], line["headline"]) == (10, 0.25, False)
    for part in {category for category, _ in correct}:
        own = lines["scenes-choice", "ceiling (probe on the image embeddings)", part]
        assert own["values"]["tiny"] == np.mean([right for category, right in correct if category == part])


def test_first_image_of_the_scenes(tmp_path):
    """Against the model's own forward and the helper that reads captions; the session has ten test scenes."""
    folder = tmp_path / "known words"
    save_tiny(folder, seed=5)
    options = ["--output_dir", str(tmp_path / "out"), "--embedding_cache_dir", str(tmp_path / "cache")]
    assert run(["--model_name_or_path", str(folder), "--benchmarks", "scenes-retrieval", *options]) == 0
    rows = list(scenes.load_scenes("test"))
    objects = [[SceneObject(*text.split()[2:0:-1], text.split()[0], "bottom" in text, "right" in text) for text in
                row["objects"]] for row in rows]  # fmt: skip
    clip, lines = ConCLIPModel.from_pretrained(folder).eval(), report_of(tmp_path / "out", whole_rows=True)
    for part, texts in (
        ("plain", [row["caption"] for row in rows]),
        ("negated", [row["true_negations"][0] for row in rows]),
    ):
        scores = np.array([plain_scores(clip, row["image"], texts) for row in rows]).T
        true = np.array([[is_true(text, own) for own in objects] for text in texts])
        assert true.diagonal().all()
        line = lines["scenes-retrieval", "first image true", part]
        assert line["values"][folder.name] == true[range(10), scores.argmax(axis=1)].mean()
        assert line["chance"] == pytest.approx(true.mean()) and line["count"] == 10 and not line["headline"]
