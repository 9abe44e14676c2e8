"""One model over the images and texts of items."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import PIL.Image
import torch
import xxhash
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from conclip_evaluation.blip import BlipMatcher
from conclip_evaluation.dual_encoder import DualEncoder, preprocess_images
from conclip_evaluation.items import ItemImages
from conclip_training.image_tensors import ImageEmbedder
from conclip_training.kept_embeddings import kept_embeddings
from conclip_training.text_embeddings import by_shared_beginning, embed_packed
from conclip_training.tower_key import image_meta, text_meta, text_tower_meta, tower_meta
from dataset_scripts.embeddings import StoredEmbeds
from dataset_scripts.tokens import TextTokenizer
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
    """

    embedder: ImageEmbedder
    embed_pixels: Callable[[Any], torch.Tensor]
    image_meta: dict
    embed_texts: EmbedTexts
    text_meta: dict
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

        return kept_embeddings(self.embedder.cache_dir, self.text_meta, text_keys(texts), embed, "texts", accelerator)

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


def text_keys(texts: Sequence[str]) -> np.ndarray:
    """uint8, (texts, 16)."""
    digests = (xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass")) for text in texts)
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


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

    def embed_texts(texts: list[str], at: np.ndarray, bar: tqdm):
        tokens = tokenizer([texts[index] for index in at])
        padded = tokens[range(len(tokens))]
        for own, embeds in embed_packed(model, padded, by_shared_beginning(padded), accelerator, batch_size, bar):
            yield at[own], embeds

    return EmbeddingScorer(
        embedder,
        model.embed_images,
        tower_meta(model, embedder.collator.image_processor, precision),
        embed_texts,
        text_tower_meta(model, tokenizer, precision),
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

    tokenizer = f"{encoder.tokenizer.backend_tokenizer.to_str()} {encoder.max_length}"
    return EmbeddingScorer(
        embedder,
        lambda inputs: encoder.embed_images(**inputs),
        image_meta(modules, encoder.config, encoder.image_processor, accelerator.mixed_precision),
        embed_texts,
        text_meta(modules, encoder.config, tokenizer, accelerator.mixed_precision),
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
        # Sorted by image: the pairs of an image go to one process.
        order = np.argsort(image_at, kind="stable")
        own = np.array_split(order, accelerator.num_processes)[accelerator.process_index]
        with accelerator.autocast():
            scores = self.matcher.pair_scores(
                images,
                np.asarray(image_at)[own],
                texts,
                np.asarray(text_at)[own],
                self.batch_size,
                self.embedder.num_workers,
            )
        found = np.empty(count)
        found[order] = np.concatenate(gather_object([scores]))
        return found
