"""What image embeddings allow: captions read by rules, and a linear probe in place of the text encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from conclip.evaluation.items import ItemImages, make_chunk
from conclip.models.cached_encoder import CachedEncoder
from dataset_scripts.benchmarks.schema import Probe

# Weight of the L2 penalty beside the mean loss: little, since there are more images than dimensions.
PENALTY = 1e-4


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
    Fit a logistic regression for each label.

    Args:
        embeddings: float32, (images, d).
        shown: float32, (images, labels), 1 where an image shows the label, else 0.

    Returns:
        float64, (d + 1, labels): weights and, last, the constant, which is not penalised.
    """
    inputs, shown = _with_constant(embeddings), shown.double()
    weights = torch.zeros(inputs.shape[1], shown.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=300, tolerance_change=1e-10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        # The labels are independent: a sum over them fits each alone.
        fit = torch.nn.functional.binary_cross_entropy_with_logits(inputs @ weights, shown, reduction="none")
        value = fit.mean(dim=0).sum() + PENALTY / 2 * weights[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weights.detach()


def _with_constant(embeddings: torch.Tensor) -> torch.Tensor:
    return torch.cat([embeddings.double(), torch.ones(len(embeddings), 1, dtype=torch.float64)], dim=1)
