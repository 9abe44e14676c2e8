"""The cache of embeddings: read from the store what is there, compute the rest, each process its share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from conclip.atomic_write import naming_option
from conclip.embedding.fingerprint import encoder_fingerprint
from conclip.embedding.store import EmbeddingStore, ShardWriter, StoredEmbeddings
from conclip.errors import UsageError

# Takes int64 indices of this process's items, the text of a progress bar and the number of all processes' items;
# yields indices and their embeddings, float32, (n, d), unit rows, in any order.
Embed = Callable[[np.ndarray, str, int], Iterator[tuple[np.ndarray, torch.Tensor]]]


def cached_embeddings(
    cache_dir: Path,
    description: dict,
    keys: np.ndarray,
    embed: Embed,
    noun: str,
    accelerator: Accelerator,
    data: str = "",
) -> StoredEmbeddings:
    """
    Return the embeddings of items (images or texts); compute and store those that are not in the cache yet.

    Args:
        description: everything that the embeddings depend on besides the items.
        keys: uint8, (items, 16), hashes of the items' content, the same on every process.
        embed: computes missing embeddings. Each distinct item is passed once; neighbours go to the same process.
        noun: name of the items in the progress bar, e.g. "images".
        data: name of the items' data, for `conclip cache`.

    Returns:
        Embeddings by index, on every process.

    Raises:
        UsageError: `cache_dir` cannot be written to, or the nodes do not share it.
    """
    store = EmbeddingStore(cache_dir / encoder_fingerprint(description), description, data)
    with naming_option("--embedding_cache_dir"):
        # Only the main process looks: another run may be adding to the store at the same time.
        found = [*store.missing(keys)] if accelerator.is_main_process else [None, None]
        distinct, missing = broadcast_object_list(found)
        written = []
        if len(missing):
            bar_text = f"Embedding {noun}: {len(missing):,} of {distinct:,} ({distinct - len(missing):,} in the cache)"
            own = np.array_split(missing, accelerator.num_processes)[accelerator.process_index]
            with ShardWriter(store) as writer:
                for at, embeddings in embed(own, bar_text, len(missing)):
                    writer.add(keys[at], embeddings)
            written = gather_object(writer.names)
        embeddings = store.read(keys, written)
    if embeddings is None:
        raise UsageError(
            f"--embedding_cache_dir {cache_dir}: the files that other processes wrote there cannot be found; choose "
            "a folder on a disk that all nodes share."
        )
    return embeddings
