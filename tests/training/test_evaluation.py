"""Retrieval on small literal scores, and training on ready embeddings against training on pixels."""

import numpy as np
import pytest
import torch
from runs import command, log, run, weights, write_inputs

import conclip.embedding.retrieval as retrieval
from conclip.training.evaluator import recall_at_1
from modeling_conclip import ConCLIPModel


def recall(scores, groups):
    """Turn scores into embeddings: texts are unit vectors, images are the columns."""
    scores = torch.tensor(scores)
    return recall_at_1(torch.eye(len(scores)), scores.T.contiguous(), np.array(groups))


def test_recall_counts_the_text_whose_image_is_first():
    found = recall([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.0, 0.1, 0.5]], [0, 1, 2])
    assert found == {"value": 2 / 3, "count": 3, "ties": 0, "chance": 1 / 3}


def test_a_tie_is_an_error_and_counted():
    assert recall([[0.5, 0.5], [0.1, 0.2]], [0, 1]) == {"value": 0.5, "count": 2, "ties": 1, "chance": 0.5}


def test_every_image_of_the_same_caption_is_right():
    found = recall([[0.1, 0.9, 0.2], [0.1, 0.9, 0.2], [0.3, 0.2, 0.1]], [0, 0, 1])
    assert found == {"value": 2 / 3, "count": 3, "ties": 0, "chance": pytest.approx(5 / 9)}


def test_recall_against_a_plain_loop_in_chunks(monkeypatch):
    monkeypatch.setattr(retrieval, "QUERIES_AT_A_TIME", 7)
    rng = np.random.default_rng(0)
    texts, images = (torch.from_numpy(rng.normal(size=(50, 6)).round(0)).float() for _ in range(2))
    groups = rng.integers(0, 30, size=50)
    right = ties = 0
    for text, group in zip(texts, groups, strict=True):
        scored = [(float(text @ image), other == group) for image, other in zip(images, groups, strict=True)]
        best = max(score for score, same in scored if same)
        rival = max(score for score, same in scored if not same)
        right, ties = right + (best > rival), ties + (best == rival)
    found = recall_at_1(texts, images, groups)
    assert ties > 0 and (found["value"], found["ties"]) == (right / 50, ties)


def test_ready_embeddings_train_as_pixels_do(tmp_path, monkeypatch):
    inputs = write_inputs(tmp_path / "inputs")
    # Where a gradient is zero up to rounding, AdamW would make full steps of the rounding errors.
    assert run(command(inputs, tmp_path / "ready", adam_epsilon=1e-3)) == 0
    monkeypatch.setattr(ConCLIPModel, "image_encoder_is_frozen", property(lambda self: False))
    assert run(command(inputs, tmp_path / "pixels", adam_epsilon=1e-3)) == 0
    for ready, pixels in zip(log(tmp_path / "ready"), log(tmp_path / "pixels"), strict=True):
        assert ready == pytest.approx(pixels, rel=1e-5)
    pixels = weights(tmp_path / "pixels")
    for name, tensor in weights(tmp_path / "ready").items():
        torch.testing.assert_close(tensor, pixels[name], rtol=1e-3, atol=1e-5, msg=name)
