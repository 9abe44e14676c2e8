"""Query arithmetic for models of every family: one query, or all texts of the benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from transformers import CLIPModel, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from conclip.embedding.image_column import ImageColumn
from conclip.embedding.images import ImageEmbedder
from conclip.embedding.store import StoredEmbeddings
from conclip.errors import UsageError
from conclip.models.cached_encoder import CachedEncoder
from conclip.models.loading import FAMILIES
from conclip.negation.arithmetic import THRESHOLD, QueryArithmetic, SpaceVLM, embed_negations
from conclip.negation.query import Query

BETA, ANCHOR_WEIGHT = 0.5, 1.0
# Rule -> what its column is called beside the name of the model.
RULES = {"ours": "query arithmetic", "spacevlm": "SpaceVLM's rule"}
_BATCH = 256
# Model -> (what its weights were, the settings, its arithmetic): what is known of things serves many queries.
_known: WeakKeyDictionary = WeakKeyDictionary()


@dataclass
class QueryEncoder:
    """
    A cached encoder whose texts with negation are embedded by query arithmetic. All other texts, and the images, are
    those of the encoder, to the bit.

    Args:
        encoder: the model.
        rule: "ours" for `QueryArithmetic`, "spacevlm" for `SpaceVLM`.
        beta, anchor_weight: see `QueryArithmetic`.
    """

    encoder: CachedEncoder
    rule: str = "ours"
    beta: float = BETA
    anchor_weight: float = ANCHOR_WEIGHT
    _arithmetic: QueryArithmetic | SpaceVLM | None = field(default=None, repr=False)

    @property
    def embedder(self) -> ImageEmbedder:
        return self.encoder.embedder

    @property
    def settings(self) -> dict:
        """What a report says of the rule."""
        own = {"beta": self.beta, "anchor_weight": self.anchor_weight}
        return {"rule": self.rule, **(own if self.rule == "ours" else {"threshold": THRESHOLD})}

    def images(self, images: ImageColumn) -> StoredEmbeddings:
        """Return what `CachedEncoder.images` returns."""
        return self.encoder.images(images)

    def texts(self, texts: list[str]) -> torch.Tensor:
        """Return embeddings by index, float32, (texts, d), unit rows, on every process."""
        embeds = self.encoder.texts(texts)[:]
        embed_negations(embeds, enumerate(texts), self._embed_queries)
        return embeds

    def _embed_queries(self, queries: Sequence[Query]) -> torch.Tensor:
        if self._arithmetic is None:
            ours = self.rule == "ours"
            self._arithmetic = (
                QueryArithmetic(self._embed, self.beta, self.anchor_weight) if ours else SpaceVLM(self._embed)
            )
        return self._arithmetic(queries)

    def _embed(self, texts: list[str]) -> torch.Tensor:
        ordered = sorted(set(texts))
        at = {text: number for number, text in enumerate(ordered)}
        return self.encoder.texts(ordered)[[at[text] for text in texts]]


def embed_query(
    model: PreTrainedModel,
    processor: ProcessorMixin | PreTrainedTokenizerBase,
    query: str | Sequence[str],
    beta: float = BETA,
    anchor_weight: float = ANCHOR_WEIGHT,
) -> torch.Tensor:
    """
    Embed a search query with negation by query arithmetic, without training.

    The first call for a model embeds some 900 short texts; later calls embed the query alone.

    Args:
        model: a CLIP or ConCLIP model, or one of SigLIP, SigLIP 2, ALIGN, Chinese-CLIP, FLAVA and BLIP, in eval mode.
        processor: its processor.
        query: a text, or n texts.
        beta, anchor_weight: see `QueryArithmetic`.

    Returns:
        float32, (d,) or (n, d), unit length, on the CPU, to compare with unit embeddings of images. A query that
        negates nothing has the embedding of the model.

    Raises:
        UsageError: the model is of another family.

    Example:
        >>> vector = embed_query(model, processor, "a street with no cars")
        >>> image_embeds @ vector
    """
    weights = sum(parameter._version for parameter in model.parameters())
    known = _known.get(model)
    if known is None or known[:2] != (weights, (beta, anchor_weight)):
        arithmetic = QueryArithmetic(_text_embedder(model, processor), beta, anchor_weight)
        known = _known[model] = weights, (beta, anchor_weight), arithmetic
    embeds = known[2]([query] if isinstance(query, str) else list(query))
    return embeds[0] if isinstance(query, str) else embeds


def _text_embedder(model: PreTrainedModel, processor: ProcessorMixin | PreTrainedTokenizerBase):
    tokenizer = getattr(processor, "tokenizer", processor)
    if isinstance(model, CLIPModel):
        longest = model.config.text_config.max_position_embeddings

        def embed(texts: list[str]) -> torch.Tensor:
            tokens = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
            return model.get_text_features(**tokens.to(model.device)).pooler_output

    elif (family := model.config.model_type) in FAMILIES:
        embed = FAMILIES[family][1](model, getattr(processor, "image_processor", None), tokenizer).embed_texts
    else:
        raise UsageError(f"A {family} model cannot embed queries; supported are clip, {', '.join(FAMILIES)}.")

    @torch.no_grad()
    def in_batches(texts: list[str]) -> torch.Tensor:
        batches = [embed(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        return torch.cat(batches).float().cpu()

    return in_batches
