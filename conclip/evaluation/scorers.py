"""One model over the images and texts of items."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import PIL.Image
import torch
import xxhash
from accelerate.utils import gather_object
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from conclip.embedding.cache import kept_embeddings
from conclip.embedding.fingerprint import image_meta, text_meta, text_tower_meta, tower_meta
from conclip.embedding.images import ImageEmbedder
from conclip.embedding.store import StoredEmbeds, as_scalars
from conclip.embedding.texts import by_shared_beginning, embed_packed
from conclip.embedding.tokens import TextTokenizer, TextTokens
from conclip.errors import UsageError, one_line
from conclip.evaluation.items import ItemImages
from conclip.models.blip import BlipMatcher
from conclip.models.dual_encoder import DualEncoder, preprocess_images
from modeling_conclip import ConCLIPModel
from modeling_conclip.loss_conclip import l2_normalize

PAIRS_AT_A_TIME = 16_384

# Takes texts, which of them, and a progress bar to move; yields some of those and their embeddings, float32, (n, d),
# unit rows.
EmbedTexts = Callable[[list[str], np.ndarray, tqdm], Iterator[tuple[np.ndarray, torch.Tensor]]]


@dataclass
class EmbeddingScorer:
    """
    Scores by the cosine of two embeddings, of which each distinct one is computed once and kept on disk.

    Args:
        embed_pixels, preprocess: see `ImageEmbedder.embed_once`.
        image_meta, text_meta: what an embedding depends on beside the image or text.
        text_keys: takes texts; uint8, (texts, 16), the same for texts that are the same to the model. Computed twice,
            their embeddings would differ by rounding, and a tie would be decided by chance.
    """

    embedder: ImageEmbedder
    embed_pixels: Callable[[Any], torch.Tensor]
    image_meta: dict
    embed_texts: EmbedTexts
    text_meta: dict
    text_keys: Callable[[list[str]], np.ndarray]
    preprocess: Callable[[list[PIL.Image.Image]], Any] | None = None

    def images(self, images: ItemImages) -> StoredEmbeds:
        return self.embedder.embed_once(self.embed_pixels, self.image_meta, images, "images", self.preprocess)

    def texts(self, texts: list[str]) -> StoredEmbeds:
        """
        Args:
            texts: distinct; those that share a beginning together.
        """
        accelerator = self.embedder.accelerator

        def embed(at: np.ndarray, desc: str, total: int):
            shown = accelerator.is_local_main_process
            with tqdm(total=len(at), desc=desc, unit=" texts", disable=not shown) as bar:
                yield from self.embed_texts(texts, at, bar)

        keys = self.text_keys(texts)
        return kept_embeddings(self.embedder.cache_dir, self.text_meta, keys, embed, "texts", accelerator)

    def pairs(
        self, images: ItemImages, image_at: Sequence[int], texts: list[str], text_at: Sequence[int]
    ) -> np.ndarray:
        """
        Args:
            image_at, text_at: (pairs,), indices.

        Returns:
            float64, (pairs,).
        """
        return cosines(self.images(images), image_at, self.texts(texts), text_at)


def cosines(one: StoredEmbeds, one_at: Sequence[int], other: StoredEmbeds, other_at: Sequence[int]) -> np.ndarray:
    """float64, (pairs,): in double precision, so that equal embeddings have equal scores wherever they stand."""
    one_at, other_at = np.asarray(one_at, np.int64), np.asarray(other_at, np.int64)
    found = np.empty(len(one_at))
    for start in range(0, len(found), PAIRS_AT_A_TIME):
        some = slice(start, start + PAIRS_AT_A_TIME)
        found[some] = (one[one_at[some]].double() * other[other_at[some]].double()).sum(dim=1).numpy()
    return found


def token_keys(tokens: Iterable[np.ndarray]) -> np.ndarray:
    """
    Args:
        tokens: of each text, int, all that the model reads of it.

    Returns:
        uint8, (texts, 16).
    """
    digests = (xxhash.xxh3_128_digest(np.ascontiguousarray(own, np.int64)) for own in tokens)
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


def encoder_tokens(encoder: DualEncoder, texts: list[str], batch_size: int) -> Iterator[np.ndarray]:
    """Of each text int64, (length,)."""
    for start in range(0, len(texts), batch_size):
        tokens = encoder.tokenize(texts[start : start + batch_size])
        ids = tokens["input_ids"].cpu().numpy()
        # SigLIP has no mask: it reads the padding, of which all texts have as much as they lack.
        masks = tokens["attention_mask"].cpu().numpy().astype(bool) if "attention_mask" in tokens else np.full(1, True)
        yield from (own[mask] for own, mask in zip(ids, np.broadcast_to(masks, ids.shape), strict=True))


def tokenizer_state(tokenizer: PreTrainedTokenizerBase) -> str:
    """All that its tokens depend on."""
    if hasattr(tokenizer, "backend_tokenizer"):
        return tokenizer.backend_tokenizer.to_str()
    # SigLIP's is one of sentencepiece.
    added = sorted((index, str(token)) for index, token in tokenizer.added_tokens_decoder.items())
    return f"{tokenizer.sp_model.serialized_model_proto().hex()} {added} {getattr(tokenizer, 'do_lower_case', None)}"


def clip_scorer(
    model: ConCLIPModel, tokenizer: TextTokenizer, embedder: ImageEmbedder, batch_size: int
) -> EmbeddingScorer:
    """
    Args:
        model: in eval mode.
        batch_size: texts at a time.
    """
    accelerator = embedder.accelerator
    precision = accelerator.mixed_precision

    # Of the last texts: their keys are asked for, and then the embeddings of those that have none.
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
        for own, embeds in embed_packed(model, padded, by_shared_beginning(padded), accelerator, batch_size, bar):
            yield at[own], embeds

    return EmbeddingScorer(
        embedder,
        model.embed_images,
        tower_meta(model, embedder.image_processor, precision),
        embed_texts,
        text_tower_meta(model, tokenizer, precision),
        keys,
    )


def encoder_scorer(encoder: DualEncoder, embedder: ImageEmbedder, batch_size: int) -> EmbeddingScorer:
    """Of another family than CLIP."""
    accelerator, modules = embedder.accelerator, {"model": encoder.model}

    def embed_texts(texts: list[str], at: np.ndarray, bar: tqdm):
        for start in range(0, len(at), batch_size):
            own = at[start : start + batch_size]
            with accelerator.autocast():
                embeds = encoder.embed_texts([texts[index] for index in own])
            yield own, l2_normalize(embeds).float()
            bar.update(len(own))

    tokenizer = f"{tokenizer_state(encoder.tokenizer)} {encoder.max_length}"
    return EmbeddingScorer(
        embedder,
        lambda inputs: encoder.embed_images(**inputs),
        image_meta(modules, encoder.config, encoder.image_processor, accelerator.mixed_precision),
        embed_texts,
        text_meta(modules, encoder.config, tokenizer, accelerator.mixed_precision),
        lambda texts: token_keys(encoder_tokens(encoder, texts, batch_size)),
        partial(preprocess_images, encoder.image_processor),
    )


@dataclass
class MatchingScorer:
    """
    Scores pairs one by one, by a model that reads the text along with the image: no embeddings, so no retrieval.

    Args:
        batch_size: images, and pairs, at a time.
    """

    matcher: BlipMatcher
    embedder: ImageEmbedder
    batch_size: int

    def pairs(
        self, images: ItemImages, image_at: Sequence[int], texts: list[str], text_at: Sequence[int]
    ) -> np.ndarray:
        """As of `EmbeddingScorer`; the unit is the log-odds of a match. Each process scores its share."""
        accelerator, count = self.embedder.accelerator, len(image_at)
        # A text that is the same as another to the model is that other.
        _, first, same = np.unique(
            as_scalars(token_keys(encoder_tokens(self.matcher, texts, self.batch_size))),
            return_index=True,
            return_inverse=True,
        )
        text_at = first[same][np.asarray(text_at, np.int64)]
        # Sorted by image: the pairs of an image go to one process.
        order = np.argsort(image_at, kind="stable")
        own = np.array_split(order, accelerator.num_processes)[accelerator.process_index]
        with accelerator.autocast():
            scores = self.matcher.pair_scores(
                images,
                np.asarray(image_at)[own],
                texts,
                text_at[own],
                self.batch_size,
                self.embedder.num_workers,
            )
        found = np.empty(count)
        found[order] = np.concatenate(gather_object([scores]))
        return found
