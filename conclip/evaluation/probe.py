"""What image embeddings allow: captions read by rules, and a linear probe in place of the text encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from conclip.embedding.probes import fit_probes, log_likelihood, with_constant
from conclip.evaluation.items import ItemImages, make_chunk
from conclip.models.cached_encoder import CachedEncoder
from dataset_scripts.benchmarks.schema import Probe


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
        logits = with_constant(self.encoder.images(images)[:]) @ self.weights
        scores = np.empty(len(image_at))
        image_at, text_at = np.asarray(image_at), np.asarray(text_at)
        for number, text in enumerate(texts):
            own = np.flatnonzero(text_at == number)
            claims = [
                ([self.labels.index(label) for label in labels], affirmed) for labels, affirmed in self.claims(text)
            ]
            scores[own] = log_likelihood(logits[image_at[own]], claims).numpy()
        return scores


def fit_probe_scorer(probe: Probe, title: str, encoder: CachedEncoder) -> ProbeScorer:
    """Fit a probe for each label that the images of `probe` show."""
    chunk = make_chunk(list(probe.images()), title)
    embeddings = encoder.images(chunk.images)[:][[own for (own,) in chunk.image_at]]
    shown = torch.zeros(len(chunk.items), len(chunk.texts))
    for row, own in enumerate(chunk.text_at):
        shown[row, own] = 1
    return ProbeScorer(encoder, chunk.texts, fit_probes(embeddings, shown), probe.claims)
