"""Cached embeddings of images and texts, from a dual encoder of any family."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import PIL.Image
import torch
import xxhash
from accelerate.utils import send_to_device
from tqdm.auto import tqdm
from transformers import BatchEncoding, PreTrainedTokenizerBase

from conclip.embedding.cache import cached_embeddings
from conclip.embedding.fingerprint import (
    clip_image_encoder_description,
    clip_text_encoder_description,
    image_encoder_description,
    text_encoder_description,
)
from conclip.embedding.image_column import ImageColumn
from conclip.embedding.images import ImageEmbedder, pixel_values
from conclip.embedding.store import StoredEmbeddings
from conclip.embedding.texts import embed_packed, prefix_order
from conclip.embedding.tokens import TextTokenizer, TextTokens
from conclip.errors import UsageError, one_line
from conclip.models.dual_encoder import DualEncoder, preprocess_images
from conclip.models.openai_pixels import OpenAIPixels
from modeling_conclip import ConCLIPModel
from modeling_conclip.loss_conclip import l2_normalize

# Takes texts, the indices of those to embed, and a progress bar to advance; yields indices and their embeddings,
# float32, (n, d), unit rows.
EmbedTexts = Callable[[list[str], np.ndarray, tqdm], Iterator[tuple[np.ndarray, torch.Tensor]]]


@dataclass
class CachedEncoder:
    """
    An image encoder and a text encoder whose embeddings are cached on disk: each distinct one is computed once.

    Args:
        embedder: embeds images; it also holds the accelerator and the folder of the cache.
        embed_pixels, preprocess: see `ImageEmbedder.embed_cached`.
        image_description, text_description: everything an embedding depends on besides the image or text.
        text_keys: returns uint8, (texts, 16), equal for texts that are equal to the model. Two embeddings of such
            texts could differ by rounding, and chance would decide what has to be a tie.
        whole_lengths: returns how many tokens each text has before it is cut.
        max_length: how many tokens of a text the model reads.
    """

    embedder: ImageEmbedder
    embed_pixels: Callable[[Any], torch.Tensor]
    image_description: dict
    embed_texts: EmbedTexts
    text_description: dict
    text_keys: Callable[[list[str]], np.ndarray]
    whole_lengths: Callable[[list[str]], list[int]]
    max_length: int
    preprocess: Callable[[list[PIL.Image.Image]], Any] | None = None

    def images(self, images: ImageColumn) -> StoredEmbeddings:
        """Return projected embeddings by index, float32, (images, d), unit rows, on every process."""
        return self.embedder.embed_cached(self.embed_pixels, self.image_description, images, "images", self.preprocess)

    def texts(self, texts: list[str]) -> StoredEmbeddings:
        """
        Return projected embeddings by index, float32, (texts, d), unit rows, on every process.

        Args:
            texts: distinct texts, best sorted: a beginning that neighbours share is computed once.
        """
        accelerator = self.embedder.accelerator

        def embed(at: np.ndarray, bar_text: str, total: int):
            hidden = not accelerator.is_local_main_process
            with tqdm(total=len(at), desc=bar_text, unit=" texts", disable=hidden) as bar:
                yield from self.embed_texts(texts, at, bar)

        keys = self.text_keys(texts)
        return cached_embeddings(self.embedder.cache_dir, self.text_description, keys, embed, "texts", accelerator)

    @property
    def to_pixels(self) -> Callable[[list[PIL.Image.Image]], Any]:
        """What turns images into the argument of `embed_pixels`."""
        return self.preprocess or partial(pixel_values, self.embedder.image_processor)

    @torch.no_grad()
    def embed_batch(self, pixels: Any) -> torch.Tensor:
        """Embed the result of `to_pixels` without the cache: float32, (images, d), unit rows, on the device."""
        accelerator = self.embedder.accelerator
        with accelerator.autocast():
            return l2_normalize(self.embed_pixels(send_to_device(pixels, accelerator.device))).float()

    def count_cut(self, texts: list[str]) -> int:
        """Return how many of the texts are longer than what the model reads."""
        return sum(length > self.max_length for length in self.whole_lengths(texts))

    @torch.no_grad()
    def embed_queries(self, texts: list[str]) -> torch.Tensor:
        """Embed what somebody types, without the cache: float32, (texts, d), unit rows, on the CPU."""
        found = {}
        for at, embeds in self.embed_texts(texts, np.arange(len(texts)), tqdm(disable=True)):
            found |= dict(zip(at.tolist(), embeds.float().cpu(), strict=True))
        return torch.stack([found[at] for at in range(len(texts))])


def cached_clip(
    model: ConCLIPModel,
    tokenizer: TextTokenizer,
    embedder: ImageEmbedder,
    batch_size: int,
    preprocess: OpenAIPixels | None = None,
) -> CachedEncoder:
    """
    Return the cached encoder of a CLIP or ConCLIP model.

    Args:
        model: a model in eval mode.
        batch_size: number of texts per batch.
        preprocess: preprocesses images in place of the image processor of the model.
    """
    accelerator = embedder.accelerator
    precision = accelerator.mixed_precision

    # The last texts and their tokens: first their keys are computed, then the missing embeddings.
    last: list = [None, None]

    def tokens_of(texts: list[str]) -> TextTokens:
        if last[0] is not texts:
            try:
                last[:] = texts, tokenizer(texts)
            except ValueError as error:
                raise UsageError(f"A text cannot be tokenised: {one_line(error)}") from error
        return last[1]

    def keys(texts: list[str]) -> np.ndarray:
        tokens = tokens_of(texts)
        return token_keys(np.split(tokens.ids, tokens.offsets[1:-1]))

    def embed_texts(texts: list[str], at: np.ndarray, bar: tqdm):
        padded = tokens_of(texts)[at]
        for own, embeddings in embed_packed(model, padded, prefix_order(padded), accelerator, batch_size, bar):
            yield at[own], embeddings

    image_description = clip_image_encoder_description(model, embedder.image_processor, precision)
    if preprocess:
        image_description["image_processor"] = {"class": type(preprocess).__name__, **asdict(preprocess)}
    return CachedEncoder(
        embedder,
        model.embed_images,
        image_description,
        embed_texts,
        clip_text_encoder_description(model, tokenizer, precision),
        keys,
        tokenizer.whole_lengths,
        tokenizer.max_length,
        preprocess,
    )


def cached_dual_encoder(encoder: DualEncoder, embedder: ImageEmbedder, batch_size: int) -> CachedEncoder:
    """Return the cached encoder of a model of another family than CLIP; `batch_size`: number of texts per batch."""
    accelerator, modules = embedder.accelerator, {"model": encoder.model}

    def embed_texts(texts: list[str], at: np.ndarray, bar: tqdm):
        for start in range(0, len(at), batch_size):
            own = at[start : start + batch_size]
            with accelerator.autocast():
                embeddings = encoder.embed_texts([texts[index] for index in own])
            yield own, l2_normalize(embeddings).float()
            bar.update(len(own))

    tokenizer = f"{tokenizer_state(encoder.tokenizer)} {encoder.max_length}"
    return CachedEncoder(
        embedder,
        lambda inputs: encoder.embed_images(**inputs),
        image_encoder_description(modules, encoder.config, encoder.image_processor, accelerator.mixed_precision),
        embed_texts,
        text_encoder_description(modules, encoder.config, tokenizer, accelerator.mixed_precision),
        lambda texts: token_keys(encoder_tokens(encoder.tokenize, texts, batch_size)),
        encoder.whole_lengths,
        encoder.max_length,
        partial(preprocess_images, encoder.image_processor),
    )


def token_keys(tokens: Iterable[np.ndarray]) -> np.ndarray:
    """
    Return a key for each text, uint8, (texts, 16), equal for texts of equal tokens.

    Args:
        tokens: for each text all tokens that the model reads, int.
    """
    digests = (xxhash.xxh3_128_digest(np.ascontiguousarray(own, np.int64)) for own in tokens)
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


def encoder_tokens(
    tokenize: Callable[[list[str]], BatchEncoding], texts: Sequence[str], batch_size: int
) -> Iterator[np.ndarray]:
    """Yield the tokens that the model reads of each text, int64, (length,); `tokenize`: see `DualEncoder`."""
    for start in range(0, len(texts), batch_size):
        tokens = tokenize(list(texts[start : start + batch_size]))
        ids = tokens["input_ids"].cpu().numpy()
        # SigLIP has no mask: it reads the padding, too.
        masks = tokens["attention_mask"].cpu().numpy().astype(bool) if "attention_mask" in tokens else np.full(1, True)
        yield from (own[mask] for own, mask in zip(ids, np.broadcast_to(masks, ids.shape), strict=True))


def tokenizer_state(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return everything that the tokens of a text depend on."""
    if hasattr(tokenizer, "backend_tokenizer"):
        return tokenizer.backend_tokenizer.to_str()
    # SigLIP's tokenizer is a sentencepiece model.
    added = sorted((index, str(token)) for index, token in tokenizer.added_tokens_decoder.items())
    return f"{tokenizer.sp_model.serialized_model_proto().hex()} {added} {getattr(tokenizer, 'do_lower_case', None)}"
