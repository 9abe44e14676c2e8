"""The compiled layer gives the loss and gradients of the eager one, with one graph for all layers."""

import copy
import shutil

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import TEXT_LENGTH, VOCABULARY, WORDS, tiny_model, tiny_tokenizer
from torch.nn.parallel import DistributedDataParallel

from conclip.embedding.tokens import TextTokenizer
from conclip.models.clip import unwrap_lora
from conclip.training.arguments import LORA_TARGET_MODULES
from conclip.training.collator import PairCollator
from modeling_conclip import ConCLIPModel

SIZE = 6


def make_model(lora_dropout=None, **text):
    model = tiny_model(text={"num_hidden_layers": 4, **text})
    if lora_dropout is not None:
        config = LoraConfig(
            r=3, target_modules=LORA_TARGET_MODULES, lora_dropout=lora_dropout, init_lora_weights=False
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model = get_peft_model(model, config)
    return model


def batch(seed=0, pieces=1, words=9) -> dict:
    """Captions and negations with different words, and few enough nodes for the same static shapes."""
    generator = np.random.default_rng(seed)
    captions = [" ".join(generator.choice(WORDS, words)) for _ in range(SIZE)]
    tokenizer = TextTokenizer(tiny_tokenizer(), TEXT_LENGTH, VOCABULARY["<|endoftext|>"])
    tokens = tokenizer(captions + [f"{caption} but no {caption.split()[0]}" for caption in captions])
    embeds = torch.from_numpy(generator.standard_normal((2, SIZE, 16))).float()
    columns = {"texts": tokens[range(len(tokens))], "image_embeds": embeds[0], "distractor_image_embeds": embeds[1]}
    return PairCollator(None, SIZE // pieces, static_shapes=True)(columns) | {"return_loss": True}


def step(model, inputs):
    model.zero_grad()
    torch.manual_seed(0)
    loss = model(**inputs).loss
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {"loss": loss.detach()} | {name: gradient.clone() for name, gradient in gradients.items()}


def assert_same_step(compiled, eager, **tolerance):
    assert compiled.keys() == eager.keys() and len(eager) > 20
    for name, value in eager.items():
        scale = max(1e-3, value.abs().max().item())
        torch.testing.assert_close(compiled[name] / scale, value / scale, **tolerance)


def distance(one, other) -> float:
    """Relative difference of all gradients together."""
    both = [torch.cat([value.flatten() for value in each.values()]) for each in (one, other)]
    return ((both[0] - both[1]).norm() / both[1].norm()).item()


def shape_of(inputs) -> tuple:
    return tuple(tuple(tensor.shape) for tensor in inputs["packed_texts"][0].values())


@pytest.mark.parametrize(("lora_dropout", "pieces"), [(None, 1), (None, 3), (0.0, 1), (0.5, 3)])
def test_loss_and_gradients_are_those_of_the_eager_layer(graphs, lora_dropout, pieces):
    """Also with dropout: recomputed in the backward pass, the compiled layer samples the same masks."""
    model, inputs = make_model(lora_dropout).train(), batch(pieces=pieces)
    eager = step(model, inputs)
    assert not graphs
    unwrap_lora(model).compile_packed_layer()
    assert_same_step(step(model, inputs), eager, rtol=1e-5, atol=1e-5)
    assert graphs


def test_loss_and_gradients_under_autocast(graphs):
    model, inputs = make_model().train(), batch()
    exact = step(model, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        eager = step(model, inputs)
        model.compile_packed_layer()
        compiled = step(model, inputs)
    assert graphs
    assert 1e-4 < distance(eager, exact) < 0.03 and distance(compiled, exact) < 1.2 * distance(eager, exact)


def test_one_graph_serves_all_layers_and_batches_of_like_size(graphs):
    model = make_model().train()
    model.compile_packed_layer()
    batches = [batch(words, words=words) for words in range(8, 13)]
    assert len({shape_of(inputs) for inputs in batches}) == 1
    assert len({int(inputs["packed_texts"][0]["input_ids"].count_nonzero()) for inputs in batches}) == 5
    for inputs in batches:
        step(model, inputs)
    assert len(graphs) == 1


def test_each_shape_has_a_graph_of_its_own(graphs):
    """`dynamic=False`: code for all shapes is slower than that for one."""
    model = make_model().train()
    model.compile_packed_layer()
    batches = [batch(words=words) for words in (3, 20, 30, 40, 3, 20)]
    assert len({shape_of(inputs) for inputs in batches}) == 4
    for inputs in batches:
        step(model, inputs)
    assert len(graphs) == 4


def test_adapters_take_two_graphs_at_most(graphs):
    """With adapters, the input of the first layer has no gradient; the other layers share a second graph."""
    model = make_model(lora_dropout=0.0).train()
    unwrap_lora(model).compile_packed_layer()
    for seed in range(3):
        step(model, batch(seed))
    assert len(graphs) == 2


def test_a_layer_is_one_graph_also_for_several_processes(graphs, tmp_path):
    """dynamo cuts graphs at the buckets of DistributedDataParallel, which here are smaller than a layer."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model, inputs = make_model().train(), batch()
        eager = step(model, inputs)
        model.compile_packed_layer()
        wrapped = DistributedDataParallel(model, bucket_cap_mb=0.01)
        compiled = step(wrapped, inputs)
    finally:
        torch.distributed.destroy_process_group()
    compiled = {name.removeprefix("module."): value for name, value in compiled.items()}
    assert_same_step(compiled, eager, rtol=1e-5, atol=1e-5)
    assert len(graphs) == 1


def test_evaluation_is_eager(graphs):
    model, inputs = make_model().eval(), batch()
    expected = model(**inputs).loss
    model.compile_packed_layer()
    with torch.no_grad():
        assert torch.equal(model(**inputs).loss, expected)
    step(model, inputs)
    assert not graphs
    step(model.train(), inputs)
    assert graphs


def test_weights_and_what_is_saved_are_those_of_an_eager_model(graphs, tmp_path):
    model, inputs = make_model().train(), batch()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.compile_packed_layer()
    step(model, inputs)
    assert graphs and list(model.state_dict()) == list(before)
    assert not any("compile" in type(module).__name__.lower() for module in model.modules())
    model.save_pretrained(tmp_path)
    saved = ConCLIPModel.from_pretrained(tmp_path)
    copied = copy.deepcopy(model)
    for other in (saved, copied):
        assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
    model.eval(), saved.eval(), copied.eval()
    assert torch.equal(saved(**inputs).loss, model(**inputs).loss)
    assert torch.equal(copied(**inputs).loss, model(**inputs).loss)
    compiled = len(graphs)
    torch._dynamo.reset()
    step(saved.train(), inputs)
    assert len(graphs) == compiled  # compiling is no part of what is saved


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor writes C++")
@pytest.mark.parametrize(("lora_dropout", "pieces"), [(None, 1), (0.0, 3)])
def test_inductor(lora_dropout, pieces):
    model, inputs = make_model(lora_dropout).train(), batch(pieces=pieces)
    eager = step(model, inputs)
    unwrap_lora(model).compile_packed_layer()
    assert_same_step(step(model, inputs), eager, rtol=1e-4, atol=1e-4)
