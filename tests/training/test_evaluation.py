"""The evaluator on a few rows worked out by hand, and training on ready embeddings against training on pixels."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from bad_rows import encoded
from datasets import Dataset, Features, Image, Sequence, Value
from runs import command, log, run, weights, write_inputs
from tiny import tiny_model, tiny_processor

import conclip.training.evaluator as evaluator_module
from conclip.data import pair_captions
from conclip.embedding.images import ImageEmbedder
from conclip.embedding.texts import embed_texts
from conclip.models.clip import text_tokenizer
from conclip.negation.arithmetic import QueryArithmetic
from conclip.negation.questions import QUESTION_KINDS, Question, make_questions
from conclip.training.evaluator import MULTIPLE_CHOICE, Evaluator
from modeling_conclip import ConCLIPModel

COLOURS = ["red", "green", "blue", "black", "white", "rgb(9, 99, 9)", "rgb(200, 20, 90)", "rgb(1, 2, 99)"]
TEXT = Value("string")
TEXTS = Sequence(TEXT)


def dataset_of(rows: list[dict], caption=TEXT) -> Dataset:
    rows = [{**row, "image": {"bytes": encoded(row["image"])}} for row in rows]
    features = {"image": Image(), "caption": caption, "negated_captions": TEXTS, "negation_kinds": TEXTS}
    features |= dict.fromkeys(("objects", "true_negations", "true_negation_foils"), TEXTS)
    return Dataset.from_list(rows, features=Features({name: features[name] for name in rows[0]}))


def evaluated(rows: list[dict], tmp_path, caption=TEXT, frozen=True, truth=None, seed=1) -> tuple:
    """Return metrics and margins of a tiny model on rows, whose `image` is a colour, and the model itself."""
    dataset = dataset_of(rows, caption)
    model = tiny_model(seed=seed)
    model.vision_model.requires_grad_(not frozen)
    model.visual_projection.requires_grad_(not frozen)
    assert model.image_encoder_is_frozen is frozen
    embedder = ImageEmbedder(tiny_processor().image_processor, Accelerator(), 4, 0, tmp_path)
    evaluator = Evaluator(dataset, embedder, text_tokenizer(model, tiny_processor()), truth=truth)
    assert evaluator(model)[0] == evaluator(model)[0]
    return *evaluator(model), model


def seed_for(is_fit: Callable[[ConCLIPModel], bool]) -> int:
    """The first seed of a model that fits: the weights of a seed differ between versions of transformers."""
    return next(seed for seed in range(1, 50) if is_fit(tiny_model(seed=seed)))


@torch.no_grad()
def cosines(model: ConCLIPModel, texts: list[str], colours: list[str]) -> np.ndarray:
    """float, (texts, images), by the model's own forward, each text padded to 77 tokens."""
    processor = tiny_processor()
    rows = Dataset.from_list(
        [{"image": {"bytes": encoded(colour)}} for colour in colours], features=Features({"image": Image()})
    )
    inputs = processor(
        text=texts, images=list(rows["image"]), padding="max_length", max_length=77, return_tensors="pt"
    )
    return (model(**inputs).logits_per_text / model.logit_scale.exp()).double().numpy()


@pytest.mark.parametrize("frozen", [True, False])
def test_recall_where_the_rows_repeat_their_image(frozen, tmp_path):
    """A row for each caption, as `conclip negate` writes them: 39 captions of 8 images."""
    captions = [f"a {colour} {thing} and a {other}" for colour in ("red", "green", "blue", "black", "white")
                for thing, other in (("cat", "dog"), ("dog", "cat"), ("car", "hat"), ("hat", "car"), ("man", "ball"),
                                     ("woman", "ball"), ("sofa", "bird"), ("bird", "sofa"))][:39]  # fmt: skip
    rows = [{"image": COLOURS[at % 8], "caption": caption} for at, caption in enumerate(captions)]
    metrics, margins, model = evaluated(rows, tmp_path, frozen=frozen)
    firsts = cosines(model, captions, COLOURS).argmax(axis=1)
    right = sum(first == at % 8 for at, first in enumerate(firsts))
    assert 0 < right < 39 and not margins
    similar = cosines(model, captions, COLOURS)
    own = np.arange(39) % 8
    ranks = 1 + (similar > similar[np.arange(39), own, None]).sum(axis=1)
    # Of an image, the rank of the best of its own captions.
    of_images = [1 + (similar[own != at, at] > similar[own == at, at].max()).sum() for at in range(8)]
    chances = [1 - math.comb(39 - count, 5) / math.comb(39, 5) for count in np.bincount(own)]
    expected = {
        "text-to-image recall@1": (right / 39, 39, 1 / 8),
        "text-to-image recall@5": (np.mean(ranks <= 5), 39, 5 / 8),
        "image-to-text recall@1": (np.mean(np.array(of_images) == 1), 8, np.bincount(own).mean() / 39),
        "image-to-text recall@5": (np.mean(np.array(of_images) <= 5), 8, np.mean(chances)),
    }
    assert list(metrics) == [MULTIPLE_CHOICE, *expected]
    for name, (value, count, chance) in expected.items():
        approximate = {"value": pytest.approx(value), "chance": pytest.approx(chance)}
        assert metrics[name] == {**approximate, "count": count, "ties": 0}


def test_equal_captions_of_two_images_are_one_right_and_one_wrong(tmp_path):
    rows = [{"image": colour, "caption": "a cat"} for colour in ("red", "blue", "red")]
    metrics, _, model = evaluated(rows, tmp_path)
    red, blue = cosines(model, ["a cat"], ["red", "blue"])[0]
    expected = {"value": pytest.approx(2 / 3 if red > blue else 1 / 3), "count": 3, "ties": 0, "chance": 0.5}
    assert metrics["text-to-image recall@1"] == expected


def test_the_first_image_is_right_if_the_text_is_true_of_it(tmp_path):
    """Rows of 8 colours and, second, a copy of the first; a caption is true of the colours that its row lists."""
    lists = [["red", "blue"], ["green"], COLOURS, ["blue", "white", "black"], ["black", "red"], ["white"], COLOURS[4:]]
    lists += [COLOURS[5:], ["red", "white"]]
    things = ["cat", "dog", "car", "hat", "man", "ball", "sofa", "bird", "woman"]
    own = [COLOURS[0], *COLOURS]
    rows = [
        {"image": own[at], "objects": [own[at]], "caption": f"a {things[at]}"}
        | {"true_negations": [f"no {things[-at]}"] * 2, "true_negation_foils": ["a tree", "a bus"]}
        for at in range(9)
    ]
    known = {f"a {thing}": colours for thing, colours in zip(things, lists, strict=True)}
    known |= {f"no {things[-at]}": [own[at], "red"] for at in range(9)}

    def truth(texts, objects):
        return np.array([[colour in known[text] for [colour] in objects] for text in texts])

    texts_of = {"captions": [row["caption"] for row in rows]}
    texts_of["true negations"] = [row["true_negations"][0] for row in rows]

    def count_right(model, texts):
        firsts = cosines(model, texts, COLOURS).argmax(axis=1)
        return sum(COLOURS[first] in known[text] for first, text in zip(firsts, texts, strict=True))

    seed = seed_for(lambda model: all(0 < count_right(model, texts) < 9 for texts in texts_of.values()))
    metrics, _, model = evaluated(rows, tmp_path, truth=truth, seed=seed)
    for name, texts in texts_of.items():
        right = count_right(model, texts)
        # The copy of the red image is no second candidate.
        chance = np.mean([len({*known[text]}) / 8 for text in texts])
        assert metrics[f"first image true, {name}"] == {
            "value": pytest.approx(right / 9), "count": 9, "ties": 0, "chance": pytest.approx(chance)
        }  # fmt: skip
    without = [name for name in metrics if not name.startswith("first image true")]
    assert [name for name in evaluated(rows, tmp_path)[0] if name != MULTIPLE_CHOICE] == without


def test_multiple_choice_and_query_arithmetic_by_a_loop(tmp_path):
    """Nine rows of eight images: the captions of the two red rows belong to one image."""
    things = [("cat", "ball"), ("dog", "hat"), ("car", "tree"), ("dog", "ball"), ("cat", "hat"), ("man", "car")]
    things += [("woman", "hat"), ("man", "ball"), ("horse", "tree")]
    rows = [
        {
            "image": COLOURS[at % 8],
            "caption": f"a {one} near a {other}",
            "negated_captions": [f"a {one} and no {other}"],
        }
        for at, (one, other) in enumerate(things)
    ]
    metrics, _, model = evaluated(rows, tmp_path)
    captions = [[rows[at]["caption"]] for at in range(8)]
    captions[0].append(rows[8]["caption"])
    questions = make_questions(captions)
    assert len(questions) > 10 and {question.kind for question in questions} == {*QUESTION_KINDS}

    def right(scores):
        """Kind -> whether each question is right; `scores` takes texts and a colour."""
        kinds = {kind: [] for kind in QUESTION_KINDS}
        for question in questions:
            true, *false = scores(list(question.texts), COLOURS[question.image])
            kinds[question.kind].append(true > max(false))
        return kinds

    def check(metric, kinds):
        every = [answer for own in kinds.values() for answer in own]
        assert metric["value"] == pytest.approx(np.mean(every))
        assert (metric["count"], metric["chance"]) == (len(questions), 0.25)
        assert list(metric["categories"]) == list(QUESTION_KINDS)
        for kind, own in kinds.items():
            assert metric["categories"][kind]["accuracy"] == pytest.approx(np.mean(own))

    check(metrics[MULTIPLE_CHOICE], right(lambda texts, colour: cosines(model, texts, [colour])[:, 0]))

    def texts_of(texts):
        return embed_texts(model, text_tokenizer(model, tiny_processor())(texts), Accelerator(), 4)

    arithmetic = QueryArithmetic(texts_of)
    embedder = ImageEmbedder(tiny_processor().image_processor, Accelerator(), 4, 0, tmp_path)
    evaluator = Evaluator(dataset_of(rows), embedder, text_tokenizer(model, tiny_processor()))
    before = evaluator(model)[0]
    found = evaluator.query_arithmetic(arithmetic)
    image_embeds = dict(zip(COLOURS, evaluator.image_embeds, strict=False))
    check(found[MULTIPLE_CHOICE], right(lambda texts, colour: (arithmetic(texts) @ image_embeds[colour]).tolist()))
    pairs = [
        texts_of([row["caption"]])[0] @ image_embeds[row["image"]]
        > (arithmetic(row["negated_captions"])[0] @ image_embeds[row["image"]])
        for row in rows
    ]
    assert found["negation pair accuracy"]["value"] == pytest.approx(np.mean(pairs))
    # No caption negates anything.
    assert found["text-to-image recall@1"] == before["text-to-image recall@1"]
    assert evaluator(model)[0] == before


def test_questions_that_are_given_are_about_rows(tmp_path):
    """Ten rows of eight images: rows 0, 2 and 9 show the same one."""
    colours = ["red", "green", "red", *COLOURS[2:], "red"]
    things = ["cat", "dog", "car", "hat", "man", "ball", "sofa", "bird", "woman", "bus"]
    rows = [{"image": colour, "caption": f"a {thing}"} for colour, thing in zip(colours, things, strict=True)]
    questions = [
        Question(at, QUESTION_KINDS[at % 3], (f"a {one}", f"no {one}", f"a {things[-at]} but no {one}", f"no {one}s"))
        for at, one in enumerate(things)
    ]

    def answers(model):
        scores = [cosines(model, list(asked.texts), [colours[asked.image]])[:, 0] for asked in questions]
        return [true > max(false) for true, *false in scores]

    model = tiny_model(seed=seed_for(lambda model: 0 < sum(answers(model)) < 10))
    processor, right = tiny_processor(), answers(model)
    embedder = ImageEmbedder(processor.image_processor, Accelerator(), 4, 0, tmp_path)
    evaluator = Evaluator(dataset_of(rows), embedder, text_tokenizer(model, processor), questions=questions)
    metric = evaluator(model)[0][MULTIPLE_CHOICE]
    assert metric["value"] == np.mean(right) and metric["count"] == 10
    assert metric["categories"]["presence"]["accuracy"] == pytest.approx(np.mean(right[::3]))


def test_says_what_is_not_scored_and_why(tmp_path):
    rows = [{"image": "red", "caption": "ein Hund"}, {"image": "blue", "caption": "eine Katze"}]
    embedder = ImageEmbedder(tiny_processor().image_processor, Accelerator(), 4, 0, tmp_path)
    evaluator = Evaluator(dataset_of(rows), embedder, text_tokenizer(tiny_model(seed=1), tiny_processor()))
    assert evaluator.not_scored == [
        "No negation pair accuracy: the data has no negated captions (column negated_captions).",
        "No true negation accuracy: the data has no true negations with foils.",
        "No multiple choice accuracy: the captions name too few things.",
    ]


def test_captions_and_negated_captions_are_paired_by_index_or_each_with_each():
    assert pair_captions(1, 1) == [(0, 0)]
    assert pair_captions(3, 3) == [(0, 0), (1, 1), (2, 2)]
    assert pair_captions(1, 2) == [(0, 0), (0, 1)]
    assert pair_captions(3, 2) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert pair_captions(2, 0) == []


def test_all_captions_of_a_list_are_evaluated(tmp_path):
    rows = [
        {
            "image": "red",
            "caption": ["a cat", "a dog"],
            "negated_captions": ["no cat", "no dog"],
            "negation_kinds": ["object", "verb"],
        },
        {
            "image": "blue",
            "caption": ["a man", "a car", "a hat"],
            "negated_captions": ["no man", "no ball"],
            "negation_kinds": ["object", "relation"],
        },
    ]
    metrics, margins, model = evaluated(rows, tmp_path, caption=TEXTS)
    pairs = [
        ("a cat", "no cat", "red", "object"),
        ("a dog", "no dog", "red", "verb"),
        ("a man", "no man", "blue", "object"),
        ("a man", "no ball", "blue", "relation"),
        ("a car", "no man", "blue", "object"),
        ("a car", "no ball", "blue", "relation"),
        ("a hat", "no man", "blue", "object"),
        ("a hat", "no ball", "blue", "relation"),
    ]
    expected = [np.subtract(*cosines(model, [true, false], [colour])[:, 0]) for true, false, colour, _ in pairs]
    assert margins["negation pair accuracy"] == pytest.approx(expected, abs=1e-6)
    found = metrics["negation pair accuracy"]
    assert (found["value"], found["count"]) == (np.mean(np.array(expected) > 0), 8)
    assert {kind: part["count"] for kind, part in found["categories"].items()} == {
        "object": 4,
        "relation": 3,
        "verb": 1,
    }
    own = [0, 0, 1, 1, 1]
    firsts = cosines(model, ["a cat", "a dog", "a man", "a car", "a hat"], ["red", "blue"]).argmax(axis=1)
    recall = metrics["text-to-image recall@1"]
    assert (recall["value"], recall["count"], recall["chance"]) == (np.mean(firsts == own), 5, 0.5)


def test_texts_that_the_model_reads_alike_tie(tmp_path, monkeypatch):
    """Whatever rounding does to their embeddings; a negation that is cut off at 77 tokens is such a text."""
    long = " ".join(["cat"] * 80)
    rows = [
        {"image": "red", "caption": "a cat", "negated_captions": ["A  CAT", "no cat"]},
        {"image": "blue", "caption": long, "negated_captions": [f"{long} and no dog"]},
    ]
    exact = evaluator_module.embed_texts

    def rounded(*given):
        embeds = exact(*given)
        return embeds + 1e-6 * torch.arange(len(embeds))[:, None]

    monkeypatch.setattr(evaluator_module, "embed_texts", rounded)
    metrics, _, _ = evaluated(rows, tmp_path)
    assert metrics["negation pair accuracy"]["ties"] == 2 and metrics["negation pair accuracy"]["count"] == 3


def test_ready_embeddings_train_as_pixels_do(tmp_path, monkeypatch):
    inputs = write_inputs(tmp_path / "inputs")
    # Where a gradient is zero up to rounding, AdamW would make full steps of the rounding errors.
    assert run(command(inputs, tmp_path / "ready", adam_epsilon=1e-3)) == 0
    monkeypatch.setattr(ConCLIPModel, "image_encoder_is_frozen", property(lambda self: False))
    assert run(command(inputs, tmp_path / "pixels", adam_epsilon=1e-3)) == 0
    for ready, pixels in zip(log(tmp_path / "ready"), log(tmp_path / "pixels"), strict=True):
        assert ready == pytest.approx(pixels, rel=1e-5)
    pixels = weights(tmp_path / "pixels")
    for name, tensor in weights(tmp_path / "ready").items():
        torch.testing.assert_close(tensor, pixels[name], rtol=1e-3, atol=1e-5, msg=name)
