"""After which updates the training loop evaluates."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from conclip.training import loop
from conclip.training.checkpoints import TrainingProgress


def evaluated(total_steps: int, steps_an_epoch: int, eval_steps: int | None, first: TrainingProgress) -> list[int]:
    """Return the updates after which the loop evaluates; `first` is where it begins."""
    found = []
    args = SimpleNamespace(eval_steps=eval_steps)
    state = SimpleNamespace(progress=first, args=args, total_steps=total_steps, model=MagicMock())
    for step in range(first.step, total_steps + 1):
        state.progress.step, state.progress.batch = step, step % steps_an_epoch
        loop.evaluate_if_due(state, lambda step=step: found.append(step) or {})
    return found


@pytest.mark.parametrize(
    ("total_steps", "steps_an_epoch", "eval_steps", "expected"),
    [
        (40, 8, None, [8, 16, 24, 32]),
        (50, 5, None, [5, 10, 15, 20, 25, 30, 35, 40, 45]),
        (55, 5, None, [10, 20, 30, 40, 50]),
        (800, 4, None, [80, 160, 240, 320, 400, 480, 560, 640, 720]),
        (30, 40, None, []),
        (20, 4, 6, [6, 12, 18]),
        (20, 1, 1, list(range(1, 20))),
    ],
)
def test_after_epochs_but_not_more_than_ten_times_nor_after_the_last_update(
    total_steps, steps_an_epoch, eval_steps, expected, monkeypatch
):
    monkeypatch.setattr(loop, "require_finite_weights", lambda state: None)
    monkeypatch.setattr(loop, "log_evaluation", lambda state, metrics: None)
    assert evaluated(total_steps, steps_an_epoch, eval_steps, TrainingProgress()) == expected
    # A run that is resumed evaluates at the same updates.
    rest = [step for step in expected if step > 11]
    before = max([step for step in expected if step <= 11], default=0)
    resumed = TrainingProgress(step=11, evaluated_step=before)
    assert evaluated(total_steps, steps_an_epoch, eval_steps, resumed) == rest
