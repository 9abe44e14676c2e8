"""What depends on an image alone is computed once: its embedding by a frozen tower, or its pixels."""

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
from huggingface_hub import constants
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm
from transformers import BaseImageProcessor

from conclip.atomic_write import WriteError
from conclip.embedding.cache import kept_embeddings
from conclip.embedding.fingerprint import tower_meta
from conclip.embedding.image_column import ImageColumn
from conclip.embedding.image_hashes import load_index, save_index
from conclip.embedding.store import StoredEmbeds
from conclip.errors import UsageError
from modeling_conclip import ConCLIPModel
from modeling_conclip.loss_conclip import l2_normalize


def leave_ctrl_c_to_main_process(_worker: int) -> None:
    """
    For DataLoaders: in a terminal Ctrl-C reaches the workers as well, which then end amid what they send, with a
    traceback or with the main process waiting for the rest. It ends them itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def share(count: int, accelerator: Accelerator) -> list[int]:
    """This process's items, as many on each: the last one is repeated where they do not divide."""
    world = accelerator.num_processes
    return [min(at, count - 1) for at in range(accelerator.process_index, -(-count // world) * world, world)]


def gather_embeds(batches, count: int, accelerator: Accelerator) -> torch.Tensor:
    """
    Args:
        batches: iterable of (n, d), the embeddings of this process's `share` in order; consumed under autocast.
        count: items over all processes.

    Returns:
        float32, (count, d), unit rows, on the CPU and on every process.
    """
    with accelerator.autocast():
        own = torch.cat([l2_normalize(batch).float() for batch in batches])
    gathered = accelerator.gather(own[None])  # (processes, share, d)
    return gathered.transpose(0, 1).flatten(0, 1)[:count].cpu()


def embedding_cache_dir(folder: str | None = None) -> Path:
    """Return the folder in which embeddings are cached: `folder`, or one in Hugging Face's cache."""
    return Path(folder or Path(constants.HF_HOME) / "conclip" / "embeddings").expanduser()


def pixel_values(image_processor: BaseImageProcessor, images: list[PIL.Image.Image]) -> torch.Tensor:
    """Preprocess images, float32, (n, channels, height, width)."""
    return image_processor([image.convert("RGB") for image in images], return_tensors="pt")["pixel_values"]


@dataclass
class KeyedImages(torch.utils.data.Dataset):
    """
    Some of the images, as long as they are those of the keys: a file may be replaced while a run of hours goes on.

    Args:
        at: int64, (n,), which images.
        keys: uint8, (n, 16).
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
            raise UsageError(f"{self.images.where(at)} was changed while this run read it: start again.")
        return image


@dataclass
class ImageEmbedder:
    """
    Embeds images, each process its share. With a frozen tower, each distinct image is embedded once ever: the
    embeddings are kept in `cache_dir`, and a run that was stopped goes on from those that are there.

    Args:
        image_processor: of the model.
        batch_size: images at a time.
        num_workers: processes that decode and preprocess, per process.
        cache_dir: of all towers and data sets.
    """

    image_processor: BaseImageProcessor
    accelerator: Accelerator
    batch_size: int
    num_workers: int
    cache_dir: Path

    def __call__(self, model: ConCLIPModel, images: ImageColumn, what: str) -> torch.Tensor | StoredEmbeds:
        """
        Args:
            what: what the progress bar calls the images.

        Returns:
            Projected embeddings by index, float32, (images, d), unit rows, on the CPU and on every process.

        Raises:
            UsageError: an image that cannot be read, or a `cache_dir` that cannot be written to or is not shared.
        """
        if not model.image_encoder_is_frozen:
            # They are out of date after the next update.
            own = Subset(images, share(len(images), self.accelerator))
            batches = self._embed(model.embed_images, own, f"Embedding {what}", len(images), leave=False)
            return gather_embeds(batches, len(images), self.accelerator)
        meta = tower_meta(model, self.image_processor, self.accelerator.mixed_precision)
        return self.embed_once(model.embed_images, meta, images, what)

    def embed_once(
        self,
        embed_pixels: Callable[[Any], torch.Tensor],
        meta: dict,
        images: ImageColumn,
        what: str,
        preprocess: Callable[[list[PIL.Image.Image]], Any] | None = None,
    ) -> StoredEmbeds:
        """
        As a call, for any tower that does not change.

        Args:
            embed_pixels: takes what `preprocess` gives, on the device, and gives (n, d) without gradient.
            meta: what an embedding depends on beside the image.
            preprocess: takes images; `pixel_values` by default, which gives (n, channels, height, width).
        """

        def embed(at: np.ndarray, desc: str, total: int):
            done = 0
            own = KeyedImages(images, at, keys[at])
            for embeds in self._embed(embed_pixels, own, desc, total, preprocess=preprocess):
                yield at[done : done + len(embeds)], embeds
                done += len(embeds)

        try:
            keys = self._keys(images)
            return kept_embeddings(self.cache_dir, meta, keys, embed, what, self.accelerator)
        except WriteError as error:
            raise UsageError(f"--embedding_cache_dir: {error}") from error

    def _keys(self, images: ImageColumn) -> np.ndarray:
        """
        Returns:
            uint8, (images, 16), the same on every process.
        """
        accelerator, count = self.accelerator, len(images)
        path = images.stored.index_path(self.cache_dir) if accelerator.is_main_process else None
        (keys,) = broadcast_object_list([load_index(path, count)])
        if keys is None:
            start, stop = (count * (accelerator.process_index + step) // accelerator.num_processes for step in (0, 1))
            own = images.stored.keys(start, stop, shown=accelerator.is_local_main_process)
            keys = np.concatenate(gather_object([own]))
            if path:
                save_index(path, keys)
        for index in np.flatnonzero(~keys.any(axis=1)).tolist():
            # Says what is wrong with it.
            images[index]
            raise UsageError(f"{images.where(index)} could be read only the second time: start again.")
        return keys

    def _embed(
        self,
        embed_pixels: Callable[[Any], torch.Tensor],
        images: torch.utils.data.Dataset,
        desc: str,
        total: int,
        leave: bool = True,
        preprocess: Callable[[list[PIL.Image.Image]], Any] | None = None,
    ):
        """Yields float32, (n, d), unit rows on the device; the bar counts the images of all processes."""
        device, world = self.accelerator.device, self.accelerator.num_processes
        loader = DataLoader(
            images,
            # On a CPU more at a time are no faster, and a run that is killed loses them.
            batch_size=min(self.batch_size, 32) if device.type == "cpu" else self.batch_size,
            collate_fn=preprocess or partial(pixel_values, self.image_processor),
            num_workers=self.num_workers,
            worker_init_fn=leave_ctrl_c_to_main_process,
            pin_memory=device.type == "cuda",
        )
        shown = self.accelerator.is_local_main_process
        with tqdm(total=total, desc=desc, unit=" images", leave=leave, disable=not shown) as bar:
            for pixels in loader:
                with self.accelerator.autocast():
                    embeds = l2_normalize(embed_pixels(send_to_device(pixels, device, non_blocking=True))).float()
                yield embeds
                bar.update(min(len(embeds) * world, total - bar.n))


def preprocess_images(
    images: torch.utils.data.Dataset, what: str, *, image_processor: BaseImageProcessor, num_workers: int
) -> torch.Tensor:
    """Pixel values, float32, (images, 3, height, width), all in memory: for small pictures read many times."""
    collate = partial(pixel_values, image_processor)
    loader = DataLoader(images, batch_size=256, collate_fn=collate, num_workers=num_workers)
    return torch.cat(list(tqdm(loader, desc=f"Preprocessing {what}", leave=False)))
