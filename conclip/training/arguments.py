"""Command-line arguments of train_accelerate.py, under the names Hugging Face's own scripts use."""

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.tracking import get_available_trackers
from huggingface_hub.errors import StrictDataclassError

from conclip.cli import Parser, option
from conclip.errors import UsageError
from modeling_conclip import ConCLIPConfig

# Where the embedded default departs from the paper's recipe: a model of 1 M parameters on 20,000 drawn scenes.
SCENES_RECIPE = {
    "output_dir": "outputs/conclip-scenes",
    "learning_rate": 1.5e-3,
    "adam_beta2": 0.98,
    "per_device_train_batch_size": 128,
    "num_train_epochs": 5,
    "max_grad_norm": 1.0,
    "eval_steps": 300,
    # Two minutes that the base model, which is kept, does not depend on.
    "checkpointing_steps": 0,
    "dataloader_num_workers": 2,
}
# Those of `transformers.get_scheduler` that need nothing but the number of updates.
SCHEDULES = "linear cosine cosine_with_restarts polynomial constant constant_with_warmup inverse_sqrt".split()
LORA_TARGET_MODULES = r"text_model\.encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"


@dataclass
class ModelArguments:
    model_name_or_path: str | None = option(
        None, "CLIP or ConCLIP folder or Hub id. Without it: the small CLIP trained on drawn scenes."
    )
    revision: str | None = option(None, "Branch, tag or commit of the model on the Hub.")
    loss: str = option(
        "conclip",
        "conclip: L1, L2 and L3 with distractor images; negclip: two terms, no distractors; clip: captions alone.",
        choices=["conclip", "negclip", "clip"],
    )
    image_to_text_weight: float = option(1.0, "Weight of L1, image -> captions and negated captions.")
    text_to_image_weight: float = option(1.0, "Weight of L2, caption -> images and distractors.")
    distractor_weight: float = option(
        1.0, "Weight of L3, distractor -> its negated caption. Ablations: set weights to 0."
    )
    train_image_encoder: bool = option(False, "Also train the image tower and its projection (frozen in the paper).")
    use_lora: bool = option(False, "Train low-rank adapters (peft) instead of the weights; logit_scale is frozen.")
    lora_rank: int = option(16, "Rank of the adapters.", at_least=1)
    lora_alpha: float = option(32, "Scaling of the adapters: alpha / rank.")
    lora_dropout: float = option(0.0, "Dropout before the adapters.", at_least=0, below=1)
    lora_target_modules: str = option(
        LORA_TARGET_MODULES, "Regular expression over module names. The default: all linear layers of the text tower."
    )


@dataclass
class DataArguments:
    dataset_name: str | None = option(
        None, "Hub id or local folder for `load_dataset`, e.g. `ccneg`. Without it: the drawn scenes."
    )
    dataset_config_name: str | None = option(None, "Configuration of the dataset.")
    train_split_name: str = option("train", "Split to train on.")
    eval_split_name: str = option("test", "Split to evaluate on.")
    image_column: str = option("image", "Column with the images.")
    caption_column: str = option("caption", "Column with the true captions.")
    negated_caption_column: str = option(
        "negated_captions", "Column with the negated captions: a text, or a list of which each epoch takes one."
    )
    distractor_image_column: str = option(
        "distractor_images", "Column with the distractors: an image, or a list in the order of the negated captions."
    )
    max_train_samples: int | None = option(None, "Use only the first rows of the training split.", at_least=1)
    max_eval_samples: int | None = option(None, "Use only the first rows of the evaluation split.", at_least=1)
    embedding_cache_dir: str | None = option(
        None,
        "Where the embeddings of a frozen image tower, and the tokens of texts, are kept for all runs, on a disk that "
        "all nodes share; "
        "default: conclip/embeddings in Hugging Face's cache ($HF_HOME).",
    )
    dataloader_num_workers: int = option(
        0, "Processes that decode and preprocess images, per training process.", at_least=0
    )


@dataclass
class TrainingArguments:
    output_dir: str = option("outputs/conclip", "Where the model, results.json, the picture and checkpoints go.")
    per_device_train_batch_size: int = option(
        200, "Rows per process and step; the loss sees those of all processes.", at_least=1
    )
    per_device_eval_batch_size: int = option(256, "Images or texts embedded at a time in evaluation.", at_least=1)
    mini_batch_size: int = option(
        256,
        "Rows whose activations are held at once. A larger batch is embedded piece by piece, and again for its "
        "gradient (gradient caching): the same loss and gradient at the memory of a piece, for a third more work.",
        at_least=1,
    )
    gradient_accumulation_steps: int = option(
        1,
        "Steps summed before an update. It adds no negatives: each loss still sees one batch. Use a larger batch.",
        at_least=1,
    )
    num_train_epochs: int = option(
        5,
        "Passes over the training split. More of them on resuming extend the run; the schedule is the longer one's.",
        at_least=1,
    )
    max_train_steps: int | None = option(None, "Updates in all; replaces --num_train_epochs.", at_least=1)
    learning_rate: float = option(1e-6, "Peak learning rate of AdamW.", at_least=0)
    weight_decay: float = option(0.2, "Weight decay on all trainable parameters, as in the paper.", at_least=0)
    adam_beta1: float = option(0.9, "AdamW's beta1.", at_least=0, below=1)
    adam_beta2: float = option(0.999, "AdamW's beta2.", at_least=0, below=1)
    adam_epsilon: float = option(1e-8, "AdamW's epsilon.", at_least=0)
    max_grad_norm: float = option(
        0.0, "Clip the gradient to this norm; 0 for no clipping (the paper's recipe).", at_least=0
    )
    lr_scheduler_type: str = option("cosine", "Schedule of the learning rate.", choices=SCHEDULES)
    warmup_steps: int = option(50, "Updates over which the learning rate rises from 0.", at_least=0)
    seed: int = option(42, "Seed of initialisation, shuffling and dropout.", at_least=0, below=2**32)
    mixed_precision: str | None = option(
        None, "no, fp16 or bf16; default: what `accelerate launch` says.", choices=["no", "fp16", "bf16"]
    )
    torch_compile: bool | None = option(None, "Compile the layer of the text tower; default: on a GPU.")
    logging_steps: int = option(10, "Report the loss every so many updates.", at_least=1)
    eval_steps: int | None = option(None, "Evaluate every so many updates; default: after every epoch.", at_least=1)
    checkpointing_steps: int | None = option(
        500, "Save a resumable checkpoint every so many updates; 0 for none.", at_least=0
    )
    checkpoints_total_limit: int = option(2, "Keep so many checkpoints, the newest.", at_least=1)
    resume_from_checkpoint: str | None = option(None, "`latest`, or the folder of a checkpoint.")
    report_to: list[str] = option(
        ["jsonl", "tensorboard"], "Trackers: jsonl, tensorboard, or any other that accelerate knows; none for none."
    )
    push_to_hub: bool = option(False, "Upload the finished folder to the Hub.")
    hub_model_id: str | None = option(None, "Repository to push to, e.g. `me/conclip-vit-base-patch32`.")


@dataclass
class Arguments:
    model: ModelArguments
    data: DataArguments
    training: TrainingArguments


def parse_arguments(argv: list[str] | None = None) -> Arguments:
    """
    Raises:
        UsageError: an unknown option, a bad value, or options that do not go together.
    """
    parser = Parser(
        {"Model": ModelArguments, "Data": DataArguments, "Training": TrainingArguments},
        prog="conclip train",
        description="Fine-tune a CLIP model with a negation loss.",
        example="accelerate launch train_accelerate.py --model_name_or_path openai/clip-vit-base-patch32 "
        "--dataset_name ccneg",
        alternative_defaults=("without --model_name_or_path", SCENES_RECIPE),
    )
    arguments = Arguments(*parser.parse(argv))
    if arguments.model.model_name_or_path is None:
        if arguments.data.dataset_name is not None:
            raise UsageError("--dataset_name needs --model_name_or_path: which CLIP is to be tuned on it?")
        parser.set_defaults(**SCENES_RECIPE)
        arguments = Arguments(*parser.parse(argv))
    check_combinations(arguments)
    check_trackers(arguments.training)
    return arguments


def check_combinations(arguments: Arguments) -> None:
    """
    Raises:
        UsageError: options that exclude or need one another, or that need other hardware.
    """
    model, training = arguments.model, arguments.training
    weights = {
        "image_to_text_weight": model.image_to_text_weight,
        "text_to_image_weight": model.text_to_image_weight,
        "distractor_weight": model.distractor_weight,
    }
    try:
        ConCLIPConfig(**weights)
    except StrictDataclassError as error:
        raise UsageError(f"--{error.__cause__}") from error
    if model.loss == "negclip" and not (model.image_to_text_weight or model.text_to_image_weight):
        raise UsageError("--loss negclip has the terms L1 and L2 alone: give one of them a weight above 0.")
    if model.loss == "clip" and set(weights.values()) != {1.0}:
        raise UsageError("--loss clip takes no weights: use --loss negclip or conclip.")
    if model.use_lora and model.train_image_encoder:
        raise UsageError("--use_lora and --train_image_encoder exclude each other: choose --lora_target_modules.")
    if training.mixed_precision == "fp16" and not torch.cuda.is_available():
        raise UsageError("--mixed_precision fp16 needs a GPU, and none was found: use bf16 or no.")
    if training.push_to_hub and training.hub_model_id is None:
        raise UsageError("--push_to_hub needs --hub_model_id, e.g. --hub_model_id me/conclip-vit-base-patch32.")
    base = Path(model.model_name_or_path or "")
    if model.model_name_or_path and base.is_dir() and base.resolve() == Path(training.output_dir).resolve():
        raise UsageError(f"--output_dir {training.output_dir} is the base model's folder: choose another.")


def check_trackers(training: TrainingArguments) -> None:
    """
    Raises:
        UsageError: a tracker that is unknown or not installed; accelerate would go on without a word.
    """
    if training.report_to == ["none"]:
        training.report_to = []
    if "none" in training.report_to:
        raise UsageError("--report_to none stands alone: leave it or the other trackers out.")
    installed = ["jsonl", *(str(getattr(tracker, "value", tracker)) for tracker in get_available_trackers())]
    for name in training.report_to:
        if name not in installed:
            raise UsageError(f"--report_to {name}: not installed or unknown; here are {', '.join(installed)}.")
