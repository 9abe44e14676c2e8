"""Negation distillation: training from captions alone, and beside pairs."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import command, log, refusal, results, run, weights, write_inputs
from tiny import save_tiny, tiny_model, tiny_processor
from transformers import AutoTokenizer, CLIPModel

from conclip.models.clip import text_tokenizer
from conclip.negation.arithmetic import QueryArithmetic
from conclip.negation.plain_captions import plain_captions
from conclip.negation.statements import StatementGenerator
from conclip.training import image_truth
from conclip.training.arguments import parse_arguments
from conclip.training.collator import PairCollator
from conclip.training.statement_evaluator import FOUND, KEPT, StatementEvaluator
from conclip.training.statement_rows import StatementRows
from conclip.training.teacher import Teacher, common_part
from modeling_conclip import ConCLIPModel
from modeling_conclip.packing_conclip import PADDING, pack_texts

ROOT = Path(__file__).resolve().parents[2]
CAPTIONS = plain_captions(60, seed=3)
LOSS = {"loss": "negation_distillation"}


def embed_by_hand(model, tokenizer, texts):
    """Unit embeddings by CLIP's own method, one text at a time."""
    with torch.no_grad():
        rows = [model.get_text_features(**tokenizer([text], return_tensors="pt")).pooler_output[0] for text in texts]
    return torch.nn.functional.normalize(torch.stack(rows), dim=1)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A tiny CLIP without an image processor, and captions alone: a text, or a list of texts, a row."""
    folder = tmp_path_factory.mktemp("inputs")
    save_tiny(folder / "clip", CLIPModel)
    (folder / "clip" / "preprocessor_config.json").unlink(missing_ok=True)
    (folder / "clip" / "processor_config.json").unlink(missing_ok=True)
    rows = [{"caption": [CAPTIONS[0], CAPTIONS[1]]}, *({"caption": caption} for caption in CAPTIONS[2:])]
    rows = [{"caption": row["caption"] if isinstance(row["caption"], list) else [row["caption"]]} for row in rows]
    (folder / "captions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    (folder / "captions.txt").write_text("\n\n".join(CAPTIONS) + "\n", "utf-8")
    return {"model_name_or_path": str(folder / "clip"), "dataset_name": str(folder / "captions.jsonl"), **LOSS}


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("run") / "model"
    assert run(command(inputs, output_dir, save_steps=5, max_steps=10)) == 0
    return output_dir


def test_the_text_encoder_learns_and_nothing_else_changes(finished, inputs):
    before, after = CLIPModel.from_pretrained(inputs["model_name_or_path"]).state_dict(), weights(finished)
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed and changed == {name for name in after if name.startswith("text_")}
    losses = [line["train/loss"] for line in log(finished) if "train/loss" in line]
    assert len(losses) == 10
    for line in log(finished):
        if "train/loss" in line:
            terms = 4 * line["train/loss_cosine"] + 0.3 * line["train/loss_profile"]
            assert line["train/loss"] == pytest.approx(terms, rel=1e-5)


def test_epochs_replace_the_updates_of_the_recipe():
    argv = ["--model_name_or_path", "clip", "--loss", "negation_distillation"]
    for options, expected in (
        ([], (800, 5)),
        (["--num_train_epochs", "3"], (None, 3)),
        # The default, but named.
        (["--num_train_epochs", "5"], (None, 5)),
        (["--max_steps", "7"], (7, 5)),
    ):
        training = parse_arguments([*argv, *options])[2]
        assert (training.max_steps, training.num_train_epochs) == expected and training.learning_rate == 3e-4


def test_the_loss_of_other_statements_falls(inputs, tmp_path):
    argv = command(inputs, tmp_path / "model", max_steps=60, per_device_train_batch_size=32, learning_rate=2e-3)
    assert run(argv) == 0
    base, tokenizer = CLIPModel.from_pretrained(inputs["model_name_or_path"]), tiny_processor().tokenizer
    generator = StatementGenerator(CAPTIONS, seed=11)
    teacher = Teacher(lambda texts: embed_by_hand(base, tokenizer, texts), [generator])
    statements = [generator(0, index) for index in range(150)]
    targets = teacher([statement.query for statement in statements])

    def loss(model):
        difference = embed_by_hand(model, tokenizer, [statement.text for statement in statements]) - targets
        profile = torch.einsum("nd,de,ne->n", difference, teacher.second_moment, difference)
        return (2 * difference.pow(2).sum(dim=1) + 0.3 * model.logit_scale.exp() ** 2 * profile).mean().item()

    # 0.92 of it with the random weights of transformers 5.6, less with those of later versions.
    assert loss(CLIPModel.from_pretrained(tmp_path / "model")) < 0.95 * loss(base)


def test_the_report_is_that_of_the_saved_folder(finished, inputs):
    found = results(finished)
    assert found["after"][FOUND]["count"] == 2_000 and found["after"][FOUND]["chance"] < 0.01
    assert found["before"][KEPT]["value"] == pytest.approx(1, abs=1e-6)
    kinds = found["after"][FOUND]["categories"]
    assert set(kinds) == {"affirmative", "absence", "hybrid", "caption_absence", "presence", "false_caption"}
    assert sum(kind["count"] for kind in kinds.values()) == 2_000
    # Held out are a tenth of the rows; their statements are made anew from them.
    train = [row["caption"] for row in map(json.loads, open(inputs["dataset_name"], encoding="utf-8"))]
    assert found["split"] == "held-out" and len(train) == 59
    card = (finished / "README.md").read_text("utf-8")
    assert "negation distillation" in card and "captions.jsonl" in card
    tokenizer = AutoTokenizer.from_pretrained(finished)
    model = CLIPModel.from_pretrained(finished)
    assert model.get_text_features(**tokenizer(["no dog"], return_tensors="pt")).pooler_output.shape == (1, 16)


def test_a_resumed_run_ends_in_the_same_model(finished, inputs, tmp_path):
    checkpoint = finished / "checkpoint-5"
    argv = command(inputs, tmp_path / "again", save_steps=5, max_steps=10, resume_from_checkpoint=checkpoint)
    assert run(argv) == 0
    one, other = weights(finished), weights(tmp_path / "again")
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("dataset", ["captions.txt", None])
def test_other_sources_of_captions(inputs, tmp_path, dataset):
    options = {**inputs, "dataset_name": inputs["dataset_name"].replace("captions.jsonl", "captions.txt")}
    if dataset is None:
        del options["dataset_name"]
    assert run(command(options, tmp_path / "model", max_steps=1)) == 0
    found = results(tmp_path / "model")
    assert found["dataset"] == (dataset or "plain-captions")


def test_lora(inputs, tmp_path):
    assert run(command(inputs, tmp_path / "model", max_steps=2, use_lora=True)) == 0
    before, after = CLIPModel.from_pretrained(inputs["model_name_or_path"]).state_dict(), weights(tmp_path / "model")
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed and all(".self_attn." in name or ".mlp." in name for name in changed)
    assert (tmp_path / "model" / "adapter" / "adapter_config.json").exists()


def test_beside_pairs_and_with_images(tmp_path):
    """The scenes have images: they are evaluated, and the losses add up."""
    inputs = write_inputs(tmp_path)
    options = {"loss": "negclip", "distillation_weight": 0.5, "max_steps": 2, "mini_batch_size": 4}
    assert run(command(inputs, tmp_path / "mixed", **options)) == 0
    for line in log(tmp_path / "mixed"):
        if "train/loss" in line:
            pairs = (line["train/loss_image_to_text"] + line["train/loss_text_to_image"]) / 2
            distilled = 4 * line["train/loss_cosine"] + 0.3 * line["train/loss_profile"]
            assert line["train/loss"] == pytest.approx(pairs + 0.5 * distilled, rel=1e-5)
    found = results(tmp_path / "mixed")
    assert {"negation pair accuracy", "text-to-image recall@1", FOUND, KEPT} <= found["after"].keys()
    card = (tmp_path / "mixed" / "README.md").read_text("utf-8")
    assert "loss of NegCLIP" in card and "negation distillation" in card
    assert run(command({**inputs, **LOSS}, tmp_path / "texts", max_steps=1)) == 0
    assert {"negation pair accuracy", FOUND, KEPT} <= results(tmp_path / "texts")["after"].keys()


@pytest.mark.parametrize("loss", ["conclip", "negation_distillation"])
def test_images_teach_statements_in_the_words_of_the_captions(tmp_path, monkeypatch, loss):
    # Few of the 50 captions name the same thing.
    monkeypatch.setattr(image_truth, "LEAST_CAPTIONS", 2)
    inputs = write_inputs(tmp_path)
    options = {"loss": loss, "truth_weight": 2, "own_words": True, "max_steps": 2}
    if loss == "conclip":
        options["distillation_weight"] = 0.5
    assert run(command(inputs, tmp_path / "model", **options)) == 0
    for line in log(tmp_path / "model"):
        if "train/loss" in line:
            distilled = 4 * line["train/loss_cosine"] + 0.3 * line["train/loss_profile"] + 2 * line["train/loss_truth"]
            pairs = 0
            if loss == "conclip":
                terms = ("image_to_text", "text_to_image", "distractor")
                pairs = sum(line[f"train/loss_{term}"] for term in terms) / 3
                distilled = distilled / 2
            assert line["train/loss"] == pytest.approx(pairs + distilled, rel=1e-5)
            assert line["train/loss_truth"] > 0
    assert "negation pair accuracy" in results(tmp_path / "model")["after"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"truth_weight": 1}, "--image_column"),
        ({"loss": "clip", "own_words": True}, "--own_words has no effect without"),
        ({"loss": "clip", "distillation_weight": 1, "truth_weight": 1, "train_image_encoder": True}, "frozen"),
        ({"train_image_encoder": True}, "--train_image_encoder has no effect"),
        ({"distractor_weight": 2}, "--distractor_weight has no effect with --loss negation_distillation"),
        ({"loss": "clip", "distillation_beta": 0.3}, "--distillation_beta has no effect without"),
        ({"cosine_weight": 0, "profile_weight": 0}, "both 0"),
        ({"distillation_beta": 0}, "--distillation_beta must be above 0"),
        ({"caption_column": "text"}, "--caption_column text"),
    ],
)
def test_refuses(inputs, tmp_path, capsys, change, says):
    assert says in refusal(command({**inputs, **change}, tmp_path / "model"), capsys)


def test_the_recipe_writes_out_the_defaults(capsys):
    recipe = parse_arguments(["--config", str(ROOT / "recipes" / "negation-distillation.yaml")])
    options = ["--model_name_or_path", "openai/clip-vit-base-patch32", "--loss", "negation_distillation"]
    assert recipe == parse_arguments(options)
    # An option without effect gives a warning.
    assert capsys.readouterr() == ("", "")


def test_needs_a_model(tmp_path, capsys):
    assert "needs --model_name_or_path" in refusal(command(LOSS, tmp_path / "model"), capsys)


@pytest.fixture(scope="module")
def generators():
    nouns = ["dog", "man", "car", "tree", "red hat"]
    return [StatementGenerator(CAPTIONS[:40], nouns, seed=1), StatementGenerator(CAPTIONS[40:], nouns, seed=2)]


@pytest.fixture(scope="module")
def embed():
    model, tokenizer = tiny_model(CLIPModel), tiny_processor().tokenizer
    return lambda texts: embed_by_hand(model, tokenizer, texts)


@pytest.fixture(scope="module")
def teacher(generators, embed):
    return Teacher(embed, generators, beta=0.4, anchor_weight=0.5)


class TestTeacher:
    def test_targets_are_those_of_query_arithmetic(self, teacher, generators, embed):
        arithmetic = QueryArithmetic(embed, 0.4, 0.5)
        arithmetic.learn(generators[0].things(), generators[0].captions)
        for generator in generators:
            queries = [generator(3, index).query for index in range(60)]
            torch.testing.assert_close(teacher(queries), arithmetic(queries), rtol=0, atol=1e-5)

    def test_the_anchor_has_the_weight_of_what_captions_share(self, generators, embed):
        captions = embed(generators[0].captions)
        mean = [sum(column) / len(captions) for column in captions.T.tolist()]
        expected = sum(value**2 for value in mean) ** 0.25
        assert Teacher(embed, generators).arithmetic.anchor_weight == pytest.approx(expected, abs=1e-5)
        assert common_part(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == 0
        assert common_part(torch.tensor([[0.6, 0.8], [0.6, 0.8]])) == pytest.approx(1)

    def test_every_text_was_embedded_before_training(self, generators, embed):
        asked = []
        teacher = Teacher(lambda texts: asked.extend(texts) or embed(texts), generators)
        before = len(asked)
        assert len(set(asked)) == before
        for generator in generators:
            teacher([generator(epoch, index).query for epoch in range(4) for index in range(300)])
        assert len(asked) == before

    def test_the_second_moment_is_that_of_captions_and_directions(self, teacher, generators, embed):
        captions, directions = embed(generators[0].captions), teacher.arithmetic.direction(generators[0].things())
        expected = 0.8 * sum(torch.outer(v, v) for v in captions) / len(captions)
        expected = expected + 0.2 * sum(torch.outer(v, v) for v in directions) / len(directions)
        torch.testing.assert_close(teacher.second_moment, expected, rtol=0, atol=1e-5)


class TestRows:
    @pytest.fixture
    def rows(self):
        tokenizer = text_tokenizer(tiny_model(), tiny_processor())
        rows = StatementRows(StatementGenerator(CAPTIONS, ["dog", "man", "car"], seed=5), tokenizer, 40)
        rows.use_targets(lambda queries: torch.arange(len(queries))[:, None].float(), torch.eye(2))
        return rows

    def test_a_batch_holds_the_statements_of_its_rows(self, rows):
        rows.set_epoch(2)
        columns = rows.__getitems__([7, 3])
        texts = [rows.generator(2, 7).text, rows.generator(2, 3).text]
        expected = tiny_processor().tokenizer(texts)["input_ids"]
        assert [[id for id in row if id != PADDING] for row in columns["statements"].tolist()] == expected
        assert columns["text_targets"].tolist() == [[0.0], [1.0]] and len(rows) == 40
        assert len(np.unique(rows.keys())) == 40

    def test_each_epoch_has_others(self, rows):
        first = [statement.text for statement in rows.statements(range(40))]
        rows.set_epoch(1)
        assert first != [statement.text for statement in rows.statements(range(40))]
        rows.set_epoch(0)
        assert first == [statement.text for statement in rows.statements(reversed(range(40)))][::-1]

    def test_statements_are_packed_behind_captions(self):
        collator = PairCollator(None, mini_batch_size=2)
        short, long = np.array([[5, 6, PADDING], [5, 7, 8]], np.int32), np.array([[5, 6, 7, 9]], np.int32)
        batch = collator({"image_embeds": torch.ones(2, 4), "texts": short, "statements": long})
        embeds = tiny_model()
        with torch.no_grad():
            together = embeds.embed_packed_texts(batch["packed_texts"])
            apart = torch.cat([embeds.embed_packed_texts(pack_texts(part)) for part in (short, long)])
        torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_the_evaluator_ranks_targets_as_a_plain_loop():
    generator = StatementGenerator(CAPTIONS, ["dog", "man", "car", "tree"], seed=4)
    vectors = {}

    def targets(queries):
        rng = random.Random(0)
        for query in queries:
            vectors.setdefault(query, torch.tensor([rng.gauss(0, 1) for _ in range(6)]))
        return torch.nn.functional.normalize(torch.stack([vectors[query] for query in queries]), dim=1)

    tokenizer = text_tokenizer(tiny_model(), tiny_processor())
    evaluator = StatementEvaluator(generator, tokenizer, 80, targets)
    noise = torch.randn(80, 6, generator=torch.Generator().manual_seed(0))
    embeds = torch.nn.functional.normalize(evaluator.targets + 0.7 * noise, dim=1)
    found = evaluator(lambda tokens: embeds)
    statements = [generator(0, index) for index in range(80)]
    distinct = list(dict.fromkeys(statement.query for statement in statements))
    pool = targets(distinct)
    right = [distinct[int((pool @ row).argmax())] == own.query for row, own in zip(embeds, statements, strict=True)]
    assert found[FOUND]["value"] == sum(right) / 80 and 0.1 < sum(right) / 80 < 0.9
    assert found[FOUND]["chance"] == pytest.approx(1 / len(distinct))
    for kind, part in found[FOUND]["categories"].items():
        own = [value for value, statement in zip(right, statements, strict=True) if statement.kind == kind]
        assert (part["accuracy"], part["count"]) == (sum(own) / len(own), len(own))
    plain = [at for at, statement in enumerate(statements) if statement.kind == "affirmative"]
    expected = sum(float(embeds[at] @ evaluator.targets[at]) for at in plain) / len(plain)
    assert found[KEPT] == {"value": pytest.approx(expected), "count": len(plain), "ties": 0, "chance": 0.0}


def test_an_embedding_outside_the_base_is_an_error():
    teacher = Teacher(
        lambda texts: torch.eye(8)[: len(texts)] if len(texts) <= 8 else torch.randn(len(texts), 8),
        [StatementGenerator(CAPTIONS, ["dog", "man", "car"], seed=1)],
    )
    with pytest.raises(KeyError, match="has not embedded"):
        teacher.arithmetic(["an entirely new text"])


def test_model_class(inputs):
    assert ConCLIPModel.from_pretrained(inputs["model_name_or_path"]).config.distillation_weight == 1.0
