"""The text encoder of the scenes' base: CLIP's loss, where every image of which a caption is true is a right one."""

import torch
from accelerate.utils import send_to_device

from conclip.embedding.tokens import TextTokens
from conclip.training.fitting import fit
from dataset_scripts.scenes_truth import truth
from modeling_conclip import ConCLIPModel
from modeling_conclip.loss_conclip import l2_normalize
from modeling_conclip.packing_conclip import pack_texts

STEPS, BATCH_SIZE, POOL_SIZE, LEARNING_RATE, WEIGHT_DECAY = 600, 256, 1_024, 1e-3, 0.05


def train_text_encoder(
    model: ConCLIPModel,
    captions: list[str],
    tokens: TextTokens,
    image_embeds: torch.Tensor,
    objects: list[list[str]],
    seed: int,
) -> None:
    """
    Train the text encoder, its projection and the temperature.

    Args:
        captions, tokens: a caption of each scene and its tokens.
        image_embeds: float32, (scenes, d), unit rows.
        objects: the column "objects" of the scenes.
    """
    generator = torch.Generator().manual_seed(seed)

    def loss() -> torch.Tensor:
        # The captions are those of the first images.
        images = torch.randperm(len(captions), generator=generator)[:POOL_SIZE]
        own = images[:BATCH_SIZE].tolist()
        true = truth([captions[row] for row in own], [objects[row] for row in images.tolist()])
        texts = l2_normalize(model.embed_packed_texts(send_to_device(pack_texts(tokens[own]), model.device)))
        logits = model.logit_scale.exp() * texts @ image_embeds[images].T
        return true_images_loss(logits, torch.from_numpy(true).to(model.device))

    parameters = [*model.text_model.parameters(), *model.text_projection.parameters(), model.logit_scale]
    fit(parameters, loss, STEPS, LEARNING_RATE, WEIGHT_DECAY, "Text encoder")


def true_images_loss(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """
    Return the mean cross-entropy of captions to images, where all images of which a caption is true share its target.

    Args:
        logits: float32, (captions, images).
        true: bool, (captions, images), with one image or more for each caption.
    """
    target = true.float() / true.sum(dim=1, keepdim=True)
    return torch.nn.functional.cross_entropy(logits, target)
