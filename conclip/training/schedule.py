"""The learning rate of each update."""

from collections.abc import Callable

import torch
from transformers import get_scheduler


def learning_rates(schedule: str, peak: float, warmup_steps: int, total_steps: int) -> Callable[[int], float]:
    """
    Return a function from the index of an update, 0 for the first, to its learning rate.

    In the warm-up of W updates, update i has the learning rate (i + 1) / W of the peak, as in open_clip and in the
    official code of CoN-CLIP (`cosine_lr`), so that no update has a learning rate of 0. From update W on, the formula
    is that of `transformers.get_scheduler`; for "cosine" it is that of the official code too, except that the official
    code exceeds the peak in update W, by 1 / W.

    Args:
        schedule: a name that `transformers.get_scheduler` knows.
        peak: the highest learning rate.
        warmup_steps, total_steps: numbers of updates; "constant" has no warm-up.
    """
    # Only the formula is used: a learning rate that depends on the index alone needs no state in checkpoints.
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=peak)
    [share_of_peak] = get_scheduler(schedule, optimizer, warmup_steps, total_steps).lr_lambdas
    warmup_steps = 0 if schedule == "constant" else warmup_steps

    def learning_rate(update: int) -> float:
        return peak * ((update + 1) / warmup_steps if update < warmup_steps else share_of_peak(update))

    return learning_rate
