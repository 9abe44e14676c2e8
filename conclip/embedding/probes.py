"""Linear probes: logistic regressions of labels on image embeddings."""

from collections.abc import Sequence

import torch

# A dimension that varies less than this is taken to be constant.
SMALLEST_STD = 1e-6


def fit_probes(embeddings: torch.Tensor, shown: torch.Tensor, max_iter: int = 300) -> torch.Tensor:
    """
    Fit a logistic regression for each label, on standardised dimensions, with scikit-learn's default penalty (C = 1).

    Args:
        embeddings: float32, (images, d).
        shown: float32, (images, labels), 1 where an image shows the label, else 0.
        max_iter: steps of L-BFGS.

    Returns:
        float64, (d + 1, labels): weights and, last, the constant, which is not penalised.
    """
    embeddings, shown = embeddings.double(), shown.double()
    mean, std = embeddings.mean(dim=0), embeddings.std(dim=0, correction=0).clamp(min=SMALLEST_STD)
    inputs = with_constant((embeddings - mean) / std)
    weights = torch.zeros(inputs.shape[1], shown.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=max_iter, tolerance_change=1e-10, line_search_fn="strong_wolfe")

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


def with_constant(embeddings: torch.Tensor) -> torch.Tensor:
    """Return the embeddings in float64 with a column of ones, for the constant, (n, d + 1)."""
    return torch.cat([embeddings.double(), torch.ones(len(embeddings), 1, dtype=torch.float64)], dim=1)


def log_likelihood(logits: torch.Tensor, claims: Sequence[tuple[Sequence[int], bool]]) -> torch.Tensor:
    """
    Return how likely the probes find what a text claims, float64, (images,).

    Args:
        logits: float64, (images, labels), of the probes.
        claims: for each object that the text names, the indices of its labels, and whether the text affirms it. The
            labels of one object agree; their mean weighs them as one piece of evidence.
    """
    total = torch.zeros(len(logits), dtype=torch.float64)
    for labels, affirmed in claims:
        logit = logits[:, list(labels)].mean(dim=1)
        total += torch.nn.functional.logsigmoid(logit if affirmed else -logit)
    return total
