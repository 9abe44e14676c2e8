"""Images to decode: generated JPEG files with the size and detail of photographs, so that nothing is downloaded."""

import io

import datasets
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 320, 240


def generated_images(count: int, seed: int = 0) -> datasets.Dataset:
    """Make a dataset of `count` different images: smooth colours with a little noise, 20 to 30 kB each."""
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
