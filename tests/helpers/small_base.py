"""The base of the scenes, trained for a few steps: a fixture, not a test."""

import pytest

import conclip.training.scenes_base as base_clip
import conclip.training.scenes_image_encoder as image_encoder
import conclip.training.scenes_text_encoder as text_encoder
from dataset_scripts import scenes


@pytest.fixture(scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        for module in (scenes, base_clip):
            patch.setattr(module, "code_fingerprint", lambda: "small")
        for module in (image_encoder, text_encoder):
            patch.setattr(module, "STEPS", 4)
            patch.setattr(module, "BATCH_SIZE", 16)
        patch.setattr(text_encoder, "POOL_SIZE", 32)
        yield
