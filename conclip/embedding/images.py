"""Embeddings of images, computed once per image and cached on disk while the image encoder is frozen."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object, send_to_device
from datasets import Dataset
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm
from transformers import BaseImageProcessor

from conclip.atomic_write import WriteError, naming_option, writable_folder
from conclip.cli import warn
from conclip.embedding.cache import cached_embeddings
from conclip.embedding.cache_entries import embedding_cache_dir
from conclip.embedding.embedding_column import EmbeddingColumn
from conclip.embedding.fingerprint import clip_image_encoder_description
from conclip.embedding.image_column import ImageColumn
from conclip.embedding.image_hashes import load_index, save_index
from conclip.embedding.image_modes import to_rgb
from conclip.embedding.store import StoredEmbeddings
from conclip.errors import UsageError
from modeling_conclip import ConCLIPModel
from modeling_conclip.loss_conclip import l2_normalize


def leave_ctrl_c_to_main_process(_worker: int) -> None:
    """
    Make a worker of a `DataLoader` ignore Ctrl-C (`worker_init_fn`); the main process ends its workers itself.

    In a terminal Ctrl-C reaches the workers too. They would end in the middle of sending a batch, with a traceback or
    with the main process waiting for the rest.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def process_share(count: int, accelerator: Accelerator) -> list[int]:
    """Return the indices of this process's items; the last item is repeated so that all have the same number."""
    world = accelerator.num_processes
    return [min(at, count - 1) for at in range(accelerator.process_index, -(-count // world) * world, world)]


def gather_embeddings(batches, count: int, accelerator: Accelerator) -> torch.Tensor:
    """
    Normalise and gather the embeddings of all processes.

    Args:
        batches: iterable of (n, d), the embeddings of this process's `process_share` in order; consumed under
            autocast.
        count: number of items over all processes.

    Returns:
        float32, (count, d), unit rows, on the CPU and on every process.
    """
    with accelerator.autocast():
        own = torch.cat([l2_normalize(batch).float() for batch in batches])
    gathered = accelerator.gather(own[None])  # (processes, share, d)
    return gathered.transpose(0, 1).flatten(0, 1)[:count].cpu()


def check_cache_dir(folder: str | None) -> None:
    """
    Find out, before a model is loaded, whether embeddings can be cached.

    A cache that holds something may be read-only: that is a warning, since all that is needed may be in it.

    Args:
        folder: as for `embedding_cache_dir`.

    Raises:
        WriteError: the cache cannot be written to, and is empty.
    """
    path = embedding_cache_dir(folder)
    try:
        writable_folder(path, "--embedding_cache_dir")
    except WriteError as error:
        if not path.is_dir() or not any(path.iterdir()):
            raise
        reason = str(error).partition("): ")[0]
        warn(f"{reason}): the run ends if something is not in it yet.")


def pixel_values(image_processor: BaseImageProcessor, images: list[PIL.Image.Image]) -> torch.Tensor:
    """Preprocess images, float32, (n, channels, height, width)."""
    return image_processor([to_rgb(image) for image in images], return_tensors="pt")["pixel_values"]


def require_finite(embeds: torch.Tensor, images: ImageColumn, at: np.ndarray) -> None:
    """
    Check embeddings before they are cached.

    Args:
        embeds: float32, (n, d), unit rows.
        at: int64, (n,), the index of each embedding in `images`.

    Raises:
        UsageError: a value is not finite; the message names the image.
    """
    for index in at[~embeds.isfinite().all(dim=1).cpu().numpy()][:1].tolist():
        raise UsageError(
            f"{images.where(index)} has an embedding that is zero or not finite: the weights of the image encoder or "
            "its preprocessing (image_mean, image_std) are likely at fault, or --fp16, if it is on."
        )


def open_images(
    dataset: Dataset,
    column: str,
    split: str,
    embeddings: bool = False,
    parts: list[np.ndarray] | None = None,
    rows: np.ndarray | None = None,
    places: np.ndarray | None = None,
) -> ImageColumn | EmbeddingColumn:
    """
    Open a column of images, or of their embeddings.

    Args, Raises:
        See `ImageColumn` and, for `embeddings`, `EmbeddingColumn`.
    """
    if embeddings:
        return EmbeddingColumn(dataset, column, split, parts, rows, places)
    return ImageColumn(dataset, column, split, rows, places)


def image_keys(images: ImageColumn | EmbeddingColumn, cache_dir: Path, accelerator: Accelerator) -> np.ndarray:
    """
    Return the content keys of images; each process reads its share, unless `cache_dir` has their index.

    They are read once: `images` keeps them. The keys of ready embeddings are those of their numbers; every process
    reads all.

    Returns:
        uint8, (images, 16), the same on every process.

    Raises:
        UsageError: an image cannot be read, an embedding is zero or not finite, or `cache_dir` cannot be written to.
    """
    if isinstance(images, EmbeddingColumn):
        return images.keys()
    if images.keys is not None:
        return images.keys
    count = len(images)
    path = images.stored.index_path(cache_dir) if accelerator.is_main_process else None
    (keys,) = broadcast_object_list([load_index(path, count)])
    if keys is None:
        start, stop = (count * (accelerator.process_index + step) // accelerator.num_processes for step in (0, 1))
        own = images.stored.keys(start, stop, show_progress=accelerator.is_local_main_process)
        keys = np.concatenate(gather_object([own]))
        if path:
            with naming_option("--embedding_cache_dir"):
                save_index(path, keys)
    require_readable(images, keys)
    images.keys = keys
    return keys


def require_readable(images: ImageColumn, keys: np.ndarray) -> None:
    """
    Args:
        keys: uint8, (images, 16), from `StoredImages.keys`: zeros for an image that could not be read.

    Raises:
        UsageError: an image cannot be read; the message says which, and why.
    """
    for index in np.flatnonzero(~keys.any(axis=1)).tolist():
        # Raises an error with the reason.
        images[index]
        raise UsageError(
            f"{images.where(index)} could not be read at first, but could a moment later: start the command again."
        )


@dataclass
class KeyedImages(torch.utils.data.Dataset):
    """
    Some images of a column, checked against their keys, since a file may be replaced during a long run.

    Args:
        at: int64, (n,), indices into `images`.
        keys: uint8, (n, 16), the keys of these images.
    """

    images: ImageColumn
    at: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, index: int) -> PIL.Image.Image:
        at = int(self.at[index])
        image = self.images[at]
        if (self.images.stored.keys(at, at + 1) != self.keys[index]).any():
            raise UsageError(
                f"{self.images.where(at)} was changed while this run was reading it: start the command again."
            )
        return image


@dataclass
class ImageEmbedder:
    """
    Embed images; each process embeds its share.

    While the image encoder is frozen, embeddings are cached in `cache_dir` by the content of the image: each distinct
    image is embedded once for all runs, and a run that was stopped continues from the cached ones.

    Args:
        image_processor: the image processor of the model; `None` if all embeddings are ready.
        batch_size: number of images per batch.
        num_workers: number of `DataLoader` workers per process.
        cache_dir: the folder for all encoders and datasets, see `embedding_cache_dir`.
    """

    image_processor: BaseImageProcessor | None
    accelerator: Accelerator
    batch_size: int
    num_workers: int
    cache_dir: Path

    def __call__(
        self, model: ConCLIPModel, images: ImageColumn | EmbeddingColumn, noun: str
    ) -> torch.Tensor | StoredEmbeddings | EmbeddingColumn:
        """
        Embed with a CLIP model; ready embeddings are checked and returned.

        Args:
            noun: name of the images in the progress bar, e.g. "distractors".

        Returns:
            Projected embeddings by index, float32, (images, d), unit rows, on the CPU and on every process.

        Raises:
            UsageError: an image cannot be read, an embedding is zero or not finite, or `cache_dir` cannot be written
                to or is not shared by the nodes.
        """
        if isinstance(images, EmbeddingColumn):
            images.keys()
            return images
        if not model.image_encoder_is_frozen:
            # Not cached: the next update of the weights changes them.
            own = Subset(images, process_share(len(images), self.accelerator))
            batches = self._embed(model.embed_images, own, f"Embedding {noun}", len(images), leave=False)
            return gather_embeddings(batches, len(images), self.accelerator)
        description = clip_image_encoder_description(model, self.image_processor, self.accelerator.mixed_precision)
        return self.embed_cached(model.embed_images, description, images, noun)

    def embed_cached(
        self,
        embed_pixels: Callable[[Any], torch.Tensor],
        description: dict,
        images: ImageColumn,
        noun: str,
        preprocess: Callable[[list[PIL.Image.Image]], Any] | None = None,
    ) -> StoredEmbeddings:
        """
        Embed with any frozen image encoder and cache the embeddings.

        Args:
            embed_pixels: takes the result of `preprocess`, moved to the device; returns (n, d) without gradient.
            description: everything an embedding depends on besides the image.
            noun: name of the images in the progress bar.
            preprocess: takes a list of images; by default `pixel_values`, (n, channels, height, width).

        Returns, Raises:
            See `__call__`.
        """

        def embed(at: np.ndarray, bar_text: str, total: int):
            done = 0
            own = KeyedImages(images, at, keys[at])
            for embeds in self._embed(embed_pixels, own, bar_text, total, preprocess=preprocess):
                embedded = at[done : done + len(embeds)]
                require_finite(embeds, images, embedded)
                yield embedded, embeds
                done += len(embeds)

        keys = self.keys(images)
        return cached_embeddings(self.cache_dir, description, keys, embed, noun, self.accelerator, images.name)

    def keys(self, images: ImageColumn | EmbeddingColumn) -> np.ndarray:
        """Return the keys of the images, uint8, (images, 16), the same on every process."""
        return image_keys(images, self.cache_dir, self.accelerator)

    def _embed(
        self,
        embed_pixels: Callable[[Any], torch.Tensor],
        images: torch.utils.data.Dataset,
        bar_text: str,
        total: int,
        leave: bool = True,
        preprocess: Callable[[list[PIL.Image.Image]], Any] | None = None,
    ):
        """Yield float32, (n, d), unit rows on the device; the progress bar counts the images of all processes."""
        device, world = self.accelerator.device, self.accelerator.num_processes
        loader = DataLoader(
            images,
            # On a CPU larger batches are no faster, and a run that is killed loses the whole batch.
            batch_size=min(self.batch_size, 32) if device.type == "cpu" else self.batch_size,
            collate_fn=preprocess or partial(pixel_values, self.image_processor),
            num_workers=self.num_workers,
            worker_init_fn=leave_ctrl_c_to_main_process,
            pin_memory=device.type == "cuda",
        )
        hidden = not self.accelerator.is_local_main_process
        with tqdm(total=total, desc=bar_text, unit=" images", leave=leave, disable=hidden) as bar:
            for pixels in loader:
                with self.accelerator.autocast():
                    embeds = l2_normalize(embed_pixels(send_to_device(pixels, device, non_blocking=True))).float()
                yield embeds
                bar.update(min(len(embeds) * world, total - bar.n))
