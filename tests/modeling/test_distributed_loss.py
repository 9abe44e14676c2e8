"""
Two processes under DDP compute the loss and the gradients of one process with the joint batch.

Run as a script, this file is one of the two processes.
"""

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tiny import tiny_batch, tiny_model
from two_ranks import results_of_two

from conclip.training.arguments import LORA_TARGET_MODULES
from modeling_conclip import ConCLIPModel, loss_conclip

SIZE = 6
DISTRACTORS = ("negated_input_ids", "negated_attention_mask", "distractor_pixel_values")
FORMS = {
    "L_conclip": DISTRACTORS,
    "NegCLIP": ("negated_input_ids", "negated_attention_mask"),
    "CLIP": (),
    "L_conclip with LoRA": DISTRACTORS,
    "negation distillation": None,
    "negation distillation with images": None,
}


def inputs(form):
    if FORMS[form] is None:
        return distilled_inputs() | (known_truth() if "with images" in form else {})
    names = ("input_ids", "attention_mask", "pixel_values", *FORMS[form])
    batch = tiny_batch(SIZE, dtype=torch.float64)
    return {name: batch[name] for name in names} | {"return_loss": True}


def distilled_inputs():
    """Texts with targets alone, without images."""
    batch = tiny_batch(SIZE, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    targets, views = (torch.randn(rows, 16, generator=generator, dtype=torch.float64) for rows in (SIZE, 20))
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    moment = torch.nn.functional.normalize(views).T.matmul(torch.nn.functional.normalize(views)) / 20
    targets = torch.nn.functional.normalize(targets)
    return {**batch, "text_targets": targets, "second_moment": moment, "return_loss": True}


def known_truth():
    """The truth of three texts: two of those of the first process, and one of the second's."""
    generator = torch.Generator().manual_seed(4)
    truth = torch.rand(SIZE, 7, generator=generator, dtype=torch.float64)
    truth[[1, 3, 4]] = torch.nan
    images = torch.nn.functional.normalize(torch.randn(7, 16, generator=generator, dtype=torch.float64))
    return {"truth": truth, "truth_image_embeds": images}


def make_model(form) -> ConCLIPModel | PeftModel:
    model = tiny_model().double()
    # Texts alone give the scale no gradient, for which DDP would wait.
    model.logit_scale.requires_grad_(FORMS[form] is not None)
    if "LoRA" not in form:
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        adapted = get_peft_model(model, LoraConfig(r=3, target_modules=LORA_TARGET_MODULES)).double()
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                # It begins at 0, where the gradient of lora_A is 0 as well.
                torch.nn.init.normal_(parameter, std=0.1)
    return adapted


def part_of(batch: dict, rows: slice) -> dict:
    whole = ("return_loss", "second_moment", "truth_image_embeds")
    return {name: value if name in whole else value[rows] for name, value in batch.items()}


def losses_and_gradients(model, plain, **inputs):
    model.train().zero_grad()
    output = model(**inputs)
    output.loss.backward()
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters() if parameter.grad is not None}
    return {"loss": output.loss.detach(), "logits": logits_of(output), "gradients": gradients}


@contextmanager
def counted_logits():
    """Count the logits that the loss computes."""
    count, plain = [], loss_conclip.similarity

    def counting(queries, keys, scale):
        count.append(len(queries) * len(keys))
        return plain(queries, keys, scale)

    with mock.patch.object(loss_conclip, "similarity", counting):
        yield count


def logits_of(output) -> torch.Tensor:
    """Return the logits of pairs, or what texts alone have in their place."""
    found = output.target_text_embeds if output.logits_per_text is None else output.logits_per_text
    return found.detach()


def one_of_two(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    result = {"world_size": torch.distributed.get_world_size()}
    for form in FORMS:
        mine = part_of(inputs(form), slice(rank * SIZE // 2, (rank + 1) * SIZE // 2))
        plain = make_model(form)
        model = torch.nn.parallel.DistributedDataParallel(plain)
        with counted_logits() as count:
            result[form] = losses_and_gradients(model, plain, **mine) | {"count": count}
        with torch.no_grad():
            result[form]["evaluated"] = plain.eval()(**mine).loss
    assert result["world_size"] == 2
    torch.save(result, folder / f"{rank}.pt")
    torch.distributed.barrier()
    os._exit(0)  # gloo's threads sometimes abort an orderly exit


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return results_of_two(__file__, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("form", FORMS)
def test_two_processes_equal_one_with_the_joint_batch(ranks, form):
    model = make_model(form)
    joint = losses_and_gradients(model, model, **inputs(form))
    if "LoRA" in form:
        adapters = {name for name, _ in model.named_parameters() if "lora_" in name}
        # Two layers of four attention and two MLP matrices, each with A and B.
        assert joint["gradients"].keys() == adapters and len(adapters) == 2 * 6 * 2
        assert all(gradient.abs().max() > 1e-9 for gradient in joint["gradients"].values())
    else:
        assert "text_projection.weight" in joint["gradients"]
        assert ("logit_scale" in joint["gradients"]) == (FORMS[form] is not None)
    for rank in ranks:
        assert rank["world_size"] == 2
        torch.testing.assert_close(rank[form]["loss"], joint["loss"], rtol=1e-12, atol=0)
        assert rank[form]["gradients"].keys() == joint["gradients"].keys()
        for name, gradient in joint["gradients"].items():
            torch.testing.assert_close(rank[form]["gradients"][name], gradient, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("form", FORMS)
def test_logits_and_evaluation_are_of_the_own_rank(ranks, form):
    model, half = make_model(form).eval(), SIZE // 2
    for rank, result in enumerate(ranks):
        expected = model(**part_of(inputs(form), slice(rank * half, (rank + 1) * half)))
        torch.testing.assert_close(result[form]["logits"], logits_of(expected), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(result[form]["evaluated"], expected.loss, rtol=1e-12, atol=1e-12)


def test_each_rank_computes_the_logits_of_its_own_rows(ranks):
    """Of 6 pairs in all, 3 are a rank's own: rows of L1, L2 and L3, by the 6 keys and the 6 extra negatives."""
    for rank in ranks:
        assert rank["L_conclip"]["count"] == rank["L_conclip with LoRA"]["count"] == [3 * 12] * 3
        assert rank["NegCLIP"]["count"] == [3 * 12, 3 * 6] and rank["CLIP"]["count"] == [3 * 6] * 2


if __name__ == "__main__":
    one_of_two(int(sys.argv[1]), Path(sys.argv[2]))
