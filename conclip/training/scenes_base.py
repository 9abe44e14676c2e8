"""The small base CLIP of the default run: trained once on scenes and their captions, then kept."""

import inspect
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate.state import PartialState
from accelerate.utils import set_seed
from datasets import Dataset
from datasets.fingerprint import Hasher
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from conclip.atomic_write import UNFINISHED, remove, written_beside
from conclip.folder_lock import share, waiting_for
from conclip.models.clip import load_model, text_tokenizer
from conclip.training import fitting, scenes_image_encoder, scenes_text_encoder
from conclip.training.scenes_image_encoder import CELL, CELLS, cell_labels, train_image_encoder
from conclip.training.scenes_text_encoder import train_text_encoder
from dataset_scripts.scenes import code_fingerprint, load_scenes
from dataset_scripts.scenes_drawing import IMAGE_SIZE
from modeling_conclip import ConCLIPModel
from modeling_conclip.loss_conclip import l2_normalize

ENCODER = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": CELLS, "projection_dim": 128}
# The patches are the cells of the scenes, and each attention head of the last layer reads one of them.
VISION = {**ENCODER, "num_hidden_layers": 2, "image_size": IMAGE_SIZE, "patch_size": CELL}
TEXT = {**ENCODER, "num_hidden_layers": 2, "max_position_embeddings": 77}
SEED = 0
IMAGES_AT_A_TIME = 500
TEXT_COLUMNS = ("caption", "negated_captions", "true_negations", "true_negation_foils")


# That this process reads a base: the comparison loads it again at the end.
_marks = []


def word_tokenizer(words: list[str]) -> CLIPTokenizer:
    """
    Make a tokenizer of CLIP's kind (byte-level BPE) in which each of `words` is one token and others are spelled out.

    The vocabulary holds every byte, alone and at the end of a word, because an unknown token would become the
    end-of-text token, at which the text encoder pools.
    """
    ranks = {}
    for *pieces, last in words:
        pieces.append(last + "</w>")
        while len(pieces) > 1:
            pairs = list(zip(pieces, pieces[1:], strict=False))
            at = min(range(len(pairs)), key=lambda index: ranks.get(pairs[index], len(ranks)))
            ranks.setdefault(pairs[at], len(ranks))
            pieces[at : at + 2] = ["".join(pairs[at])]
    alphabet = sorted(ByteLevel.alphabet())
    tokens = [*alphabet, *(byte + "</w>" for byte in alphabet), *map("".join, ranks)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=list(ranks), model_max_length=TEXT["max_position_embeddings"])


CARD = """---
library_name: transformers
license: mit
---

# Base CLIP of the scenes

A small CLIP, trained on generated scenes, what their cells show, and their captions, without negated captions.
"""


def write_untrained(folder: Path, scenes: Dataset) -> None:
    """Save a `CLIPModel` with random weights and its processor."""
    texts = scenes.select_columns(list(TEXT_COLUMNS)).to_dict()
    captions = texts.pop("caption") + [text for rows in texts.values() for row in rows for text in row]
    tokenizer = word_tokenizer(sorted({word for caption in captions for word in caption.split()}))
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=size)
    tokens = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    set_seed(SEED)
    config = CLIPConfig(
        text_config={**TEXT, **tokens, "vocab_size": len(tokenizer)},
        vision_config=VISION,
        projection_dim=ENCODER["projection_dim"],
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPProcessor(image_processor=image_processor, tokenizer=tokenizer).save_pretrained(folder)


def train(folder: Path, scenes: Dataset) -> tuple[CLIPModel, CLIPProcessor]:
    """
    Train the model in a folder: first its image encoder, which is kept there when it is done, then its text encoder.

    Args:
        folder: what `write_untrained` wrote; if "image-encoder" is in it, training continues from there.

    Returns:
        The model, as a stock `CLIPModel`, and its processor.
    """
    trained = folder / "image-encoder"
    model, processor = load_model(str(trained if trained.is_dir() else folder), freeze_image_encoder=False)
    model.to(PartialState().device)
    set_seed(SEED)
    images = torch.from_numpy(np.stack([np.asarray(image) for image in scenes["image"]]))
    captions, objects = scenes["caption"][:], scenes["objects"][:]
    normalize = partial(pixel_values, processor.image_processor, model.device)
    if not trained.is_dir():
        train_image_encoder(model, images, torch.from_numpy(cell_labels(objects)), normalize, SEED)
        with written_beside(trained) as unfinished:
            plain_clip(model).save_pretrained(unfinished)
            processor.save_pretrained(unfinished)
    embeds = torch.cat([model.embed_images(normalize(some.float())) for some in images.split(IMAGES_AT_A_TIME)])
    tokens = text_tokenizer(model, processor)(captions)
    train_text_encoder(model, captions, tokens, l2_normalize(embeds), objects, SEED)
    return plain_clip(model), processor


def pixel_values(
    image_processor: CLIPImageProcessorPil, device: torch.device | str, pixels: torch.Tensor
) -> torch.Tensor:
    """
    Return what the image processor makes of images that have its size, without copies as PIL images.

    Args:
        pixels: float32, (images, height, width, 3), 0 to 255.

    Returns:
        float32, (images, 3, height, width).
    """
    mean, std = torch.tensor(image_processor.image_mean), torch.tensor(image_processor.image_std)
    return ((pixels / 255 - mean) / std).permute(0, 3, 1, 2).to(device)


def plain_clip(model: ConCLIPModel) -> CLIPModel:
    """Return a copy as a stock CLIP model: its config needs nothing of ConCLIP."""
    config = {name: getattr(model.config, name).to_dict() for name in ("text_config", "vision_config")}
    plain = CLIPModel(CLIPConfig(**config, projection_dim=model.config.projection_dim))
    plain.load_state_dict(model.state_dict())
    return plain


def base_clip(folder: Path) -> Path:
    """
    Return the folder of the base CLIP; train it first, or continue its training, if it is not there.

    One process trains, and others wait for it.

    Args:
        folder: where base models are kept, each in a folder named by a fingerprint of recipe and data.
    """
    processes = PartialState()
    code = [inspect.getsource(module) for module in (fitting, scenes_image_encoder, scenes_text_encoder)]
    recipe = Hasher.hash([VISION, TEXT, SEED, *code, code_fingerprint()])
    finished = folder / f"scenes-base-{recipe}"
    if finished.is_dir():
        processes.print(f"Base CLIP: {finished}")
        _marks.append(share(finished))
        return finished
    processes.wait_for_everyone()
    if processes.is_main_process:
        with waiting_for(finished, "is training the base CLIP"):
            if not finished.is_dir():
                train_base(finished)
    processes.wait_for_everyone()
    _marks.append(share(finished))
    return finished


def train_base(finished: Path) -> None:
    """Train the base CLIP, or continue its training, and write its folder."""
    print(f"Training the base CLIP, once; it will be kept in {finished}")
    # All scenes, even if only some are used for fine-tuning: the base model is kept for other runs.
    scenes = load_scenes("train")
    begun = finished.with_name(f"{UNFINISHED}{finished.name}")
    if not (begun / "image-encoder").is_dir():
        remove(begun)
        with written_beside(begun) as untrained:
            write_untrained(untrained, scenes)
    model, processor = train(begun, scenes)
    with written_beside(finished) as trained:
        model.save_pretrained(trained)
        processor.save_pretrained(trained)
        (trained / "README.md").write_text(CARD, "utf-8")
    remove(begun)
