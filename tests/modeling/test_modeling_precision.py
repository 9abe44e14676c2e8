"""Dtypes: logits and loss are float32 or wider whatever the encoders compute in."""

import pytest
import torch
from tiny import tiny_batch, tiny_model
from transformers import CLIPModel

IN_FLOAT32 = (
    "loss",
    "loss_image_to_text",
    "loss_text_to_image",
    "loss_distractor",
    "logits_per_image",
    "logits_per_text",
    "text_embeds",
)
IN_FLOAT32 += ("image_embeds", "negated_text_embeds", "distractor_image_embeds")


def at_scale_100(model):
    """At the largest allowed scale, where rounded logits would do most harm."""
    with torch.no_grad():
        model.logit_scale.fill_(100.0).log_()
    return model


@pytest.mark.parametrize("training", [False, True])
def test_autocast_to_bf16(training):
    model, batch = at_scale_100(tiny_model()).train(training), tiny_batch()
    expected = model(**batch, return_loss=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = model(**batch, return_loss=True)
    assert actual.text_model_output.pooler_output.dtype == torch.bfloat16  # the encoders did run in bf16
    assert all(actual[name].dtype == torch.float32 for name in IN_FLOAT32)
    torch.testing.assert_close(actual.loss, expected.loss, rtol=0.05, atol=0)
    # The encoders round to bf16; from the embeddings on, everything has the digits of float32.
    logits = 100 * actual.text_embeds.double() @ actual.image_embeds.double().T
    torch.testing.assert_close(actual.logits_per_text.double(), logits, rtol=0, atol=1e-4)
    actual.loss.backward()
    assert model.text_projection.weight.grad.dtype == torch.float32


def test_autocast_with_ready_embeddings_in_bf16():
    model, batch = at_scale_100(tiny_model()), tiny_batch()
    images = model.get_image_features(batch["pixel_values"]).pooler_output.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(
            batch["input_ids"], attention_mask=batch["attention_mask"], image_embeds=images, return_loss=True
        )
    assert output.loss.dtype == output.logits_per_image.dtype == output.image_embeds.dtype == torch.float32


def test_a_model_in_bf16():
    batch = tiny_batch()
    expected = tiny_model()(**batch, return_loss=True)
    model = tiny_model().to(torch.bfloat16)
    actual = model(**batch, return_loss=True)
    assert all(actual[name].dtype == torch.float32 for name in IN_FLOAT32)
    torch.testing.assert_close(actual.loss, expected.loss, rtol=0.05, atol=0)
    actual.loss.backward()
    assert model.text_projection.weight.grad.dtype == torch.bfloat16


def test_a_model_in_float64():
    batch = tiny_batch(dtype=torch.float64)
    expected = tiny_model()(**tiny_batch(), return_loss=True)
    model = tiny_model().double()
    actual = model(**batch, return_loss=True)
    assert all(actual[name].dtype == torch.float64 for name in IN_FLOAT32)
    torch.testing.assert_close(actual.loss.float(), expected.loss, rtol=1e-5, atol=0)
    ready = {"image_embeds": actual.image_embeds.float(), "distractor_image_embeds": actual.image_embeds.half()}
    texts = {name: tensor for name, tensor in batch.items() if "pixel" not in name}
    assert model(**texts, **ready, return_loss=True).loss.dtype == torch.float64


def test_on_the_meta_device_as_clip_does():
    """Counting operations needs no memory."""
    batch = {name: tensor.to("meta") for name, tensor in tiny_batch().items() if "mask" not in name}
    for model, names in ((tiny_model(), batch), (tiny_model(CLIPModel), ("input_ids", "pixel_values"))):
        output = model.to("meta")(**{name: batch[name] for name in names}, return_loss=True)
        assert output.loss.is_meta and output.logits_per_text.shape == (4, 4)
