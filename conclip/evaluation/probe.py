"""What image embeddings allow: captions read by rules, and a linear probe in place of the text encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from conclip.evaluation.items import ItemImages, make_chunk
from conclip.models.cached_encoder import CachedEncoder
from dataset_scripts.benchmarks.schema import Probe

# A dimension that varies less than this is taken to be constant.
SMALLEST_STD = 1e-6


@dataclass
class ProbeScorer:
    """
    Score a caption by the log-likelihood of what it claims, as `EmbeddingScorer.pairs` scores by the cosine.

    Args:
        encoder: its image embeddings are scored.
        labels: the labels that are probed.
        weights: float64, (d + 1, labels), from `fit_probes`.
        claims: see `Probe`.
    """

    encoder: CachedEncoder
    labels: list[str]
    weights: torch.Tensor
    claims: Callable[[str], list[tuple[list[str], bool]]]

    def pairs(
        self, images: ItemImages, image_at: Sequence[int], texts: list[str], text_at: Sequence[int]
    ) -> np.ndarray:
        logits = _with_constant(self.encoder.images(images)[:]) @ self.weights
        scores = np.empty(len(image_at))
        image_at, text_at = np.asarray(image_at), np.asarray(text_at)
        for number, text in enumerate(texts):
            own = np.flatnonzero(text_at == number)
            total = torch.zeros(len(own), dtype=torch.float64)
            for labels, affirmed in self.claims(text):
                # The labels of one object agree; their mean weighs them as one piece of evidence.
                logit = logits[image_at[own]][:, [self.labels.index(label) for label in labels]].mean(dim=1)
                total += torch.nn.functional.logsigmoid(logit if affirmed else -logit)
            scores[own] = total.numpy()
        return scores


def fit_probe_scorer(probe: Probe, title: str, encoder: CachedEncoder) -> ProbeScorer:
    """Fit a probe for each label that the images of `probe` show."""
    chunk = make_chunk(list(probe.images()), title)
    embeddings = encoder.images(chunk.images)[:][[own for (own,) in chunk.image_at]]
    shown = torch.zeros(len(chunk.items), len(chunk.texts))
    for row, own in enumerate(chunk.text_at):
        shown[row, own] = 1
    return ProbeScorer(encoder, chunk.texts, fit_probes(embeddings, shown), probe.claims)


def fit_probes(embeddings: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """
    Fit a logistic regression for each label, on standardised dimensions, with scikit-learn's default penalty (C = 1).

    Args:
        embeddings: float32, (images, d).
        shown: float32, (images, labels), 1 where an image shows the label, else 0.

    Returns:
        float64, (d + 1, labels): weights and, last, the constant, which is not penalised.
    """
    embeddings, shown = embeddings.double(), shown.double()
    mean, std = embeddings.mean(dim=0), embeddings.std(dim=0, correction=0).clamp(min=SMALLEST_STD)
    inputs = _with_constant((embeddings - mean) / std)
    weights = torch.zeros(inputs.shape[1], shown.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=300, tolerance_change=1e-10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        fit = torch.nn.functional.binary_cross_entropy_with_logits(inputs @ weights, shown, reduction="sum")
        # Of the mean over images; the labels are independent, so that a sum over them fits each alone.
        value = (fit + weights[:-1].square().sum() / 2) / len(inputs)
        value.backward()
        return value

    optimizer.step(loss)
    # For embeddings as they are.
    scaled = weights.detach()[:-1] / std[:, None]
    return torch.cat([scaled, weights.detach()[-1:] - mean @ scaled])


def _with_constant(embeddings: torch.Tensor) -> torch.Tensor:
    return torch.cat([embeddings.double(), torch.ones(len(embeddings), 1, dtype=torch.float64)], dim=1)
