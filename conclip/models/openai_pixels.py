"""
The preprocessing of OpenAI's CLIP code, to the last bit: `_transform` in `clip/clip.py` of github.com/openai/CLIP, and
`image_transform` of open_clip for evaluation.

It differs from transformers' image processor for CLIP in four ways. The offset of the centre crop is rounded to the
nearest integer (halves to the even one), not down. An image is resized and cropped in its own colour mode, and only
then converted to RGB. An image that has the right size is not resized. The division by 255 and the normalisation are
computed in float32.
"""

from dataclasses import dataclass

import numpy as np
import PIL.Image
import torch
from transformers import BaseImageProcessor

from conclip.embedding.image_modes import to_rgb
from conclip.errors import UsageError


@dataclass(frozen=True)
class OpenAIPixels:
    """
    Preprocess images as OpenAI's code does.

    Args:
        size: height and width of the result, in pixels.
        mean, std: of each channel, for values from 0 to 1.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: list[PIL.Image.Image]) -> torch.Tensor:
        """Return float32, (n, 3, size, size), for images of any colour mode."""
        return torch.stack([self._pixels(image) for image in images])

    def _pixels(self, image: PIL.Image.Image) -> torch.Tensor:
        # OpenAI's code resizes before it converts; images of more than 8 bits it clips.
        image = to_rgb(image) if image.mode[0] in "IF" else image
        values = np.array(resized_and_cropped(image, self.size).convert("RGB"))
        pixels = torch.from_numpy(values).permute(2, 0, 1).contiguous().float().div(255)
        mean, std = (torch.tensor(own, dtype=torch.float32)[:, None, None] for own in (self.mean, self.std))
        return pixels.sub_(mean).div_(std)


def resized_and_cropped(image: PIL.Image.Image, size: int) -> PIL.Image.Image:
    """Resize the shorter side to `size` and cut out the centre, as torchvision's `Resize` and `CenterCrop` do."""
    short, long = sorted(image.size)
    long = int(size * long / short)
    new = (size, long) if image.width <= image.height else (long, size)
    if image.size != new:
        image = image.resize(new, PIL.Image.Resampling.BICUBIC)
    # Python rounds halves to the even number, as torchvision does with the same function.
    left, top = (round((side - size) / 2) for side in new)
    return image.crop((left, top, left + size, top + size))


def openai_pixels(image_processor: BaseImageProcessor, subject: str) -> OpenAIPixels:
    """
    Return OpenAI's preprocessing with the size, mean and standard deviation of a model's image processor.

    Args:
        subject: the beginning of the message, e.g. "--preprocessing openai: me/model".

    Raises:
        UsageError: the image processor is not of CLIP, or does something else than OpenAI's code.
    """
    settings = image_processor.to_dict()
    steps = ("do_convert_rgb", "do_resize", "do_center_crop", "do_rescale", "do_normalize")
    crop = settings.get("crop_size")
    fits = (
        type(image_processor).__name__ in ("CLIPImageProcessor", "CLIPImageProcessorPil")
        and all(settings[step] for step in steps)
        and settings["resample"] == PIL.Image.Resampling.BICUBIC
        and settings["rescale_factor"] == 1 / 255
        and dict(settings["size"]) == {"shortest_edge": crop["height"]}
        and crop["height"] == crop["width"]
    )
    if not fits:
        raise UsageError(
            f"{subject} has an image processor with other steps than CLIP's (resize the shorter side, crop the centre "
            "to the same size, normalise); evaluate this model without --preprocessing openai."
        )
    return OpenAIPixels(crop["height"], tuple(settings["image_mean"]), tuple(settings["image_std"]))
