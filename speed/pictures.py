"""Pictures to decode: JPEG files of photographic size and detail, so that no data need be downloaded."""

import io

import datasets
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 320, 240


def drawn_pictures(count: int, seed: int = 0) -> datasets.Dataset:
    """A column "image" of `count` different pictures: smooth colours with a little noise, 20 to 30 kB each."""
    rng = np.random.default_rng(seed)
    encoded = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(noisy).save(file, "JPEG", quality=90)
        encoded.append({"bytes": file.getvalue(), "path": None})
    return datasets.Dataset.from_dict({"image": encoded}).cast_column("image", datasets.Image())
