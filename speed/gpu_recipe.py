"""
Time the whole recipe on one GPU in bf16, from cached embeddings, and compare it with what the GPU can do:

    accelerate launch --mixed_precision bf16 -m speed.gpu_recipe

The recipe is 188,246 pairs of captions with real lengths, batches of 200 and 5 epochs. Prints the seconds of training,
the seconds of the first step, which compiles, the share of the GPU's measured matrix rate that the text encoder
reaches, and how many preprocessed images are embedded in a second. First checks that compiled bf16 and plain float32
agree on the loss.
"""

import argparse
import tempfile
import time

import torch
from accelerate import Accelerator

from conclip.training.loop import TrainingState, run_training, train_step
from modeling_conclip import ConCLIPModel
from speed.captions import sampled_pairs
from speed.models import SIZES, as_conclip, make_model
from speed.paired import machine, seconds_of, write_json
from speed.recipe import ReadyRows, prepare, recipe

LOSS_TOLERANCE = 0.02


def matrix_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Return the FLOP/s of a product of two square matrices, the best of ten."""
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


def check_loss(state: TrainingState) -> dict:
    """Compare the loss of the first batch, compiled in mixed precision, with that in eager float32."""
    batch, model = next(iter(state.loader)), state.accelerator.unwrap_model(state.model).train()
    with torch.no_grad():
        ours = state.model(**batch, return_loss=True).loss.item()
        # The forward of the class: accelerate has wrapped that of the instance in autocast.
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
    parser.add_argument("--output_file", default="outputs/speed/gpu_recipe.json")
    options = parser.parse_args(argv)
    accelerator = Accelerator()
    device = accelerator.device
    model = as_conclip(make_model(options.model)).to(device)
    images = images_a_second(model, accelerator, batch_size=512 if device.type == "cuda" else 8)
    tokens = sampled_pairs(options.rows)
    embeds = torch.randn(2, options.rows, model.projection_dim)
    with tempfile.TemporaryDirectory() as folder:
        args = recipe(
            options.batch_size,
            num_train_epochs=options.epochs,
            save_steps=0,
            output_dir=folder,
            dataloader_num_workers=options.dataloader_num_workers,
        )
        state = prepare(model, ReadyRows(tokens, *embeds), args, accelerator)
        first = next(iter(state.loader))
        nodes = sum(len(piece["input_ids"]) for piece in first["packed_texts"])
        equality = check_loss(state)
        started = time.perf_counter()
        train_step(state, first)["loss"].item()
        compiling = time.perf_counter() - started
        seconds = seconds_of(lambda: run_training(state), device.type)
    layers = sum(parameter.numel() for parameter in model.text_model.encoder.parameters())
    flops = 6 * layers * nodes * state.total_steps / seconds
    on_gpu = device.type == "cuda"
    rate = matrix_rate(device, torch.bfloat16 if on_gpu else torch.float32, side=8192 if on_gpu else 2048)
    steps = state.total_steps / seconds
    print(
        f"{options.model}, {options.rows:,} pairs, {options.epochs} epochs, batch {options.batch_size}: "
        f"{seconds:.1f} s ({steps:.1f} steps a second), before that {compiling:.1f} s to compile in the first step"
    )
    print(f"Text encoder {flops / 1e12:.1f} TFLOP/s, {flops / rate:.1%} of the {rate / 1e12:.0f} of a bare product")
    print(f"{images:,.0f} images a second embedded from preprocessed pixels")
    found = {"seconds": seconds, "first_step_s": compiling, "steps_a_second": steps, "nodes_a_batch": nodes}
    rates = {"flops": flops, "matrix_flops": rate, "images_a_second": images}
    write_json({"options": vars(options), **machine(device.type), **equality, **found, **rates}, options.output_file)


if __name__ == "__main__":
    main()
