"""
Time our training step against that of the paper, with the same weights, captions and images:

    python -m speed.training_step --model vit-base-patch32 --batch_size 128

The time of our step includes reading the cached image embeddings and packing the texts; the paper's step gets finished
tensors. Before timing, both must have the same loss and the same gradient of every parameter.
"""

import argparse
import sys

import torch
from accelerate import Accelerator

from conclip.embedding.tokens import TextTokens
from conclip.training.loop import train_step
from conclip.training.training_state import TrainingState
from modeling_conclip.packing_conclip import PADDING
from speed.captions import dataset_pairs, sampled_pairs
from speed.models import END_OF_TEXT, SIZES, as_conclip, make_model
from speed.paired import as_text, machine, time_in_turns, write_json
from speed.paper_step import paper_loss, paper_step
from speed.recipe import ReadyRows, prepare, recipe

MOST_LOSS, MOST_GRADIENT = 1e-5, 1e-4


def padded(tokens: TextTokens, rows: range) -> torch.Tensor:
    """Return int64, (rows, 77), padded as by the paper's code."""
    texts = torch.from_numpy(tokens[rows]).long()
    texts[texts == PADDING] = END_OF_TEXT
    return torch.nn.functional.pad(texts, (0, 77 - texts.shape[1]), value=END_OF_TEXT)


def check_equal(state: TrainingState, batch: dict, paper_model, inputs: tuple) -> dict:
    """Return the differences of loss and gradients; end the program if they are too large."""
    loss = state.model.train()(**batch, return_loss=True).loss
    loss.backward()
    expected = paper_loss(paper_model, *inputs)
    expected.backward()
    theirs = {name: parameter.grad for name, parameter in paper_model.named_parameters() if parameter.grad is not None}
    ours = {name: parameter.grad for name, parameter in state.model.named_parameters() if parameter.grad is not None}
    assert ours.keys() == theirs.keys() and len(ours) > 100
    largest = max(gradient.norm() for gradient in theirs.values())
    differences = {}
    for name, gradient in theirs.items():
        # A softmax does not change if all keys are shifted by the same vector: this gradient is 0 up to rounding.
        if name.endswith("k_proj.bias"):
            assert max(gradient.norm(), ours[name].norm()) < 1e-5 * largest, name
        else:
            differences[name] = ((ours[name] - gradient).norm() / gradient.norm()).item()
    worst = max(differences, key=differences.get)
    found = {
        "loss": loss.item(),
        "loss_difference": abs(loss.item() - expected.item()),
        "gradient_difference": differences[worst],
        "gradient_of": worst,
        "parameters": len(ours),
    }
    print(
        f"Loss {found['loss']:.6f}, difference {found['loss_difference']:.1e}; largest relative difference of "
        f"{len(ours)} gradients {found['gradient_difference']:.1e} ({worst})"
    )
    if found["loss_difference"] > MOST_LOSS or found["gradient_difference"] > MOST_GRADIENT:
        sys.exit("The two do not compute the same.")
    state.optimizer.zero_grad()
    paper_model.zero_grad()
    return found


def prepare_both(size: str, batch_size: int, tokens: TextTokens, accelerator: Accelerator):
    """Return our state, the paper's model and the inputs of its step, over the same rows."""
    paper_model = make_model(size).to(accelerator.device)
    paper_model.vision_model.requires_grad_(False)
    paper_model.visual_projection.requires_grad_(False)
    pixels = torch.randn(2, batch_size, 3, 224, 224, generator=torch.Generator().manual_seed(1)).to(accelerator.device)
    with torch.no_grad():
        embeds = [paper_model.get_image_features(pixel_values=some).pooler_output.cpu() for some in pixels]
    state = prepare(as_conclip(paper_model), ReadyRows(tokens, *embeds), recipe(batch_size), accelerator)
    captions = [padded(tokens, range(start, start + batch_size)).to(pixels.device) for start in (0, batch_size)]
    return state, paper_model, (*pixels, *captions)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit-base-patch32", choices=SIZES)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument(
        "--dataset_name", help="captions in the layout of CC-Neg; by default random ones with real lengths"
    )
    parser.add_argument("--tokenizer_name", help="tokenizer of CLIP, for --dataset_name")
    parser.add_argument("--output_file", default="outputs/speed/training_step.json")
    options = parser.parse_args(argv)
    accelerator = Accelerator()
    device = accelerator.device.type
    count = options.batch_size
    if options.dataset_name:
        tokens = dataset_pairs(options.dataset_name, options.tokenizer_name, count)
    else:
        tokens = sampled_pairs(count)
    state, paper_model, inputs = prepare_both(options.model, count, tokens, accelerator)
    batch = next(iter(state.loader))
    nodes = sum(int((piece["subtree_end"] > 0).sum()) for piece in batch["packed_texts"])
    print(f"{len(tokens.ids) / count:.1f} tokens a pair of texts, packed {nodes / count:.1f}, the paper's 154")
    # Our loader shuffles the rows, which changes neither loss nor gradient.
    equality = check_equal(state, batch, paper_model, inputs)
    optimizer = torch.optim.AdamW((p for p in paper_model.parameters() if p.requires_grad), lr=1e-6, weight_decay=0.2)
    times = time_in_turns(
        lambda: train_step(state, next(iter(state.loader))),
        lambda: paper_step(paper_model, optimizer, *inputs),
        options.rounds,
        device,
        ours_a_round=3,
    )
    print(f"{options.model}, batch {count}: the paper's step takes {as_text(times['ratio'])} as long as ours")
    result = {
        "options": vars(options),
        "tokens_a_pair": len(tokens.ids) / count,
        "packed_tokens_a_pair": nodes / count,
    }
    write_json({**result, **machine(device), "equality": equality, **times}, options.output_file)


if __name__ == "__main__":
    main()
