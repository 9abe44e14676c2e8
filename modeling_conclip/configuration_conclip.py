"""Configuration of ConCLIP: CLIP's own, plus which loss terms count and what is frozen."""

import math

from huggingface_hub.dataclasses import strict
from transformers import CLIPConfig

# Written into config.json; save_pretrained copies the code beside it. So `trust_remote_code=True` gives ConCLIP on a
# machine without this package.
AUTO_MAP = {
    "AutoConfig": "configuration_conclip.ConCLIPConfig",
    "AutoModel": "modeling_conclip.ConCLIPModel",
    "AutoModelForZeroShotImageClassification": "modeling_conclip.ConCLIPModel",
}


@strict
class ConCLIPConfig(CLIPConfig):
    """
    CLIP's configuration with the weights of the loss terms of CoN-CLIP (arXiv 2403.20312).

    `model_type` stays `"clip"` and a saved folder names `CLIPModel` as its architecture: it loads everywhere a CLIP
    loads, and as ConCLIP through `ConCLIPModel.from_pretrained` or `trust_remote_code=True`.

    Args:
        l1_weight (`float`, defaults to 1.0):
            Weight of L1, image -> captions with the negated captions as extra negatives. Finite, >= 0.
        l2_weight (`float`, defaults to 1.0):
            Weight of L2, caption -> images with the distractor images as extra negatives. Finite, >= 0.
        l3_weight (`float`, defaults to 1.0):
            Weight of L3, distractor image -> its negated caption. Finite, >= 0. The loss is the weighted mean of the
            terms, so three equal weights give the paper's L_conclip.
        freeze_image_encoder (`bool`, defaults to `True`):
            Whether the image tower and its projection are frozen and kept in eval mode, as in the paper.

    Raises:
        huggingface_hub.errors.StrictDataclassError: a weight is negative, not finite or not a number, or all are 0.
    """

    model_type = "clip"

    l1_weight: float | int = 1.0
    l2_weight: float | int = 1.0
    l3_weight: float | int = 1.0
    freeze_image_encoder: bool = True

    def validate_loss_weights(self):
        weights = {name: getattr(self, name) for name in ("l1_weight", "l2_weight", "l3_weight")}
        for name, weight in weights.items():
            if not math.isfinite(weight) or weight < 0:
                raise ValueError(f"{name} must be a finite number of 0 or more, got {weight!r}.")
        if not any(weights.values()):
            raise ValueError("l1_weight, l2_weight and l3_weight are all 0: at least one loss term must count.")

    def save_pretrained(self, save_directory, push_to_hub=False, **kwargs):
        """Writes config.json for the users of CLIP and of ConCLIP, and beside it the file this class is defined in."""
        self.architectures = ["CLIPModel"]
        self.auto_map = dict(AUTO_MAP)
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)


# Has save_pretrained copy the source file, also when that was itself loaded as remote code.
ConCLIPConfig.register_for_auto_class()
