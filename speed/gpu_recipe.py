"""
The whole recipe on one GPU in bf16, from cached embeddings: 188,246 pairs of captions of real lengths, batch 200, 5
epochs, and how near that comes to what the card can do:

    accelerate launch --mixed_precision bf16 -m speed.gpu_recipe

Prints the seconds of training (compiling included, and apart), the share of the card's measured matrix rate that the
text tower's arithmetic reaches, and how many images a second the tower embeds from ready pixels. Checks first that
compiled bf16 and plain float32 agree on the loss.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from accelerate import Accelerator

from conclip.training.loop import Training, train, train_step
from modeling_conclip import ConCLIPModel
from speed.captions import drawn_pairs
from speed.models import SIZES, as_conclip, make_model
from speed.paired import machine, seconds_of, write_json
from speed.recipe import ReadyRows, prepare, recipe

LOSS_TOLERANCE = 0.02


def matrix_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """FLOP/s of a plain product of square matrices, the best of ten."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    a @ b
    return 2 * side**3 / min(seconds_of(lambda: a @ b, device.type) for _ in range(10))


def images_a_second(model: ConCLIPModel, accelerator: Accelerator, batch_size: int) -> float:
    pixels = torch.randn(batch_size, 3, 224, 224, device=accelerator.device)

    def embed() -> None:
        with accelerator.autocast():
            model.embed_images(pixels)

    embed()
    return batch_size / min(seconds_of(embed, accelerator.device.type) for _ in range(5))


def check_loss(state: Training) -> dict:
    """The first batch, compiled under mixed precision against eager float32."""
    batch, model = next(iter(state.loader)), state.accelerator.unwrap_model(state.model).train()
    with torch.no_grad():
        ours = state.model(**batch, return_loss=True).loss.item()
        # The class's own forward: accelerate's is under autocast.
        plain = ConCLIPModel.forward(model.eval(), **batch, return_loss=True).loss.item()
    model.train()
    print(f"Loss of the first batch {ours:.5f}, in eager float32 {plain:.5f}")
    assert abs(ours - plain) < LOSS_TOLERANCE * plain
    return {"loss": ours, "float32_loss": plain}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit-base-patch32", choices=SIZES)
    parser.add_argument("--rows", type=int, default=188_246)
    parser.add_argument("--batch_size", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--dataloader_num_workers", type=int, default=2)
    parser.add_argument("--output", default="outputs/benchmarks/gpu_recipe.json")
    options = parser.parse_args(argv)
    accelerator = Accelerator()
    device = accelerator.device
    model = as_conclip(make_model(options.model)).to(device)
    images = images_a_second(model, accelerator, batch_size=512 if device.type == "cuda" else 8)
    tokens = drawn_pairs(options.rows)
    embeds = torch.randn(2, options.rows, model.projection_dim)
    workers = ["--dataloader_num_workers", str(options.dataloader_num_workers)]
    with tempfile.TemporaryDirectory() as folder:
        epochs = ["--num_train_epochs", str(options.epochs), "--checkpointing_steps", "0"]
        arguments = recipe(options.batch_size, *workers, *epochs, "--output_dir", str(Path(folder)))
        state = prepare(model, ReadyRows(tokens, *embeds), arguments, accelerator)
        first = next(iter(state.loader))
        nodes = sum(len(piece["input_ids"]) for piece in first["packed_texts"])
        equality = check_loss(state)
        started = time.perf_counter()
        train_step(state, first)["loss"].item()
        compiling = time.perf_counter() - started
        seconds = seconds_of(lambda: train(state), device.type)
    layers = sum(parameter.numel() for parameter in model.text_model.encoder.parameters())
    flops = 6 * layers * nodes * state.total_steps / seconds
    on_gpu = device.type == "cuda"
    rate = matrix_rate(device, torch.bfloat16 if on_gpu else torch.float32, side=8192 if on_gpu else 2048)
    steps = state.total_steps / seconds
    print(
        f"{options.model}, {options.rows:,} pairs, {options.epochs} epochs, batch {options.batch_size}: "
        f"{seconds:.1f} s ({steps:.1f} steps a second), before that {compiling:.1f} s to compile in the first step"
    )
    print(f"Text tower {flops / 1e12:.1f} TFLOP/s, {flops / rate:.1%} of the {rate / 1e12:.0f} of a bare product")
    print(f"{images:,.0f} images a second embedded from ready pixels")
    found = {"seconds": seconds, "first_step_s": compiling, "steps_a_second": steps, "nodes_a_batch": nodes}
    rates = {"flops": flops, "matrix_flops": rate, "images_a_second": images}
    write_json({"options": vars(options), **machine(device.type), **equality, **found, **rates}, options.output)


if __name__ == "__main__":
    main()
