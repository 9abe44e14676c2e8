"""A dataset with the image embeddings of a model in place of its images: a helper of the tests, not a test."""

from pathlib import Path

import datasets
import numpy as np
from accelerate import Accelerator
from datasets import List, Value

from conclip.embedding.image_column import ImageColumn
from conclip.embedding.images import ImageEmbedder
from conclip.models.clip import load_model

VECTORS = List(Value("float32"))


def embed_dataset(inputs: dict[str, str], folder: Path) -> dict[str, str]:
    """
    Write the scenes of `inputs` with `image_embeds` and `distractor_image_embeds` and without images, and the images'
    embeddings as train.npy and test.npy.

    Returns:
        The arguments that name the model and the new dataset.
    """
    model, processor = load_model(inputs["model_name_or_path"])
    embedder = ImageEmbedder(processor.image_processor, Accelerator(cpu=True), 32, 0, folder / "cache")
    (folder / "data").mkdir(parents=True)
    for split, rows in datasets.load_dataset(inputs["dataset_name"]).items():
        first = np.zeros(len(rows), np.int64)
        images = embedder(model.eval(), ImageColumn(rows, "image", split), "images")[:]
        distractors = ImageColumn(rows, "distractor_images", split, np.arange(len(rows)), first)
        distractors = embedder(model, distractors, "distractors")[:]
        rows = rows.remove_columns(["image", "distractor_images"])
        rows = rows.add_column("image_embeds", images.tolist(), feature=VECTORS)
        lists = [[one] for one in distractors.tolist()]
        rows = rows.add_column("distractor_image_embeds", lists, feature=List(VECTORS))
        rows.to_parquet(folder / "data" / f"{split}.parquet")
        np.save(folder / f"{split}.npy", images.numpy())
    return {**inputs, "dataset_name": str(folder / "data")}
