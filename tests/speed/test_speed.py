"""The timings run, check equality first and write their results; here with a tiny model."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate_state import reset_accelerate
from tiny import tiny_tokenizer
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from modeling_conclip.loss_conclip import l2_normalize
from modeling_conclip.packing_conclip import pack_texts
from speed import (
    approximate_search,
    distillation_step,
    epochs,
    gpu_recipe,
    joint_loss,
    launch,
    memory,
    models,
    sugarcrepe,
    training_step,
)
from speed.captions import sampled_pairs
from speed.paired import time_in_turns

TINY = ((32, 64, 2), (32, 64, 2, 2, 112), 16)


@pytest.fixture(autouse=True)
def tiny_sizes(monkeypatch):
    monkeypatch.setitem(models.SIZES, "vit-base-patch32", TINY)
    yield
    reset_accelerate()


def written(path) -> dict:
    return json.loads(path.read_text())


def test_training_step_is_checked_and_timed_in_turns(tmp_path, capsys):
    training_step.main(["--batch_size", "6", "--rounds", "2", "--output_file", str(tmp_path / "step.json")])
    found = written(tmp_path / "step.json")
    assert found["equality"]["loss_difference"] <= 1e-5 and found["equality"]["gradient_difference"] <= 1e-4
    ratios = [a / b for a, b in zip(found["reference_s"], found["ours_s"], strict=True)]
    assert len(ratios) == 2
    assert (found["ratio"]["min"], found["ratio"]["max"]) == (min(ratios), max(ratios))
    assert "the paper's step takes" in capsys.readouterr().out


def test_step_of_distillation_is_timed_beside_that_of_pairs(tmp_path, capsys):
    output = tmp_path / "step.json"
    distillation_step.main(["--pairs", "4", "--statements", "16", "--rounds", "2", "--output_file", str(output)])
    found = written(output)
    assert len(found["ours_s"]) == len(found["reference_s"]) == 2 and 6 < found["tokens_a_statement"] < 20
    assert "a step over 4 pairs takes" in capsys.readouterr().out


@pytest.mark.slow
def test_local_and_whole_form_of_the_loss_agree_over_processes(tmp_path, capsys):
    output = tmp_path / "loss.json"
    options = ["--processes", "2", "--batch_size", "5", "--width", "8", "--rounds", "1", "--plain"]
    joint_loss.main([*options, "--output_file", str(output)])
    (found,) = written(output)["rounds"]
    assert found["loss_difference"] <= 1e-5 and found["gradient_difference"] <= 1e-5
    assert "2 processes of 5 pairs" in capsys.readouterr().out


def test_forms_of_the_loss_that_differ_are_not_compared(tmp_path, monkeypatch):
    ranks = [{"loss": torch.tensor(2.0), "gradients": [torch.ones(2, 3)], "seconds": 1.0, "bytes": 8}]
    others = [{**ranks[0], "gradients": [torch.ones(2, 3) * 1.01]}]
    monkeypatch.setattr(joint_loss, "run", lambda form, options: {"local": ranks, "whole": others}[form])
    with pytest.raises(SystemExit, match=r"loss by 0.0e\+00, gradients by 9.9e-03"):
        joint_loss.main(["--output_file", str(tmp_path / "loss.json")])


def test_a_word_is_one_token_in_every_text():
    tokens = distillation_step.tokens_by_word(["No dog.", "the dog isn't red"])
    one, other = tokens.ids[:5].tolist(), tokens.ids[5:].tolist()
    assert tokens.offsets.tolist() == [0, 5, 11] and one[2] == other[2]
    assert len({*one, *other}) == 2 + 6


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_training_step_refuses_to_time_what_differs(broken, tmp_path, monkeypatch):
    plain = training_step.paper_loss
    shift = torch.tensor(1e-3)

    def wrong(model, *inputs):
        # Another loss, or the same loss with a gradient of another size.
        loss = plain(model, *inputs)
        return loss + shift if broken == "loss" else loss.detach() + 1.001 * (loss - loss.detach())

    monkeypatch.setattr(training_step, "paper_loss", wrong)
    with pytest.raises(SystemExit, match="do not compute the same"):
        training_step.main(["--batch_size", "4", "--output_file", str(tmp_path / "step.json")])
    assert not (tmp_path / "step.json").exists()


def test_epochs_put_the_parts_together_by_the_formula(tmp_path):
    output = tmp_path / "epochs.json"
    epochs.main(["--batch_size", "4", "--rounds", "1", "--epochs", "3", "--output_file", str(output)])
    found = written(output)
    (seconds,) = found["seconds"]
    assert min(seconds.values()) > 0
    for name, images_a_row in (("0.63", 1 + 118_287 / 188_246), ("1.00", 2)):
        expected = 3 * seconds["paper_row"] / (images_a_row * seconds["image"] + 3 * seconds["our_row"])
        assert found["ratio"][f"{name} distinct distractors a row"]["median"] == pytest.approx(expected)


def test_sugarcrepe_against_the_usual_loop(tmp_path, data, monkeypatch):  # noqa: F811
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    few = ["--loop_items", "12", "--rounds", "1", "--tokenizer_name", str(tmp_path / "tokenizer")]
    argv = [*few, "--data_dir", str(data), "--image_dir", str(data / "coco" / "val2017")]
    sugarcrepe.main([*argv, "--output_file", str(tmp_path / "found.json")])
    found = written(tmp_path / "found.json")
    assert (found["items"], found["images"]) == (70, 9) and found["largest_difference"] < 1e-5
    (ratio,) = (a / b for a, b in zip(found["reference_s"], found["ours_s"], strict=True))
    assert found["ratio"]["median"] == pytest.approx(ratio)
    plain = sugarcrepe.usual_loop
    monkeypatch.setattr(sugarcrepe, "usual_loop", lambda *inputs: plain(*inputs) + 1e-4)
    with pytest.raises(SystemExit, match="do not compute the same"):
        sugarcrepe.main([*argv, "--output_file", str(tmp_path / "wrong.json")])


def test_memory_counts_pieces():
    found = memory.measure("vit-base-patch32", 520)
    assert found["pieces"] == 3 and found["peak_bytes"] > 2**26 and np.isfinite(found["loss"])


def test_the_recipe_for_a_gpu_measures_all_its_parts_without_one(tmp_path, capsys, graphs, monkeypatch):
    small = replace(gpu_recipe.small_setup(), compiled=True)
    monkeypatch.setattr(gpu_recipe, "small_setup", lambda: small)
    output = tmp_path / "gpu.json"
    assert gpu_recipe.main(["--small", "--output_file", str(output)]) == 0
    found = written(output)
    parts, setup = found["parts"], found["setup"]
    assert list(parts) == list(gpu_recipe.PARTS) and graphs
    assert all(name in found["meaning"] for part in parts.values() for name in part)
    shown = capsys.readouterr().out
    assert all(meaning in shown for meaning in found["meaning"].values())
    whole = parts["train vit-base-patch32"]
    # 40 rows are 4 batches of 10 in each of 2 epochs.
    assert (whole["pairs"], whole["steps"]) == (80, 8) and whole["full_run_s"] == pytest.approx(whole["seconds"])
    for size in models.SIZES:
        part = parts[f"train {size}"]
        assert part["compile_s"] == pytest.approx(part["first_run_s"] - part["seconds"])
        assert part["pairs_a_second"] == pytest.approx(part["pairs"] / part["seconds"])
        assert part["full_run_s"] == pytest.approx(80 / part["pairs_a_second"])
        share = part["flops"] / parts["matrix rate"]["matrix_flops"]
        assert part["share_of_matrix_rate"] == pytest.approx(share) and 0 < share < 1
        assert parts[f"embed {size}"]["images_a_second"] > 0
    losses = parts["bf16 against float32"]
    assert losses["compared_steps"] == setup["compared_steps"] == 3
    # bf16 has 8 binary digits: the losses differ, but not by much.
    assert 0 < losses["loss_difference_mean"] <= losses["loss_difference_max"] < 0.02 * losses["first_loss"]
    assert parts["one process"]["ddp_loss_difference_max"] == 0
    assert not torch.distributed.is_initialized() and "MASTER_PORT" not in os.environ


def test_what_fails_is_written_and_the_rest_is_measured(tmp_path, monkeypatch, capsys):
    output, seen = tmp_path / "gpu.json", []

    def fails(bench):
        seen.append(written(output)["parts"])
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(
        gpu_recipe, "PARTS", {"one": lambda bench: {"steps": 3}, "two": fails, "three": gpu_recipe.matrix_rate}
    )
    assert gpu_recipe.main(["--small", "--output_file", str(output)]) == 1
    # What was measured before the failure was already in the file.
    assert [list(parts) for parts in seen] == [["one"]] and seen[0]["one"]["steps"] == 3
    parts = written(output)["parts"]
    assert parts["two"]["error"] == "RuntimeError: CUDA out of memory" and parts["three"]["matrix_flops"] > 0
    assert "CUDA out of memory" in capsys.readouterr().out


def test_losses_that_differ_fail(monkeypatch):
    bench = gpu_recipe.Bench(torch.device("cpu"), gpu_recipe.small_setup())
    plain, losses = torch.tensor([4.0, 2.0]), {"bf16": torch.tensor([4.0, 2.05]), "no": torch.tensor([4.0, 2.0])}
    monkeypatch.setattr(
        gpu_recipe, "losses_of", lambda bench, size, accelerator, **_: losses[accelerator.mixed_precision]
    )
    found = gpu_recipe.loss_agreement(bench, "vit-base-patch32")
    assert (found["loss_difference_max"], found["loss_difference_mean"]) == pytest.approx((0.05, 0.025), rel=1e-4)
    # More than 2 % of the mean loss 3, which is 0.06; and no loss at all.
    for wrong in (plain + torch.tensor([0.0, 0.14]), plain * torch.nan):
        losses["bf16"] = wrong
        with pytest.raises(ValueError, match="differ"):
            gpu_recipe.loss_agreement(bench, "vit-base-patch32")


def test_without_a_gpu_only_the_small_setup_runs(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        gpu_recipe.main([])
    assert "add --small" in capsys.readouterr().err


@pytest.mark.parametrize("pieces", [1, 2])
def test_the_formula_of_flop_counts_what_torch_counts(pieces):
    model = models.as_conclip(models.make_model("vit-base-patch32")).train()
    packed = pack_texts(sampled_pairs(20)[range(40)], pieces)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        embeds = [model.embed_packed_texts([{**piece, "rows": torch.arange(len(piece["rows"]))}]) for piece in packed]
        torch.cat(embeds).sum().backward()
    assert gpu_recipe.step_flops(model, packed) == counter.get_total_flops()


@pytest.mark.slow
def test_launch_finds_the_cache_it_was_given(tmp_path, capfd):
    launch.main(
        ["--rows", "200", "--rounds", "1", "--batch_size", "8", "--output_file", str(tmp_path / "launch.json")]
    )
    assert len(written(tmp_path / "launch.json")["warm_s"]) == 1
    assert "Embedding" not in capfd.readouterr().err


def test_recall_is_a_share_of_the_exact_neighbours():
    exact, found = np.array([[1, 2], [3, 4]]), np.array([[2, 9], [4, 3]])
    assert approximate_search.recall(found, exact) == 0.75


@pytest.mark.slow
def test_an_approximate_search_that_looks_everywhere_is_exact(tmp_path):
    few = ["--queries", "20", "--pool", "4000", "--dimensions", "32", "--clusters", "50", "--lists", "16"]
    approximate_search.main([*few, "--probes", "1", "16", "--output_file", str(tmp_path / "found.json")])
    one, every = written(tmp_path / "found.json")["searches"]
    assert 0 < one["recall"] < every["recall"] == 1


def test_drawn_captions_have_the_lengths_of_real_ones():
    tokens = sampled_pairs(2_000)
    lengths = np.diff(tokens.offsets)
    captions, negated = tokens[range(2_000)], tokens[range(2_000, 4_000)]
    same = captions == negated[:, : captions.shape[1]]
    shared = np.logical_and.accumulate(same, axis=1).sum(axis=1)
    # Of 1,000 real pairs: 13.6, 14.5 and 5.9.
    assert lengths[:2_000].mean() == pytest.approx(13.9, abs=0.3)
    assert (lengths[2_000:] - lengths[:2_000] == 1).all()
    assert np.mean(shared) == pytest.approx(5.9, abs=0.5)


def test_turns_are_timed_apart():
    seen = []
    found = time_in_turns(lambda: seen.append("ours"), lambda: seen.append("paper"), 2, "cpu", ours_a_round=2)
    assert seen == ["paper", "ours", "ours"] * 3
    assert len(found["ours_s"]) == len(found["reference_s"]) == 2


def test_the_paper_step_is_l_conclip_by_hand():
    """The reference loss equals the formula, computed in plain Python from the same embeddings."""
    model = models.make_model("vit-base-patch32").double()
    pixels = torch.randn(2, 3, 3, 224, 224, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    tokens = sampled_pairs(3)
    texts = [training_step.padded(tokens, range(at, at + 3)) for at in (0, 3)]
    loss = training_step.paper_loss(model, *pixels, *texts).item()
    with torch.no_grad():
        i, d = (l2_normalize(model.get_image_features(pixel_values=some).pooler_output) for some in pixels)
        c, n = (l2_normalize(model.get_text_features(input_ids=some).pooler_output) for some in texts)
        scale = model.logit_scale.exp().item()

    def term(queries, right, extra):
        total = 0.0
        for row, query in enumerate(queries):
            logits = [scale * float(query @ key) for key in [*right, *extra]]
            total += np.log(np.sum(np.exp(logits))) - logits[row]
        return total / len(queries)

    assert loss == pytest.approx((term(i, c, n) + term(c, i, d) + term(d, n, c)) / 3, rel=1e-12)
    assert Accelerator().num_processes == 1
