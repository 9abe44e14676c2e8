"""ConCLIPModel.forward with targets of texts: alone, beside pairs, and packed."""

import pytest
import torch
from tiny import VOCABULARY, tiny_batch, tiny_model

from modeling_conclip.packing_conclip import PADDING, pack_texts

PAIRS = ("input_ids", "attention_mask", "pixel_values")


def unit(rows, width=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, width, generator=generator))


@pytest.fixture(scope="module")
def given():
    """Four texts, their targets, and the second moment of 30 views."""
    batch, views = tiny_batch(4, seed=5), unit(30, seed=2)
    texts = {name: batch[name] for name in ("input_ids", "attention_mask")}
    return {**texts, "text_targets": unit(4, seed=1), "second_moment": views.T @ views / 30}


def by_hand(model, given, cosine_weight=4.0, profile_weight=0.3):
    """The loss of texts with targets from CLIP's own embeddings, term by term."""
    embeds = model.get_text_features(given["input_ids"], given["attention_mask"]).pooler_output
    embeds = embeds / embeds.norm(dim=-1, keepdim=True)
    cosine = 1 - torch.nn.functional.cosine_similarity(embeds, given["text_targets"]).mean()
    scores = model.logit_scale.exp() * (embeds - given["text_targets"])
    profile = torch.einsum("md,de,me->m", scores, given["second_moment"], scores).mean()
    return cosine_weight * cosine + profile_weight * profile, cosine, profile


def test_texts_alone(given):
    model = tiny_model()
    output = model(**given, return_loss=True)
    expected = by_hand(model, given)
    for found, value in zip((output.loss, output.loss_cosine, output.loss_profile), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-6)
    assert output.logits_per_image is None and output.image_embeds is None and output.text_embeds is None
    assert output.target_text_embeds.shape == (4, 16)
    output.loss.backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    text = {name for name, _ in model.named_parameters() if name.startswith("text_")}
    assert trained == text


def test_weights_come_from_the_config(given):
    model = tiny_model(distillation_weight=0.5, cosine_weight=3.0, profile_weight=2)
    expected = 0.5 * by_hand(model, given, 3.0, 2.0)[0]
    torch.testing.assert_close(model(**given, return_loss=True).loss, expected, rtol=1e-5, atol=1e-6)


def test_images_teach_the_texts_of_which_the_truth_is_known(given):
    model, images = tiny_model(distillation_weight=0.5, truth_weight=3.0), unit(9, seed=4)
    truth = torch.rand(4, 9, generator=torch.Generator().manual_seed(0))
    truth[[0, 3]] = torch.nan
    output = model(**given, truth=truth, truth_image_embeds=images, return_loss=True)
    others = {name: rows if name == "second_moment" else rows[[0, 3]] for name, rows in given.items()}
    expected, cosine, profile = by_hand(model, others)
    logits = model.logit_scale.exp() * output.target_text_embeds @ images.T
    likely, known = -torch.nn.functional.logsigmoid(logits), truth[[1, 2]]
    unlikely = -torch.nn.functional.logsigmoid(-logits)
    true = (likely[[1, 2]] * known).sum(1) / known.sum(1)
    false = (unlikely[[1, 2]] * (1 - known)).sum(1) / (1 - known).sum(1)
    by_images = (true + false).mean() / 2
    torch.testing.assert_close(output.loss_truth, by_images, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(output.loss_cosine, cosine, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(output.loss, 0.5 * (expected + 3 * by_images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize("pieces", [1, 3])
def test_beside_pairs_the_losses_add_up(given, negated, pieces):
    model, pairs = tiny_model(), tiny_batch(4)
    names = (*PAIRS, "negated_input_ids", "negated_attention_mask") if negated else PAIRS
    pairs = {name: pairs[name] for name in names}
    expected = model(**pairs, return_loss=True)
    ids = [pairs["input_ids"], *([pairs["negated_input_ids"]] if negated else []), given["input_ids"]]
    packed = pack_texts(stack(ids), pieces)
    targets = {name: given[name] for name in ("text_targets", "second_moment")}
    found = model(pixel_values=pairs["pixel_values"], packed_texts=packed, **targets, return_loss=True)
    torch.testing.assert_close(found.loss, expected.loss + by_hand(model, given)[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.logits_per_text, expected.logits_per_text, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.loss_text_to_image, expected.loss_text_to_image, rtol=1e-4, atol=1e-5)
    assert found.target_text_embeds.shape == (4, 16)


def test_unpacked_texts_with_targets_follow_the_captions(given):
    model, pairs = tiny_model(), tiny_batch(4)
    expected = model(**{name: pairs[name] for name in PAIRS}, return_loss=True).loss + by_hand(model, given)[0]
    ids = stack([pairs["input_ids"], given["input_ids"]])
    ids = torch.from_numpy(ids).where(torch.from_numpy(ids) != PADDING, VOCABULARY["<|endoftext|>"]).long()
    targets = {name: given[name] for name in ("text_targets", "second_moment")}
    found = model(input_ids=ids, pixel_values=pairs["pixel_values"], **targets, return_loss=True).loss
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def stack(parts):
    """Tokens of all parts as `pack_texts` takes them: after the first end-of-text token, padding."""
    rows = [row.tolist() for part in parts for row in part]
    cut = [row[: row.index(VOCABULARY["<|endoftext|>"]) + 1] for row in rows]
    length = max(map(len, cut))
    return torch.tensor([row + [PADDING] * (length - len(row)) for row in cut], dtype=torch.int32).numpy()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second_moment": None}, "needs second_moment of shape (16, 16), got None"),
        ({"second_moment": torch.ones(4, 4)}, "needs second_moment of shape (16, 16), got (4, 4)"),
        ({"text_targets": torch.ones(4, 9)}, "needs text_targets of shape (4, 16), got (4, 9)"),
        ({"truth": torch.ones(4, 2)}, "needs truth of shape (4, 0), got (4, 2)"),
        (
            {"truth": torch.ones(4, 2), "truth_image_embeds": torch.ones(2, 3)},
            "needs truth_image_embeds of shape (2, 16), got (2, 3)",
        ),
        ({"text_targets": torch.ones(5, 16)}, "Got 4 texts and 5 text_targets"),
        ({"text_targets": torch.ones(3, 16)}, "Got 4 texts and 3 text_targets"),
        ({"distractor_image_embeds": torch.ones(4, 16)}, "Distractor images need images"),
    ],
)
def test_refuses(given, change, message):
    with pytest.raises(ValueError) as refused:
        tiny_model()(**{**given, **change}, return_loss=True)
    assert message in str(refused.value)


def test_refuses_one_target_more_than_texts_beside_images(given):
    change = {"text_targets": torch.ones(5, 16), "pixel_values": tiny_batch(4)["pixel_values"]}
    with pytest.raises(ValueError, match="Got 4 texts and 5 text_targets"):
        tiny_model()(**{**given, **change}, return_loss=True)


def test_texts_of_other_processes_count_in_training_alone(given, monkeypatch):
    """Rank 0 of 2, the other of which has 12 texts of loss 0."""
    reduced = []

    def all_reduce(values):
        reduced.append(values.shape)
        values += 12 if values.ndim == 0 else 0

    for name, function in (
        ("is_initialized", lambda: True),
        ("get_world_size", lambda: 2),
        ("all_reduce", all_reduce),
    ):
        monkeypatch.setattr(torch.distributed, name, function)
    model = tiny_model()
    expected, _, _ = by_hand(model, given)
    torch.testing.assert_close(model.eval()(**given, return_loss=True).loss, expected, rtol=1e-5, atol=1e-6)
    assert not reduced
    torch.testing.assert_close(model.train()(**given, return_loss=True).loss, expected / 4, rtol=1e-5, atol=1e-6)
    assert reduced == [(), (2,)]
