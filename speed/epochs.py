"""
Compare whole epochs, including the time to cache image embeddings, with those of the paper:

    python -m speed.epochs --batch_size 64

A whole run takes hours on a CPU, so its parts are measured in turns and combined. For N rows with D distinct
distractors in all, E epochs and batches of B:

    paper = E · N / B · r    r: read 2 B images (decode, resize, crop), then the paper's step
    ours  = (N + D) · e + E · N / B · o    e: read, embed and store one image; o: our step, embeddings read from disk

The default for D / N is that of CC-Neg with COCO's train2017: at most 118,287 images for 188,246 rows.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from accelerate import Accelerator
from transformers import CLIPModel

from conclip.embedding.image_column import ImageColumn
from conclip.embedding.images import ImageEmbedder, pixel_values
from conclip.training.loop import train_step
from speed.captions import sampled_pairs
from speed.images import generated_images
from speed.models import SIZES, as_conclip, image_processor, make_model
from speed.paired import machine, seconds_of, write_json
from speed.paper_step import paper_step
from speed.recipe import ReadyRows, prepare, recipe
from speed.training_step import padded

DISTRACTORS_A_ROW = 118_287 / 188_246


class Parts:
    """The three parts over one batch: `read_and_step` is the paper's; `cache` and `step` are ours."""

    def __init__(self, size: str, batch_size: int, num_workers: int):
        self.accelerator, self.batch_size = Accelerator(), batch_size
        self.paper_model = make_model(size).to(self.accelerator.device)
        self.paper_model.vision_model.requires_grad_(False)
        self.paper_model.visual_projection.requires_grad_(False)
        self.model = as_conclip(self.paper_model).to(self.accelerator.device)
        # Images, then distractors.
        self.images = ImageColumn(generated_images(2 * batch_size), "image", "train")
        self.image_processor = image_processor()
        self.num_workers, self.tokens = num_workers, sampled_pairs(batch_size)
        self.texts = [self.to_device(padded(self.tokens, range(at, at + batch_size))) for at in (0, batch_size)]
        self.optimizer = make_optimizer(self.paper_model)
        with tempfile.TemporaryDirectory() as folder:
            embeds = self.cache(folder)
            rows = ReadyRows(self.tokens, embeds[:batch_size], embeds[batch_size:])
        self.state = prepare(self.model, rows, recipe(batch_size), self.accelerator)

    def to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.accelerator.device)

    def read_and_step(self) -> None:
        pixels = self.to_device(
            pixel_values(self.image_processor, [self.images[at] for at in range(2 * self.batch_size)])
        )
        paper_step(self.paper_model, self.optimizer, *pixels.split(self.batch_size), *self.texts)

    def cache(self, folder: str):
        embedder = ImageEmbedder(
            self.image_processor, self.accelerator, self.batch_size, self.num_workers, Path(folder)
        )
        return embedder(self.model, self.images, "images")

    def step(self) -> None:
        train_step(self.state, next(iter(self.state.loader)))


def make_optimizer(model: CLIPModel) -> torch.optim.Optimizer:
    return torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-6, weight_decay=0.2)


def measure(parts: Parts, rounds: int) -> list[dict[str, float]]:
    """Return the seconds for each row or image in every round, after one round that is not counted."""
    device, found = parts.accelerator.device.type, []
    for _ in range(rounds + 1):
        paper = seconds_of(parts.read_and_step, device) / parts.batch_size
        with tempfile.TemporaryDirectory() as folder:
            image = seconds_of(lambda folder=folder: parts.cache(folder), device) / (2 * parts.batch_size)
        ours = seconds_of(lambda: [parts.step() for _ in range(3)], device) / (3 * parts.batch_size)
        found.append({"paper_row": paper, "image": image, "our_row": ours})
    return found[1:]


def ratio(seconds: dict[str, float], epochs: int, distractors_a_row: float) -> float:
    ours = (1 + distractors_a_row) * seconds["image"] + epochs * seconds["our_row"]
    return epochs * seconds["paper_row"] / ours


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit-base-patch32", choices=SIZES)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--distractors_a_row", type=float, default=DISTRACTORS_A_ROW)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dataloader_num_workers", type=int, default=0)
    parser.add_argument("--output_file", default="outputs/speed/epochs.json")
    options = parser.parse_args(argv)
    parts = Parts(options.model, options.batch_size, options.dataloader_num_workers)
    rounds = measure(parts, options.rounds)
    result = {"options": vars(options), **machine(parts.accelerator.device.type), "seconds": rounds, "ratio": {}}
    for name in rounds[0]:
        print(f"{name}: {statistics.median(one[name] for one in rounds) * 1e3:.1f} ms (median of {len(rounds)})")
    for distractors in (options.distractors_a_row, 1.0):
        ratios = [ratio(one, options.epochs, distractors) for one in rounds]
        found = {"min": min(ratios), "median": statistics.median(ratios), "max": max(ratios)}
        result["ratio"][f"{distractors:.2f} distinct distractors a row"] = found
        print(
            f"{options.model}, {options.epochs} epochs, {distractors:.2f} distinct distractors a row: the paper's way "
            "takes {median:.2f}x (min {min:.2f}, max {max:.2f}) as long as ours".format(**found)
        )
    write_json(result, options.output_file)


if __name__ == "__main__":
    main()
