"""The small base CLIP of the default run: trained once on the captions of scenes with CLIP's loss, then kept."""

import inspect
import os
import shutil
from functools import partial
from pathlib import Path

from accelerate.state import PartialState
from accelerate.utils import set_seed
from datasets import Dataset
from datasets.fingerprint import Hasher
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from conclip.embedding.images import all_pixel_values
from conclip.models.clip import load_model, text_tokenizer
from conclip.training import batches
from conclip.training.arguments import ConCLIPTrainingArguments
from conclip.training.checkpoints import find_checkpoint, list_checkpoints
from conclip.training.collator import PairCollator
from conclip.training.loop import compiles, prepare_training, run_training
from conclip.training.pair_dataset import PairRows
from conclip.training.trainer import make_accelerator
from dataset_scripts.scenes import code_fingerprint, load_scenes
from dataset_scripts.scenes_drawing import IMAGE_SIZE

ENCODER = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "projection_dim": 128}
VISION = {**ENCODER, "num_hidden_layers": 2, "image_size": IMAGE_SIZE, "patch_size": 12}
TEXT = {**ENCODER, "num_hidden_layers": 2, "max_position_embeddings": 77}
TRAINING = {
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "weight_decay": 0.1,
    "adam_beta2": 0.98,
    "max_grad_norm": 1.0,
    "warmup_steps": 50,
    "seed": 0,
}
STEPS, BATCH_SIZE, SAVE_STEPS = 1_100, 128, 100
TEXT_COLUMNS = ("caption", "negated_captions", "true_negations", "true_negation_foils")


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

A small CLIP, trained on the captions of generated scenes, without negated captions.
"""


def write_untrained(folder: Path, scenes: Dataset) -> None:
    """Save a `CLIPModel` with random weights and its processor."""
    texts = scenes.select_columns(list(TEXT_COLUMNS)).to_dict()
    captions = texts.pop("caption") + [text for rows in texts.values() for row in rows for text in row]
    tokenizer = word_tokenizer(sorted({word for caption in captions for word in caption.split()}))
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=size)
    tokens = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    set_seed(TRAINING["seed"])
    config = CLIPConfig(
        text_config={**TEXT, **tokens, "vocab_size": len(tokenizer)},
        vision_config=VISION,
        projection_dim=ENCODER["projection_dim"],
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPProcessor(image_processor=image_processor, tokenizer=tokenizer).save_pretrained(folder)


def base_clip(folder: Path, num_workers: int) -> Path:
    """
    Return the folder of the base CLIP; train it first, or continue its training, if it is not there.

    Args:
        folder: where base models are kept, each in a folder named by a fingerprint of recipe and data.
        num_workers: processes that preprocess images.
    """
    processes = PartialState()
    recipe = Hasher.hash([VISION, TEXT, TRAINING, STEPS, BATCH_SIZE, inspect.getsource(batches), code_fingerprint()])
    finished = folder / f"scenes-base-{recipe}"
    if finished.is_dir():
        processes.print(f"Base CLIP: {finished}")
        return finished
    # A checkpoint can only be resumed by as many processes as saved it.
    unfinished = folder / f"unfinished-{finished.name}-{processes.num_processes}"
    args = ConCLIPTrainingArguments(
        output_dir=str(unfinished),
        loss="clip",
        per_device_train_batch_size=BATCH_SIZE // processes.num_processes,
        max_steps=STEPS,
        save_steps=SAVE_STEPS,
        save_total_limit=1,
        report_to=[],
        **TRAINING,
    )
    # Its own: the model and optimizer that it saves in checkpoints must not get into those of the fine-tuning.
    accelerator = make_accelerator(args)
    accelerator.wait_for_everyone()
    # All scenes, even if only some are used for fine-tuning: the base model is kept for other runs.
    scenes = load_scenes("train")
    accelerator.print(f"Training the base CLIP on captions, once; it will be kept in {finished}")
    untrained = unfinished / "untrained"
    if accelerator.is_main_process and not list_checkpoints(unfinished):
        shutil.rmtree(unfinished, ignore_errors=True)
        write_untrained(untrained, scenes)
    accelerator.wait_for_everyone()
    checkpoint = find_checkpoint(unfinished, "latest") if list_checkpoints(unfinished) else None
    model, processor = load_model(str(untrained), freeze_image_encoder=False)
    collator = PairCollator(processor.image_processor, args.mini_batch_size, compiles(args, accelerator))
    rows = PairRows(scenes, text_tokenizer(model, processor), loss=args.loss, seed=args.seed)
    # The image encoder is trained, but its input stays the same.
    rows.use_tensors(
        "pixel_values", partial(all_pixel_values, image_processor=processor.image_processor, num_workers=num_workers)
    )
    rows.use_keys(lambda images: images.stored.keys())
    state = prepare_training(model, rows, collator, args, accelerator, checkpoint)
    run_training(state)
    if accelerator.is_main_process:
        trained = unfinished / "trained"
        # Saved as a stock CLIP model: its config needs nothing of ConCLIP.
        plain = CLIPModel(CLIPConfig.from_pretrained(untrained))
        plain.load_state_dict(accelerator.unwrap_model(state.model).state_dict())
        plain.save_pretrained(trained)
        processor.save_pretrained(trained)
        (trained / "README.md").write_text(CARD, "utf-8")
        os.replace(trained, finished)
        shutil.rmtree(unfinished)
    accelerator.free_memory()
    accelerator.wait_for_everyone()
    return finished
