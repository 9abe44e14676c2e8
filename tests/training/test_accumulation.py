"""Gradient accumulation: an update takes the mean gradient of its batches, also at the end of an epoch."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import GradientState
from accelerate_state import reset_accelerate
from bad_rows import make_rows
from tiny import tiny_model, tiny_processor
from tqdm.auto import tqdm

import conclip.training.loop as training
from conclip.models.clip import text_tokenizer
from conclip.training.arguments import ConCLIPTrainingArguments
from conclip.training.checkpoints import TrainingProgress
from conclip.training.collator import PairCollator
from conclip.training.pair_rows import PairRows
from conclip.training.training_state import TrainingState, announce, prepare_training

BATCH, BATCHES = 2, 5


@pytest.fixture
def accelerator():
    yield Accelerator(cpu=True)
    reset_accelerate()
    GradientState._reset_state()


def make_state(accelerator, steps: int, **settings) -> TrainingState:
    """A run of five batches an epoch, whose rows and order of batches are always the same."""
    model, processor = tiny_model().double(), tiny_processor()
    args = ConCLIPTrainingArguments(
        per_device_train_batch_size=BATCH, max_steps=steps, loss="negclip", save_steps=0, report_to="none", **settings
    )
    count = BATCH * BATCHES + 1
    negated = {row: {"negated_captions": [f"no square in {row}", f"a square not in {row}"]} for row in range(count)}
    rows = PairRows(make_rows(count, negated), text_tokenizer(model, processor), loss="negclip")
    rows.use_keys(lambda images: np.repeat(np.arange(count, dtype=np.uint8)[:, None], 16, axis=1))
    images = torch.randn(len(rows), 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows.use_tensors("image_embeds", lambda *_: images)
    return prepare_training(model, rows, PairCollator(processor.image_processor, 8), args, accelerator)


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


def gradients_of_updates(state, monkeypatch) -> list[dict[str, torch.Tensor]]:
    """Train, but keep the weights as they are; return the gradient that each update would use."""
    found = []
    monkeypatch.setattr(state.optimizer.optimizer, "step", lambda *_: found.append(gradients(state.model)))
    training.run_epochs(state, None, None, tqdm(disable=True))
    return found


def gradients_of_batches(state) -> list[dict[str, torch.Tensor]]:
    """The gradient of each batch of the first epoch alone."""
    found = []
    state.loader.set_epoch(0)
    for batch in state.loader:
        state.model.zero_grad()
        state.model(**batch, return_loss=True).loss.backward()
        found.append(gradients(state.model))
    return found


def assert_mean(found: dict[str, torch.Tensor], batches: list[dict[str, torch.Tensor]]) -> None:
    for name, gradient in found.items():
        mean = sum(batch[name] for batch in batches) / len(batches)
        torch.testing.assert_close(gradient, mean, rtol=1e-12, atol=1e-15, msg=name)


@pytest.mark.parametrize(
    ("steps", "groups"),
    [(1, [[0, 1, 2, 3, 4]]), (2, [[0, 1, 2], [3, 4]]), (3, [[0, 1], [2, 3], [4]])],
    ids=["more than an epoch", "three", "two"],
)
def test_an_update_takes_the_mean_gradient_of_its_batches(steps, groups, accelerator, monkeypatch):
    batches = gradients_of_batches(make_state(accelerator, steps))
    number = len(groups[0]) if len(groups) > 1 else 100
    state = make_state(accelerator, steps, gradient_accumulation_steps=number)
    found = gradients_of_updates(state, monkeypatch)
    assert len(found) == len(groups) and len(batches) == BATCHES
    for gradient, group in zip(found, groups, strict=True):
        assert_mean(gradient, [batches[at] for at in group])


def test_the_last_update_of_an_epoch_after_resumption_inside_it(accelerator, monkeypatch):
    batches = gradients_of_batches(make_state(accelerator, 2))
    state = make_state(accelerator, 2, gradient_accumulation_steps=3)
    state.progress = TrainingProgress(step=1, epoch=0, batch=3)
    [found] = gradients_of_updates(state, monkeypatch)
    assert_mean(found, batches[3:])


def test_the_loss_of_an_update_is_the_mean_of_its_batches(accelerator, monkeypatch):
    plain, losses = training.train_step, []

    def watched(*arguments):
        found = plain(*arguments)
        losses.append(found["loss"].item())
        return found

    monkeypatch.setattr(training, "train_step", watched)
    state = make_state(accelerator, 2, gradient_accumulation_steps=3)
    found = training.run_epochs(state, None, None, tqdm(disable=True))["loss"].item()
    assert len(losses) == BATCHES and found == pytest.approx((losses[3] + losses[4]) / 2, rel=1e-12)


def test_the_speed_counts_the_rows_that_were_trained_on(accelerator):
    state = make_state(accelerator, 3, gradient_accumulation_steps=100)
    state.progress = TrainingProgress(step=1, epoch=1, batch=0)
    statistics = training.run_training(state)
    assert statistics["examples_per_second"] * statistics["seconds"] == pytest.approx(2 * BATCHES * BATCH)


def test_the_console_says_what_an_update_averages(accelerator, capsys):
    state = make_state(accelerator, 3, gradient_accumulation_steps=3)
    announce(state, state.loader.dataset)
    assert (
        "Each update averages the gradients of 3 batches (2 at the end of an epoch); the loss of a batch still "
        "compares only its own 2 rows.\n"
    ) in capsys.readouterr().out
