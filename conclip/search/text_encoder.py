"""
CLIP's text encoder in numpy.

It reads the weights that a text needs from the memory-mapped file of the model, so that the first text takes a tenth
of a second where importing torch alone takes more than one. The layers are those of `CLIPTextModelWithProjection` of
transformers; its results agree within 1e-5.
"""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

# numpy has no bfloat16: its bits are the upper half of a float32.
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
CONFIG = (
    *("hidden_act", "hidden_size", "num_hidden_layers", "num_attention_heads", "layer_norm_eps"),
    *("eos_token_id", "max_position_embeddings"),
)
_erf = np.frompyfunc(math.erf, 1, 1)


def quick_gelu(hidden: np.ndarray) -> np.ndarray:
    return hidden / (1 + np.exp(-1.702 * hidden))


def gelu(hidden: np.ndarray) -> np.ndarray:
    return hidden * (0.5 + 0.5 * _erf(hidden * math.sqrt(0.5)).astype(np.float32))


ACTIVATIONS = {"quick_gelu": quick_gelu, "gelu": gelu}


class TextEncoder:
    """
    The text encoder of a CLIP or ConCLIP model.

    Args:
        weights_file: model.safetensors, with float32, float16 or bfloat16; it computes in float32.
        config: the fields `CONFIG` of the model's `text_config`.
        tokenizer: that of the model.

    Raises:
        KeyError, ValueError, OSError: the file is not that of such a model, or has an activation that is not in
            `ACTIVATIONS`.
    """

    def __init__(self, weights_file: Path, config: dict, tokenizer: Tokenizer):
        self._weights = map_weights(weights_file)
        self._config, self._tokenizer = config, tokenizer
        self._activation = ACTIVATIONS[config["hidden_act"]]
        tokenizer.enable_truncation(config["max_position_embeddings"])
        tokenizer.no_padding()
        # Raises if a weight is missing.
        for name in ("embeddings.token_embedding", "embeddings.position_embedding"):
            self._weight(f"text_model.{name}.weight", slice(0, 1))
        self._weight("text_projection.weight", slice(0, 1))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return projected embeddings of n texts, float32, (n, d), unit rows."""
        encoded = [self._tokenizer.encode(text) for text in texts]
        cut = sum(bool(one.overflowing) for one in encoded)
        if warning := cut_warning(cut, self._config["max_position_embeddings"]):
            print(f"Warning: {warning}", file=sys.stderr)
        embeds = np.stack([self._embed(one.ids) for one in encoded])
        return embeds / np.linalg.norm(embeds, axis=1, keepdims=True)

    def _embed(self, tokens: list[int]) -> np.ndarray:
        eos = self._config["eos_token_id"]
        # CLIP pools at the first end-of-text token or, where an old config says 2, at the highest token. What follows
        # has no influence.
        tokens = tokens[: tokens.index(max(tokens) if eos == 2 else eos) + 1]
        hidden = self._weight("text_model.embeddings.token_embedding.weight", tokens)
        hidden = hidden + self._weight("text_model.embeddings.position_embedding.weight", slice(0, len(tokens)))
        for layer in range(self._config["num_hidden_layers"]):
            name = f"text_model.encoder.layers.{layer}"
            hidden = hidden + self._attention(self._norm(hidden, f"{name}.layer_norm1"), f"{name}.self_attn")
            wide = self._linear(self._norm(hidden, f"{name}.layer_norm2"), f"{name}.mlp.fc1")
            hidden = hidden + self._linear(self._activation(wide), f"{name}.mlp.fc2")
        pooled = self._norm(hidden[-1:], "text_model.final_layer_norm")
        return (pooled @ self._weight("text_projection.weight").T)[0]

    def _attention(self, hidden: np.ndarray, name: str) -> np.ndarray:
        heads, count = self._config["num_attention_heads"], len(hidden)

        def by_head(projection: str) -> np.ndarray:  # (heads, n, width / heads)
            return self._linear(hidden, f"{name}.{projection}").reshape(count, heads, -1).swapaxes(0, 1)

        queries, keys, values = map(by_head, ("q_proj", "k_proj", "v_proj"))
        scores = queries @ keys.swapaxes(1, 2) / math.sqrt(queries.shape[-1])
        scores += np.triu(np.full((count, count), -np.inf, np.float32), 1)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return self._linear((weights @ values).swapaxes(0, 1).reshape(count, -1), f"{name}.out_proj")

    def _linear(self, hidden: np.ndarray, name: str) -> np.ndarray:
        return hidden @ self._weight(f"{name}.weight").T + self._weight(f"{name}.bias")

    def _norm(self, hidden: np.ndarray, name: str) -> np.ndarray:
        centred = hidden - hidden.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(variance + np.float32(self._config["layer_norm_eps"]))
        return scaled * self._weight(f"{name}.weight") + self._weight(f"{name}.bias")

    def _weight(self, name: str, rows=slice(None)) -> np.ndarray:
        values = self._weights[name][rows]
        if values.dtype == np.uint16:
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32, copy=False)


def cut_warning(count: int, longest: int) -> str:
    """Return a sentence about texts that are cut to the tokens that a model reads; an empty one if none are."""
    what = "texts are" if count > 1 else "text is"
    return f"{count} {what} cut to {longest} tokens, which is all that the model reads." if count else ""


def map_weights(path: Path) -> dict[str, np.ndarray]:
    """
    Memory-map the tensors of a safetensors file that numpy can hold; bfloat16 as its bits, uint16.

    Source of the format: https://github.com/huggingface/safetensors#format. Its own reader for numpy copies tensors,
    and refuses bfloat16.

    Raises:
        ValueError, KeyError, OSError: the file is damaged, or there is none.
    """
    content = np.memmap(path, np.uint8, mode="r")
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    tensors = {}
    for name, tensor in json.loads(content[8:start].tobytes()).items():
        if name != "__metadata__" and tensor["dtype"] in DTYPES:
            first, last = tensor["data_offsets"]
            values = content[start + first : start + last].view(DTYPES[tensor["dtype"]])
            tensors[name] = np.asarray(values.reshape(tensor["shape"]))
    return tensors


def read_text_encoder(facts: dict, index_dir: Path) -> TextEncoder:
    """
    Return the text encoder of a model.

    Args:
        facts: "weights", the path of model.safetensors, and "config".
        index_dir: the folder that holds tokenizer.json.

    Raises:
        KeyError, ValueError, OSError: see `TextEncoder`.
    """
    tokenizer = Tokenizer.from_str((index_dir / "tokenizer.json").read_text("utf-8"))
    return TextEncoder(Path(facts["weights"]), facts["config"], tokenizer)
