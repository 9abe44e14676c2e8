"""
Batches in pieces: the loss and the gradients of the whole batch, the activations of one piece.

Run as a script, this file is one of two processes under DDP.
"""

import os
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import TEXT_LENGTH, VOCABULARY, WORDS, tiny_batch, tiny_model, tiny_tokenizer
from two_ranks import results_of_two

from conclip.embedding.tokens import TextTokenizer
from conclip.training.arguments import LORA_TARGET_MODULES
from conclip.training.collator import PairCollator
from modeling_conclip import loss_conclip

SIZE = 8
OUTPUTS = (
    "loss",
    "loss_image_to_text",
    "loss_text_to_image",
    "loss_distractor",
    "logits_per_image",
    "text_embeds",
    "negated_text_embeds",
)
OUTPUTS += ("image_embeds", "distractor_image_embeds")


def packed_batch(mini_batch_size=SIZE, rows=range(SIZE), embeds=False, captions_alone=False, repeat=1):
    """The batch of a training step from its collator: the same rows for every size of the pieces."""
    rows = [row for row in rows for _ in range(repeat)]
    pixels = tiny_batch(SIZE, dtype=torch.float64)
    columns = {name: pixels[name][rows] for name in ("pixel_values", "distractor_pixel_values")}
    if embeds:
        columns = {
            name.replace("pixel_values", "image_embeds"): value[:, 0, :4, :4].flatten(1)
            for name, value in columns.items()
        }
    if captions_alone:
        columns = {name: value for name, value in columns.items() if "distractor" not in name}
    captions = [f"a {WORDS[row]} next to {'the cat ' * row} {WORDS[at % repeat]}" for at, row in enumerate(rows)]
    texts = captions if captions_alone else captions + [f"{caption} but no {WORDS[-1]}" for caption in captions]
    tokens = TextTokenizer(tiny_tokenizer(), TEXT_LENGTH, VOCABULARY["<|endoftext|>"])(texts)
    return PairCollator(None, mini_batch_size)(columns | {"texts": tokens[range(len(texts))]})


def make_model(lora_dropout=None, **overrides):
    model = tiny_model(**overrides).double()
    if lora_dropout is None:
        return model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        config = LoraConfig(r=3, target_modules=LORA_TARGET_MODULES, lora_dropout=lora_dropout)
        adapted = get_peft_model(model, config).double()
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                # It begins at 0, where the gradient of lora_A is 0 as well.
                torch.nn.init.normal_(parameter, std=0.1)
    return adapted.train()


def step(model, plain=None, **inputs):
    model.zero_grad()
    output = model(**inputs, return_loss=True)
    output.loss.backward()
    named = (plain or model).named_parameters()
    gradients = {name: parameter.grad.clone() for name, parameter in named if parameter.grad is not None}
    return {name: output[name].detach() for name in OUTPUTS if output.get(name) is not None}, gradients


def assert_same_step(actual, expected, rtol=1e-10):
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            atol = rtol * max(1e-3, value.abs().max().item())
            torch.testing.assert_close(
                ours[name], value, rtol=rtol, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
            )


FORMS = {
    "image encoder trains": ({"freeze_image_encoder": False}, {}),
    "image encoder frozen": ({}, {}),
    "ready embeddings": ({}, {"embeds": True}),
    "captions alone": ({"freeze_image_encoder": False}, {"captions_alone": True}),
    "adapters": ({"lora_dropout": 0.0}, {"embeds": True}),
}


@pytest.mark.parametrize("form", FORMS)
def test_pieces_give_the_loss_and_gradients_of_the_whole(form):
    options, inputs = FORMS[form]
    model = make_model(**options)
    whole = packed_batch(**inputs)
    assert len(whole["packed_texts"]) == 1
    expected = step(model, **whole)
    encoders = [[name for name in expected[1] if encoder in name] for encoder in ("text_model", "vision_model")]
    assert encoders[0] and bool(encoders[1]) == ("trains" in form or "alone" in form)
    for mini_batch_size, pieces in ((1, 8), (3, 3), (4, 2), (7, 2)):
        batch = packed_batch(mini_batch_size, **inputs)
        assert len(batch["packed_texts"]) == pieces
        assert_same_step(step(model, **batch), expected)
    with torch.no_grad():
        evaluated = model.eval()(**packed_batch(3, **inputs), return_loss=True)
        torch.testing.assert_close(evaluated.loss, expected[0]["loss"], rtol=1e-10, atol=0)


@pytest.mark.parametrize("logits", [1, 16, 3 * 16, 5 * 16 + 3, 7 * 16])
def test_blocks_of_logits_change_nothing(logits, monkeypatch):
    """16 columns: from one row at a time to a last block of one row."""
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(count, 6, dtype=torch.float64, generator=generator).requires_grad_() for count in (8, 16)]
    scale = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)

    def loss_and_gradients():
        loss = loss_conclip.contrastive_loss(*rows, scale)
        return loss, *torch.autograd.grad(loss, (*rows, scale))

    expected = loss_and_gradients()
    assert all(value.abs().max() > 1e-3 for value in expected)
    monkeypatch.setattr(loss_conclip, "LOGITS_AT_A_TIME", logits)
    sizes, plain = [], loss_conclip.similarity
    monkeypatch.setattr(loss_conclip, "similarity", lambda *args: sizes.append(len(args[0])) or plain(*args))
    for actual, value in zip(loss_and_gradients(), expected, strict=True):
        torch.testing.assert_close(actual, value, rtol=1e-10, atol=1e-12)
    assert max(sizes) == max(1, logits // 16)


def test_a_step_with_blocks_of_logits(monkeypatch):
    model, batch = make_model(freeze_image_encoder=False), packed_batch(3)
    expected = step(model, **batch)
    monkeypatch.setattr(loss_conclip, "LOGITS_AT_A_TIME", 48)
    assert_same_step(step(model, **batch), expected)


def saved_bytes(model, batch) -> int:
    """Count the bytes that the forward pass stores for the backward pass, without parameters."""
    known = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    known |= {value.untyped_storage().data_ptr() for value in batch.values() if isinstance(value, torch.Tensor)}
    storages = {}

    def keep(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(**batch, return_loss=True)
        assert output.loss.requires_grad
    return sum(storage.nbytes() for address, storage in storages.items() if address not in known)


def test_memory_does_not_grow_with_the_activations_of_more_pieces(monkeypatch):
    model = make_model(freeze_image_encoder=False)
    assert saved_bytes(model, packed_batch(2)) < saved_bytes(model, packed_batch()) / 50
    monkeypatch.setattr(loss_conclip, "LOGITS_AT_A_TIME", 256)
    for repeat in (1, 4, 8):
        embeds = 4 * repeat * SIZE * model.projection_dim * 8  # bytes of I, c, c', I' in float64
        assert saved_bytes(model, packed_batch(2, repeat=repeat)) < 8 * embeds


def test_dropout_of_the_recomputation_is_that_of_the_first_pass():
    """Central differences of the loss under the same seed give the same gradient."""
    model, batch = make_model(lora_dropout=0.5), packed_batch(3, embeds=True)
    adapters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    generator = torch.Generator().manual_seed(2)
    directions = [torch.randn(each.shape, dtype=each.dtype, generator=generator) for each in adapters]

    def loss(seed=5, shift=0.0):
        with torch.no_grad():
            for parameter, direction in zip(adapters, directions, strict=True):
                parameter.add_(direction, alpha=shift)
        torch.manual_seed(seed)
        return model(**batch, return_loss=True).loss

    with torch.random.fork_rng(devices=[]):
        first = loss()
        torch.manual_seed(6)
        first.backward()
        slope = sum((each.grad * direction).sum() for each, direction in zip(adapters, directions, strict=True))
        assert abs(loss(seed=7) - first) > 1e-3  # the masks matter
        above, below = loss(shift=1e-5), loss(shift=-2e-5)
    torch.testing.assert_close((above - below).detach() / 2e-5, slope, rtol=1e-6, atol=1e-9)


TWO = {name: FORMS[name] for name in ("image encoder trains", "ready embeddings", "captions alone", "adapters")}


def one_of_two(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    result = {}
    loss_conclip.LOGITS_AT_A_TIME = 48
    for form, (options, inputs) in TWO.items():
        plain = make_model(**options)
        model = torch.nn.parallel.DistributedDataParallel(plain)
        mine = packed_batch(2, rows=range(SIZE)[rank * SIZE // 2 : (rank + 1) * SIZE // 2], **inputs)
        assert len(mine["packed_texts"]) == 2
        result[form] = step(model, plain, **mine)
    torch.save(result, folder / f"{rank}.pt")
    torch.distributed.barrier()
    os._exit(0)  # gloo's threads sometimes abort an orderly exit


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return results_of_two(__file__, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("form", TWO)
def test_two_processes_with_pieces_equal_one_without(ranks, form):
    options, inputs = TWO[form]
    losses, gradients = step(make_model(**options), **packed_batch(**inputs))
    for rank in ranks:
        ours = {name: value for name, value in rank[form][0].items() if name.startswith("loss")}
        expected = {name: value for name, value in losses.items() if name.startswith("loss")}
        assert_same_step((ours, rank[form][1]), (expected, gradients), rtol=1e-9)


if __name__ == "__main__":
    one_of_two(int(sys.argv[1]), Path(sys.argv[2]))
