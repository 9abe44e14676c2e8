"""What depends on an image alone is computed once: its embedding by a frozen tower, or its pixels."""

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

from dataset_scripts.collate import PairCollator
from modeling_conclip import ConCLIPModel
from modeling_conclip.loss_conclip import l2_normalize


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


@dataclass
class ImageEmbedder:
    """
    Embeds images, each process its share.

    Args:
        batch_size: images at a time.
        num_workers: processes that decode and preprocess, per process.
    """

    collator: PairCollator
    accelerator: Accelerator
    batch_size: int
    num_workers: int

    @torch.no_grad()
    def __call__(self, model: ConCLIPModel, images: torch.utils.data.Dataset, what: str) -> torch.Tensor:
        """
        Args:
            images: map-style, PIL images.
            what: what the progress bar calls them.

        Returns:
            Projected embeddings, float32, (images, d), unit rows, on the CPU and on every process.
        """
        loader = DataLoader(
            Subset(images, share(len(images), self.accelerator)),
            batch_size=self.batch_size,
            collate_fn=self.collator.images,
            num_workers=self.num_workers,
        )
        progress = tqdm(
            loader, desc=f"Embedding {what}", leave=False, disable=not self.accelerator.is_local_main_process
        )
        batches = (model.get_image_features(pixels.to(self.accelerator.device)).pooler_output for pixels in progress)
        return gather_embeds(batches, len(images), self.accelerator)


def preprocess_images(
    images: torch.utils.data.Dataset, what: str, *, collator: PairCollator, num_workers: int
) -> torch.Tensor:
    """Pixel values, float32, (images, 3, height, width), all in memory: for small pictures read many times."""
    loader = DataLoader(images, batch_size=256, collate_fn=collator.images, num_workers=num_workers)
    return torch.cat(list(tqdm(loader, desc=f"Preprocessing {what}", leave=False)))
