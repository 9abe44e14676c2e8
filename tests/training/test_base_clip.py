"""Training on the scenes, made small: its base is a stock CLIP, trained once, kept, and resumed if interrupted."""

import json

import torch
from runs import log, results, run
from safetensors.torch import load_file
from transformers import CLIPModel

import conclip.training.scenes_base as base_clip
import conclip.training.scenes_text_encoder as text_encoder
from conclip.training.scenes_base import word_tokenizer


def argv(folder, *more):
    options = (
        "--loss conclip --per_device_train_batch_size 16 --max_steps 3 --dataloader_num_workers 0 --report_to jsonl"
    )
    return ["--output_dir", str(folder / "tuned"), *options.split(), *more]


def the_base(folder):
    [base] = folder.glob("scenes-base-*")
    assert not list(folder.glob("unfinished-*"))
    return base


def test_the_base_is_stock_clip_made_once_and_tuned_with_the_image_tower_frozen(small, tmp_path, capsys):
    assert run(argv(tmp_path, "--max_train_samples", "32")) == 0
    base = the_base(tmp_path)
    config = json.loads((base / "config.json").read_text())
    assert (
        config["architectures"] == ["CLIPModel"] and "auto_map" not in config and "image_to_text_weight" not in config
    )
    trained, tuned = load_file(base / "model.safetensors"), load_file(tmp_path / "tuned/model.safetensors")
    same = {name for name, tensor in trained.items() if torch.equal(tensor, tuned[name])}
    assert same == {name for name in trained if name.startswith(("vision_model", "visual_projection"))}
    assert results(tmp_path / "tuned")["base_model"] == base.name
    assert "Training the base CLIP" in capsys.readouterr().out
    made = (base / "model.safetensors").stat().st_mtime_ns
    assert run(argv(tmp_path)) == 0
    assert the_base(tmp_path) == base and (base / "model.safetensors").stat().st_mtime_ns == made
    assert "Training the base CLIP" not in capsys.readouterr().out


def test_an_interrupted_base_continues_and_ends_the_same(small, tmp_path, monkeypatch):
    assert run(argv(tmp_path / "whole")) == 0
    text_loss, calls = text_encoder.true_images_loss, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return text_loss(*arguments)

    monkeypatch.setattr(text_encoder, "true_images_loss", interrupted)
    assert run(argv(tmp_path / "parts")) == 130
    assert not list((tmp_path / "parts").glob("scenes-base-*"))
    # The image encoder is there already.
    monkeypatch.setattr(base_clip, "train_image_encoder", None)
    assert run(argv(tmp_path / "parts")) == 0
    assert len(calls) == 3 + 4
    whole, parts = (CLIPModel.from_pretrained(the_base(tmp_path / name)).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    assert log(tmp_path / "whole/tuned") == log(tmp_path / "parts/tuned")


def test_the_base_does_not_depend_on_the_seed_of_the_tuning(small, tmp_path):
    for name, seed in (("a", "1"), ("b", "2")):
        assert run(argv(tmp_path / name, "--seed", seed)) == 0
    first, second = (load_file(the_base(tmp_path / name) / "model.safetensors") for name in "ab")
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert log(tmp_path / "a/tuned") != log(tmp_path / "b/tuned")


def test_known_words_are_one_token_and_the_rest_is_spelled_out():
    words = ["without", "with", "no", "not", "nothing", "circle", "a"]
    tokenizer = word_tokenizer(words)
    for word in words:
        assert tokenizer.tokenize(word) == [f"{word}</w>"]
    unknown = tokenizer("Zürich 7!")["input_ids"]
    assert unknown.count(tokenizer.eos_token_id) == 1 and tokenizer.decode(unknown[1:-1]) == "zürich 7 !"
