"""Negation distillation of the text encoder of any family, through transformers' own classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import functional as F
from transformers import BatchEncoding, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from conclip.embedding.tokens import TextTokens
from conclip.errors import UsageError, one_line
from conclip.models.cached_encoder import encoder_tokens
from conclip.models.clip import require_fitting_tokenizer
from conclip.models.dual_encoder import DualEncoder
from conclip.models.loading import encoder_class
from modeling_conclip import ConCLIPOutput
from modeling_conclip.encoders_conclip import piece_by_piece
from modeling_conclip.loss_conclip import distillation_terms, l2_normalize, mean_over_texts_of_all_processes
from modeling_conclip.packing_conclip import PADDING

_TEXTS_AT_A_TIME = 256
# Of different lengths: what pads the first must not change its embedding.
_SHORT, _LONG = "a dog", "a photo of a dog and a cat beside a small red car in the street"
_LARGEST_DIFFERENCE = 1e-3


@dataclass
class EncoderTokenizer:
    """
    Tokenise texts for a `DualEncoder`, without holding it: processes that load data have no use for the model.

    Args:
        tokenizer: that of the model.
        max_length: longer texts are cut to this many tokens.
        tokenize_texts: see `DualEncoder`.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    tokenize_texts: Callable[[list[str], PreTrainedTokenizerBase, int], BatchEncoding]

    def __call__(self, texts: Sequence[str]) -> TextTokens:
        tokenize = partial(self.tokenize_texts, tokenizer=self.tokenizer, max_length=self.max_length)
        tokens = [own.astype(np.int32) for own in encoder_tokens(tokenize, texts, _TEXTS_AT_A_TIME)]
        offsets = np.cumsum([0, *map(len, tokens)], dtype=np.int64)
        return TextTokens(np.concatenate(tokens) if tokens else np.empty(0, np.int32), offsets)


class TextDistillationModel(torch.nn.Module):
    """
    The text encoder of a model of any family, with the methods of `ConCLIPModel` that negation distillation calls.

    Only the weights on which the embedding of a text depends are trained; all others are frozen, the image encoder
    among them. Texts are padded, not packed: packing needs an encoder that reads from left to right.

    Args:
        model: any model of transformers with `get_text_features`, or adapters on it, in float32.
        tokenizer: the tokenizer of the model.
        cosine_weight, profile_weight: as in `ConCLIPConfig`.

    Raises:
        UsageError: the model does not embed texts, or the tokenizer does not belong to it.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        cosine_weight: float = 4.0,
        profile_weight: float = 0.3,
    ):
        super().__init__()
        subject = model.config.name_or_path or "the model"
        require_fitting_tokenizer(tokenizer, model.config.get_text_config(), subject)
        self.encoder: DualEncoder = encoder_class(model.config.model_type)(model, None, tokenizer)
        self.cosine_weight, self.profile_weight = cosine_weight, profile_weight
        self.pack_texts = partial(pad_texts, pad_token_id=tokenizer.pad_token_id)
        self._freeze_what_no_text_uses(subject)

    @property
    def config(self) -> PreTrainedConfig:
        return self.encoder.config

    def make_tokenizer(self) -> EncoderTokenizer:
        """Return the tokenizer of texts, which gives what `pack_texts` takes."""
        tokenizer, most = self.encoder.tokenizer, self.encoder.max_length
        # XLM-R has two positions fewer than its config says.
        return EncoderTokenizer(tokenizer, min(most, tokenizer.model_max_length), self.encoder.tokenize_texts)

    @property
    def logit_scale(self) -> Tensor:
        return self.encoder.logit_scale

    @property
    def image_encoder_is_frozen(self) -> bool:
        return True

    def clamp_logit_scale(self) -> None:
        """Do nothing: the scale is frozen."""

    def compile_packed_layer(self) -> None:
        """Do nothing: the layers are those of transformers."""

    def embed_packed_texts(self, packed_texts: list[dict[str, Tensor]]) -> Tensor:
        """
        Embed texts.

        Args:
            packed_texts: pieces made by `pack_texts`, of n texts in all.

        Returns:
            Projected embeddings, not normalised, (n, d). Several pieces need the memory of one: each is computed again
            in the backward pass.
        """
        embeds = torch.cat(piece_by_piece(self._embed_piece, packed_texts))
        rows = torch.cat([piece["rows"] for piece in packed_texts])
        return torch.empty_like(embeds).index_copy(0, rows, embeds)

    def forward(
        self, packed_texts: list[dict[str, Tensor]], text_targets: Tensor, second_moment: Tensor, return_loss: bool
    ) -> ConCLIPOutput:
        """Compute the loss of negation distillation; arguments and output are those of `ConCLIPModel.forward`."""
        embeds = l2_normalize(self.embed_packed_texts(packed_texts))
        if not return_loss:
            return ConCLIPOutput(target_text_embeds=embeds)
        terms = distillation_terms(
            embeds, text_targets.to(embeds), second_moment.to(embeds), self.logit_scale.to(embeds).exp()
        )
        cosine, profile = mean_over_texts_of_all_processes(len(embeds), *terms) if self.training else terms
        return ConCLIPOutput(
            loss=self.cosine_weight * cosine + self.profile_weight * profile,
            loss_cosine=cosine,
            loss_profile=profile,
            target_text_embeds=embeds,
        )

    def _embed_piece(self, piece: dict[str, Tensor]) -> Tensor:
        return self.encoder.text_features(input_ids=piece["input_ids"], attention_mask=piece["attention_mask"])

    def _freeze_what_no_text_uses(self, subject: str) -> None:
        """
        Raises:
            UsageError: the model does not embed texts, embeds a text differently beside a longer one, or has no weight
                to train on which a text depends.
        """
        family = self.config.model_type
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        try:
            tokenize = self.make_tokenizer()
            embeds, alone = (
                F.normalize(self.embed_packed_texts(self.pack_texts(tokens[range(len(tokens))])), dim=1)
                for tokens in (tokenize([_SHORT, _LONG]), tokenize([_SHORT]))
            )
            difference = (embeds[0] - alone[0]).abs().max()
            gradients = [None] * len(trained)
            if embeds.requires_grad:
                gradients = torch.autograd.grad(embeds.sum(), trained, allow_unused=True)
            self.logit_scale.item()
        # Each family fails in its own way.
        except Exception as error:
            raise UsageError(
                f"{subject}: a {family} model cannot be trained on texts, as it does not embed them as CLIP does: "
                f"{one_line(error)}"
            ) from error
        if not difference < _LARGEST_DIFFERENCE:
            raise UsageError(
                f"{subject}: a {family} model embeds a text differently beside a longer one, so it cannot be trained "
                "on texts: how to pad them is not known here."
            )
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.requires_grad_(gradient is not None)
        if not any(parameter.requires_grad for parameter in trained):
            raise UsageError(f"{subject}: no weight that is trained has an effect on texts.")


def pad_texts(
    texts: np.ndarray, pieces: int = 1, static_shapes: bool = False, pad_token_id: int = 0
) -> list[dict[str, Tensor]]:
    """
    Pad tokenised texts for `TextDistillationModel.forward(packed_texts=...)`.

    Args:
        texts: int, (n, length). Shorter texts end with `PADDING`.
        pieces: number of batches to divide the texts into, by length.
        static_shapes: pad to the longest text of all pieces.
        pad_token_id: the token that replaces `PADDING`.

    Returns:
        For each piece, of m texts: `input_ids` and `attention_mask`, int64, (m, longest); `rows`, int64, (m,), the
        index of each text among the n texts.
    """
    lengths = (texts != PADDING).sum(axis=1)
    order = np.argsort(lengths, kind="stable")
    padded = []
    for rows in np.array_split(order, pieces):
        own = texts[rows, : None if static_shapes else lengths[rows].max(initial=0)].astype(np.int64)
        inside = own != PADDING
        piece = {
            "input_ids": np.where(inside, own, pad_token_id),
            "attention_mask": inside.astype(np.int64),
            "rows": rows,
        }
        padded.append({name: torch.from_numpy(array) for name, array in piece.items()})
    return padded
