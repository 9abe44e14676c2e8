"""The learning rate of each update, against the closed form of the official code and by hand."""

import math

import pytest

from conclip.training.arguments import SCHEDULES
from conclip.training.schedule import learning_rates


def official(step: int, base_lr: float, warmup_length: int, steps: int) -> float:
    """`cosine_lr` of jaisidhsingh/CoN-CLIP, src/training_utils/schedulers.py; its first update is 0."""
    if step <= warmup_length:
        return base_lr * (step + 1) / warmup_length
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_length) / (steps - warmup_length))) * base_lr


@pytest.mark.parametrize("steps", [51, 60, 4705], ids=str)
def test_the_papers_schedule_is_that_of_the_official_code(steps):
    """Its one value above the peak, 1.02e-6 after a warm-up of 50, is the peak here."""
    rate = learning_rates("cosine", 1e-6, 50, steps)
    found = [rate(update) for update in range(steps)]
    assert found == pytest.approx([min(1e-6, official(update, 1e-6, 50, steps)) for update in range(steps)], rel=1e-12)
    assert found[:2] == pytest.approx([2e-8, 4e-8]) and found[49] == found[50] == 1e-6


@pytest.mark.parametrize(
    ("schedule", "by_hand"),
    [
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1, 1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]),
        ("constant", [1, 1, 1, 1, 1, 1]),
        ("constant_with_warmup", [0.5, 1, 1, 1, 1, 1]),
        ("inverse_sqrt", [0.5, 1, 1, (2 / 3) ** 0.5, 0.5**0.5, 0.4**0.5]),
    ],
)
def test_six_updates_with_a_warm_up_of_two(schedule, by_hand):
    rate = learning_rates(schedule, 3.0, 2, 6)
    assert [rate(update) for update in range(6)] == pytest.approx([3 * share for share in by_hand], rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup_steps", [0, 1, 5, 8, 9])
def test_every_update_has_a_learning_rate_above_0_and_none_above_the_peak(schedule, warmup_steps):
    rate = learning_rates(schedule, 1e-3, warmup_steps, 8)
    assert all(0 < rate(update) <= 1e-3 for update in range(8))
