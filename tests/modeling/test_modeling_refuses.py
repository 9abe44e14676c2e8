"""What ConCLIP's config and forward refuse, each with one sentence."""

import importlib.metadata
import re
import runpy

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from tiny import tiny_batch, tiny_config, tiny_model

from modeling_conclip import ConCLIPConfig, ConCLIPModel, configuration_conclip
from modeling_conclip.packing_conclip import pack_texts

NEITHER = "Pass input_ids or packed_texts, and pixel_values, image_embeds or, for texts alone, text_targets."
REFUSED = {
    "no images": ({"pixel_values": None}, NEITHER),
    "no captions": ({"input_ids": None, "attention_mask": None}, NEITHER),
    "two kinds of image": (
        {"image_embeds": torch.ones(4, 16)},
        "Pass pixel_values or image_embeds, not both.",
    ),
    "two kinds of distractor": (
        {"distractor_image_embeds": torch.ones(4, 16)},
        "Pass distractor_pixel_values or distractor_image_embeds, not both.",
    ),
    "embeddings that are not projected": (
        {"pixel_values": None, "image_embeds": torch.ones(4, 32)},
        "image_embeds has 32 columns, but this model projects to 16: pass projected embeddings.",
    ),
    "embeddings that are too narrow": (
        {"pixel_values": None, "image_embeds": torch.ones(4, 8)},
        "image_embeds has 8 columns, but this model projects to 16: pass projected embeddings.",
    ),
    "distractors without negations": (
        {"negated_input_ids": None, "negated_attention_mask": None},
        "Distractor images need negated captions: pass negated_input_ids, or no distractor images.",
    ),
    "fewer images": (
        {"pixel_values": None, "image_embeds": torch.ones(2, 16)},
        "The loss pairs captions and images: got 4 and 2.",
    ),
    "more images": (
        {"pixel_values": None, "image_embeds": torch.ones(6, 16)},
        "The loss pairs captions and images: got 4 and 6.",
    ),
    "fewer negations": (
        {"negated_input_ids": tiny_batch()["negated_input_ids"][:2], "negated_attention_mask": None},
        "The loss pairs captions and negated captions: got 4 and 2.",
    ),
    "fewer distractors": (
        {"distractor_pixel_values": None, "distractor_image_embeds": torch.ones(2, 16)},
        "The loss pairs captions and distractor images: got 4 and 2.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_forward_refuses(case):
    change, message = REFUSED[case]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        tiny_model()(**{**tiny_batch(), **change}, return_loss=True)


@pytest.mark.parametrize("name", sorted(set(tiny_batch()) - {"pixel_values", "distractor_pixel_values"}))
def test_packed_texts_stand_alone(name):
    batch, packed = tiny_batch(), pack_texts(np.array([[0, 1], [0, 2], [0, 3], [0, 4]]))
    message = "Pass packed_texts alone, without input_ids, negated_input_ids, masks or positions."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        tiny_model()(packed_texts=packed, pixel_values=batch["pixel_values"], **{name: batch[name]})


@pytest.mark.parametrize("images", [1, 3, 5])
def test_packed_texts_that_do_not_go_with_the_images(images):
    packed = pack_texts(np.array([[0, 1], [0, 2], [0, 3], [0, 4]]))
    with pytest.raises(ValueError, match=f"^packed_texts hold 4 texts for {images} images: "):
        tiny_model()(packed_texts=packed, image_embeds=torch.ones(images, 16))


def test_images_of_another_size_without_interpolation():
    """As CLIP does."""
    with pytest.raises(ValueError, match=r"Input image size \(48\*48\) doesn't match model \(32\*32\)"):
        tiny_model()(**tiny_batch(image_size=48))


@pytest.mark.parametrize("convert", [str, lambda path: path])
def test_a_file_is_no_model(tmp_path, convert):
    path = tmp_path / "weights.pt"
    path.touch()
    message = f"^{path} is a file: convert it to a folder first, with conclip convert --model_name_or_path {path} "
    for arguments, named in (
        ((convert(path),), {}),
        ((convert(path), "argument of the model"), {}),
        ((), {"pretrained_model_name_or_path": convert(path)}),
    ):
        with pytest.raises(OSError, match=message):
            ConCLIPModel.from_pretrained(*arguments, **named)


def test_a_loss_without_a_term_that_counts():
    batch = tiny_batch()
    third_only = tiny_model(image_to_text_weight=0, text_to_image_weight=0)
    with pytest.raises(ValueError, match="needs distractor images"):
        third_only(**{name: batch[name] for name in batch if "distractor" not in name}, return_loss=True)


@pytest.mark.parametrize(
    "change",
    [
        {"image_to_text_weight": -1},
        {"text_to_image_weight": float("nan")},
        {"distractor_weight": float("inf")},
        {"image_to_text_weight": "1"},
        {"image_to_text_weight": None},
        {"image_to_text_weight": 0, "text_to_image_weight": 0, "distractor_weight": 0},
        {"freeze_image_encoder": "on"},
        {"freeze_image_encoder": 1},
    ],
    ids=str,
)
def test_config_is_checked_when_it_is_made(change):
    with pytest.raises(StrictDataclassError):
        ConCLIPConfig(**change)
    with pytest.raises(StrictDataclassError):
        ConCLIPConfig.from_dict({**tiny_config().to_dict(), **change})


def test_config_survives_its_dict():
    config = tiny_config(
        image_to_text_weight=2, text_to_image_weight=0, distractor_weight=0.5, freeze_image_encoder=False
    )
    again = ConCLIPConfig.from_dict(config.to_dict())
    assert again.to_dict() == config.to_dict()
    assert (
        again.image_to_text_weight,
        again.text_to_image_weight,
        again.distractor_weight,
        again.freeze_image_encoder,
    ) == (2, 0, 0.5, False)
    assert config.model_type == "clip"


def test_older_versions_of_transformers_are_named(monkeypatch):
    """The code also comes as remote code, without what setup.py asks for."""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "4.46.3")
    with pytest.raises(ImportError, match=r"transformers>=5\.6 is required.*\n.*without trust_remote_code"):
        runpy.run_path(configuration_conclip.__file__)


def test_the_weights_of_the_loss_by_default():
    config, paper = ConCLIPConfig(), ("image_to_text_weight", "text_to_image_weight", "distractor_weight")
    assert [getattr(config, name) for name in paper] == [1, 1, 1]
    ours = ("distillation_weight", "cosine_weight", "profile_weight", "truth_weight")
    assert [getattr(config, name) for name in ours] == [1, 4, 0.3, 1]
