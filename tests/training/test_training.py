"""train_accelerate.py from the command line to the saved folder, in this process."""

import json

import pytest
import torch
from datasets import load_dataset
from peft import PeftModel
from runs import ROWS, command, log, results, run, weights, write_inputs
from transformers import CLIPModel, CLIPProcessor, pipeline

import conclip.training.loop as training
from modeling_conclip import ConCLIPModel


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    """One run with the default loss, shared by several tests."""
    output_dir = tmp_path_factory.mktemp("run") / "model"
    assert run(command(inputs, output_dir, report_to=["jsonl", "tensorboard"])) == 0
    return output_dir


def test_a_run_leaves_model_results_picture_card_and_logs(finished, inputs):
    left = {path.name for path in finished.iterdir()}
    assert {"model.safetensors", "config.json", "results.json", "scores.png", "README.md", "metrics.jsonl"} <= left
    assert not [name for name in left if name.startswith("unfinished")]
    assert list(finished.rglob("events.out.tfevents*"))
    assert (finished / "scores.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    labels = pipeline("zero-shot-image-classification", model=str(finished))
    image = load_dataset(inputs["dataset_name"], split="test")[0]["image"]
    assert len(labels(image, candidate_labels=["a red circle", "no circle"])) == 2


def test_image_tower_is_untouched_and_the_rest_learned(finished, inputs):
    before, after = ConCLIPModel.from_pretrained(inputs["model_name_or_path"]).state_dict(), weights(finished)
    assert before.keys() == after.keys()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in after if not name.startswith(("vision_model", "visual_projection"))}


def test_reported_scores_are_those_of_the_saved_folder(finished, inputs):
    """Score with a plain loop over rows and captions and a stock CLIP."""
    found = results(finished)
    model, processor = CLIPModel.from_pretrained(finished).eval(), CLIPProcessor.from_pretrained(finished)
    rows = load_dataset(inputs["dataset_name"], split="test")

    def score(image, text):
        with torch.no_grad():
            output = model(**processor(images=image, text=text, return_tensors="pt"))
        return output.logits_per_image.item() / model.logit_scale.exp().item()

    right = [score(row["image"], row["caption"]) > score(row["image"], row["negated_captions"][0]) for row in rows]
    assert found["after"]["negation pair accuracy"]["value"] == pytest.approx(sum(right) / len(right))
    true = [
        score(row["image"], true) > score(row["image"], foil)
        for row in rows
        for true, foil in zip(row["true_negations"], row["true_negation_foils"], strict=True)
    ]
    assert found["after"]["true negation accuracy"]["value"] == pytest.approx(sum(true) / len(true))
    assert found["after"]["true negation accuracy"]["count"] == 2 * ROWS["test"]
    scores = [[score(image, caption) for image in rows["image"]] for caption in rows["caption"]]
    hits = [max(range(len(row)), key=row.__getitem__) == at for at, row in enumerate(scores)]
    assert found["after"]["text-to-image recall@1"]["value"] == pytest.approx(sum(hits) / len(hits))
    assert found["after"]["text-to-image recall@1"]["chance"] == pytest.approx(1 / ROWS["test"])


def test_each_logged_step_has_the_terms_of_the_loss(finished):
    lines = [line for line in log(finished) if "train/loss" in line]
    assert [line["step"] for line in lines] == list(range(1, 9))
    for line in lines:
        terms = [line[f"train/loss_{name}"] for name in ("image_to_text", "text_to_image", "distractor")]
        assert line["train/loss"] == pytest.approx(sum(terms) / 3, rel=1e-6)
    assert [line["train/learning_rate"] for line in lines][1] == pytest.approx(1e-3)  # the end of the warm-up


def test_the_same_command_twice_gives_the_same_numbers(finished, inputs, tmp_path):
    run(command(inputs, tmp_path / "again"))
    again = weights(tmp_path / "again")
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights(finished).items())
    assert [line for line in log(tmp_path / "again")] == log(finished)
    run(command(inputs, tmp_path / "other", seed=1))
    assert log(tmp_path / "other") != log(finished)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_accumulation_steps": 2, "max_grad_norm": 0.5, "bf16": True},
        {"use_lora": True, "lora_dropout": 0.3, "dataloader_num_workers": 1},
        {"loss": "clip", "train_image_encoder": True},
    ],
    ids=["plain", "accumulation, clipping, bf16", "lora with dropout and a worker", "image encoder"],
)
def test_stopped_in_the_middle_of_an_epoch_and_resumed_ends_the_same(inputs, tmp_path, monkeypatch, options):
    options = {**options, "save_steps": 2, "max_steps": 9}
    assert run(command(inputs, tmp_path / "whole", **options)) == 0
    step, calls = training.train_step, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(training, "train_step", interrupted)
    assert run(command(inputs, tmp_path / "parts", **options)) == 130
    monkeypatch.undo()
    saved = sorted(path.name for path in (tmp_path / "parts").glob("checkpoint-*"))
    assert saved == (
        ["checkpoint-2", "checkpoint-4"]
        if "gradient_accumulation_steps" in options
        else ["checkpoint-6", "checkpoint-8"]
    )
    assert run(command(inputs, tmp_path / "parts", **options, resume_from_checkpoint="latest")) == 0
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    assert log(tmp_path / "parts") == log(tmp_path / "whole")


def test_lora_saves_an_adapter_and_the_merged_model(inputs, tmp_path):
    assert run(command(inputs, tmp_path / "out", use_lora=True, lora_rank=4)) == 0
    base = ConCLIPModel.from_pretrained(inputs["model_name_or_path"])
    adapted = PeftModel.from_pretrained(
        ConCLIPModel.from_pretrained(inputs["model_name_or_path"]), tmp_path / "out/adapter"
    )
    merged = CLIPModel.from_pretrained(tmp_path / "out")
    tokens = {"input_ids": torch.tensor([[600, 5, 9, base.config.text_config.eos_token_id]])}
    outputs = [
        model.get_text_features(**tokens).pooler_output
        for model in (merged.eval(), adapted.get_base_model().eval(), base)
    ]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-6)
    assert (outputs[0] - outputs[2]).abs().max() > 1e-4
    config = json.loads((tmp_path / "out/adapter/adapter_config.json").read_text())
    assert config["r"] == 4 and config["base_model_name_or_path"] == "clip"
    unchanged = weights(tmp_path / "out")["logit_scale"] == base.logit_scale
    assert unchanged, "logit_scale is frozen under LoRA"


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        ({"loss": "negclip"}, {"image_to_text": 1, "text_to_image": 1}),
        ({"loss": "clip"}, {"image_to_text": 1, "text_to_image": 1}),
        ({"text_to_image_weight": 0, "distractor_weight": 0}, {"image_to_text": 1}),
        ({"image_to_text_weight": 0, "distractor_weight": 0}, {"text_to_image": 1}),
        ({"distractor_weight": 0}, {"image_to_text": 1, "text_to_image": 1}),
        ({"image_to_text_weight": 2}, {"image_to_text": 2, "text_to_image": 1, "distractor": 1}),
    ],
    ids=str,
)
def test_losses_and_ablations_from_the_command_line(inputs, tmp_path, options, terms):
    assert run(command(inputs, tmp_path, max_steps=1, eval_split="none", **options)) == 0
    [line] = log(tmp_path)
    mean = sum(weight * line[f"train/loss_{name}"] for name, weight in terms.items()) / sum(terms.values())
    assert line["train/loss"] == pytest.approx(mean, rel=1e-6)
    assert ("train/loss_distractor" in line) == (options.get("loss") is None)
    assert "after" not in results(tmp_path)


def test_a_single_text_and_image_a_row_will_do(inputs, tmp_path):
    """Columns have other names, and hold texts and images that are not in lists."""
    splits = load_dataset(inputs["dataset_name"])
    splits = splits.map(lambda row: {"wrong": row["negated_captions"][0], "look": row["distractor_images"][0]})
    splits = splits.rename_column("caption", "text").select_columns(["image", "text", "wrong", "look"])
    for name, split in splits.items():
        split.to_parquet(tmp_path / "data" / f"{name}.parquet")
    argv = command(
        {**inputs, "dataset_name": tmp_path / "data"},
        tmp_path / "out",
        caption_column="text",
        negated_caption_column="wrong",
        distractor_image_column="look",
    )
    assert run(argv) == 0
    assert "true negation accuracy" not in results(tmp_path / "out")["after"]
    assert results(tmp_path / "out")["after"]["negation pair accuracy"]["count"] == ROWS["test"]
