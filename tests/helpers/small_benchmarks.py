"""SugarCrepe files and models small enough for a test: helpers and fixtures, not a test."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import save_tiny, tiny_processor

from modeling_conclip import ConCLIPModel

WORDS = ["cat", "dog", "man", "woman", "child", "car", "table", "bird"]


CATEGORIES = ["add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj"]


def write_images(folder: Path, names: list[str], size=(60, 48)) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size).save(folder / name, quality=90)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """SugarCrepe with 70 items over 9 images."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    names = [f"{number:012d}.jpg" for number in range(9)]
    write_images(folder / "coco" / "val2017", names)
    (folder / "sugarcrepe").mkdir()
    for category in CATEGORIES:
        rows = {}
        for key in range(10):
            one, other, third = rng.choice(WORDS, 3, replace=False)
            captions = {"caption": f"a {one} and a {other}", "negative_caption": f"a {third} and a {other}"}
            rows[str(key)] = {"filename": str(rng.choice(names)), **captions}
        rows["3"]["negative_caption"] = rows["3"]["caption"]
        (folder / "sugarcrepe" / f"{category}.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(["one", "two"]):
        save_tiny(folder / name, seed=seed)
    return {name: folder / name for name in ("one", "two")}


@torch.no_grad()
def plain_scores(model: ConCLIPModel, image: Image.Image, captions: list[str]) -> list[float]:
    """The usual way: one item at a time, through the model's own forward, padded to 77 tokens."""
    inputs = tiny_processor()(
        text=captions, images=image.convert("RGB"), padding="max_length", max_length=77, return_tensors="pt"
    )
    logits = model(**inputs).logits_per_image[0]
    return (logits / model.logit_scale.exp()).tolist()
