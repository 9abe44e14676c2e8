"""Command-line arguments of train_accelerate.py, under the names Hugging Face's own scripts use."""

from argparse import ArgumentParser
from dataclasses import dataclass, field, fields

import torch
from accelerate.tracking import get_available_trackers
from transformers import HfArgumentParser

from modeling_conclip import ConCLIPConfig

# Where the embedded default departs from the paper's recipe: a model of 1 M parameters on 20,000 drawn scenes.
SCENES_RECIPE = {
    "output_dir": "outputs/conclip-scenes",
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 200,
    "num_train_epochs": 3,
    "warmup_steps": 20,
    "max_grad_norm": 1.0,
    "dataloader_num_workers": 2,
}
LORA_TARGET_MODULES = r"text_model\.encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"


def _option(default, help, **metadata):
    return field(default=default, metadata={"help": help, **metadata})


@dataclass
class ModelArguments:
    model_name_or_path: str | None = _option(
        None, "CLIP or ConCLIP folder or Hub id. Without it: the small CLIP trained on drawn scenes."
    )
    revision: str | None = _option(None, "Branch, tag or commit of the model on the Hub.")
    loss: str = _option(
        "conclip",
        "conclip: L1, L2 and L3 with distractor images; negclip: two terms, no distractors; clip: captions alone.",
        choices=["conclip", "negclip", "clip"],
    )
    l1_weight: float = _option(1.0, "Weight of L1, image -> captions and negated captions.")
    l2_weight: float = _option(1.0, "Weight of L2, caption -> images and distractors.")
    l3_weight: float = _option(1.0, "Weight of L3, distractor -> its negated caption. Ablations: set weights to 0.")
    train_image_encoder: bool = _option(False, "Also train the image tower and its projection (frozen in the paper).")
    use_lora: bool = _option(False, "Train low-rank adapters (peft) instead of the weights; logit_scale is frozen.")
    lora_rank: int = _option(16, "Rank of the adapters.")
    lora_alpha: float = _option(32, "Scaling of the adapters: alpha / rank.")
    lora_dropout: float = _option(0.0, "Dropout before the adapters.")
    lora_target_modules: str = _option(
        LORA_TARGET_MODULES, "Regular expression over module names. The default: all linear layers of the text tower."
    )


@dataclass
class DataArguments:
    dataset_name: str | None = _option(
        None, "Hub id or local folder for `load_dataset`, e.g. `ccneg`. Without it: the drawn scenes."
    )
    dataset_config_name: str | None = _option(None, "Configuration of the dataset.")
    train_split_name: str = _option("train", "Split to train on.")
    eval_split_name: str = _option("test", "Split to evaluate on.")
    image_column: str = _option("image", "Column with the images.")
    caption_column: str = _option("caption", "Column with the true captions.")
    negated_caption_column: str = _option(
        "negated_captions", "Column with the negated captions: a text, or a list of which each epoch takes one."
    )
    distractor_image_column: str = _option(
        "distractor_images", "Column with the distractors: an image, or a list in the order of the negated captions."
    )
    max_train_samples: int | None = _option(None, "Use only the first rows of the training split.")
    max_eval_samples: int | None = _option(None, "Use only the first rows of the evaluation split.")
    dataloader_num_workers: int = _option(0, "Processes that decode and preprocess images, per training process.")


@dataclass
class TrainingArguments:
    output_dir: str = _option("outputs/conclip", "Where the model, results.json, the picture and checkpoints go.")
    per_device_train_batch_size: int = _option(200, "Rows per process and step; the loss sees those of all processes.")
    per_device_eval_batch_size: int = _option(256, "Images or texts embedded at a time in evaluation.")
    gradient_accumulation_steps: int = _option(
        1, "Steps summed before an update. It adds no negatives: each loss still sees one batch. Use a larger batch."
    )
    num_train_epochs: int = _option(5, "Passes over the training split.")
    max_train_steps: int | None = _option(None, "Updates in all; replaces --num_train_epochs.")
    learning_rate: float = _option(1e-6, "Peak learning rate of AdamW.")
    weight_decay: float = _option(0.2, "Weight decay on all trainable parameters, as in the paper.")
    adam_beta1: float = _option(0.9, "AdamW's beta1.")
    adam_beta2: float = _option(0.999, "AdamW's beta2.")
    adam_epsilon: float = _option(1e-8, "AdamW's epsilon.")
    max_grad_norm: float = _option(0.0, "Clip the gradient to this norm; 0 for no clipping (the paper's recipe).")
    lr_scheduler_type: str = _option("cosine", "Schedule of `transformers.get_scheduler`.")
    warmup_steps: int = _option(50, "Updates over which the learning rate rises from 0.")
    seed: int = _option(42, "Seed of initialisation, shuffling and dropout.")
    mixed_precision: str | None = _option(
        None, "no, fp16 or bf16; default: what `accelerate launch` says.", choices=["no", "fp16", "bf16"]
    )
    logging_steps: int = _option(10, "Report the loss every so many updates.")
    eval_steps: int | None = _option(None, "Evaluate every so many updates; default: after every epoch.")
    checkpointing_steps: int | None = _option(500, "Save a resumable checkpoint every so many updates; 0 for none.")
    checkpoints_total_limit: int = _option(2, "Keep so many checkpoints, the newest.")
    resume_from_checkpoint: str | None = _option(None, "`latest`, or the folder of a checkpoint.")
    report_to: list[str] = field(
        default_factory=lambda: ["jsonl", "tensorboard"],
        metadata={"help": "Trackers: jsonl, tensorboard, or any other that accelerate knows; none for none."},
    )
    push_to_hub: bool = _option(False, "Upload the finished folder to the Hub.")
    hub_model_id: str | None = _option(None, "Repository to push to, e.g. `me/conclip-vit-base-patch32`.")


@dataclass
class Arguments:
    model: ModelArguments
    data: DataArguments
    training: TrainingArguments


class UsageError(ValueError):
    """Bad input: the message is one sentence for the user, shown without a traceback."""


def parse_arguments(argv: list[str] | None = None) -> Arguments:
    """Parses and checks the command line; on bad values prints one sentence and exits with status 2."""
    parser = HfArgumentParser((ModelArguments, DataArguments, TrainingArguments), allow_abbrev=False)
    source = ArgumentParser(add_help=False, allow_abbrev=False)
    source.add_argument("--model_name_or_path")
    source.add_argument("--dataset_name")
    named = source.parse_known_args(argv)[0]
    if named.model_name_or_path is None:
        parser.set_defaults(**SCENES_RECIPE)
    arguments = Arguments(*parser.parse_args_into_dataclasses(argv))
    if named.model_name_or_path is None and named.dataset_name is not None:
        parser.error("--dataset_name needs --model_name_or_path: which CLIP is to be tuned on it?")
    try:
        check_arguments(arguments)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def check_arguments(arguments: Arguments) -> None:
    """
    Raises:
        ValueError: a value out of range, options that exclude each other, or a tracker that is not installed.
    """
    model, training = arguments.model, arguments.training
    at_least = {
        "per_device_train_batch_size": 1,
        "per_device_eval_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 1,
        "max_train_steps": 1,
        "logging_steps": 1,
        "eval_steps": 1,
        "checkpoints_total_limit": 1,
        "max_train_samples": 1,
        "max_eval_samples": 1,
        "lora_rank": 1,
        "learning_rate": 0,
        "weight_decay": 0,
        "max_grad_norm": 0,
        "warmup_steps": 0,
        "checkpointing_steps": 0,
        "dataloader_num_workers": 0,
    }
    values = {item.name: getattr(part, item.name) for part in vars(arguments).values() for item in fields(part)}
    for name, least in at_least.items():
        if values[name] is not None and not values[name] >= least:
            raise ValueError(f"--{name} must be {least} or more, got {values[name]}.")
    if model.use_lora and model.train_image_encoder:
        raise ValueError("--use_lora and --train_image_encoder exclude each other: choose --lora_target_modules.")
    ConCLIPConfig(l1_weight=model.l1_weight, l2_weight=model.l2_weight, l3_weight=model.l3_weight)
    if training.mixed_precision == "fp16" and not torch.cuda.is_available():
        raise ValueError("--mixed_precision fp16 needs a GPU, and none was found: use bf16 or no.")
    if training.push_to_hub and training.hub_model_id is None:
        raise ValueError("--push_to_hub needs --hub_model_id, e.g. --hub_model_id me/conclip-vit-base-patch32.")
    if training.report_to == ["none"]:
        training.report_to = []
    installed = ["jsonl", *(tracker.value for tracker in get_available_trackers())]
    for name in training.report_to:
        if name not in installed:
            raise ValueError(f"--report_to {name}: not installed or unknown; here are {', '.join(installed)}.")
