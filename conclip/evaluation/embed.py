"""
Embeddings of images in a file, for those who look for look-alikes (`conclip.distractors.command`) or search:

    python -m conclip.evaluation.embed --model openai/clip-vit-base-patch32 --images coco/train2017 --output coco.npz
    python -m conclip.evaluation.embed --model openai/clip-vit-base-patch32 --dataset_name ccneg --output ccneg.npz

The file holds `embeds`, float32 (n, d), unit rows; `keys`, uint8 (n, 16), the same for images of the same bytes; and,
of a folder, `names`, the files in the order of their names. Embeddings are kept in the cache that training uses.
"""

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from datasets import Dataset, Features, Image

from conclip.atomic_write import WriteError, write_atomically
from conclip.cli import Parser, option
from conclip.data import image_files, load_split, require_columns
from conclip.embedding.image_column import ImageColumn
from conclip.errors import UsageError
from conclip.evaluation.arguments import EvaluationArguments
from conclip.evaluation.models import load_scorers
from conclip.evaluation.scorers import EmbeddingScorer
from conclip.runtime import end_failed_run, use_all_cores


@dataclass
class EmbedArguments:
    model: str = option(help="Folder or Hub id, as of evaluate/run_benchmarks.py.")
    output: str = option(help="The .npz file.")
    images: str | None = option(None, "Folder of images.")
    dataset_name: str | None = option(None, "Hub id or local folder for `load_dataset`, in place of --images.")
    dataset_config_name: str | None = option(None, "Configuration of the dataset.")
    split: str = option("train", "Split of the dataset.")
    image_column: str = option("image", "Column with the images.")
    per_device_eval_batch_size: int = option(256, "Images embedded at a time.")
    dataloader_num_workers: int = option(0, "Processes that decode and preprocess images, per process.")
    mixed_precision: str | None = option(None, "no, fp16 or bf16.", choices=["no", "fp16", "bf16"])
    embedding_cache_dir: str | None = option(None, "As of train_accelerate.py.")


PARSER = Parser(
    {"Options": EmbedArguments},
    prog="conclip embed",
    description="Embed images and write a file for the search for distractors.",
    example="conclip embed --model openai/clip-vit-base-patch32 --images pictures --output pictures.npz",
)


def open_images(arguments: EmbedArguments) -> tuple[ImageColumn, list[str] | None]:
    """The images and, of a folder, their file names."""
    if (arguments.images is None) == (arguments.dataset_name is None):
        raise UsageError("Name the images: either --images FOLDER or --dataset_name NAME.")
    if arguments.dataset_name:
        dataset = load_split(arguments.dataset_name, arguments.dataset_config_name, arguments.split)
        require_columns(dataset, {"--image_column": arguments.image_column}, arguments.split)
        return ImageColumn(dataset, arguments.image_column, arguments.split), None
    folder = Path(arguments.images)
    paths = image_files(folder)
    if not paths:
        raise UsageError(f"--images {folder}: there is no folder of that name with images in it.")
    dataset = Dataset.from_dict({"image": [str(path) for path in paths]}, features=Features({"image": Image()}))
    return ImageColumn(dataset, "image", str(folder)), [path.name for path in paths]


def embed(arguments: EmbedArguments, accelerator: Accelerator) -> None:
    images, names = open_images(arguments)
    same = {name: getattr(arguments, name) for name in vars(arguments) if hasattr(EvaluationArguments, name)}
    loaded = next(
        load_scorers(arguments.model, arguments.model, EvaluationArguments([arguments.model], **same), accelerator)
    )
    assert isinstance(loaded.scorer, EmbeddingScorer)
    embeds = loaded.scorer.images(images)
    if accelerator.is_main_process:
        arrays = {"embeds": embeds[:].numpy(), "keys": images.stored.keys()}
        content = io.BytesIO()
        np.savez(content, **arrays, **({"names": np.array(names)} if names else {}))
        try:
            write_atomically(Path(arguments.output), content.getvalue())
        except WriteError as error:
            raise UsageError(f"--output {arguments.output}: {error}") from error
        print(f"{len(embeds):,} embeddings of {arrays['embeds'].shape[1]} dimensions: {arguments.output}")


def main(argv: list[str] | None = None) -> int:
    accelerator = None
    try:
        (arguments,) = PARSER.parse(argv)
        accelerator = Accelerator(mixed_precision=arguments.mixed_precision)
        use_all_cores(accelerator)
        embed(arguments, accelerator)
    except UsageError as error:
        return end_failed_run(f"Error: {error}", 1, accelerator)
    except KeyboardInterrupt:
        message = "\nInterrupted. The embeddings computed so far are kept; the same command goes on from them."
        return end_failed_run(message, 130, accelerator, main_process_only=True)
    accelerator.end_training()
    return 0


if __name__ == "__main__":
    sys.exit(main())
