"""Checkpoints by themselves, without a training run: which are found, kept and refused, and what they restore."""

import json

import pytest
import torch
from accelerate import Accelerator
from accelerate_state import reset_accelerate

from conclip.errors import UsageError
from conclip.training.checkpoints import (
    REST_BYTES,
    TrainingProgress,
    checkpoint_bytes,
    checkpoint_to_resume,
    find_checkpoint,
    list_checkpoints,
    load_checkpoint,
    mark_finished,
    read_state,
    remove_checkpoint,
    require_no_checkpoints,
    save_checkpoint,
)

FIXED = {"seed": 1, "lora_rank": None}


class Part:
    """A model, its optimizer and the accelerator that prepared them."""

    def __init__(self):
        reset_accelerate()
        self.accelerator = Accelerator(cpu=True)
        model = torch.nn.Linear(3, 2)
        model.bias.requires_grad_(False)
        optimizer = torch.optim.AdamW([model.weight], lr=0.1)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)

    def train(self) -> None:
        self.model(torch.rand(4, 3)).pow(2).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def save(self, folder, step: int, limit: int = 2) -> None:
        progress = TrainingProgress(step, epoch=3, batch=5, evaluated_step=7)
        save_checkpoint(self.accelerator, self.model, folder, progress, FIXED, limit, needed=1)


@pytest.fixture
def part():
    yield Part()
    reset_accelerate()


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def finished(folder, *steps: int) -> None:
    for step in steps:
        (folder / f"checkpoint-{step}").mkdir()
        (folder / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")


def test_only_finished_checkpoints_count_and_10_is_after_9(tmp_path):
    finished(tmp_path, 10, 9)
    (tmp_path / "checkpoint-11").mkdir()
    for name in ("checkpoint-last", "checkpoint-²", "unfinished-checkpoint-12", "my-checkpoint-13"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text("{}")
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-9", "checkpoint-10"]
    assert find_checkpoint(tmp_path, "latest") == tmp_path / "checkpoint-10"
    assert find_checkpoint(tmp_path / "elsewhere", str(tmp_path / "checkpoint-9")) == tmp_path / "checkpoint-9"
    with pytest.raises(UsageError, match="up to checkpoint-10: continue"):
        require_no_checkpoints(tmp_path)
    with pytest.raises(UsageError, match="checkpoint-11: no finished checkpoint there"):
        find_checkpoint(tmp_path, str(tmp_path / "checkpoint-11"))
    with pytest.raises(UsageError, match="--resume_from_checkpoint newest: no finished checkpoint there"):
        find_checkpoint(tmp_path, "newest")


def test_the_checkpoint_that_a_run_resumes_from(tmp_path):
    finished(tmp_path, 8, 9, 10)
    for wanted in ("latest", True):
        assert checkpoint_to_resume(tmp_path, wanted) == tmp_path / "checkpoint-10"
    assert checkpoint_to_resume(tmp_path, str(tmp_path / "checkpoint-9")) == tmp_path / "checkpoint-9"
    for nothing in (None, False):
        with pytest.raises(UsageError, match="holds checkpoints of an earlier run, up to checkpoint-10"):
            checkpoint_to_resume(tmp_path, nothing)
        assert checkpoint_to_resume(tmp_path / "other", nothing) is None


def test_a_folder_without_checkpoints(tmp_path):
    require_no_checkpoints(tmp_path)
    with pytest.raises(UsageError, match="no checkpoint in"):
        find_checkpoint(tmp_path, "latest")


def test_bytes_are_those_of_the_weights_and_of_two_moments_of_what_is_trained():
    model = torch.nn.Linear(300, 200)
    model.bias.requires_grad_(False)
    # 60,000 weights and 200 biases of 4 bytes each, and the moments of the weights.
    assert checkpoint_bytes(model) == 60_200 * 4 + 2 * 60_000 * 4 + 131_072
    assert REST_BYTES == 131_072


@pytest.mark.parametrize(("limit", "kept"), [(1, ["checkpoint-10"]), (2, ["checkpoint-10", "checkpoint-9"])])
def test_the_newest_are_kept_and_nothing_else_is_left(part, tmp_path, limit, kept):
    finished(tmp_path, 7, 8)
    (tmp_path / "unfinished-checkpoint-6").mkdir()
    part.save(tmp_path, 9, limit)
    part.save(tmp_path, 10, limit)
    assert names(tmp_path) == kept


def test_a_checkpoint_is_restored(part, tmp_path):
    part.train()
    part.save(tmp_path, 2)
    saved = [part.model.weight.detach().clone(), part.optimizer.state_dict()["state"][0]["exp_avg"].clone()]
    part.train()
    expected = part.model.weight.detach().clone()
    part.train()
    found = load_checkpoint(part.accelerator, part.model, tmp_path / "checkpoint-2", FIXED)
    assert found == TrainingProgress(step=2, epoch=3, batch=5, evaluated_step=7)
    restored = [part.model.weight, part.optimizer.state_dict()["state"][0]["exp_avg"]]
    assert all(torch.equal(one, other) for one, other in zip(restored, saved, strict=True))
    # The random numbers of the next step are restored too.
    part.train()
    assert torch.equal(part.model.weight, expected)


def test_a_checkpoint_takes_the_place_of_one_of_the_same_step(part, tmp_path):
    part.save(tmp_path, 2)
    (tmp_path / "checkpoint-2" / "old").touch()
    part.save(tmp_path, 2)
    assert names(tmp_path) == ["checkpoint-2"] and not (tmp_path / "checkpoint-2" / "old").exists()


def test_settings_that_have_changed_are_named(part, tmp_path):
    part.save(tmp_path, 2)
    checkpoint = tmp_path / "checkpoint-2"
    with pytest.raises(UsageError, match="Cannot resume from .*: seed was 1, is 2; steps was None, is 3. Use the"):
        load_checkpoint(part.accelerator, part.model, checkpoint, {"seed": 2, "lora_rank": None, "steps": 3})
    # The earlier run did not use it.
    load_checkpoint(part.accelerator, part.model, checkpoint, {"seed": 1, "lora_rank": 4})


@pytest.mark.parametrize("name", ["model.safetensors", "random_states_0.pkl", "optimizer.bin"])
def test_each_file_is_needed(part, tmp_path, name):
    part.train()
    part.save(tmp_path, 2)
    (tmp_path / "checkpoint-2" / name).unlink()
    with pytest.raises(UsageError, match="checkpoint-2 is damaged .*: resume from another checkpoint."):
        load_checkpoint(part.accelerator, part.model, tmp_path / "checkpoint-2", FIXED)


@pytest.mark.parametrize("name", ["random_states_0.pkl", "optimizer.bin", "custom_checkpoint_0.pkl"])
def test_more_than_plain_data_is_not_loaded(part, tmp_path, name):
    part.train()
    part.save(tmp_path, 2)
    torch.save(torch.nn.Linear(1, 1), tmp_path / "checkpoint-2" / name)
    with pytest.raises(UsageError, match=f"{name} .*not loaded.*resume from another checkpoint"):
        load_checkpoint(part.accelerator, part.model, tmp_path / "checkpoint-2", FIXED)


def test_the_end_of_a_run_is_noted_in_its_newest_checkpoint(part, tmp_path):
    mark_finished(tmp_path, {"max_steps": 3})
    for step in (1, 2, 3):
        part.save(tmp_path, step, limit=3)
    mark_finished(tmp_path, {"max_steps": 3})
    progress = TrainingProgress(3, epoch=3, batch=5, evaluated_step=7)
    assert read_state(tmp_path / "checkpoint-3") == (progress, FIXED, {"max_steps": 3})
    assert [read_state(tmp_path / f"checkpoint-{step}")[2] for step in (1, 2)] == [None, None]


@pytest.mark.parametrize("content", ["{", "[]", '{"progress": {"steps": 1}, "fixed": {}}', '{"progress": {}}'])
def test_damaged_progress_names_its_file(tmp_path, content):
    (tmp_path / "trainer_state.json").write_text(content)
    with pytest.raises(UsageError, match="trainer_state.json is damaged .*: resume from another checkpoint."):
        read_state(tmp_path)


def test_a_run_has_come_nowhere_at_first(tmp_path):
    (tmp_path / "trainer_state.json").write_text(json.dumps({"progress": {}, "fixed": {}}))
    assert read_state(tmp_path) == (TrainingProgress(0, 0, 0, 0), {}, None)


def test_a_half_removed_checkpoint_has_another_name(tmp_path, monkeypatch):
    finished(tmp_path, 4)
    monkeypatch.setattr("conclip.training.checkpoints.remove", lambda path: None)
    remove_checkpoint(tmp_path / "checkpoint-4")
    remove_checkpoint(tmp_path / "checkpoint-5")
    assert names(tmp_path) == ["unfinished-checkpoint-4-removed"]
