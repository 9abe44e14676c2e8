"""
Time `train_accelerate.py` from launch to the first update, with a warm cache:

    python -m speed.launch --rows 20000

Makes a model with random weights and a dataset of small images, and fills the cache with random embeddings under the
keys of the images. Then times runs of one update, each in its own process, until metrics.jsonl holds the loss. The
first run, which prepares the dataset and tokenises the captions, is not counted.
"""

import argparse
import io
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
import torch
from PIL import Image
from transformers import CLIPProcessor

from conclip.embedding.fingerprint import clip_image_encoder_description, encoder_fingerprint
from conclip.embedding.image_column import ImageColumn
from conclip.embedding.store import EmbeddingStore, ShardWriter
from conclip.training.scenes_base import word_tokenizer
from modeling_conclip import ConCLIPModel
from speed.models import SIZES, image_processor, make_model
from speed.paired import machine, write_json

SCRIPT = Path(__file__).resolve().parents[1] / "train_accelerate.py"
WORDS = "a photo of the red green blue man woman dog cat on in with near no not holding riding beach street".split()


def write_model(folder: Path, size: str) -> None:
    tokenizer = word_tokenizer(WORDS)
    model = make_model(size)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(model.config.text_config, name, getattr(tokenizer, name))
    model.save_pretrained(folder)
    CLIPProcessor(image_processor=image_processor(), tokenizer=tokenizer).save_pretrained(folder)


def write_rows(folder: Path, rows: int) -> None:
    rng = np.random.default_rng(0)

    def image(number: int) -> dict:
        # As small as possible, because a warm start reads no image.
        file = io.BytesIO()
        Image.new("RGB", (2, 2), (number >> 16 & 255, number >> 8 & 255, number & 255)).save(file, "PNG")
        return {"bytes": file.getvalue(), "path": None}

    captions = [" ".join(rng.choice(WORDS, 12)) for _ in range(rows)]
    dataset = datasets.Dataset.from_dict(
        {
            "image": [image(row) for row in range(rows)],
            "caption": captions,
            "negated_captions": [[f"{caption} and no dog"] for caption in captions],
            "distractor_images": [[image(rows + row)] for row in range(rows)],
        }
    )
    dataset = dataset.cast_column("image", datasets.Image()).cast_column(
        "distractor_images", datasets.List(datasets.Image())
    )
    folder.mkdir()
    dataset.to_parquet(folder / "train.parquet")


def fill_cache(cache: Path, model_folder: Path, data_folder: Path) -> None:
    dataset = datasets.load_dataset(str(data_folder), split="train")
    model = ConCLIPModel.from_pretrained(model_folder)
    description = clip_image_encoder_description(
        model, CLIPProcessor.from_pretrained(model_folder).image_processor, "no"
    )
    every, first = np.arange(len(dataset)), np.zeros(len(dataset), np.int64)
    with ShardWriter(EmbeddingStore(cache / encoder_fingerprint(description), description)) as writer:
        for column, places in (("image", None), ("distractor_images", first)):
            keys = ImageColumn(dataset, column, "train", every, places).stored.keys(show_progress=True)
            for some in np.array_split(keys, -(-len(keys) // 4096)):
                writer.add(some, torch.nn.functional.normalize(torch.randn(len(some), model.projection_dim)))


def seconds_to_first_step(argv: list[str], output: Path) -> float:
    log = output / "metrics.jsonl"
    started = time.perf_counter()
    process = subprocess.Popen([*argv, "--output_dir", str(output)], stdout=subprocess.DEVNULL)
    while not (log.is_file() and "train/loss" in log.read_text("utf-8")):
        if process.poll() not in (None, 0):
            sys.exit(f"{' '.join(argv)} ended with exit status {process.returncode}.")
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    process.wait()
    return seconds


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit-base-patch32", choices=SIZES)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output_file", default="outputs/speed/launch.json")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "model", options.model)
        write_rows(folder / "data", options.rows)
        fill_cache(folder / "cache", folder / "model", folder / "data")
        command = [sys.executable, str(SCRIPT), "--model_name_or_path", str(folder / "model")]
        command += ["--dataset_name", str(folder / "data"), "--embedding_cache_dir", str(folder / "cache")]
        command += ["--per_device_train_batch_size", str(options.batch_size), "--eval_split", "none"]
        command += ["--max_steps", "1", "--logging_steps", "1", "--report_to", "jsonl"]
        seconds = [seconds_to_first_step(command, folder / f"run-{number}") for number in range(options.rounds + 1)]
    print(
        f"{options.model}, {options.rows:,} rows, batch {options.batch_size}: from launch to the first update "
        f"{statistics.median(seconds[1:]):.1f} s (min {min(seconds[1:]):.1f}, max {max(seconds[1:]):.1f}; the run "
        f"before, which prepared and tokenised, {seconds[0]:.1f} s)"
    )
    result = {"options": vars(options), **machine("cpu"), "cold_s": seconds[0], "warm_s": seconds[1:]}
    write_json(result, options.output_file)


if __name__ == "__main__":
    main()
