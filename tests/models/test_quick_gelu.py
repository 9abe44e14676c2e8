"""The warning of QuickGELU: where a model's name, what is recorded of it or its weights say OpenAI, and only there."""

import json

import pytest
import torch
from tiny import tiny_config, tiny_model
from transformers import CLIPConfig, CLIPModel

from conclip.models.quick_gelu import has_openai_vision_weights, quick_gelu_warning

GELU = {"hidden_act": "gelu"}
QUICK = {"hidden_act": "quick_gelu"}


def config(text=GELU, vision=GELU):
    return tiny_config(CLIPConfig, text=text, vision=vision)


def release(model):
    """As OpenAI's `convert_weights` does, by the names of the parameters: layer norms and embeddings stay float32."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or "class_embedding" in name or "position_embedding" in name:
                weight += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
            elif "token_embedding" not in name and name != "logit_scale":
                weight.copy_(weight.half().float())
    return model


def gelu_model(seed=0):
    return tiny_model(CLIPModel, seed, text=GELU, vision=GELU)


@pytest.mark.parametrize(
    "name",
    [
        "openai/clip-vit-base-patch32",
        "openai/clip-vit-large-patch14-336",
        "models/clip-vit-base-patch16/",
        "/data/CLIP-ViT-Large-Patch14",
        "sentence-transformers/clip-ViT-B-32",
        "someone/negclip-vit-b-32",
        "converted/NegCLIP",
        "converted/neg_clip_hf",
    ],
)
def test_known_names_with_gelu_are_warned_of(name):
    warning = quick_gelu_warning(name, config())
    assert name in warning and "by its name" in warning and "\n" not in warning
    assert "'gelu' in text_config and 'gelu' in vision_config" in warning
    assert warning.endswith('set hidden_act to "quick_gelu" in text_config and vision_config.')
    assert quick_gelu_warning(name, config(QUICK, QUICK), release(gelu_model())) is None


@pytest.mark.parametrize(
    "name",
    [
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
        "someone/negclip-laion-b-32",
        "someone/clip-vit-base-patch32-from-scratch",
        "someone/connectclip",
        "negclip/some-other-model",
        "not an id of the Hub?",
        "my-clip",
    ],
)
def test_others_are_not(name):
    assert quick_gelu_warning(name, config()) is None
    assert quick_gelu_warning(name, config(), gelu_model()) is None


def test_the_two_encoders_are_checked_separately():
    name = "openai/clip-vit-base-patch32"
    text = quick_gelu_warning(name, config({"hidden_act": "gelu_new"}, QUICK))
    assert "hidden_act is 'gelu_new' in text_config of" in text and text.endswith('"quick_gelu" in text_config.')
    vision = quick_gelu_warning(name, config(QUICK, GELU))
    assert "text_config" not in vision and vision.endswith('"quick_gelu" in vision_config.')
    # What a config does not mention is QuickGELU.
    assert quick_gelu_warning(name, CLIPConfig()) is None


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("README.md", "---\nlicense: mit\nbase_model: openai/clip-vit-base-patch32\n---\n# A model\n"),
        ("README.md", "---\nbase_model:\n- some/other\n- openai/clip-vit-large-patch14\n---\n"),
        ("config.json", json.dumps({"_name_or_path": "openai/clip-vit-base-patch16"})),
        ("config.json", json.dumps({"_name_or_path": "/old/disk/clip-vit-base-patch16"})),
        ("results.json", json.dumps({"base_model": "openai/clip-vit-base-patch32", "verdict": ""})),
    ],
)
def test_recorded_base_models_are_found(tmp_path, file, content):
    (tmp_path / file).write_text(content)
    warning = quick_gelu_warning(str(tmp_path), config())
    assert f"in {file} names " in warning and "clip-vit-" in warning
    (tmp_path / file).write_text(content.replace("openai/clip-vit", "laion/clip").replace("clip-vit", "clip"))
    assert quick_gelu_warning(str(tmp_path), config()) is None


def test_negclip_of_a_recorded_laion_model(tmp_path):
    folder = tmp_path / "negclip"
    folder.mkdir()
    assert quick_gelu_warning(str(folder), config())
    (folder / "README.md").write_text("---\nbase_model: laion/CLIP-ViT-B-32-laion2B-s34B-b79K\n---\n")
    assert quick_gelu_warning(str(folder), config()) is None


@pytest.mark.parametrize(
    "head", ["---\nbase_model: [\n---\n", "---\n- a\n---\n", "no head", "---\nbase_model: 3\n---\n"]
)
def test_damaged_records_are_none(tmp_path, head):
    (tmp_path / "README.md").write_text(head)
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "results.json").write_text("[1]")
    assert quick_gelu_warning(str(tmp_path), config()) is None


def test_released_weights_are_recognised_also_with_a_tuned_text_encoder():
    """A converted CoN-CLIP: the image encoder was frozen, every weight of the text encoder has changed."""
    model = release(gelu_model())
    assert has_openai_vision_weights(model)
    with torch.no_grad():
        for weight in [*model.text_model.parameters(), *model.text_projection.parameters(), model.logit_scale]:
            weight += 1e-4
    warning = quick_gelu_warning("my-clip", model.config, model)
    assert "image encoder" in warning and warning.endswith('"quick_gelu" in text_config and vision_config.')
    # They do not tell whether the text encoder is OpenAI's.
    assert quick_gelu_warning("my-clip", config(GELU, QUICK), model) is None


def test_a_single_tuned_weight_of_the_image_encoder_is_enough_to_miss_it():
    for part in ("visual_projection.weight", "vision_model.encoder.layers.1.mlp.fc2.bias"):
        model = release(gelu_model())
        with torch.no_grad():
            model.get_parameter(part).view(-1)[3] += 1e-6
        assert not has_openai_vision_weights(model), part


def test_weights_rounded_as_a_whole_bear_no_mark():
    for dtype in (torch.float16, torch.bfloat16):
        assert not has_openai_vision_weights(release(gelu_model()).to(dtype).float())
        assert not has_openai_vision_weights(gelu_model().to(dtype).float())
    # Nor do weights trained in bfloat16 with layer norms in float32.
    model = release(gelu_model())
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
                # Small ones are no float16 numbers; without them each bfloat16 number is one.
                layer.weight.copy_(layer.weight.clamp(min=0.01).bfloat16().float())
    assert not has_openai_vision_weights(model)
