"""A plain training loop for the parts of the scenes' base."""

from collections.abc import Callable, Iterable

import torch
from tqdm.auto import tqdm

from conclip.training.schedule import learning_rates

WARMUP_STEPS, MAX_GRAD_NORM = 50, 1.0


def fit(
    parameters: Iterable[torch.nn.Parameter],
    loss: Callable[[], torch.Tensor],
    steps: int,
    learning_rate: float,
    weight_decay: float,
    title: str,
) -> None:
    """
    Minimise a loss by AdamW with a cosine schedule.

    Args:
        loss: draws a batch and returns its loss.
        title: name of the progress bar.
    """
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay)
    rates = learning_rates("cosine", learning_rate, WARMUP_STEPS, steps)
    with tqdm(range(steps), desc=title, unit=" steps", leave=False) as bar:
        for step in bar:
            optimizer.param_groups[0]["lr"] = rates(step)
            value = loss()
            value.backward()
            torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
            optimizer.step()
            optimizer.zero_grad()
            bar.set_postfix(loss=f"{value.item():.3f}")
