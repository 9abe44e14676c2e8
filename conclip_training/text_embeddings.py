"""Many texts: tokenised once, and embedded, what they share once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from tqdm.auto import tqdm

from conclip_training.failures import UsageError
from dataset_scripts.packing import pack_texts
from dataset_scripts.tokens import TextTokenizer, TextTokens
from dataset_scripts.whole_files import CannotWrite
from modeling_conclip import ConCLIPModel
from modeling_conclip.loss_conclip import l2_normalize


def kept_tokens(tokenizer: TextTokenizer, cache_dir: Path) -> Callable[[list[str]], TextTokens]:
    """
    The tokenizer with a folder for what it has tokenised.

    Raises:
        UsageError: when called, if the folder cannot be written to.
    """

    def tokenize(texts: list[str]) -> TextTokens:
        try:
            return tokenizer(texts, cache_dir)
        except CannotWrite as error:
            raise UsageError(f"--embedding_cache_dir: {error}") from error

    return tokenize


@torch.no_grad()
def embed_texts(model: ConCLIPModel, tokens: TextTokens, accelerator: Accelerator, batch_size: int) -> torch.Tensor:
    """
    Args:
        model: in eval mode.
        tokens: of n texts.
        batch_size: texts at a time.

    Returns:
        Projected embeddings, float32, (n, d), unit rows, on the CPU and on every process.
    """
    texts = tokens[range(len(tokens))]
    # Neighbours share the most.
    order = np.lexsort(texts.T[::-1])
    share = -(-len(order) // accelerator.num_processes)
    # As many on each process: the last is repeated where they do not divide.
    own = np.minimum(np.arange(share) + share * accelerator.process_index, len(order) - 1)
    shown = accelerator.is_local_main_process
    embeds = []
    for start in tqdm(range(0, share, batch_size), desc="Embedding texts", leave=False, disable=not shown):
        packed = send_to_device(pack_texts(texts[order[own[start : start + batch_size]]]), accelerator.device)
        with accelerator.autocast():
            embeds.append(l2_normalize(model.embed_packed_texts(packed)).float())
    gathered = accelerator.gather(torch.cat(embeds)).cpu()[: len(order)]
    return gathered[torch.from_numpy(order).argsort()]
