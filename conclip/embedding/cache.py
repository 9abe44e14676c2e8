"""What is embedded once ever: read from the store what is there, compute the rest, each process its share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from conclip.atomic_write import WriteError
from conclip.embedding.fingerprint import tower_key
from conclip.embedding.store import EmbeddingStore, ShardWriter, StoredEmbeds
from conclip.errors import UsageError

# Takes int64 indices of this process's items, what a progress bar says and the number of all processes' items; yields
# indices and their embeddings, float32, (n, d), unit rows, in any order.
Embed = Callable[[np.ndarray, str, int], Iterator[tuple[np.ndarray, torch.Tensor]]]


def kept_embeddings(
    cache_dir: Path, meta: dict, keys: np.ndarray, embed: Embed, what: str, accelerator: Accelerator
) -> StoredEmbeds:
    """
    Args:
        meta: what the embeddings depend on beside the items.
        keys: uint8, (items, 16), of their content, the same on every process.
        embed: for those that are missing, each distinct one once; items that stand together go to one process.
        what: what the progress bar calls the items.

    Returns:
        Embeddings by index, on every process.

    Raises:
        UsageError: `cache_dir` cannot be written to, or is not shared.
    """
    store = EmbeddingStore(cache_dir / tower_key(meta), meta)
    # As the main process sees it: another run may be adding to the store.
    distinct, missing = broadcast_object_list([*store.missing(keys)] if accelerator.is_main_process else [None, None])
    written = []
    if len(missing):
        desc = f"Embedding {what}: {len(missing):,} of {distinct:,} ({distinct - len(missing):,} in the cache)"
        own = np.array_split(missing, accelerator.num_processes)[accelerator.process_index]
        try:
            with ShardWriter(store) as writer:
                for at, embeds in embed(own, desc, len(missing)):
                    writer.add(keys[at], embeds)
        except WriteError as error:
            raise UsageError(f"--embedding_cache_dir: {error}") from error
        written = gather_object(writer.names)
    embeds = store.read(keys, written)
    if embeds is None:
        raise UsageError(
            f"--embedding_cache_dir {cache_dir}: what other processes wrote there is not to be found; choose "
            "a folder on a disk that all nodes share."
        )
    return embeds
