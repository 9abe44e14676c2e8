"""BLIP's matching scores: those of transformers' own forward pass, pair by pair, for less work."""

import numpy as np
import pytest
import torch
from other_models import TEXTS, save_other, some_images
from transformers import AutoProcessor

from conclip.models.loading import load_dual_encoder


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    """The encoder, transformers' model and processor, images, and the matrix of scores by a loop, (images, texts)."""
    folder = tmp_path_factory.mktemp("blip")
    model, images = save_other(folder, "blip"), some_images(7)
    processor = AutoProcessor.from_pretrained(folder)

    def score(image, text):
        with torch.no_grad():
            no_match, match = model(**processor(images=image, text=text, return_tensors="pt")).itm_score[0].tolist()
        return match - no_match

    matrix = np.array([[score(image, text) for text in TEXTS] for image in images])
    # Otherwise the comparison would say little.
    assert matrix.std(0).min() > 0.01 and matrix.std(1).min() > 0.01
    return load_dual_encoder(str(folder)), images, matrix


def some_pairs(count=60, seed=0):
    """In no order, some twice; the last image and text in none."""
    draw = np.random.default_rng(seed)
    return draw.integers(0, 6, count), draw.integers(0, len(TEXTS) - 1, count)


class Images(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images, self.read = images, []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        assert type(index) is int
        self.read.append(index)
        return self.images[index]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_scores_are_those_of_the_models_forward(blip, batch_size):
    matcher, images, matrix = blip
    image_at, text_at = some_pairs()
    scores = matcher.pair_scores(images, image_at, TEXTS, text_at, batch_size)
    assert scores.shape == (60,) and scores.dtype == np.float64
    assert np.abs(scores - matrix[image_at, text_at]).max() < 1e-5
    same = matcher.pair_scores(images, image_at.tolist(), tuple(TEXTS), text_at.tolist(), batch_size)
    assert np.array_equal(scores, same)


def test_each_image_and_each_pair_once_and_never_more_than_a_batch(blip, monkeypatch):
    matcher, images, _ = blip
    dataset, seen = Images(images), {"images": [], "pairs": []}
    for name, module in (("images", matcher.model.vision_model), ("pairs", matcher.model.text_encoder)):
        forward = module.forward
        count = {"images": "pixel_values", "pairs": "input_ids"}[name]
        monkeypatch.setattr(
            module, "forward", lambda f=forward, n=name, c=count, **given: seen[n].append(len(given[c])) or f(**given)
        )
    image_at, text_at = some_pairs()
    matcher.pair_scores(dataset, image_at, TEXTS, text_at, batch_size=4)
    assert sorted(dataset.read) == sorted(set(image_at.tolist()))
    assert sum(seen["images"]) == len(set(image_at.tolist()))
    assert sum(seen["pairs"]) == len(set(zip(image_at.tolist(), text_at.tolist(), strict=True)))
    assert max(seen["images"]) <= 4 and max(seen["pairs"]) <= 4


def test_the_same_pair_has_the_same_score_to_the_last_digit(blip):
    """Or a tie would be decided by rounding."""
    matcher, images, _ = blip
    image_at, text_at = some_pairs(200)
    scores = matcher.pair_scores(images, image_at, TEXTS, text_at, batch_size=3)
    by_pair = {}
    for image, text, score in zip(image_at, text_at, scores, strict=True):
        assert by_pair.setdefault((image, text), score) == score


def test_scores_do_not_saturate(blip):
    matcher, images, matrix = blip
    head = matcher.model.itm_head
    original = {name: value.clone() for name, value in head.state_dict().items()}
    with torch.no_grad():
        head.weight *= 1e3
        head.bias.copy_(torch.tensor([-1e5, 1e5]))
    image_at, text_at = np.divmod(np.arange(matrix.size), len(TEXTS))
    scores = matcher.pair_scores(images, image_at, TEXTS, text_at, batch_size=8)
    head.load_state_dict(original)
    # As a probability all are 1, in any precision.
    assert (1 / (1 + np.exp(-scores)) == 1).all()
    assert len(set(scores)) == matrix.size
    assert (np.argsort(scores) == np.argsort(matrix.ravel())).all()


def test_no_pairs(blip):
    matcher, images, _ = blip
    assert matcher.pair_scores(images, np.array([], int), TEXTS, np.array([], int), batch_size=3).shape == (0,)


def test_images_read_by_other_processes(blip):
    matcher, images, matrix = blip
    image_at, text_at = some_pairs(8)
    scores = matcher.pair_scores(images, image_at, TEXTS, text_at, batch_size=2, num_workers=1)
    assert np.abs(scores - matrix[image_at, text_at]).max() < 1e-5
