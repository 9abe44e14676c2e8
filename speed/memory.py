"""
Compare the peak memory of a step over 4,096 pairs with gradient caching to that of one over 256 pairs without:

    python -m speed.memory

Each step runs in its own process, in turns, because the peak of a process can only be read once. On a GPU it is the
peak of the allocator. Captions have the lengths of real ones; image embeddings and weights are random.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device

from conclip.training.loop import train_step
from speed.captions import sampled_pairs
from speed.models import SIZES, as_conclip, make_model
from speed.paired import machine, write_json
from speed.recipe import ReadyRows, prepare, recipe


def peak_bytes(accelerator: Accelerator) -> int:
    if accelerator.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(size: str, batch_size: int) -> dict:
    """Measure one step, after a step over two rows that creates the state of the optimizer."""
    accelerator = Accelerator()
    model = as_conclip(make_model(size))
    embeds = torch.randn(2, batch_size, model.projection_dim, generator=torch.Generator().manual_seed(1))
    state = prepare(model, ReadyRows(sampled_pairs(batch_size), *embeds), recipe(batch_size), accelerator)
    loader = state.loader
    train_step(state, send_to_device(loader.collate_fn(loader.dataset.__getitems__([0, 1])), accelerator.device))
    batch = next(iter(loader))
    loss = train_step(state, batch)["loss"].item()
    pieces = len(batch["packed_texts"])
    return {"batch_size": batch_size, "pieces": pieces, "peak_bytes": peak_bytes(accelerator), "loss": loss}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit-base-patch32", choices=SIZES)
    parser.add_argument("--batch_sizes", type=int, nargs=2, default=[4096, 256], metavar=("LARGE", "PLAIN"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output_file", default="outputs/speed/memory.json")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.one:
        print(json.dumps(measure(options.model, options.one)))
        return
    command = [sys.executable, "-m", "speed.memory", "--model", options.model, "--one"]
    found = {size: [] for size in options.batch_sizes}
    for _ in range(options.rounds):
        for size in options.batch_sizes:
            done = subprocess.run([*command, str(size)], stdout=subprocess.PIPE, encoding="utf-8", check=True)
            found[size].append(json.loads(done.stdout.splitlines()[-1]))
            print("batch {batch_size:,} in {pieces} piece(s): peak {peak_bytes:,} bytes".format(**found[size][-1]))
    large, plain = found.values()
    ratios = [a["peak_bytes"] / b["peak_bytes"] for a, b in zip(large, plain, strict=True)]
    ratio = {"min": min(ratios), "median": statistics.median(ratios), "max": max(ratios)}
    print("Peak memory, large to plain: {median:.2f}x (min {min:.2f}, max {max:.2f})".format(**ratio))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    write_json(
        {"options": vars(options), **machine(device), "runs": large + plain, "ratio": ratio}, options.output_file
    )


if __name__ == "__main__":
    main()
