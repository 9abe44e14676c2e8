"""Texts as token ids, cached on disk and read back without a copy."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import xxhash
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from conclip.atomic_write import mark_used, write_atomically
from conclip.embedding.clean_text import clean_text
from conclip.embedding.tensor_files import DamagedFile, checksum, read_mapped, with_checksum
from modeling_conclip.packing_conclip import PADDING

TEXTS_AT_A_TIME = 10_000


if hasattr(os, "register_at_fork"):
    # The threads of tokenizers do not exist in a forked process, which would wait for them forever.
    os.register_at_fork(after_in_child=lambda: os.environ.update(TOKENIZERS_PARALLELISM="false"))


@dataclass
class TextTokens:
    """
    The tokens of many texts in one array.

    Args:
        ids: int32, (tokens of all texts,), one text after the other.
        offsets: int64, (texts + 1,); text i is `ids[offsets[i]:offsets[i + 1]]`.
    """

    ids: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, indices: Sequence[int]) -> np.ndarray:
        """Return int32, (len(indices), longest of them); shorter texts end with `PADDING`."""
        indices = np.asarray(indices, dtype=np.int64)
        starts, lengths = self.offsets[indices], self.offsets[indices + 1] - self.offsets[indices]
        columns = np.arange(lengths.max(initial=0))
        inside = columns < lengths[:, None]
        return np.where(inside, self.ids[np.where(inside, starts[:, None] + columns, 0)], PADDING)


@dataclass
class TextTokenizer:
    """
    Tokenise texts for CLIP's text encoder.

    Args:
        tokenizer: CLIP's tokenizer.
        max_length: longer texts are cut to this many tokens; the end-of-text token stays.
        eos_token_id: the id in the config of the text encoder; configs from before transformers 4.31 say 2.
        clean: apply `clean_text` first, as OpenAI's tokenizer does.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    eos_token_id: int
    clean: bool = False

    def __call__(self, texts: Sequence[str], cache_dir: str | os.PathLike | None = None) -> TextTokens:
        """
        Args:
            texts: any number of texts.
            cache_dir: folder that caches the result under a fingerprint of texts and tokenizer; `None` for no cache.

        Raises:
            WriteError: `cache_dir` cannot be written to.
        """
        if cache_dir is None:
            return self._tokenize(texts)
        path = Path(cache_dir) / f"{self._fingerprint(texts)}.safetensors"
        try:
            cached, recorded = read_mapped(path)
            if checksum(cached) == recorded:
                mark_used(path)
                return TextTokens(cached["ids"].numpy(), cached["offsets"].numpy())
        # The file does not exist yet or is damaged: it is written again.
        except (OSError, DamagedFile):
            pass
        tokens = self._tokenize(texts)
        tensors = {"ids": torch.from_numpy(tokens.ids), "offsets": torch.from_numpy(tokens.offsets)}
        write_atomically(path, with_checksum(tensors))
        return tokens

    def whole_lengths(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has before it is cut to `max_length`."""
        return whole_lengths(self.tokenizer, [clean_text(text) for text in texts] if self.clean else texts)

    def state(self) -> str:
        """Return everything that the tokens of a text depend on, as JSON."""
        state = json.loads(self.tokenizer.backend_tokenizer.to_str())
        # The settings of the last call; this class always asks for the same ones.
        del state["truncation"], state["padding"]
        return json.dumps([state, self.max_length, self.eos_token_id])

    def _fingerprint(self, texts: Sequence[str]) -> str:
        digest = xxhash.xxh3_128(f"{self.state()}{' clean' if self.clean else ''}".encode())
        for text in texts:
            # UTF-8 never contains this byte.
            digest.update(text.encode("utf-8", "surrogatepass") + b"\xff")
        return digest.hexdigest()

    def _tokenize(self, texts: Sequence[str]) -> TextTokens:
        # If this is not set, tokenizers warns whenever the process forks later, e.g. for the workers of a DataLoader.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        # The first offset.
        ids, lengths = [], [np.zeros(1, np.int64)]
        starts = range(0, len(texts), TEXTS_AT_A_TIME)
        for start in tqdm(starts, desc="Tokenising", leave=False, disable=len(starts) < 2):
            some = list(texts[start : start + TEXTS_AT_A_TIME])
            if self.clean:
                some = [clean_text(text) for text in some]
            encoded = self.tokenizer(some, truncation=True, max_length=self.max_length, return_attention_mask=False)
            cut = [tokens[: pooled_length(tokens, self.eos_token_id)] for tokens in encoded["input_ids"]]
            lengths.append(np.fromiter(map(len, cut), np.int64, len(cut)))
            ids.append(np.fromiter(chain.from_iterable(cut), np.int32, lengths[-1].sum()))
        return TextTokens(np.concatenate(ids) if ids else np.empty(0, np.int32), np.cumsum(np.concatenate(lengths)))


def whole_lengths(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[int]:
    """Return how many tokens each text has, special ones included."""
    # Without `verbose`, transformers does not warn of texts that are too long for the model.
    return [len(tokens) for tokens in tokenizer(list(texts), verbose=False)["input_ids"]]


def pooled_length(tokens: list[int], eos_token_id: int) -> int:
    """
    Return the number of tokens up to and including the one at which CLIP pools; later tokens have no influence.

    CLIP pools at the first end-of-text token. If the config says 2, which was never CLIP's id, it pools at the first
    occurrence of the highest token (transformers, `CLIPTextModel.forward`).

    Raises:
        ValueError: the tokens contain no end-of-text token.
    """
    try:
        return tokens.index(max(tokens) if eos_token_id == 2 else eos_token_id) + 1
    except ValueError:
        raise ValueError(
            f"The tokens {tokens} lack the end-of-text token {eos_token_id} of the model's config: the tokenizer does "
            "not belong to the model."
        ) from None
