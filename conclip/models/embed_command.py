"""`conclip embed`: write a file with embeddings of images, for `conclip distractors` or a search of your own."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conclip.atomic_write import writable_folder
from conclip.cli import Parser, option
from conclip.errors import UsageError
from conclip.folder_lock import in_use
from conclip.models.arguments import EncodingArguments, start_accelerator
from conclip.runtime import end_failed_run, for_user

if TYPE_CHECKING:
    from accelerate import Accelerator

    from conclip.embedding.image_column import ImageColumn


@dataclass
class ImageArguments:
    image_dir: str | None = option(
        None,
        "folder of images, whose subfolders are not read; with --dataset_name, the folder that the paths in "
        "--image_column are relative to, by default that of the dataset",
    )
    dataset_name: str | None = option(None, "Hub id, local folder or file: embed the images of its rows")
    dataset_config_name: str | None = option(None, "configuration (subset) of the dataset")
    split: str = option("train", "split of the dataset")
    image_column: str = option("image", "column with images, or their paths, URLs or bytes")


@dataclass
class ModelArguments:
    model_name_or_path: str = option(
        help="folder or Hub id: CLIP, ConCLIP, LoRA adapters, SigLIP, ALIGN, Chinese-CLIP, FLAVA, BLIP"
    )
    revision: str | None = option(None, "branch, tag or commit of the model on the Hub")


@dataclass
class OutputArguments:
    output_file: str = option(help=".npz file to write")
    overwrite: bool = option(False, "replace the file if it exists")


PARSER = Parser(
    {"Images": ImageArguments, "Model": ModelArguments, "Computation": EncodingArguments, "Output": OutputArguments},
    prog="conclip embed",
    description="""Embed images and write an .npz file with these arrays:
  embeds  float32 (n, d), the embeddings, L2-normalised
  keys    uint8 (n, 16), hashes of the image files; the same bytes give the same hash
  names   for a folder, the names of the files, sorted""",
    example="conclip embed --model_name_or_path openai/clip-vit-base-patch32 --image_dir photos --output_file out.npz",
)


def main(argv: list[str] | None = None) -> int:
    accelerator = None
    try:
        images, model, computation, output = PARSER.parse(argv)
        check_options(images, model, output)
        accelerator = start_accelerator(computation.mixed_precision)
        from conclip.hub import use_cache_without_network

        use_cache_without_network([model.model_name_or_path, images.dataset_name])
        with in_use(Path(output.output_file), "--output_file", beside=True):
            column, names = open_images(**vars(images))
            embed_images(
                column,
                Path(output.output_file),
                accelerator,
                model.model_name_or_path,
                names=names,
                revision=model.revision,
                batch_size=computation.per_device_eval_batch_size,
                num_workers=computation.dataloader_num_workers,
                cache_dir=computation.embedding_cache_dir,
            )
    except KeyboardInterrupt:
        message = "\nInterrupted. The embeddings computed so far are cached; the same command continues from them."
        return end_failed_run(message, 130, accelerator, main_process_only=True)
    except Exception as error:
        if found := for_user(error):
            return end_failed_run(f"Error: {found}", 1, accelerator)
        raise
    accelerator.end_training()
    return 0


def check_options(images: ImageArguments, model: ModelArguments, output: OutputArguments) -> None:
    """
    Check the options before anything is loaded.

    Raises:
        UsageError: no source of images, an option without effect, or an output file that exists.
    """
    if images.image_dir is None and images.dataset_name is None:
        raise UsageError("Name the images: --image_dir FOLDER or --dataset_name NAME.")
    if images.dataset_name is None:
        PARSER.without_effect(["dataset_config_name", "split", "image_column"], "without --dataset_name")
    elif Path(images.dataset_name).is_file():
        PARSER.without_effect(["dataset_config_name"], f"on the file {images.dataset_name}")
    if Path(model.model_name_or_path).is_dir():
        PARSER.without_effect(["revision"], f"on the local folder {model.model_name_or_path}")
    if Path(output.output_file).suffix != ".npz" or Path(output.output_file).is_dir():
        raise UsageError(f"--output_file {output.output_file}: name a file that ends in .npz.")
    if Path(output.output_file).exists() and not output.overwrite:
        raise UsageError(f"--output_file {output.output_file}: the file exists; add --overwrite to replace it.")
    writable_folder(Path(output.output_file).parent, "--output_file")


def open_images(
    image_dir: str | None,
    dataset_name: str | None,
    dataset_config_name: str | None,
    split: str,
    image_column: str,
) -> tuple[ImageColumn, list[str] | None]:
    """
    Open a folder of images or a column of a dataset.

    Returns:
        The images and, for a folder, the names of the files.

    Raises:
        UsageError: there are no images.
    """
    # Imported late: --help and a mistyped option are answered without these libraries.
    from datasets import Dataset, Features, Image

    from conclip.data import data_folder, image_files, load_split, require_columns
    from conclip.embedding.image_column import ImageColumn
    from conclip.embedding.image_files import as_image_column

    if dataset_name:
        dataset = load_split(dataset_name, dataset_config_name, split)
        require_columns(dataset, {"--image_column": image_column}, split)
        dataset = dataset.select_columns([image_column])
        dataset = as_image_column(dataset, image_column, image_dir or data_folder(dataset_name))
        return ImageColumn(dataset, image_column, split), None
    if not Path(image_dir).is_dir():
        raise UsageError(f"--image_dir {image_dir}: there is no such folder.")
    paths = image_files(Path(image_dir))
    if not paths:
        raise UsageError(f"--image_dir {image_dir} holds no images; subfolders are not read.")
    dataset = Dataset.from_dict({"image": [str(path) for path in paths]}, features=Features({"image": Image()}))
    return ImageColumn(dataset, "image", image_dir), [path.name for path in paths]


def embed_images(
    images: ImageColumn,
    output_file: Path,
    accelerator: Accelerator,
    model_name_or_path: str,
    names: list[str] | None = None,
    revision: str | None = None,
    batch_size: int = 256,
    num_workers: int = 0,
    cache_dir: str | None = None,
) -> None:
    """
    Embed images and write the file that `PARSER` describes.

    Raises:
        UsageError: the model or an image cannot be loaded, or the file cannot be written.
    """
    import numpy as np

    from conclip.atomic_write import naming_option, write_atomically
    from conclip.embedding.images import check_cache_dir, embedding_cache_dir
    from conclip.models.loading import load_encoders

    check_cache_dir(cache_dir)
    loaded = load_encoders(
        model_name_or_path, accelerator, embedding_cache_dir(cache_dir), revision, batch_size, num_workers
    )
    embeddings = loaded.encoder.images(images)
    if not accelerator.is_main_process:
        return
    arrays = {"embeds": embeddings[:].numpy(), "keys": images.stored.keys()}
    content = io.BytesIO()
    np.savez(content, **arrays, **({"names": np.array(names)} if names else {}))
    with naming_option("--output_file"):
        write_atomically(output_file, content.getvalue())
    print(f"{len(embeddings):,} embeddings of {arrays['embeds'].shape[1]} dimensions: {output_file}")
