"""The pixels of OpenAI's code: literals that openai-clip 1.0.1 with torchvision 0.28 gave for the same images."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from tiny import IMAGE_SIZE, tiny_model, tiny_processor
from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

from conclip.embedding.fingerprint import encoder_fingerprint
from conclip.embedding.images import ImageEmbedder
from conclip.errors import UsageError
from conclip.models.cached_encoder import cached_clip
from conclip.models.clip import text_tokenizer
from conclip.models.openai_pixels import openai_pixels

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# Colour mode, width, height -> the second row of the red, green and blue channel, from 0 to 255.
EXPECTED = {
    # The offsets before rounding are 1.5, 0.5, 2.0 and 0.5 pixels; halves go to the even number.
    ("RGB", 7, 4): [[65, 82, 99, 116], [113, 166, 219, 16], [10, 15, 20, 25]],
    ("RGB", 9, 13): [[117, 160, 190, 162], [59, 182, 102, 147], [11, 47, 86, 127]],
    ("P", 10, 5): [[72, 108, 144, 180], [215, 195, 175, 155], [16, 36, 64, 100]],
    ("L", 5, 8): [[43, 89, 137, 184], [43, 89, 137, 184], [43, 89, 137, 184]],
    # Resized before transparency is dropped.
    ("RGBA", 11, 6): [[110, 136, 163, 200], [199, 73, 91, 190], [30, 42, 57, 70]],
    ("RGB", 4, 4): [[31, 48, 65, 82], [7, 60, 113, 166], [0, 5, 10, 15]],
    ("RGB", 3, 2): [[9, 18, 28, 37], [10, 39, 69, 98], [0, 1, 1, 2]],
}


def picture(mode: str, width: int, height: int) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    channels = [rows * 31 + columns * 17, rows * 7 + columns * 53, rows * columns * 5, 255 - rows * 9 - columns * 23]
    values = np.stack(channels, axis=-1).astype(np.uint8)
    if mode == "RGBA":
        return Image.fromarray(values)
    if mode == "P":
        image = Image.fromarray(values[..., 0] % 8).convert("P")
        image.putpalette([value for at in range(8) for value in (at * 36, 255 - at * 20, at * at * 4)])
        return image
    return Image.fromarray(values).convert("RGB").convert(mode)


def processor(size=4, **changes) -> CLIPImageProcessorPil:
    settings = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}, **changes}
    return CLIPImageProcessorPil(**settings)


def test_images_of_16_bits_are_those_of_their_high_bytes():
    values = np.random.default_rng(0).integers(0, 256, (6, 9), np.uint8)
    wide = Image.fromarray(values.astype(np.uint16) * 256 + 200)
    assert wide.mode == "I;16"
    transform = openai_pixels(processor(), "")
    assert torch.equal(transform([wide]), transform([Image.fromarray(values)]))


@pytest.mark.parametrize(("mode", "width", "height"), EXPECTED)
def test_pixels_are_those_of_openais_code_to_the_last_bit(mode, width, height):
    pixels = openai_pixels(processor(), "")([picture(mode, width, height)])
    assert pixels.shape == (1, 3, 4, 4) and pixels.dtype == torch.float32
    values = torch.tensor(EXPECTED[mode, width, height], dtype=torch.float32)
    # As torchvision's ToTensor and Normalize compute, in float32.
    expected = (values / 255 - torch.tensor(MEAN)[:, None]) / torch.tensor(STD)[:, None]
    assert torch.equal(pixels[0, :, 1], expected)


def test_the_default_cuts_beside_it():
    """If this fails, transformers rounds as OpenAI's code does, and the note below the table is no longer true."""
    image = picture("RGB", 7, 4)
    default, one, two = (
        processor()([own], return_tensors="pt")["pixel_values"]
        for own in (image, image.crop((1, 0, 5, 4)), image.crop((2, 0, 6, 4)))
    )
    assert torch.equal(default, one) and torch.allclose(openai_pixels(processor(), "")([image]), two, atol=1e-5)
    assert not torch.allclose(one, two, atol=1e-3)


def test_size_and_normalisation_are_the_models(tmp_path):
    processor(size=6, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.25, 0.5]).save_pretrained(tmp_path)
    pixels = openai_pixels(CLIPImageProcessorPil.from_pretrained(tmp_path), "")([picture("L", 6, 9)])
    red, green, blue = pixels[0]
    assert pixels.shape == (1, 3, 6, 6) and torch.equal(red, blue) and torch.allclose(green, 2 * red)


def test_embeddings_are_cached_apart_from_those_of_other_pixels():
    model, embedder = tiny_model(), ImageEmbedder(tiny_processor().image_processor, Accelerator(), 4, 0, None)
    preprocessings = [None, *(openai_pixels(processor(size), "") for size in (IMAGE_SIZE, 2 * IMAGE_SIZE))]
    preprocessings.append(openai_pixels(processor(IMAGE_SIZE, image_mean=[0.5] * 3), ""))
    tokenizer = text_tokenizer(model, tiny_processor())
    encoders = [cached_clip(model, tokenizer, embedder, 4, own) for own in preprocessings]
    assert len({encoder_fingerprint(encoder.image_description) for encoder in encoders}) == 4


@pytest.mark.parametrize(
    "other",
    [
        SiglipImageProcessorPil(),
        processor(do_center_crop=False),
        processor(do_normalize=False),
        processor(resample=Image.Resampling.BILINEAR),
        processor(rescale_factor=1 / 127.5),
        processor(size=4, crop_size={"height": 4, "width": 5}),
        processor(size=5, crop_size={"height": 4, "width": 4}),
    ],
)
def test_an_image_processor_with_other_steps_is_refused(other):
    with pytest.raises(UsageError, match=r"^me/model has an image processor with other steps than CLIP's"):
        openai_pixels(other, "me/model")
