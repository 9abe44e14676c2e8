"""Encoders of other families: their cosines are the logits of transformers' own forward passes."""

import json
import shutil

import pytest
import torch
from other_models import FAMILIES, LETTERS, SIGLIP_LENGTH, TEXTS, save_other, some_images
from tiny import save_tiny
from transformers import AutoProcessor, BlipForConditionalGeneration, BlipModel, CLIPModel

from conclip.errors import UsageError
from conclip.models import loading
from conclip.models.blip import BlipMatcher
from conclip.models.loading import load_dual_encoder

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Family -> folder and model."""
    folder = tmp_path_factory.mktemp("models")
    return {family: (folder / family, save_other(folder / family, family)) for family in FAMILIES}


def spelled(text):
    """A text as SigLIP 2 is given it, by hand: lower case, end of text, padding to the full length."""
    ids = [LETTERS.index(letter) for letter in text.lower().replace(" ", "▁")] + [LETTERS.index("<eos>")]
    return torch.tensor([ids + [LETTERS.index("<pad>")] * (SIGLIP_LENGTH - len(ids))])


@torch.no_grad()
def logit(family, model, processor, image, text):
    """Of one image and one text by the model's own forward pass, and the cosine that belongs to it."""
    pixels = processor.image_processor([image], return_tensors="pt")
    if family.startswith("siglip"):
        output = model(input_ids=spelled(text), **pixels)
        value = output.logits_per_image
        return value, (value - model.logit_bias) / model.logit_scale.exp()
    tokens = processor.tokenizer([text], return_tensors="pt")
    if family == "align":
        value = model(**tokens, **pixels).logits_per_image
        return value, value * model.temperature
    if family == "chinese_clip":
        value = model(**tokens, **pixels).logits_per_image
        return value, value / model.logit_scale.exp()
    if family == "flava":
        value = model(**tokens, **pixels, return_loss=False).contrastive_logits_per_image
        return value, value / model.flava.logit_scale.exp()
    tokens.pop("token_type_ids")
    value = model(**tokens, **pixels, use_itm_head=False).itm_score
    return value, value


def cosines(encoder, images, texts):
    image_embeds = encoder.embed_images(**encoder.preprocess(images)).double()
    text_embeds = encoder.embed_texts(texts).double()
    norms = image_embeds.norm(dim=1)[:, None] * text_embeds.norm(dim=1)
    return image_embeds @ text_embeds.T / norms


@pytest.mark.parametrize("family", FAMILIES)
def test_cosines_are_those_of_the_models_own_logits(saved, family):
    """Each pair alone in the forward pass, all together in the encoder."""
    folder, model = saved[family]
    processor, images = AutoProcessor.from_pretrained(folder), some_images()
    own = torch.tensor([[logit(family, model, processor, i, t)[1].item() for t in TEXTS] for i in images]).double()
    # Otherwise the comparison would say little.
    assert own.std(0).min() > 0.01 and own.std(1).min() > 0.01
    encoder = load_dual_encoder(str(folder))
    assert not encoder.training and isinstance(encoder, BlipMatcher) == (family == "blip")
    assert torch.allclose(cosines(encoder, images, TEXTS), own, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_has_the_embedding_that_it_has_alone(saved, family):
    encoder, images = load_dual_encoder(str(saved[family][0])), some_images()
    together = encoder.embed_texts(TEXTS)
    alone = torch.cat([encoder.embed_texts([text]) for text in TEXTS])
    assert together.dtype == torch.float32 and together.shape == (len(TEXTS), together.shape[1])
    assert torch.allclose(together, alone, atol=TOLERANCE)
    together = encoder.embed_images(**encoder.preprocess(images))
    alone = torch.cat([encoder.embed_images(**encoder.preprocess([image])) for image in images])
    assert together.dtype == torch.float32 and together.shape == (len(images), alone.shape[1])
    assert torch.allclose(together, alone, atol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_long_texts_are_cut_to_the_length_of_the_text_encoder(saved, family):
    encoder = load_dual_encoder(str(saved[family][0]))
    long = " ".join(["cat", "dog"] * 100)
    tokens = encoder.tokenize([long, "a"])["input_ids"]
    assert tokens.shape == (2, 24 if family.startswith("siglip") else 64)
    # The end-of-text token stays.
    assert tokens[0, -1] == encoder.tokenizer.convert_tokens_to_ids(
        "<eos>" if family.startswith("siglip") else "[SEP]"
    )
    assert encoder.embed_texts([long]).isfinite().all()


@pytest.mark.parametrize("family", ["siglip", "siglip2"])
def test_siglip_reads_lower_case(saved, family):
    encoder = load_dual_encoder(str(saved[family][0]))
    upper, lower, other = encoder.embed_texts(["A Cat", "a cat", "a dog"])
    assert torch.equal(upper, lower) and not torch.allclose(lower, other, atol=1e-2)


def test_siglips_own_tokenizer_sees_to_case_itself(saved):
    encoder = load_dual_encoder(str(saved["siglip"][0]))
    encoder.tokenizer.canonicalize_text = str.lower
    assert encoder.tokenize(["A"])["input_ids"][0, 0] == LETTERS.index("A")


def test_grey_and_transparent_images(saved):
    encoder, (image, *_) = load_dual_encoder(str(saved["align"][0])), some_images()
    for mode in ("L", "RGBA", "P"):
        converted = image.convert(mode)
        expected = encoder.preprocess([converted.convert("RGB")])["pixel_values"]
        assert torch.equal(encoder.preprocess([converted])["pixel_values"], expected)


def test_weights_of_half_precision_are_widened(saved, tmp_path):
    folder, model = saved["siglip"]
    shutil.copytree(folder, tmp_path / "half")
    save_other(tmp_path / "half", "siglip").half().save_pretrained(tmp_path / "half")
    assert {weight.dtype for weight in load_dual_encoder(str(tmp_path / "half")).parameters()} == {torch.float32}


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refused(folder):
    with pytest.raises(UsageError) as error:
        load_dual_encoder(str(folder))
    message = str(error.value)
    assert str(folder) in message and "\n" not in message
    return message


def test_refuses_what_is_no_supported_model(tmp_path):
    save_tiny(tmp_path / "clip", CLIPModel)
    supported = "clip, align, blip, chinese_clip, flava, siglip, siglip2"
    assert f"a clip model; supported are {supported}" in refused(tmp_path / "clip")
    change_config(tmp_path / "clip", model_type="bert")
    assert "a bert model" in refused(tmp_path / "clip")
    (tmp_path / "empty").mkdir()
    assert "config.json missing" in refused(tmp_path / "empty")
    assert "no such folder" in refused(tmp_path / "nowhere")
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "siglip"')
    refused(tmp_path / "empty")


@pytest.mark.parametrize("family", ["flava", "siglip2"])
@pytest.mark.parametrize("files", [("tokenizer.json", "vocab.txt"), ("processor_config.json",)])
def test_refuses_a_folder_without_its_processor(saved, tmp_path, family, files):
    """Without files transformers makes a tokenizer of five special tokens, and says nothing."""
    shutil.copytree(saved[family][0], tmp_path / "model")
    for name in files:
        (tmp_path / "model" / name).unlink(missing_ok=True)
    assert "needs the files of its processor" in refused(tmp_path / "model")


def test_names_the_packages_that_siglips_tokenizer_needs(saved, monkeypatch):
    def refuse(*_, **__):
        raise ImportError("SiglipTokenizer requires the SentencePiece library\nbut it was not found")

    monkeypatch.setattr(loading.AutoTokenizer, "from_pretrained", refuse)
    assert "pip install sentencepiece protobuf" in refused(saved["siglip"][0])


def test_refuses_weights_that_do_not_fill_the_model(saved, tmp_path):
    """A BLIP that captions has no heads to compare with."""
    folder, model = saved["blip"]
    shutil.copytree(folder, tmp_path / "captions")
    for cls in (BlipForConditionalGeneration, BlipModel):
        cls(model.config).save_pretrained(tmp_path / "captions")
        message = refused(tmp_path / "captions")
        assert "do not fill the model of its config.json" in message and "more are missing" in message
