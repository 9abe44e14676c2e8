"""The image encoder is frozen and in eval mode by default; logit_scale stays within bounds."""

import math

import pytest
import torch
from tiny import save_tiny, tiny_batch, tiny_model
from transformers import CLIPModel

from modeling_conclip import ConCLIPModel

IMAGE_SIDE = ("vision_model.", "visual_projection.")
# Dropout, which CLIP has in its attention alone, makes train and eval mode tell apart.
DROPOUT = {"vision": {"attention_dropout": 0.5}, "text": {"attention_dropout": 0.5}}


def trained_names(model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def sides(model) -> tuple[set[str], set[str]]:
    """The names of the parameters of the image encoder, and of all others."""
    names = {name for name, _ in model.named_parameters()}
    image_side = {name for name in names if name.startswith(IMAGE_SIDE)}
    assert image_side and names - image_side
    return image_side, names - image_side


def is_random(model, features, inputs) -> bool:
    one, other = (getattr(model, features)(inputs).pooler_output for _ in range(2))
    return not torch.equal(one, other)


def assert_frozen(model):
    image_side, others = sides(model)
    batch = tiny_batch()
    assert trained_names(model) == others and "logit_scale" in others and "text_projection.weight" in others
    assert model.image_encoder_is_frozen is True
    model.train()
    assert model.training and model.text_model.training
    assert not any(module.training for module in model.vision_model.modules())
    assert not model.visual_projection.training
    assert not is_random(model, "get_image_features", batch["pixel_values"])
    assert is_random(model, "get_text_features", batch["input_ids"])
    model(**batch, return_loss=True).loss.backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == others
    model.eval()
    assert not any(module.training for module in model.modules())


def assert_free(model):
    batch = tiny_batch()
    assert trained_names(model) == set.union(*sides(model))
    assert model.image_encoder_is_frozen is False
    model.train()
    assert all(module.training for module in model.modules())
    assert is_random(model, "get_image_features", batch["pixel_values"])


@pytest.mark.parametrize("loaded", [False, True])
def test_frozen_by_default(tmp_path, loaded):
    model = save_tiny(tmp_path, **DROPOUT)
    assert_frozen(ConCLIPModel.from_pretrained(tmp_path) if loaded else model)


@pytest.mark.parametrize("loaded", [False, True])
def test_free_by_the_config(tmp_path, loaded):
    model = save_tiny(tmp_path, freeze_image_encoder=False, **DROPOUT)
    assert_free(ConCLIPModel.from_pretrained(tmp_path) if loaded else model)


def test_free_by_an_argument_of_from_pretrained(tmp_path):
    save_tiny(tmp_path, **DROPOUT)
    assert_free(ConCLIPModel.from_pretrained(tmp_path, freeze_image_encoder=False))


def test_free_and_frozen_again_by_the_method(tmp_path):
    model = tiny_model(**DROPOUT).train()
    model.freeze_image_encoder(False)
    assert model.vision_model.training and model.config.freeze_image_encoder is False
    assert_free(model)
    model.save_pretrained(tmp_path)
    assert_free(ConCLIPModel.from_pretrained(tmp_path))
    model.freeze_image_encoder()
    assert not model.vision_model.training and model.text_model.training and model.config.freeze_image_encoder is True
    assert_frozen(model)


def test_freezing_the_text_side_instead():
    """As in LiT: any part without trainable parameters is in eval mode."""
    model = tiny_model(freeze_image_encoder=False, **DROPOUT)
    model.text_model.requires_grad_(False)
    model.train()
    assert model.vision_model.training and not any(module.training for module in model.text_model.modules())


def test_a_step_leaves_the_image_side_as_it_was():
    model = tiny_model().train()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.2)
    model(**tiny_batch(), return_loss=True).loss.backward()
    optimizer.step()
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    # Embeddings of tokens that no caption contains change by weight decay alone.
    assert changed == sides(model)[1]


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing(use_reentrant, recwarn):
    """The text encoder is computed twice and gives the same gradients; the frozen encoder is computed once."""
    model, batch, calls = tiny_model(), tiny_batch(), {}

    def gradients():
        calls.update(text=0, vision=0)
        model.train().zero_grad()
        model(**batch, return_loss=True).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    for name, encoder in (("text", model.text_model), ("vision", model.vision_model)):
        mlp = encoder.encoder.layers[0].mlp
        mlp.register_forward_pre_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    expected = gradients()
    assert calls == {"text": 2, "vision": 2}  # captions and negated captions, images and distractors
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    recwarn.clear()  # of the library's own renaming of that method
    actual = gradients()
    assert calls == {"text": 4, "vision": 2}
    assert expected.keys() == actual.keys() == sides(model)[1]
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, rtol=1e-4, atol=1e-6)
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize(("before", "after"), [(-1.0, 0.0), (2.5, 2.5), (4.7, math.log(100)), (math.log(100),) * 2])
def test_clamp_logit_scale(before, after):
    model = tiny_model(logit_scale_init_value=before)
    parameter = model.logit_scale
    model.clamp_logit_scale()
    assert model.logit_scale is parameter and parameter.requires_grad
    assert parameter.item() == pytest.approx(after, abs=1e-6)
    assert math.exp(parameter.item()) <= 100.0001


def test_no_new_parameter():
    ours, stock = (
        {name: tensor.shape for name, tensor in model.state_dict().items()}
        for model in (tiny_model(), tiny_model(CLIPModel))
    )
    assert ours == stock


def test_a_model_that_is_loaded_with_information_is_frozen_too(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    model, information = ConCLIPModel.from_pretrained(tmp_path, output_loading_info=True)
    assert model.image_encoder_is_frozen and not information["missing_keys"]
