"""Embeddings of many texts; a beginning that several texts share is computed once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from tqdm.auto import tqdm

from conclip.atomic_write import naming_option
from conclip.embedding.clean_text import text_warnings
from conclip.embedding.tokens import TextTokenizer, TextTokens
from modeling_conclip import ConCLIPModel
from modeling_conclip.loss_conclip import l2_normalize


def cached_tokens(
    tokenizer: TextTokenizer, cache_dir: Path | None, warn: Callable[[str], object]
) -> Callable[[list[str]], TextTokens]:
    """
    Return a function that tokenises texts and caches the result in a folder.

    Args:
        cache_dir: the folder; `None` caches nothing.
        warn: receives the `text_warnings`, a sentence each, and one with the number of texts that are cut.

    Raises:
        WriteError: raised by that function if the folder cannot be written to.
    """

    def tokenize(texts: list[str]) -> TextTokens:
        for sentence in text_warnings(texts):
            warn(sentence)
        with naming_option("--embedding_cache_dir"):
            tokens = tokenizer(texts, cache_dir)
        if full := np.count_nonzero(np.diff(tokens.offsets) >= tokenizer.max_length):
            warn(
                f"Warning: {full:,} of {len(texts):,} texts fill the {tokenizer.max_length} tokens that the model "
                "reads; anything after these tokens is cut."
            )
        return tokens

    return tokenize


@torch.no_grad()
def embed_texts(model: ConCLIPModel, tokens: TextTokens, accelerator: Accelerator, batch_size: int) -> torch.Tensor:
    """
    Embed texts; each process embeds its share.

    Args:
        model: a model in eval mode, or another with its methods `pack_texts` and `embed_packed_texts`.
        tokens: the tokens of n texts.
        batch_size: number of texts per batch.

    Returns:
        Projected embeddings, float32, (n, d), unit rows, on the CPU and on every process.
    """
    texts = tokens[range(len(tokens))]
    order = prefix_order(texts)
    share = -(-len(order) // accelerator.num_processes)
    # The same number on each process: the last text is repeated if they do not divide.
    own = order[np.minimum(np.arange(share) + share * accelerator.process_index, len(order) - 1)]
    shown = accelerator.is_local_main_process
    with tqdm(total=share, desc="Embedding texts", unit=" texts", leave=False, disable=not shown) as bar:
        embeds = [part for _, part in embed_packed(model, texts, own, accelerator, batch_size, bar)]
    gathered = accelerator.gather(torch.cat(embeds)).cpu()[: len(order)]
    return gathered[torch.from_numpy(order).argsort()]


def prefix_order(texts: np.ndarray) -> np.ndarray:
    """Return the order, (n,), in which neighbours share the longest beginnings; `texts`: tokens, (n, longest)."""
    return np.lexsort(texts.T[::-1])


@torch.no_grad()
def embed_packed(
    model: ConCLIPModel, texts: np.ndarray, order: np.ndarray, accelerator: Accelerator, batch_size: int, bar: tqdm
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """
    Embed some of the texts, batch by batch.

    Args:
        texts: tokens, (n, longest), rows of `TextTokens`.
        order: indices of the texts to embed; neighbours should share a beginning.
        bar: progress bar to advance.

    Yields:
        A part of `order` and its embeddings, float32, (part, d), unit rows on the device.
    """
    for start in range(0, len(order), batch_size):
        at = order[start : start + batch_size]
        packed = send_to_device(model.pack_texts(texts[at]), accelerator.device)
        with accelerator.autocast():
            yield at, l2_normalize(model.embed_packed_texts(packed)).float()
        bar.update(len(at))
