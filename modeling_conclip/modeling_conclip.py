"""ConCLIP: a `CLIPModel` with no new parameter whose `forward` also takes negated captions and distractor images."""

import math
import os
from dataclasses import dataclass

import torch
from transformers import CLIPModel
from transformers.models.clip.modeling_clip import CLIPOutput
from transformers.utils import can_return_tuple

from .configuration_conclip import ConCLIPConfig
from .encoders_conclip import packed_layer, piece_by_piece, pool_images, pool_packed
from .loss_conclip import (
    conclip_terms,
    distillation_terms,
    l2_normalize,
    mean_over_texts_of_all_processes,
    similarity,
    truth_loss,
    weighted_mean,
)
from .packing_conclip import pack_texts

MAX_LOGIT_SCALE = math.log(100.0)


@dataclass
class ConCLIPOutput(CLIPOutput):
    """
    CLIP's output (logits and embeddings in float32) and these fields:

    Args:
        loss_image_to_text, loss_text_to_image, loss_distractor (`torch.Tensor`, scalar float32):
            With `return_loss=True`, the unweighted terms L1, L2 and L3 of the loss (formulas in `loss_conclip`).
            `loss_distractor` is `None` if there are no distractor images.
        loss_cosine, loss_profile (`torch.Tensor`, scalar float32):
            With `return_loss=True` and `text_targets`, the unweighted terms L4 and L5.
        loss_truth (`torch.Tensor`, scalar float32):
            With `return_loss=True` and `truth`, the unweighted term L6.
        negated_text_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
            Normalised embeddings of the negated captions, if there are any.
        distractor_image_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
            Normalised embeddings of the distractor images, if there are any.
        target_text_embeds (`torch.Tensor` of shape `(num_targets, projection_dim)`):
            Normalised embeddings of the texts that have targets, if there are any.

    If all texts have targets and there are no images, the fields of pairs are `None`.
    """

    loss_image_to_text: torch.Tensor | None = None
    loss_text_to_image: torch.Tensor | None = None
    loss_distractor: torch.Tensor | None = None
    negated_text_embeds: torch.Tensor | None = None
    distractor_image_embeds: torch.Tensor | None = None
    loss_cosine: torch.Tensor | None = None
    loss_profile: torch.Tensor | None = None
    target_text_embeds: torch.Tensor | None = None
    loss_truth: torch.Tensor | None = None


class ConCLIPModel(CLIPModel):
    """
    CLIP with the negation loss of CoN-CLIP (arXiv 2403.20312).

    `from_pretrained` loads any CLIP model, and every CLIP class loads what `save_pretrained` writes.

    Example:
        >>> model = ConCLIPModel.from_pretrained("openai/clip-vit-base-patch32")
        >>> # batch: CLIP's inputs, negated_input_ids and distractor_pixel_values
        >>> output = model(**batch, return_loss=True)
        >>> output.loss.backward()
    """

    config: ConCLIPConfig
    config_class = ConCLIPConfig
    # Makes the input `packed_texts` of `forward`. A method, so that it comes with a model loaded as remote code.
    pack_texts = staticmethod(pack_texts)
    _packed_layer = staticmethod(packed_layer)

    def __init__(self, config: ConCLIPConfig):
        super().__init__(config)
        if config.freeze_image_encoder:
            self.freeze_image_encoder()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """
        Load any CLIP folder or Hub id, as `CLIPModel.from_pretrained` does, and freeze what the config says.

        Raises:
            OSError: what `CLIPModel.from_pretrained` raises, or a file of a checkpoint in place of a folder.
        """
        path = pretrained_model_name_or_path
        if isinstance(path, str | os.PathLike) and os.path.isfile(path):
            raise OSError(
                f"{path} is a file: convert it to a folder first, with conclip convert --model_name_or_path "
                f"{path} --output_dir FOLDER."
            )
        loaded = super().from_pretrained(path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        # Loading replaces the parameters that __init__ froze.
        if model.config.freeze_image_encoder:
            model.freeze_image_encoder()
        return loaded

    def freeze_image_encoder(self, freeze: bool = True) -> None:
        """Freeze the image encoder and its projection (or unfreeze, with `False`), and record it in the config."""
        self.config.freeze_image_encoder = freeze
        self.vision_model.requires_grad_(not freeze)
        self.visual_projection.requires_grad_(not freeze)
        self.train(self.training)

    @property
    def image_encoder_is_frozen(self) -> bool:
        """Whether no parameter of the image encoder or its projection is trained, adapters included."""
        parts = (self.vision_model, self.visual_projection)
        return not any(parameter.requires_grad for part in parts for parameter in part.parameters())

    def train(self, mode: bool = True):
        """Set the mode as `nn.Module.train` does, but keep parts without trainable parameters in eval mode."""
        super().train(mode)
        for module in self.children():
            if not any(parameter.requires_grad for parameter in module.parameters()):
                module.eval()
        return self

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Clamp `logit_scale` to [0, ln 100], as CLIP and CoN-CLIP do after each optimizer step."""
        self.logit_scale.clamp_(0.0, MAX_LOGIT_SCALE)

    def compile_packed_layer(self) -> None:
        """Compile the text encoder's layer function, which all layers share, for training on `packed_texts`."""
        # Imported here because it takes a second and only compiling needs it.
        import torch._dynamo

        # There is one graph for each shape (a dozen), with adapters two. dynamo stops compiling at its limit of 8.
        dynamo = torch._dynamo.config
        dynamo.cache_size_limit = max(dynamo.cache_size_limit, 64)
        # For DistributedDataParallel dynamo would split a large layer, so that gradients are sent before the graph
        # ends. Each layer is a graph of its own, after which gradients are sent anyway.
        dynamo.optimize_ddp = False
        self._packed_layer = torch.compile(packed_layer, dynamic=False)

    def embed_packed_texts(self, packed_texts: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        """
        Embed texts that share a common beginning once.

        Args:
            packed_texts: pieces made by `pack_texts`, of n texts in all.

        Returns:
            Projected embeddings, not normalised, (n, projection_dim). Several pieces need the memory of one: each is
            computed again in the backward pass.
        """
        embeds = torch.cat(piece_by_piece(self._embed_packed_piece, packed_texts))
        rows = torch.cat([piece["rows"] for piece in packed_texts])
        return torch.empty_like(embeds).index_copy(0, rows, embeds)

    @torch.no_grad()
    def embed_images(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """
        Embed images as `get_image_features` does, without gradient; the last layer computes only the class token.

        Args:
            pixel_values: (n, channels, height, width).

        Returns:
            Projected embeddings, not normalised, (n, projection_dim).
        """
        return self.visual_projection(pool_images(self.vision_model, pixel_values))

    def _embed_packed_piece(self, piece: dict[str, torch.Tensor]) -> torch.Tensor:
        # Evaluation has other shapes, for which compiling costs more than it saves.
        layer = self._packed_layer if self.training else packed_layer
        return self.text_projection(pool_packed(self.text_model, piece, layer))

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.FloatTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        return_loss: bool | None = None,
        interpolate_pos_encoding: bool = False,
        negated_input_ids: torch.LongTensor | None = None,
        negated_attention_mask: torch.Tensor | None = None,
        distractor_pixel_values: torch.FloatTensor | None = None,
        image_embeds: torch.FloatTensor | None = None,
        distractor_image_embeds: torch.FloatTensor | None = None,
        packed_texts: list[dict[str, torch.Tensor]] | None = None,
        text_targets: torch.FloatTensor | None = None,
        second_moment: torch.FloatTensor | None = None,
        truth: torch.FloatTensor | None = None,
        truth_image_embeds: torch.FloatTensor | None = None,
        **kwargs,
    ) -> ConCLIPOutput:
        """
        Embed images and texts and, with `return_loss=True`, compute the loss.

        Takes everything that `CLIPModel.forward` takes, under the same names, and in addition:

        Args:
            negated_input_ids (`torch.LongTensor` of shape `(batch_size, negated_length)`):
                The negated caption of each caption. With negated captions, the loss is that of NegCLIP, and with
                distractors too, that of CoN-CLIP. Without either, it is exactly CLIP's, and the weights in the config
                are ignored.
            negated_attention_mask (`torch.Tensor` of shape `(batch_size, negated_length)`).
            distractor_pixel_values (`torch.FloatTensor` of shape `(batch_size, channels, height, width)`):
                Distractors: images that look like the original and of which the negated caption is true.
            image_embeds, distractor_image_embeds (`torch.FloatTensor` of shape `(batch_size, projection_dim)`):
                Projected embeddings in place of pixels, normalised or not.
            packed_texts (`list[dict[str, torch.Tensor]]`):
                In place of `input_ids`, `negated_input_ids`, masks and positions: the captions, then their negated
                captions, if any, packed by `pack_texts`. They give the same embeddings for a quarter of the work or
                less. With several pieces, texts and images are embedded piece by piece, and again in the backward
                pass (gradient caching): the same loss and gradients with the memory of one piece.
            text_targets (`torch.FloatTensor` of shape `(num_targets, projection_dim)`):
                For negation distillation: the embeddings that the last `num_targets` texts should have, unit rows.
                These texts come after the captions in `input_ids`, or after the captions and negated captions in
                `packed_texts`. Without images, all texts have targets.
            second_moment (`torch.FloatTensor` of shape `(projection_dim, projection_dim)`):
                Mean outer product of the unit embeddings over which scores are compared. The loss needs it for
                `text_targets`.
            truth (`torch.FloatTensor` of shape `(num_targets, num_images)`):
                How likely each text with a target is true of some images, 0 to 1. The text then learns from these
                images, and its target is ignored. A text whose row is NaN learns from its target.
            truth_image_embeds (`torch.FloatTensor` of shape `(num_images, projection_dim)`):
                Unit embeddings of these images, needed for `truth`.

        In training under `torch.distributed` the loss compares the rows of all ranks, so every rank needs a batch of
        the same size. Logits are those of this rank.

        Raises:
            ValueError: inputs exclude or need one another, or their counts differ where the loss pairs them.
        """
        unpacked = (input_ids, attention_mask, position_ids, negated_input_ids, negated_attention_mask)
        if packed_texts is not None and any(given is not None for given in unpacked):
            raise ValueError("Pass packed_texts alone, without input_ids, negated_input_ids, masks or positions.")
        has_images = pixel_values is not None or image_embeds is not None
        if (packed_texts is None and input_ids is None) or not (has_images or text_targets is not None):
            raise ValueError(
                "Pass input_ids or packed_texts, and pixel_values, image_embeds or, for texts alone, text_targets."
            )
        text_output = None
        if packed_texts is not None:
            text_embeds = self.embed_packed_texts(packed_texts)
        else:
            text_output = self._embed_texts(input_ids, attention_mask, position_ids=position_ids, **kwargs)
            text_embeds = text_output.pooler_output
        distilled = {}
        if text_targets is not None:
            pairs = len(text_embeds) - len(text_targets)
            if pairs < 0 or (pairs and not has_images):
                raise ValueError(
                    f"Got {len(text_embeds)} texts and {len(text_targets)} text_targets: pass a target for each text "
                    "after the captions, and images for the captions, if there are any."
                )
            distilled = self._distill(
                text_embeds[pairs:], text_targets, second_moment, truth, truth_image_embeds, return_loss
            )
            text_embeds = text_embeds[:pairs]
        if not has_images:
            if distractor_pixel_values is not None or distractor_image_embeds is not None:
                raise ValueError("Distractor images need images: pass pixel_values or image_embeds.")
            return ConCLIPOutput(text_model_output=text_output, **distilled)
        pieces = 1 if packed_texts is None else len(packed_texts)
        images = {"interpolate_pos_encoding": interpolate_pos_encoding, "pieces": pieces, **kwargs}
        image_embeds, vision_output = self._embed_images(pixel_values, image_embeds, "", **images)
        distractor_embeds, _ = self._embed_images(
            distractor_pixel_values, distractor_image_embeds, "distractor_", **images
        )
        negated_embeds = None
        if packed_texts is not None:
            text_embeds, negated_embeds = self._split_packed_texts(text_embeds, len(image_embeds))
        elif negated_input_ids is not None:
            # position_ids belong to the captions; the negated ones count from 0 as well.
            negated_embeds = self._embed_texts(negated_input_ids, negated_attention_mask, **kwargs).pooler_output
        return self._score(
            image_embeds,
            text_embeds,
            negated_embeds,
            distractor_embeds,
            return_loss,
            distilled,
            text_model_output=text_output,
            vision_model_output=vision_output,
        )

    def _distill(self, embeds, targets, second_moment, truth, image_embeds, return_loss) -> dict[str, torch.Tensor]:
        """Return the output fields of the texts with targets; "loss" is the weighted loss of negation distillation."""
        embeds = l2_normalize(embeds)
        if not return_loss:
            return {"target_text_embeds": embeds}
        width = embeds.shape[-1]
        expected = [
            ("text_targets", targets, (len(embeds), width)),
            ("second_moment", second_moment, (width, width)),
        ]
        if truth is not None:
            images = 0 if image_embeds is None else len(image_embeds)
            expected += [
                ("truth", truth, (len(embeds), images)),
                ("truth_image_embeds", image_embeds, (images, width)),
            ]
        for name, tensor, shape in expected:
            found = None if tensor is None else tuple(tensor.shape)
            if found != shape:
                raise ValueError(f"The loss needs {name} of shape {shape}, got {found}.")
        scale = self.logit_scale.reshape(()).to(embeds).exp()
        targets = targets.to(embeds)
        # In evaluation each rank scores its own rows.
        joint_means = mean_over_texts_of_all_processes if self.training else lambda _, *means: means
        config, fields = self.config, {"target_text_embeds": embeds}
        loss = 0
        if truth is not None:
            truth = truth.to(embeds)
            known = ~truth.isnan().any(dim=1)
            own = truth_loss(embeds[known], image_embeds.to(embeds), truth[known], scale)
            (fields["loss_truth"],) = joint_means(int(known.sum()), own)
            loss = config.truth_weight * fields["loss_truth"]
            embeds, targets = embeds[~known], targets[~known]
        terms = distillation_terms(embeds, targets, second_moment.to(embeds), scale)
        cosine, profile = joint_means(len(embeds), *terms)
        loss = config.distillation_weight * (config.cosine_weight * cosine + config.profile_weight * profile + loss)
        return {"loss": loss, "loss_cosine": cosine, "loss_profile": profile, **fields}

    def _split_packed_texts(self, embeds, images):
        if len(embeds) not in (images, 2 * images):
            raise ValueError(
                f"packed_texts hold {len(embeds)} texts for {images} images: pack one caption for each, and one "
                "negated caption for each or none."
            )
        return embeds[:images], embeds[images:] if len(embeds) > images else None

    def _embed_texts(self, input_ids, attention_mask, **kwargs):
        output = self.text_model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **kwargs)
        output.pooler_output = self.text_projection(output.pooler_output)
        return output

    def _embed_images(self, pixel_values, embeds, prefix, pieces, **kwargs):
        if pixel_values is not None and embeds is not None:
            raise ValueError(f"Pass {prefix}pixel_values or {prefix}image_embeds, not both.")
        if pixel_values is None:
            if embeds is not None and embeds.shape[-1] != self.projection_dim:
                raise ValueError(
                    f"{prefix}image_embeds has {embeds.shape[-1]} columns, but this model projects to "
                    f"{self.projection_dim}: pass projected embeddings."
                )
            return embeds, None

        def embed(pixels):
            output = self.vision_model(pixel_values=pixels, return_dict=True, **kwargs)
            output.pooler_output = self.visual_projection(output.pooler_output)
            return output

        if pieces == 1:
            output = embed(pixel_values)
            return output.pooler_output, output
        return torch.cat(piece_by_piece(lambda pixels: embed(pixels).pooler_output, pixel_values.chunk(pieces))), None

    def _score(
        self, image_embeds, text_embeds, negated_embeds, distractor_embeds, return_loss, distilled, **encoder_outputs
    ) -> ConCLIPOutput:
        captions = l2_normalize(text_embeds)
        # Given embeddings may have another dtype than the model, and an encoder may be on another device.
        images, negated, distractors = (
            None if embeds is None else l2_normalize(embeds).to(captions)
            for embeds in (image_embeds, negated_embeds, distractor_embeds)
        )
        scale = self.logit_scale.reshape(()).to(captions).exp()
        logits_per_text = similarity(captions, images, scale)
        loss, l1, l2, l3 = self._loss(images, captions, negated, distractors, scale) if return_loss else [None] * 4
        if "loss" in distilled:
            loss = loss + distilled.pop("loss")
        # Set all fields at once: the output as a tuple has the order in which they were set.
        return ConCLIPOutput(
            loss=loss,
            logits_per_image=logits_per_text.T,
            logits_per_text=logits_per_text,
            text_embeds=captions,
            image_embeds=images,
            **encoder_outputs,
            loss_image_to_text=l1,
            loss_text_to_image=l2,
            loss_distractor=l3,
            negated_text_embeds=negated,
            distractor_image_embeds=distractors,
            **distilled,
        )

    def _loss(self, images, captions, negated, distractors, scale):
        for name, embeds in (("images", images), ("negated captions", negated), ("distractor images", distractors)):
            if embeds is not None and len(embeds) != len(captions):
                raise ValueError(f"The loss pairs captions and {name}: got {len(captions)} and {len(embeds)}.")
        if distractors is not None and negated is None:
            raise ValueError(
                "Distractor images need negated captions: pass negated_input_ids, or no distractor images."
            )
        terms = conclip_terms(images, captions, scale, negated, distractors, across_processes=self.training)
        config = self.config
        weights = (config.image_to_text_weight, config.text_to_image_weight, config.distractor_weight)
        return weighted_mean(terms, (1.0, 1.0, 1.0) if negated is None else weights), *terms


# Makes save_pretrained copy this file and those it imports, also when they were themselves loaded as remote code.
ConCLIPModel.register_for_auto_class("AutoModel")
