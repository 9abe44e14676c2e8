"""Configuration of ConCLIP: that of CLIP, plus the weights of the loss terms and what is frozen."""

import math

from huggingface_hub.dataclasses import strict
from transformers import CLIPConfig
from transformers.utils.versions import require_version

# Where configurations are not dataclasses yet, `strict` would fail with an error about its own use.
require_version("transformers>=5.6", "CLIPModel, and AutoModel without trust_remote_code, load this model as it is.")

# save_pretrained writes this into config.json and copies the code beside it, so that `trust_remote_code=True` loads
# ConCLIP on a machine without this package.
AUTO_MAP = {
    "AutoConfig": "configuration_conclip.ConCLIPConfig",
    "AutoModel": "modeling_conclip.ConCLIPModel",
    "AutoModelForZeroShotImageClassification": "modeling_conclip.ConCLIPModel",
}


@strict
class ConCLIPConfig(CLIPConfig):
    """
    CLIP's configuration with the weights of the loss terms: of CoN-CLIP (arXiv 2403.20312) and negation distillation.

    `model_type` stays `"clip"` and a saved folder names `CLIPModel` as its architecture. The folder therefore loads
    wherever a CLIP model loads, and as ConCLIP with `ConCLIPModel.from_pretrained` or `trust_remote_code=True`.
    The loss of CoN-CLIP is the weighted mean of its terms, so three equal weights give the loss of the paper. Negation
    distillation is added to it for batches with `text_targets`.

    Args:
        image_to_text_weight (`float`, defaults to 1.0):
            Weight of L1, image -> caption. Negated captions are extra negatives. Finite, >= 0.
        text_to_image_weight (`float`, defaults to 1.0):
            Weight of L2, caption -> image. Distractor images are extra negatives. Finite, >= 0.
        distractor_weight (`float`, defaults to 1.0):
            Weight of L3, distractor image -> its negated caption. Finite, >= 0.
        distillation_weight (`float`, defaults to 1.0):
            Weight of negation distillation. Finite, >= 0.
        cosine_weight (`float`, defaults to 4.0):
            Weight of L4, the cosine to the target, within negation distillation. Finite, >= 0.
        profile_weight (`float`, defaults to 0.3):
            Weight of L5, the profile of scores, within negation distillation. Finite, >= 0.
        truth_weight (`float`, defaults to 1.0):
            Weight of L6, of which images a text is true, within negation distillation. Finite, >= 0.
        freeze_image_encoder (`bool`, defaults to `True`):
            Whether the image encoder and its projection are frozen and kept in eval mode, as in the paper.

    Raises:
        huggingface_hub.errors.StrictDataclassError: a weight is negative, not finite or not a number, or those of all
            terms of CoN-CLIP's loss are 0.
    """

    model_type = "clip"

    image_to_text_weight: float | int = 1.0
    text_to_image_weight: float | int = 1.0
    distractor_weight: float | int = 1.0
    distillation_weight: float | int = 1.0
    cosine_weight: float | int = 4.0
    profile_weight: float | int = 0.3
    truth_weight: float | int = 1.0
    freeze_image_encoder: bool = True

    def validate_loss_weights(self):
        names = ("image_to_text_weight", "text_to_image_weight", "distractor_weight")
        for name in (*names, "distillation_weight", "cosine_weight", "profile_weight", "truth_weight"):
            weight = getattr(self, name)
            if not math.isfinite(weight) or weight < 0:
                raise ValueError(f"{name} must be a finite number of 0 or more, got {weight!r}.")
        if not any(getattr(self, name) for name in names):
            raise ValueError(f"{', '.join(names)} are all 0: at least one loss term needs a weight above 0.")

    def save_pretrained(self, save_directory, push_to_hub=False, **kwargs):
        """Write config.json in a form that CLIP and ConCLIP both load, and copy this source file beside it."""
        self.architectures = ["CLIPModel"]
        self.auto_map = dict(AUTO_MAP)
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)


# Makes save_pretrained copy this source file, also when it was itself loaded as remote code.
ConCLIPConfig.register_for_auto_class()
