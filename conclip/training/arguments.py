"""
Options of the training command, under the names that Hugging Face's own scripts use.

Imports no heavy library, so that `--help` and a mistyped option are answered at once.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from conclip.cli import Parser, check_ranges, option
from conclip.errors import UsageError

# The default run trains a model of 1 M parameters on 20,000 scenes and departs from the paper's recipe here.
SCENES_RECIPE = {
    "output_dir": "outputs/conclip-scenes",
    "learning_rate": 1.5e-3,
    "adam_beta2": 0.98,
    "per_device_train_batch_size": 128,
    "num_train_epochs": 15,
    "max_grad_norm": 1.0,
    "eval_steps": 600,
    # Each training takes two to three minutes, and the base model is kept.
    "save_steps": 0,
    "dataloader_num_workers": 2,
}
# The default run trains a second model, with the paper's loss and negation distillation that the images teach, in a
# folder beside that of the first.
SCENES_DISTILLATION_RECIPE = {
    **SCENES_RECIPE,
    "loss": "conclip",
    "distillation_weight": 1.0,
    "own_words": True,
    "truth_weight": 20.0,
    "cosine_weight": 0.4,
    "profile_weight": 0.03,
    "num_train_epochs": 16,
    "learning_rate": 2.5e-3,
    "weight_decay": 0.15,
}
# Pattern of the finished checkpoints in an output folder.
CHECKPOINTS = "checkpoint-*/trainer_state.json"
# Of `--hub_strategy`, as in transformers.
EVERY_SAVE = "every_save"
HUB_STRATEGIES = ("end", EVERY_SAVE)
# Trains on texts alone, and stays near the base model by its targets.
DISTILLATION = "negation_distillation"
# What it trains on if no dataset is named: captions that ship with the package.
PLAIN_CAPTIONS = "plain-captions"
DISTILLATION_RECIPE = {
    "output_dir": "outputs/conclip-distilled",
    "per_device_train_batch_size": 256,
    "max_steps": 800,
    "learning_rate": 3e-4,
    "weight_decay": 0.05,
}
# Options of the losses that compare images with captions.
NOT_FOR_STATEMENTS = (
    *("image_to_text_weight", "text_to_image_weight", "distractor_weight", "distillation_weight"),
    *("negated_caption_column", "distractor_image_column", "distractor_image_embeds_column"),
)
# The schedules of `transformers.get_scheduler` that need only the number of updates.
SCHEDULES = "linear cosine cosine_with_restarts polynomial constant constant_with_warmup inverse_sqrt".split()
# The `lr_end` of transformers' polynomial schedule.
POLYNOMIAL_END = 1e-7
# The names in CLIP and SigLIP, and in BERT, which is the text encoder of ALIGN and Chinese-CLIP.
LORA_TARGET_MODULES = (
    r"text_model\.encoder\.(layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"
    r"|layer\.\d+\.(attention\.self\.(query|key|value)|(attention\.output|intermediate|output)\.dense))"
)
PARSER = {
    "prog": "conclip train",
    "description": "Fine-tune a CLIP model with a negation loss. Without --model_name_or_path, train a small CLIP on "
    "generated scenes and fine-tune it on their negations, in minutes on a CPU. Without --loss as well, fine-tune it "
    "twice, with the paper's loss and with ours, and compare the two models.",
    "example": "accelerate launch train_accelerate.py --model_name_or_path openai/clip-vit-base-patch32 "
    "--dataset_name ccneg --output_dir conclip-vit-base-patch32",
    "alternative_defaults": {
        "without --model_name_or_path": SCENES_RECIPE,
        f"with --loss {DISTILLATION}": DISTILLATION_RECIPE,
    },
}


@dataclass
class ModelArguments:
    """The model to fine-tune, and which part of it."""

    model_name_or_path: str | None = option(
        None,
        "CLIP or ConCLIP model: folder or Hub id; for --loss negation_distillation, also a model of another family "
        "that embeds texts, such as SigLIP; by default, a small CLIP trained on generated scenes",
    )
    revision: str | None = option(None, "branch, tag or commit of the model on the Hub")
    train_image_encoder: bool = option(
        False, "train the image encoder and its projection too; the paper keeps them frozen"
    )
    use_lora: bool = option(False, "train low-rank adapters (peft) instead of the weights; logit_scale stays frozen")
    lora_rank: int = option(16, "rank of the adapters", at_least=1)
    lora_alpha: float = option(32, "scaling of the adapters: they are multiplied by lora_alpha / lora_rank", above=0)
    lora_dropout: float = option(0.0, "dropout before the adapters", at_least=0, below=1)
    lora_target_modules: str = option(
        LORA_TARGET_MODULES,
        "regular expression over module names; the default matches all linear layers of the text encoder",
    )

    def __post_init__(self):
        if self.use_lora and self.train_image_encoder:
            raise UsageError(
                "--use_lora and --train_image_encoder exclude each other: choose modules by --lora_target_modules."
            )

    def peft_config(self):
        """Return the `LoraConfig` of these options, or `None` without --use_lora."""
        if not self.use_lora:
            return None
        from peft import LoraConfig

        return LoraConfig(
            r=self.lora_rank,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            target_modules=self.lora_target_modules,
        )


@dataclass
class DataArguments:
    """The rows to train and evaluate on."""

    dataset_name: str | None = option(
        None,
        "Hub id, local folder or file (.jsonl, .json, .csv, .tsv, .parquet, .txt with a caption a line); with "
        "--streaming, also .tar files, and a pattern of paths in quotes; by default, generated scenes, and for --loss "
        "negation_distillation plain captions that ship with the package",
    )
    dataset_config_name: str | None = option(None, "configuration (subset) of the dataset")
    streaming: bool = option(
        False,
        "read the training rows from the Hub or from files while training, in buffers of --shuffle_buffer_size rows, "
        "without a copy on the disk",
    )
    train_split: str = option("train", "split to train on")
    eval_split: str | None = option(
        None,
        "split to evaluate on before and after training and in between; none for no evaluation; by default, test or "
        "validation if the dataset has one, otherwise a tenth of the images (at most 1,000), held out of the training "
        "split with all their rows; with --streaming, nothing is held out",
    )
    image_dir: str = option(
        "", "folder that paths in the image columns are relative to; by default, that of the dataset"
    )
    max_train_samples: int | None = option(None, "use only the first rows of the training split", at_least=1)
    max_eval_samples: int | None = option(
        None, "use only the first rows of the evaluation split; with --streaming, 1,000 by default", at_least=1
    )


@dataclass
class ConCLIPTrainingArguments:
    """
    Settings of a `ConCLIPTrainer`; the defaults are the recipe of the CoN-CLIP paper.

    Options that mean the same bear the names of `transformers.TrainingArguments`. `named` holds the names of the
    options that the user gave on the command line or in the config file.

    Raises:
        UsageError: a value out of range, or settings that exclude each other.
    """

    output_dir: str = option("outputs/conclip", "folder for the model, its card, results, logs and checkpoints")
    loss: str | None = option(
        None,
        "conclip: the paper's loss, which is CLIP's with negated captions and distractors as extra negatives, and "
        "pulls distractors to negated captions; negclip: the same without distractors; clip: CLIP's own loss; "
        "negation_distillation: from captions alone, teach the text encoder what the base model's embeddings of "
        "affirmative texts say about negations; by default, conclip or negclip if the dataset has the columns, "
        "otherwise negation_distillation (`ConCLIPTrainer`: clip)",
        choices=["conclip", "negclip", "clip", DISTILLATION],
    )
    distillation_weight: float = option(
        0.0, "weight of negation distillation beside --loss conclip, negclip or clip; 0 for none", at_least=0
    )
    cosine_weight: float = option(
        4.0, "weight within negation distillation of L4, the cosine to the target", at_least=0
    )
    profile_weight: float = option(
        0.3,
        "weight within negation distillation of L5, the difference of the scores of many captions or images",
        at_least=0,
    )
    truth_weight: float = option(
        0.0,
        "weight within negation distillation of L6, by which the images and captions of the dataset teach which "
        "statements are true of an image; 0 for none",
        at_least=0,
    )
    own_words: bool = option(
        False,
        "compose the statements of negation distillation only from things and words in the captions and negated "
        "captions, for a model that knows few words",
    )
    distillation_beta: float = option(
        0.5, "how much of what a text denies is subtracted in its target, in units of the rest", above=0
    )
    distillation_anchor_weight: float | None = option(
        None,
        'weight of "a photo" in the target of a text that only denies; by default the root of the length of the mean '
        "caption embedding, which is small for models with centred embeddings",
        at_least=0,
    )
    image_to_text_weight: float = option(
        1.0, "weight of the loss term L1, image to caption with negated captions as extra negatives", at_least=0
    )
    text_to_image_weight: float = option(
        1.0, "weight of the loss term L2, caption to image with distractor images as extra negatives", at_least=0
    )
    distractor_weight: float = option(
        1.0, "weight of the loss term L3, distractor image to its negated caption", at_least=0
    )
    image_column: str = option("image", "column with the images, or their paths, URLs or bytes")
    caption_column: str = option(
        "caption", "column with the true captions: a text, or a list from which each epoch takes one"
    )
    negated_caption_column: str = option(
        "negated_captions", "column with the negated captions: a text, or a list from which each epoch takes one"
    )
    distractor_image_column: str = option(
        "distractor_images",
        "column with the distractors, similar images that the negated captions should describe: an image, or a list "
        "in the order of the negated captions",
    )
    image_embeds_column: str | None = option(
        None,
        "column with ready image embeddings of the model, lists of floats, in place of images; with "
        "--image_embeds_file, column with the number of a row in that file (from 0)",
    )
    distractor_image_embeds_column: str = option(
        "distractor_image_embeds",
        "column with the embeddings, or the numbers, of the distractors: one, or a list in the order of the negated "
        "captions",
    )
    image_embeds_file: str | None = option(
        None,
        ".npy or .npz file with ready image embeddings, or folder of .npy files in the order of their names, in place "
        "of images; they belong to the rows of the dataset by --image_embeds_column, by the names in --image_column "
        "if the file has names too, by the column source_row that `conclip negate` writes, or else by their order",
    )
    per_device_train_batch_size: int = option(
        200, "rows for each process and step; the loss compares the rows of all processes", at_least=1
    )
    per_device_eval_batch_size: int = option(256, "images or texts embedded at a time in evaluation", at_least=1)
    mini_batch_size: int = option(
        256,
        "rows whose activations are in memory at a time; a larger batch is embedded in parts, and again in the "
        "backward pass (gradient caching), with the same loss and gradient for about a third more computation",
        at_least=1,
    )
    gradient_accumulation_steps: int = option(
        1,
        "batches whose gradients are averaged for one update, fewer at the end of an epoch; each loss still compares "
        "only the rows of its own batch, so a larger batch with --mini_batch_size is the better choice",
        at_least=1,
    )
    num_train_epochs: int = option(
        5,
        "passes over the training rows; raising it on resume extends the run and its learning-rate schedule",
        at_least=1,
    )
    max_steps: int | None = option(None, "number of updates, in place of --num_train_epochs", at_least=1)
    learning_rate: float = option(1e-6, "peak learning rate of AdamW", above=0)
    weight_decay: float = option(0.2, "weight decay of all trainable parameters", at_least=0)
    adam_beta1: float = option(0.9, "beta1 of AdamW", at_least=0, below=1)
    adam_beta2: float = option(0.999, "beta2 of AdamW", at_least=0, below=1)
    adam_epsilon: float = option(1e-8, "epsilon of AdamW", above=0)
    max_grad_norm: float = option(0.0, "clip the gradient to this norm; 0 for no clipping", at_least=0)
    lr_scheduler_type: str = option("cosine", "schedule of the learning rate", choices=SCHEDULES)
    warmup_steps: int = option(50, "updates over which the learning rate rises to its peak", at_least=0)
    seed: int = option(42, "seed of initialisation, shuffling and dropout", at_least=0, below=2**32)
    bf16: bool = option(False, "train in bfloat16 mixed precision; by default, as `accelerate launch` is configured")
    fp16: bool = option(False, "train in float16 mixed precision, on a GPU")
    torch_compile: bool | None = option(None, "compile the layers of the text encoder; by default, only on a GPU")
    logging_steps: int = option(10, "log the loss every so many updates", at_least=1)
    eval_steps: int | None = option(
        None, "evaluate every so many updates; by default, after every epoch, but not more than ten times", at_least=1
    )
    shuffle_buffer_size: int = option(
        10_000,
        "with --streaming, rows that each process has in memory and shuffles at a time, rounded up to whole updates",
        at_least=1,
    )
    save_steps: int = option(500, "save a checkpoint every so many updates; 0 for no checkpoints", at_least=0)
    save_total_limit: int = option(2, "keep only the newest so many checkpoints", at_least=1)
    resume_from_checkpoint: str | None = option(None, "`latest`, or the folder of a checkpoint")
    report_to: list[str] = option(
        ["jsonl", "tensorboard"],
        "trackers: jsonl, tensorboard or others that accelerate supports; none for no tracker",
    )
    embedding_cache_dir: str | None = option(
        None,
        "folder in which the embeddings of a frozen image encoder and the tokens of texts are cached for all runs, on "
        "a disk that all nodes share; by default, conclip/embeddings in Hugging Face's cache ($HF_HOME)",
    )
    dataloader_num_workers: int = option(
        0, "processes that decode and preprocess images, for each training process", at_least=0
    )
    push_to_hub: bool = option(False, "upload the finished folder to the Hub")
    hub_model_id: str | None = option(None, "repository to push to, e.g. me/conclip-vit-base-patch32")
    hub_strategy: str = option(
        "end", "when to push: at the end, or also the model whenever a checkpoint is saved", choices=HUB_STRATEGIES
    )
    hub_private_repo: bool = option(False, "make a new repository private")
    hub_revision: str | None = option(None, "branch to push to, created if it does not exist; by default, main")
    hub_token: str | None = option(None, "token of the Hub; by default, HF_TOKEN or that of `hf auth login`")
    # Not an option: it has no type.
    named = frozenset()

    def __post_init__(self):
        if isinstance(self.report_to, str):
            self.report_to = [self.report_to]
        if self.report_to == ["none"]:
            self.report_to = []
        if "none" in self.report_to:
            raise UsageError("--report_to none excludes other trackers: give either none or the trackers.")
        check_ranges(self)
        if self.image_embeds_file and not self.image_embeds_column:
            self.image_embeds_column = "image_embeds"
        if not (self.image_to_text_weight or self.text_to_image_weight or self.distractor_weight):
            raise UsageError(
                "--image_to_text_weight, --text_to_image_weight and --distractor_weight are all 0: at least one needs "
                "to be above 0."
            )
        if self.loss == "negclip" and not (self.image_to_text_weight or self.text_to_image_weight):
            raise UsageError("--loss negclip needs --image_to_text_weight or --text_to_image_weight above 0.")
        if self.loss == "clip" and self.pair_weights != dict.fromkeys(self.pair_weights, 1.0):
            raise UsageError("--loss clip takes no weights: use --loss negclip or conclip.")
        if self.loss == "negclip" and self.distractor_weight not in (0, 1):
            raise UsageError("--distractor_weight has no effect with --loss negclip, which has no term L3.")
        if self.distills and not (self.cosine_weight or self.profile_weight or self.truth_weight):
            raise UsageError(
                "--cosine_weight and --profile_weight are both 0: one of them or --truth_weight needs to be above 0."
            )
        if self.lr_scheduler_type == "polynomial" and self.learning_rate <= POLYNOMIAL_END:
            raise UsageError(
                f"--lr_scheduler_type polynomial ends at a learning rate of {POLYNOMIAL_END}: --learning_rate must be "
                f"above it, got {self.learning_rate}."
            )
        if self.bf16 and self.fp16:
            raise UsageError("--bf16 and --fp16 exclude each other.")
        if self.push_to_hub and self.hub_model_id is None:
            raise UsageError("--push_to_hub needs --hub_model_id, e.g. --hub_model_id me/conclip-vit-base-patch32.")
        if self.hub_strategy == EVERY_SAVE and not self.save_steps:
            raise UsageError("--hub_strategy every_save needs checkpoints: set --save_steps above 0.")

    def to_dict(self) -> dict:
        """Return the settings, for reports and trackers, without the token."""
        return {name: value for name, value in asdict(self).items() if name != "hub_token"}

    @property
    def image_columns(self) -> dict[str, str]:
        """The columns that hold images or, in their place, embeddings: option without dashes -> name."""
        if self.image_embeds_column is None:
            names = ("image_column", "distractor_image_column")
        else:
            names = ("image_embeds_column", "distractor_image_embeds_column")
        return {name: getattr(self, name) for name in names}

    @property
    def distills(self) -> bool:
        """Whether texts with targets are trained on, alone or beside images with captions."""
        return self.loss == DISTILLATION or self.distillation_weight > 0

    @property
    def pair_weights(self) -> dict[str, float]:
        """The weights of the loss of images with captions, by their names in `ConCLIPConfig`."""
        names = ("image_to_text_weight", "text_to_image_weight", "distractor_weight")
        return {name: getattr(self, name) for name in names}

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weights of the loss by their names in `ConCLIPConfig`."""
        if not self.distills:
            return self.pair_weights
        distillation = {name: getattr(self, name) for name in ("cosine_weight", "profile_weight", "truth_weight")}
        if self.loss == DISTILLATION:
            return {"distillation_weight": 1.0, **distillation}
        return {**self.pair_weights, "distillation_weight": self.distillation_weight, **distillation}

    @property
    def mixed_precision(self) -> str | None:
        """As `Accelerator` takes it; `None` leaves the choice to `accelerate launch`."""
        return "bf16" if self.bf16 else "fp16" if self.fp16 else None


Arguments = tuple[ModelArguments, DataArguments, ConCLIPTrainingArguments]


def parse_arguments(argv: list[str] | None = None) -> Arguments:
    """
    Parse the options of the training command; of the default run, return those of its first training.

    Raises:
        UsageError: as `parse_trainings`.
    """
    return parse_trainings(argv)[0]


def parse_trainings(argv: list[str] | None = None) -> list[Arguments]:
    """
    Parse the options of the training command.

    Returns:
        The options of each training: one; or two for the default run, which names neither a model nor a loss.

    Raises:
        UsageError: an unknown option, a bad value, or options that exclude each other.
    """
    groups = {"Model": ModelArguments, "Data": DataArguments, "Training": ConCLIPTrainingArguments}
    parser = Parser(groups, **PARSER)
    model, data, training = parser.parse(argv)
    if training.loss == DISTILLATION:
        if model.model_name_or_path is None:
            raise UsageError("--loss negation_distillation needs --model_name_or_path: name the CLIP model to teach.")
        if model.train_image_encoder:
            raise UsageError(
                "--train_image_encoder has no effect with --loss negation_distillation, which reads texts."
            )
        parser.set_defaults(**DISTILLATION_RECIPE)
        if "num_train_epochs" in parser.named:
            parser.set_defaults(max_steps=None)
        model, data, training = parser.parse(argv)
    if model.model_name_or_path is None:
        if data.dataset_name is not None:
            raise UsageError("--dataset_name needs --model_name_or_path: name the CLIP model to fine-tune on it.")
        parser.set_defaults(**SCENES_RECIPE)
        model, data, training = parser.parse(argv)
    elif Path(model.model_name_or_path).is_dir():
        if Path(model.model_name_or_path).resolve() == Path(training.output_dir).resolve():
            raise UsageError(f"--output_dir {training.output_dir} is the base model's folder: choose another.")
    if training.truth_weight and model.train_image_encoder:
        raise UsageError("--truth_weight needs a frozen image encoder: leave out --train_image_encoder.")
    if training.image_embeds_column and model.train_image_encoder:
        raise UsageError(
            "--train_image_encoder needs images: leave it out, or train without --image_embeds_column and "
            "--image_embeds_file."
        )
    refuse_options_without_effect(parser, model, data, training)
    trainings = [(model, data, training)]
    if model.model_name_or_path is None and training.loss is None and not training.distills:
        trainings.append(second_training(parser, argv, model, training))
    for _, _, training_args in trainings:
        training_args.named = parser.named
    return trainings


def second_training(
    parser: Parser, argv: list[str] | None, model: ModelArguments, training: ConCLIPTrainingArguments
) -> Arguments:
    """
    Return the options of the second training of the default run, of which `model` and `training` are the first.

    Raises:
        UsageError: an option that two trainings cannot share.
    """
    alone = "add --loss conclip to train only the first model"
    if model.train_image_encoder:
        raise UsageError(
            f"--train_image_encoder: the second training of the default run needs a frozen image encoder; {alone}."
        )
    if training.push_to_hub:
        raise UsageError(f"--push_to_hub uploads one model, but the default run trains two: {alone}.")
    if training.resume_from_checkpoint not in (None, "latest"):
        raise UsageError(
            "--resume_from_checkpoint takes only `latest` in the default run, which has two trainings: use `latest`, "
            f"or {alone}."
        )
    first = Path(training.output_dir)
    if first.name in ("", ".."):
        raise UsageError(
            f"--output_dir {first}: name a folder, since the second model is saved to NAME-distilled beside it."
        )
    folder = first.with_name(f"{first.name}-distilled")
    parser.set_defaults(**SCENES_DISTILLATION_RECIPE)
    model, data, second = parser.parse(argv)
    # The first may have been interrupted before this one began.
    resumed = training.resume_from_checkpoint if any(folder.glob(CHECKPOINTS)) else None
    return model, data, replace(second, output_dir=str(folder), resume_from_checkpoint=resumed)


def refuse_options_without_effect(
    parser: Parser, model: ModelArguments, data: DataArguments, training: ConCLIPTrainingArguments
) -> None:
    """
    Refuse options that have no effect beside the others, or warn of those in the config file.

    Raises:
        UsageError: such an option is on the command line.
    """
    if not model.use_lora:
        names = ("lora_rank", "lora_alpha", "lora_dropout", "lora_target_modules")
        parser.without_effect(names, "without --use_lora")
    if model.model_name_or_path is None:
        parser.without_effect(["revision"], "without --model_name_or_path")
    elif Path(model.model_name_or_path).is_dir():
        parser.without_effect(["revision"], f"on the local folder {model.model_name_or_path}")
    if data.dataset_name is None:
        names = ["dataset_config_name", "image_dir", "image_embeds_column", "image_embeds_file", "streaming"]
        parser.without_effect(names, "without --dataset_name")
    elif Path(data.dataset_name).is_file():
        parser.without_effect(["dataset_config_name"], f"on the file {data.dataset_name}")
    if data.streaming:
        parser.without_effect(["max_train_samples"], "with --streaming, where --max_steps ends the run")
    else:
        parser.without_effect(["shuffle_buffer_size"], "without --streaming")
    if training.image_embeds_column:
        # Beside a file, it may hold the names of the images.
        names = [] if training.image_embeds_file else ["image_column"]
        parser.without_effect(
            [*names, "distractor_image_column", "image_dir"], "with embeddings in place of the images"
        )
    else:
        names = ["distractor_image_embeds_column"]
        parser.without_effect(names, "without --image_embeds_column or --image_embeds_file")
    if data.eval_split == "none":
        parser.without_effect(["max_eval_samples", "eval_steps"], "with --eval_split none")
        if model.train_image_encoder:
            names = ["per_device_eval_batch_size"]
            parser.without_effect(names, "with --eval_split none and --train_image_encoder")
    if training.loss == "clip":
        parser.without_effect(["text_to_image_weight", "image_to_text_weight"], "with --loss clip")
    if training.loss in ("negclip", "clip"):
        names = ["distractor_weight"] if training.distractor_weight else []
        parser.without_effect(
            [*names, "distractor_image_column", "distractor_image_embeds_column"],
            f"with --loss {training.loss}, which uses no distractors",
        )
    if training.loss == DISTILLATION:
        parser.without_effect(NOT_FOR_STATEMENTS, f"with --loss {DISTILLATION}")
    elif not training.distills:
        names = ["cosine_weight", "profile_weight", "truth_weight", "own_words"]
        names += ["distillation_beta", "distillation_anchor_weight"]
        parser.without_effect(names, f"without --loss {DISTILLATION} or --distillation_weight")
    if training.max_steps is not None:
        parser.without_effect(["num_train_epochs"], "beside --max_steps")
    if training.lr_scheduler_type == "constant" and training.warmup_steps:
        parser.without_effect(["warmup_steps"], "with --lr_scheduler_type constant, use constant_with_warmup")
    if not training.save_steps:
        parser.without_effect(["save_total_limit"], "with --save_steps 0, which saves no checkpoint")
    if not training.push_to_hub:
        names = ["hub_model_id", "hub_strategy", "hub_private_repo", "hub_revision", "hub_token"]
        parser.without_effect(names, "without --push_to_hub")
