"""Negation distillation of other families' text encoders: from texts alone, saved in their own class."""

import json

import numpy as np
import pytest
import torch
from other_models import save_other
from peft import PeftModel
from runs import command, log, refusal, results, run, weights
from tiny import tiny_model, tiny_processor
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, CLIPModel

from conclip.embedding.tokens import TextTokens
from conclip.errors import UsageError
from conclip.models.loading import load_dual_encoder, load_text_model
from conclip.models.saving import save_model
from conclip.models.text_distillation import TextDistillationModel, pad_texts
from conclip.negation.plain_captions import plain_captions
from modeling_conclip import ConCLIPModel
from modeling_conclip.packing_conclip import PADDING

FAMILIES = {
    "align": "AlignModel",
    "blip": "BlipForImageTextRetrieval",
    "chinese_clip": "ChineseCLIPModel",
    "siglip": "SiglipModel",
    "siglip2": "Siglip2Model",
}
# Of different lengths.
TEXTS = ["no cat", "a red dog and no cat", "a dog", "no red dog"]
LOSS = {"loss": "negation_distillation"}
WEIGHTS = {"cosine_weight": 4.0, "profile_weight": 0.3}


def some_rows(count, width, seed):
    return normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def batch_of(model, tokens: TextTokens, pieces=1):
    """The inputs of the model's forward, with random targets."""
    texts = tokens[range(len(tokens))]
    with torch.no_grad():
        width = model.eval().embed_packed_texts(model.pack_texts(texts)).shape[1]
    views = some_rows(20, width, 1)
    targets = some_rows(len(texts), width, 2)
    packed = model.pack_texts(texts, pieces)
    return {"packed_texts": packed, "text_targets": targets, "second_moment": views.T @ views / 20}


def learn(model, batch, steps=12):
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=3e-3)
    losses = []
    for _ in range(steps):
        loss = model.train()(**batch, return_loss=True).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def embeds_of(model, texts):
    tokens = model.make_tokenizer()(texts)
    with torch.no_grad():
        return normalize(model.eval().embed_packed_texts(model.pack_texts(tokens[range(len(tokens))])), dim=1)


def own_embeds(family, folder, texts):
    """By transformers' classes alone, one text at a time; the siglips pad to the full length."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    options = {}
    if family.startswith("siglip"):
        options = {"padding": "max_length", "max_length": 24, "padding_side": "right"}
        options |= {"truncation": True, "return_attention_mask": False, "return_token_type_ids": False}
    with torch.no_grad():
        tokens = [tokenizer([text], return_tensors="pt", **options) for text in texts]
        return normalize(torch.cat([model.get_text_features(**own).pooler_output for own in tokens]), dim=1)


def without_dtype(config: dict) -> dict:
    """A model that is loaded in float32 also says so in the configs of its encoders."""
    return {
        name: without_dtype(value) if isinstance(value, dict) else value
        for name, value in config.items()
        if name != "dtype"
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_statements_move_to_their_targets_and_the_folder_is_of_the_familys_class(family, tmp_path):
    base = save_other(tmp_path / "base", family)
    given, tokenizer, surplus = load_text_model(str(tmp_path / "base"))
    assert type(given).__name__ == FAMILIES[family] and surplus == []
    model = TextDistillationModel(given, tokenizer, **WEIGHTS)
    # Before training, the embeddings are those that `conclip evaluate` compares.
    expected = normalize(load_dual_encoder(str(tmp_path / "base")).embed_texts(TEXTS), dim=1)
    torch.testing.assert_close(embeds_of(model, TEXTS), expected, rtol=0, atol=1e-5)

    batch = batch_of(model, model.make_tokenizer()(TEXTS))
    before = (embeds_of(model, TEXTS) * batch["text_targets"]).sum(dim=1)
    losses = learn(model, batch)
    after = embeds_of(model, TEXTS)
    assert losses[-1] < 0.8 * losses[0]
    assert ((after * batch["text_targets"]).sum(dim=1) > before + 0.05).all()

    save_model(model.encoder.model, tokenizer, tmp_path / "out")
    loaded = load_dual_encoder(str(tmp_path / "out"))
    assert type(loaded.model).__name__ == FAMILIES[family]
    torch.testing.assert_close(normalize(loaded.embed_texts(TEXTS), dim=1), after, rtol=0, atol=1e-5)
    if family != "blip":
        assert type(AutoModel.from_pretrained(tmp_path / "out")).__name__ == FAMILIES[family]
        torch.testing.assert_close(own_embeds(family, tmp_path / "out", TEXTS), after, rtol=0, atol=1e-5)
    old, new = base.state_dict(), weights(tmp_path / "out")
    changed = {name for name in new if not torch.equal(new[name], old[name])}
    assert old.keys() == new.keys() and changed
    assert all(name.startswith("text_") for name in changed), changed
    for path in (tmp_path / "base").iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name
    config, old = (
        without_dtype(json.loads((tmp_path / name / "config.json").read_text())) for name in ("out", "base")
    )
    assert config == old


@pytest.mark.parametrize("family", ["siglip", "chinese_clip"])
def test_several_pieces_give_the_gradient_of_one(family, tmp_path):
    save_other(tmp_path, family)
    model = TextDistillationModel(*load_text_model(str(tmp_path))[:2], **WEIGHTS)
    tokens, gradients = model.make_tokenizer()(TEXTS), []
    for pieces in (1, 3):
        batch = batch_of(model, tokens, pieces)
        # In eval mode: the pieces draw other dropout.
        model.eval()(**batch, return_loss=True).loss.backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad})
        model.zero_grad()
    assert len(gradients[0]) > 10 and all(gradient is not None for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-5)


def test_a_clip_has_the_loss_and_gradient_of_the_packed_path():
    plain, own, tokenizer = tiny_model(CLIPModel), tiny_model(ConCLIPModel), tiny_processor().tokenizer
    own.load_state_dict(plain.state_dict())
    own.logit_scale.requires_grad_(False)
    model = TextDistillationModel(plain, tokenizer, cosine_weight=2.0, profile_weight=0.7)
    own.config.cosine_weight, own.config.profile_weight = 2.0, 0.7
    tokens = model.make_tokenizer()(["a photo of a cat but no dog", "no cat", "a man not riding a horse"])
    batch = batch_of(model, tokens)
    packed = {**batch, "packed_texts": own.pack_texts(tokens[range(3)])}
    found, expected = model(**batch, return_loss=True), own(**packed, return_loss=True)
    for name in ("loss", "loss_cosine", "loss_profile", "target_text_embeds"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)
    found.loss.backward()
    expected.loss.backward()
    reached = {name: weight.grad for name, weight in own.named_parameters() if weight.grad is not None}
    trained = {name for name, weight in plain.named_parameters() if weight.requires_grad}
    assert trained == reached.keys()
    for name, weight in plain.named_parameters():
        if weight.requires_grad:
            torch.testing.assert_close(weight.grad, reached[name], rtol=1e-3, atol=1e-5)


def test_the_scale_of_each_family(tmp_path):
    """SigLIP multiplies cosines by exp(logit_scale), ALIGN divides them by its temperature, BLIP does neither."""
    for family, scale in (("siglip", 7.0), ("align", 1 / 0.25), ("blip", 100.0)):
        save_other(tmp_path / family, family)
        model = load_dual_encoder(str(tmp_path / family))
        for name, value in (("logit_scale", np.log(7.0)), ("temperature", 0.25)):
            if hasattr(model.model, name):
                getattr(model.model, name).data.fill_(value)
        assert model.logit_scale.exp().item() == pytest.approx(scale, rel=1e-5)


def test_padding():
    texts = np.array([[4, 5, 6, 7], [4, 8, PADDING, PADDING], [9, PADDING, PADDING, PADDING]])
    short, long = pad_texts(texts, 2, pad_token_id=3)
    assert short["input_ids"].tolist() == [[9, 3], [4, 8]] and short["attention_mask"].tolist() == [[1, 0], [1, 1]]
    assert short["rows"].tolist() == [2, 1] and long["rows"].tolist() == [0]
    assert long["input_ids"].tolist() == [[4, 5, 6, 7]] and long["attention_mask"].tolist() == [[1] * 4]


class TestRefuses:
    def test_a_model_without_text_features(self):
        model = BertModel(BertConfig(vocab_size=2000, hidden_size=32, num_attention_heads=2, num_hidden_layers=1))
        with pytest.raises(UsageError, match="a bert model cannot be trained on texts"):
            TextDistillationModel(model, tiny_processor().tokenizer)

    def test_a_model_that_reads_the_padding(self, tmp_path, monkeypatch):
        """As SigLIP would be if it were an unknown family."""
        save_other(tmp_path, "siglip")
        monkeypatch.setattr("conclip.models.loading.FAMILIES", {})
        model, tokenizer, _ = load_text_model(str(tmp_path))
        with pytest.raises(UsageError, match="a siglip model embeds a text differently beside a longer one"):
            TextDistillationModel(model, tokenizer)

    def test_a_tokenizer_of_another_model(self, tmp_path):
        save_other(tmp_path, "siglip")
        with pytest.raises(UsageError, match="belongs to another model"):
            TextDistillationModel(load_text_model(str(tmp_path))[0], tiny_processor().tokenizer)

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"loss": "negclip"}, "a siglip model, not a CLIP: other families can be trained only with --loss neg"),
            ({}, "a siglip model, not a CLIP: other families can be trained only with --loss negation_distillation"),
            ({**LOSS, "truth_weight": 1.0}, "a siglip model, trained on texts alone: leave out --truth_weight"),
            ({**LOSS, "image_embeds_column": "image_embeds"}, "a siglip model, trained on texts alone: leave out"),
            ({**LOSS, "torch_compile": True}, "leave out --torch_compile"),
        ],
    )
    def test_what_only_clip_can(self, options, says, tmp_path, capsys):
        save_other(tmp_path / "siglip", "siglip")
        (tmp_path / "captions.txt").write_text("a cat\n", "utf-8")
        inputs = {"model_name_or_path": tmp_path / "siglip", "dataset_name": tmp_path / "captions.txt"}
        assert says in refusal(command({**inputs, **options}, tmp_path / "out"), capsys)


@pytest.fixture(scope="module")
def captions(tmp_path_factory):
    path = tmp_path_factory.mktemp("captions") / "captions.txt"
    path.write_text("\n".join(plain_captions(40, seed=3)) + "\n", "utf-8")
    return path


def test_a_run_from_captions_to_a_siglip(captions, tmp_path, monkeypatch):
    """With a report, a checkpoint to resume from, and gradient caching."""
    monkeypatch.setattr("conclip.training.trainer.HELD_OUT_STATEMENTS", 200)
    save_other(tmp_path / "siglip", "siglip")
    inputs = {"model_name_or_path": tmp_path / "siglip", "dataset_name": captions, **LOSS}
    options = {"max_steps": 4, "save_steps": 2, "mini_batch_size": 4}
    assert run(command(inputs, tmp_path / "out", **options)) == 0
    found = results(tmp_path / "out")
    assert found["before"].keys() == found["after"].keys() and len(found["after"]) == 2
    assert found["model"]["family"] == "siglip" and found["model"]["class"] == "SiglipModel"
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "`SiglipModel` of transformers" in card and "CLIPModel" not in card and str(tmp_path) not in card
    assert type(AutoModel.from_pretrained(tmp_path / "out")).__name__ == "SiglipModel"
    steps = [line for line in log(tmp_path / "out") if "train/loss" in line]
    assert len(steps) == 4
    for line in steps:
        terms = 4 * line["train/loss_cosine"] + 0.3 * line["train/loss_profile"]
        assert line["train/loss"] == pytest.approx(terms, rel=1e-5)

    resumed = {**options, "resume_from_checkpoint": tmp_path / "out" / "checkpoint-2"}
    assert run(command(inputs, tmp_path / "again", **resumed)) == 0
    one, other = weights(tmp_path / "out"), weights(tmp_path / "again")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_adapters_on_an_align_in_bf16(captions, tmp_path):
    base = save_other(tmp_path / "align", "align")
    inputs = {"model_name_or_path": tmp_path / "align", "dataset_name": captions, "eval_split": "none", **LOSS}
    assert run(command(inputs, tmp_path / "out", max_steps=2, use_lora=True, bf16=True)) == 0
    old, merged = base.state_dict(), AutoModel.from_pretrained(tmp_path / "out").state_dict()
    changed = {name for name in merged if not torch.equal(merged[name], old[name])}
    assert changed and all(".attention." in name or "dense" in name for name in changed)
    adapted = PeftModel.from_pretrained(AutoModel.from_pretrained(tmp_path / "align"), tmp_path / "out" / "adapter")
    again = adapted.merge_and_unload().state_dict()
    assert all(torch.allclose(again[name], tensor, atol=1e-6) for name, tensor in merged.items())
    config = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text("utf-8"))
    assert config["auto_mapping"]["base_model_class"] == "AlignModel"
    assert "AlignModel" in (tmp_path / "out" / "adapter" / "README.md").read_text("utf-8")
