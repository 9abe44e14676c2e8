"""ConCLIPModel.forward: exactly CLIP without negated captions, the negation losses with them."""

import pytest
import torch
from tiny import IMAGE_SIZE, tiny_batch, tiny_model
from transformers import CLIPModel
from transformers.models.clip.modeling_clip import CLIPOutput

from modeling_conclip import ConCLIPModel, ConCLIPOutput

CLIP_INPUTS = ("input_ids", "attention_mask", "pixel_values")
TERMS = ("loss", "loss_image_to_text", "loss_text_to_image", "loss_distractor")


@pytest.fixture(scope="module")
def models() -> tuple[CLIPModel, ConCLIPModel]:
    """A stock CLIP and a ConCLIP of the same weights, with the image encoder trainable, to compare gradients."""
    clip, conclip = tiny_model(CLIPModel, seed=3), tiny_model(freeze_image_encoder=False)
    conclip.load_state_dict(clip.state_dict())
    return clip, conclip


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    return tiny_batch()


def only(batch, *names):
    return {name: batch[name] for name in names}


def gradients(model, **inputs):
    model.zero_grad()
    model(**inputs, return_loss=True).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def embed(clip, batch):
    """I, c, c', I' of a stock CLIP, not normalised."""
    with torch.no_grad():
        return (
            clip.get_image_features(batch["pixel_values"]).pooler_output,
            clip.get_text_features(batch["input_ids"], batch["attention_mask"]).pooler_output,
            clip.get_text_features(batch["negated_input_ids"], batch["negated_attention_mask"]).pooler_output,
            clip.get_image_features(batch["distractor_pixel_values"]).pooler_output,
        )


def cross_entropy(clip, queries, *keys):
    """Mean over rows of -log softmax(s * cosines)[i, i], in float64 and without the package."""
    keys = torch.cat(keys).double()
    cosines = torch.nn.functional.cosine_similarity(queries.double()[:, None], keys[None], dim=-1)
    return -(clip.logit_scale.double().exp() * cosines).log_softmax(dim=-1).diagonal().mean().item()


def assert_equal_outputs(one, other):
    """Every tensor of a CLIP output, to the bit."""
    assert isinstance(one, CLIPOutput) and isinstance(other, CLIPOutput)
    assert list(one.keys()) == [name for name in other.keys() if name in CLIPOutput.__dataclass_fields__]
    for name in one.keys():
        if isinstance(one[name], torch.Tensor):
            assert torch.equal(one[name], other[name]), name
            continue
        assert one[name].keys() == other[name].keys()
        for left, right in zip(one[name].to_tuple(), other[name].to_tuple(), strict=True):
            lefts, rights = (value if isinstance(value, tuple) else (value,) for value in (left, right))
            assert len(lefts) == len(rights)
            assert all(torch.equal(a, b) for a, b in zip(lefts, rights, strict=True))


EXTRAS = {
    "plain": {},
    "position_ids": {"position_ids": torch.arange(20)[None] + 3},
    "hidden_states": {"output_hidden_states": True},
    "interpolate_pos_encoding": {"interpolate_pos_encoding": True},
    "without attention_mask": {"attention_mask": None},
}


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_images_without_the_rest_of_the_last_layer_have_the_same_embeddings(act):
    model = tiny_model(vision={"hidden_act": act, "num_hidden_layers": 3}, freeze_image_encoder=False).double()
    pixels = tiny_batch()["pixel_values"]
    with torch.no_grad():
        expected = model.get_image_features(pixels.double()).pooler_output
    found = model.embed_images(pixels.double())
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("extra", EXTRAS)
def test_without_negated_captions_it_is_exactly_clip(models, extra):
    extras = dict(EXTRAS[extra])
    interpolated = extras.get("interpolate_pos_encoding", False)
    inputs = only(tiny_batch(image_size=IMAGE_SIZE + 16 * interpolated), *CLIP_INPUTS) | extras
    if "position_ids" in extras:
        inputs["position_ids"] = extras["position_ids"][:, : inputs["input_ids"].shape[1]]
    expected, actual = (model(**inputs, return_loss=True) for model in models)
    assert isinstance(actual, ConCLIPOutput)
    assert_equal_outputs(expected, actual)
    assert (
        actual.loss_distractor is None
        and actual.negated_text_embeds is None
        and actual.distractor_image_embeds is None
    )
    torch.testing.assert_close((actual.loss_image_to_text + actual.loss_text_to_image) / 2, expected.loss)


def test_a_mask_reaches_the_text_tower(models, batch):
    """Padding follows the pooled token of a causal encoder, where a mask has no effect: one with a hole has."""
    clip, conclip = models
    mask = batch["attention_mask"].clone()
    mask[:, 2] = 0
    inputs = only(batch, *CLIP_INPUTS) | {"attention_mask": mask}
    expected = clip(**inputs)
    actual = conclip(**inputs, negated_input_ids=batch["input_ids"], negated_attention_mask=mask)
    assert_equal_outputs(expected, actual)
    torch.testing.assert_close(actual.negated_text_embeds, expected.text_embeds)
    assert not torch.allclose(expected.text_embeds, conclip(**batch).text_embeds, atol=1e-3)


def test_gradients_are_clips_too(models, batch):
    clip, conclip = models
    inputs = only(batch, *CLIP_INPUTS)
    expected, actual = gradients(clip, **inputs), gradients(conclip, **inputs)
    assert expected.keys() == actual.keys() == dict(clip.named_parameters()).keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, rtol=1e-4, atol=1e-6)


def test_attentions(batch):
    clip, conclip = tiny_model(CLIPModel), tiny_model()
    conclip.load_state_dict(clip.state_dict())
    for model in (clip, conclip):
        model.set_attn_implementation("eager")
    outputs = [
        model(**only(batch, *CLIP_INPUTS), output_attentions=True, return_loss=True) for model in (clip, conclip)
    ]
    assert len(outputs[1].vision_model_output.attentions) == len(outputs[1].text_model_output.attentions) == 2
    assert_equal_outputs(*outputs)


def test_positional_arguments_and_tuples(models, batch):
    """A tuple begins with what CLIP's tuple holds, in its order."""
    positional = (batch["input_ids"], batch["pixel_values"], batch["attention_mask"], None, True)
    expected, actual = (model(*positional, return_dict=False) for model in models)
    assert isinstance(actual, tuple) and len(actual) == len(expected) + 2  # and L1, L2
    assert all(torch.equal(a, b) for a, b in zip(expected[:5], actual, strict=False))
    assert all(torch.equal(a, b) for a, b in zip(expected[5] + expected[6], actual[5] + actual[6], strict=True))


def test_without_return_loss_there_is_none(models, batch):
    output = models[1](**batch)
    assert not set(TERMS) & set(output.keys())
    assert_equal_outputs(models[0](**only(batch, *CLIP_INPUTS)), output)


def test_weights_do_not_touch_clips_loss(batch):
    inputs = only(batch, *CLIP_INPUTS)
    skewed = tiny_model(image_to_text_weight=0, text_to_image_weight=5)
    assert torch.equal(skewed(**inputs, return_loss=True).loss, tiny_model()(**inputs, return_loss=True).loss)


def test_two_term_loss(models, batch):
    """NegCLIP: (CE(I @ [c; c']) + CE(c @ I)) / 2."""
    clip, conclip = models
    images, captions, negated, _ = embed(clip, batch)
    l1, l2 = cross_entropy(clip, images, captions, negated), cross_entropy(clip, captions, images)
    output = conclip(**{name: batch[name] for name in batch if name != "distractor_pixel_values"}, return_loss=True)
    actual = [output[name].item() for name in TERMS[:3]]
    torch.testing.assert_close(actual, [(l1 + l2) / 2, l1, l2], rtol=0, atol=2e-6)
    assert output.loss_distractor is None and "loss_distractor" not in output


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0.2, 1.5, 3)])
def test_three_term_loss(models, batch, weights):
    clip, conclip = models
    images, captions, negated, distractors = embed(clip, batch)
    expected = (
        cross_entropy(clip, images, captions, negated),
        cross_entropy(clip, captions, images, distractors),
        cross_entropy(clip, distractors, negated, captions),
    )
    weighted = tiny_model(
        **dict(zip(("image_to_text_weight", "text_to_image_weight", "distractor_weight"), weights, strict=True))
    )
    weighted.load_state_dict(conclip.state_dict())
    output = weighted(**batch, return_loss=True)
    mean = sum(weight * term for weight, term in zip(weights, expected, strict=True)) / sum(weights)
    torch.testing.assert_close([output[name].item() for name in TERMS], [mean, *expected], rtol=0, atol=2e-6)
    assert all(output[name].shape == () and output[name].dtype == torch.float32 for name in TERMS)


def test_embeddings_of_the_output(models, batch):
    clip, conclip = models
    output = conclip(**batch)
    names = ("image_embeds", "text_embeds", "negated_text_embeds", "distractor_image_embeds")
    for name, expected in zip(names, embed(clip, batch), strict=True):
        torch.testing.assert_close(output[name], torch.nn.functional.normalize(expected, dim=-1))


@pytest.mark.parametrize("form", ["projected", "normalised", "half precision", "double precision"])
def test_ready_embeddings_in_place_of_pixels(models, batch, form):
    clip, conclip = models
    images, _, _, distractors = embed(clip, batch)
    change = {
        "projected": lambda rows: rows,
        "normalised": lambda rows: rows / rows.norm(dim=-1, keepdim=True),
        "half precision": lambda rows: rows.half(),
        "double precision": lambda rows: rows.double(),
    }[form]
    frozen = tiny_model()
    frozen.load_state_dict(conclip.state_dict())
    texts = {name: tensor for name, tensor in batch.items() if "pixel" not in name}
    ready = texts | {"image_embeds": change(images), "distractor_image_embeds": change(distractors)}
    tolerance = {"rtol": 1e-2, "atol": 1e-3} if form == "half precision" else {"rtol": 1e-4, "atol": 1e-6}
    expected, actual = gradients(frozen, **batch), gradients(frozen, **ready)
    assert expected.keys() == actual.keys() and "text_projection.weight" in actual
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, **tolerance)
    one, other = frozen(**batch, return_loss=True), frozen(**ready, return_loss=True)
    for name in (*TERMS, "logits_per_image", "image_embeds", "distractor_image_embeds"):
        torch.testing.assert_close(one[name], other[name], **tolerance)
    assert other.vision_model_output is None and one.vision_model_output is not None


def test_ready_embeddings_carry_a_gradient(models, batch):
    """For gradient caching and for adapters that act on embeddings."""
    images, _, _, distractors = (rows.requires_grad_() for rows in embed(models[0], batch))
    texts = {name: tensor for name, tensor in batch.items() if "pixel" not in name}
    models[1](**texts, image_embeds=images, distractor_image_embeds=distractors, return_loss=True).loss.backward()
    assert images.grad.abs().sum() > 0 and distractors.grad.abs().sum() > 0


def test_length_of_padding_changes_nothing(models, batch):
    conclip = models[1]
    end = conclip.config.text_config.eos_token_id
    padded = dict(batch)
    for prefix, length in (("", 40), ("negated_", 77)):
        short = batch[f"{prefix}input_ids"]
        padded[f"{prefix}input_ids"] = torch.nn.functional.pad(short, (0, length - short.shape[1]), value=end)
        mask = batch[f"{prefix}attention_mask"]
        padded[f"{prefix}attention_mask"] = torch.nn.functional.pad(mask, (0, length - mask.shape[1]))
    without_masks = {name: tensor for name, tensor in padded.items() if "mask" not in name}
    expected = conclip(**batch, return_loss=True)
    for other in (padded, without_masks):
        actual = conclip(**other, return_loss=True)
        for name in (*TERMS, "text_embeds", "negated_text_embeds"):
            torch.testing.assert_close(actual[name], expected[name], rtol=1e-5, atol=1e-6)


def test_batches_of_other_sizes_without_a_loss(models, batch):
    """Zero-shot classification: two images against four texts."""
    output = models[1](**only(batch, "input_ids", "attention_mask"), pixel_values=batch["pixel_values"][:2])
    assert output.logits_per_image.shape == (2, 4) and output.logits_per_text.shape == (4, 2)
