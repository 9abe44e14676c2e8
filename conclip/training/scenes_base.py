"""The small base CLIP of the embedded default: trained on scenes with the plain loss, kept for the next run."""

import os
import shutil
from functools import partial
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import Dataset
from datasets.fingerprint import Hasher
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from conclip.embedding.images import all_pixel_values
from conclip.models.clip import load_model, text_tokenizer, unwrap_lora
from conclip.training.arguments import Arguments, DataArguments, ModelArguments, TrainingArguments
from conclip.training.checkpoints import list_checkpoints
from conclip.training.collator import PairCollator
from conclip.training.loop import compiles, prepare_training, train
from conclip.training.pair_dataset import PairRows
from dataset_scripts.scenes import code_fingerprint, load_scenes
from dataset_scripts.scenes_drawing import IMAGE_SIZE

TOWER = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "projection_dim": 128}
VISION = {**TOWER, "num_hidden_layers": 2, "image_size": IMAGE_SIZE, "patch_size": 12}
TEXT = {**TOWER, "num_hidden_layers": 2, "max_position_embeddings": 77}
TRAINING = {
    "learning_rate": 1e-3,
    "weight_decay": 0.1,
    "adam_beta2": 0.98,
    "max_grad_norm": 1.0,
    "warmup_steps": 50,
    "seed": 0,
}
STEPS, BATCH_SIZE, CHECKPOINTING_STEPS = 1_100, 128, 100
TEXT_COLUMNS = ("caption", "negated_captions", "true_negations", "true_negation_foils")


def word_tokenizer(words: list[str]) -> CLIPTokenizer:
    """
    CLIP's byte-level BPE with a vocabulary in which each of `words` is one token; others are spelled out.

    The vocabulary holds every byte, alone and at the end of a word: an unknown token would become the end-of-text
    token, at which the text tower pools.
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


def write_untrained(folder: Path, scenes: Dataset) -> None:
    """A `CLIPModel` with random weights and its processor."""
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
        projection_dim=TOWER["projection_dim"],
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPProcessor(image_processor=image_processor, tokenizer=tokenizer).save_pretrained(folder)


def base_clip(accelerator: Accelerator, folder: Path, num_workers: int) -> Path:
    """
    The folder of the base CLIP; trains it first if it is not there, from its last checkpoint if it was interrupted.

    Args:
        folder: where base models are kept; each stands in a folder named by a fingerprint of recipe and data.
    """
    recipe = Hasher.hash([VISION, TEXT, TRAINING, STEPS, BATCH_SIZE, code_fingerprint()])
    finished = folder / f"scenes-base-{recipe}"
    if finished.is_dir():
        accelerator.print(f"Base CLIP: {finished}")
        return finished
    # Another number of processes could not go on from these checkpoints.
    unfinished = folder / f"unfinished-{finished.name}-{accelerator.num_processes}"
    untrained = unfinished / "untrained"
    # All of them, whatever part of them is tuned on: the base model is kept for other runs.
    scenes = load_scenes("train")
    accelerator.print(f"Training the base CLIP on captions alone, once; it will be kept in {finished}")
    if accelerator.is_main_process and not list_checkpoints(unfinished):
        shutil.rmtree(unfinished, ignore_errors=True)
        write_untrained(untrained, scenes)
    accelerator.wait_for_everyone()
    arguments = Arguments(
        ModelArguments(loss="clip", train_image_encoder=True),
        DataArguments(),
        TrainingArguments(
            output_dir=str(unfinished),
            per_device_train_batch_size=BATCH_SIZE // accelerator.num_processes,
            max_train_steps=STEPS,
            checkpointing_steps=CHECKPOINTING_STEPS,
            checkpoints_total_limit=1,
            resume_from_checkpoint="latest" if list_checkpoints(unfinished) else None,
            **TRAINING,
        ),
    )
    model, processor = load_model(str(untrained), freeze_image_encoder=False)
    training = arguments.training
    collator = PairCollator(processor.image_processor, training.mini_batch_size, compiles(training, accelerator))
    rows = PairRows(scenes, arguments, text_tokenizer(model, processor))
    # The image tower learns, but its input does not change.
    rows.use_tensors(
        "pixel_values", partial(all_pixel_values, image_processor=processor.image_processor, num_workers=num_workers)
    )
    state = prepare_training(model, rows, collator, arguments, accelerator)
    train(state)
    if accelerator.is_main_process:
        trained = unfinished / "trained"
        # As stock CLIP, which it is: nothing about it is ConCLIP's.
        plain = CLIPModel(CLIPConfig.from_pretrained(untrained))
        plain.load_state_dict(unwrap_lora(accelerator.unwrap_model(state.model)).state_dict())
        plain.save_pretrained(trained)
        processor.save_pretrained(trained)
        os.replace(trained, finished)
        shutil.rmtree(unfinished)
    accelerator.free_memory()
    accelerator.wait_for_everyone()
    return finished
