"""A mistake in the command line ends the run with one sentence, before any file is written."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from embedded import stored
from huggingface_hub import constants
from runs import command, log, refusal, run, write_inputs
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertConfig, BertModel

import conclip.hub as hub
import conclip.training.loop as loop
import conclip.training.trainer as training
from conclip.training.arguments import ConCLIPTrainingArguments, parse_arguments


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


BASE = ["--model_name_or_path", "clip"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--learningrate", "1"], "unknown option --learningrate, did you mean --learning_rate?"),
        (["--zzz"], "unknown option --zzz (--help lists the options)"),
        (["--learning_rate", "much"], "invalid float value: 'much'"),
        (["--dataset_name", "x"], "--dataset_name needs --model_name_or_path"),
        ([*BASE, "--max_steps", "0"], "--max_steps must be 1 or more, got 0."),
        ([*BASE, "--per_device_train_batch_size", "-8"], "--per_device_train_batch_size must be 1 or more, got -8."),
        ([*BASE, "--learning_rate", "nan"], "--learning_rate must be a finite number, got nan."),
        ([*BASE, "--max_grad_norm", "inf"], "--max_grad_norm must be a finite number, got inf."),
        ([*BASE, "--weight_decay", "-0.1"], "--weight_decay must be 0 or more, got -0.1."),
        ([*BASE, "--adam_beta2", "1"], "--adam_beta2 must be less than 1, got 1.0."),
        ([*BASE, "--seed", "-1"], "--seed must be 0 or more, got -1."),
        ([*BASE, "--lr_scheduler_type", "cosin"], "invalid choice: 'cosin'"),
        ([*BASE, "--lr_scheduler_type", "reduce_lr_on_plateau"], "invalid choice: 'reduce_lr_on_plateau'"),
        (
            [*BASE, "--image_to_text_weight", "0", "--text_to_image_weight", "0", "--distractor_weight", "0"],
            "are all 0: at least one needs to be above 0.",
        ),
        (
            [*BASE, "--text_to_image_weight", "-1"],
            "--text_to_image_weight must be 0 or more, got -1.0.",
        ),
        (
            [*BASE, "--loss", "negclip", "--image_to_text_weight", "0", "--text_to_image_weight", "0"],
            "--loss negclip needs --image_to_text_weight or --text_to_image_weight above 0.",
        ),
        ([*BASE, "--loss", "clip", "--image_to_text_weight", "2"], "--loss clip takes no weights"),
        ([*BASE, "--use_lora", "--train_image_encoder"], "exclude each other"),
        ([*BASE, "--report_to", "nobody"], "--report_to nobody: not installed or unknown; available: jsonl"),
        ([*BASE, "--report_to", "none", "jsonl"], "--report_to none excludes other trackers"),
        ([*BASE, "--push_to_hub"], "--push_to_hub needs --hub_model_id"),
        (
            [*BASE, "--push_to_hub", "--hub_model_id", "me/x", "--hub_strategy", "every_save", "--save_steps", "0"],
            "--hub_strategy every_save needs checkpoints: set --save_steps above 0.",
        ),
        ([*BASE, "--learning_rate", "0"], "--learning_rate must be above 0, got 0.0."),
        ([*BASE, "--adam_epsilon", "0"], "--adam_epsilon must be above 0, got 0.0."),
        ([*BASE, "--use_lora", "--lora_alpha", "0"], "--lora_alpha must be above 0, got 0.0."),
        (
            [*BASE, "--lr_scheduler_type", "polynomial", "--learning_rate", "1e-7"],
            "--lr_scheduler_type polynomial ends at a learning rate of 1e-07: --learning_rate must be above it",
        ),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "",
)
def test_command_line(argv, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in refusal(argv, capsys)
    assert not list(tmp_path.iterdir())


# Options that have no effect beside the others, and the end of the sentence that says so.
WITHOUT_EFFECT = [
    ("--lora_rank 16", "without --use_lora."),
    ("--lora_alpha 16", "without --use_lora."),
    ("--lora_dropout 0.1", "without --use_lora."),
    ("--lora_target_modules q_proj", "without --use_lora."),
    ("--lora_rank 8 --use_lora false", "without --use_lora."),
    ("--revision main --model_name_or_path .", "on the local folder .."),
    ("--dataset_config_name default", "without --dataset_name."),
    ("--image_dir images", "without --dataset_name."),
    ("--dataset_config_name default --dataset_name rows.csv", "on the file rows.csv."),
    ("--max_eval_samples 9 --eval_split none", "with --eval_split none."),
    ("--eval_steps 9 --eval_split none", "with --eval_split none."),
    (
        "--per_device_eval_batch_size 9 --eval_split none --train_image_encoder",
        "with --eval_split none and --train_image_encoder.",
    ),
    ("--distractor_weight 1 --loss negclip", "with --loss negclip, which uses no distractors."),
    ("--distractor_weight 1 --loss clip", "with --loss clip, which uses no distractors."),
    ("--distractor_image_column look --loss negclip", "with --loss negclip, which uses no distractors."),
    ("--text_to_image_weight 1 --loss clip", "with --loss clip."),
    ("--num_train_epochs 3 --max_steps 9", "beside --max_steps."),
    ("--warmup_steps 9 --lr_scheduler_type constant", "with --lr_scheduler_type constant, use constant_with_warmup."),
    ("--save_total_limit 9 --save_steps 0", "with --save_steps 0, which saves no checkpoint."),
    ("--hub_model_id me/clip", "without --push_to_hub."),
    ("--hub_private_repo true", "without --push_to_hub."),
    ("--hub_token hf_x", "without --push_to_hub."),
]


@pytest.mark.parametrize(("options", "says"), WITHOUT_EFFECT)
def test_an_option_without_effect(options, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").touch()
    name, value, *others = options.split()
    assert refusal([*BASE, *options.split()], capsys) == f"{name} has no effect {says}"
    # In a config file, which may serve several commands, it is warned of, unless it is the default.
    (tmp_path / "recipe.yaml").write_text(f"{name[2:]}: {value}\n")
    parse_arguments([*BASE, *others, "--config", "recipe.yaml"])
    warning = f"Warning: {name} in the config file has no effect {says}\n"
    defaults = ("--lora_rank 16", "--distractor_weight 1", "--text_to_image_weight 1")
    assert capsys.readouterr().out == ("" if options.startswith(defaults) else warning)


def test_options_that_a_config_file_and_the_default_run_set_are_not_refused(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text("lora_rank: 8\nlora_alpha: 16\nhub_model_id:\n")
    parse_arguments(
        [*BASE, "--config", str(tmp_path / "recipe.yaml"), "--loss", "negclip", "--distractor_weight", "0"]
    )
    warning = "Warning: --lora_rank, --lora_alpha in the config file have no effect without --use_lora.\n"
    assert capsys.readouterr().out == warning
    parse_arguments(["--eval_split", "none", "--max_steps", "3"])
    assert capsys.readouterr().out == ""


def test_what_is_refused_above_is_refused_for_its_value_alone():
    good = {
        "learning_rate": 1e-45,
        "adam_beta2": 0.5,
        "seed": 2**32 - 1,
        "max_grad_norm": 0,
        "lr_scheduler_type": "linear",
    }
    parse_arguments([*BASE, *(part for name, value in good.items() for part in (f"--{name}", str(value)))])
    assert parse_arguments([*BASE, "--report_to", "none"])[2].report_to == []
    assert parse_arguments([*BASE, "--loss", "negclip", "--image_to_text_weight", "0"])[2].image_to_text_weight == 0
    for weights in (["--image_to_text_weight", "0", "--text_to_image_weight", "0"], ["--distractor_weight", "0"]):
        parse_arguments([*BASE, *weights])


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_fp16_needs_a_gpu(inputs, tmp_path, capsys):
    argv = command(inputs, tmp_path / "out", fp16=True)
    assert refusal(argv, capsys) == "--fp16 needs a GPU, and none was found: use --bf16, or neither."
    assert not (tmp_path / "out").exists()


def no_folder(folder):
    shutil.rmtree(folder)


def another_model(folder):
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=50, **size)).save_pretrained(folder)


def truncated_weights(folder):
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(5_000)


def no_processor(folder):
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def tokenizer_alone(folder):
    (folder / "processor_config.json").unlink()


def missing_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def other_shape(folder):
    config = json.loads((folder / "config.json").read_text())
    config["projection_dim"] = 24
    (folder / "config.json").write_text(json.dumps(config))


def broken_config(folder):
    (folder / "config.json").write_text("{")


def no_config(folder):
    (folder / "config.json").unlink()


def other_image_size(folder):
    config = json.loads((folder / "processor_config.json").read_text())
    config["image_processor"]["crop_size"] = {"height": 48, "width": 48}
    (folder / "processor_config.json").write_text(json.dumps(config))


def other_end_of_text(folder):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 7
    (folder / "config.json").write_text(json.dumps(config))


def larger_tokenizer(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["octopus"])
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (other_image_size, "its processor makes images of 48 x 48 pixels, but its model takes 32 x 32"),
        (other_end_of_text, "its tokenizer ends a text with token 685, but its model looks for token 7"),
        (larger_tokenizer, "its tokenizer has 687 tokens, but its model has 686"),
        (no_folder, "there is no such folder."),
        (no_config, "no model there (config.json missing)."),
        (broken_config, "clip/config.json is not valid JSON; download it again."),
        (another_model, "a bert model, not a CLIP"),
        (truncated_weights, "clip/model.safetensors is cut short or damaged (Error while deserializing header"),
        (missing_tensor, "text_projection.weight is missing or of another shape."),
        (other_shape, "text_projection.weight and 1 more are missing or of another shape."),
        (no_processor, "needs the files of a CLIPProcessor (preprocessor_config.json and the tokenizer's)"),
        (tokenizer_alone, "needs the files of a CLIPProcessor (preprocessor_config.json and the tokenizer's)"),
    ],
)
def test_model_folder(damage, says, inputs, tmp_path, capsys):
    folder = tmp_path / "clip"
    shutil.copytree(inputs["model_name_or_path"], folder)
    damage(folder)
    message = refusal(command({**inputs, "model_name_or_path": folder}, tmp_path / "out"), capsys)
    assert message.startswith(f"--model_name_or_path {folder}") and says in message
    assert not list((tmp_path / "out").iterdir())


def test_a_hub_id_without_network_fails_at_once_and_turns_to_the_cache(inputs, tmp_path, capsys, monkeypatch):
    def unreachable(*arguments, **options):
        raise OSError("Name or service not known")

    monkeypatch.setattr(hub, "get_session", lambda: type("Session", (), {"head": unreachable}))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub.datasets.config, "HF_HUB_OFFLINE", False)
    hub.use_cache_without_network([inputs["model_name_or_path"], None])
    assert not constants.HF_HUB_OFFLINE, "a folder needs no network"
    message = refusal(command({**inputs, "model_name_or_path": "someone/clip"}, tmp_path), capsys)
    assert message.startswith("--model_name_or_path someone/clip cannot be loaded: We couldn't connect to")
    assert constants.HF_HUB_OFFLINE and hub.datasets.config.HF_HUB_OFFLINE


@pytest.mark.parametrize("pattern", ["nothing_of_this_name", "("])
def test_lora_targets_that_match_nothing(pattern, inputs, tmp_path, capsys):
    argv = command(inputs, tmp_path, use_lora=True, lora_target_modules=pattern)
    assert refusal(argv, capsys).startswith(f"--lora_target_modules {pattern}: ")


def test_output_folder_that_cannot_be_written(inputs, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file/below"):
        assert refusal(command(inputs, folder), capsys).startswith(f"--output_dir: cannot write to {folder} (")
    assert (tmp_path / "file").read_text() == "mine"


def test_output_folder_that_is_the_base_models(inputs, capsys):
    argv = command(inputs, inputs["model_name_or_path"] + "/.")
    assert "is the base model's folder: choose another." in refusal(argv, capsys)


def test_too_few_rows_for_a_batch_are_noticed_before_anything_is_embedded(inputs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training, "make_evaluator", None)
    message = refusal(command(inputs, tmp_path, per_device_train_batch_size=64), capsys)
    assert message.startswith("50 training rows do not fill one batch of 64")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"learning_rate": 1e30}, "The loss is nan at step "),
        ({"learning_rate": 1e30, "logging_steps": 100, "save_steps": 1}, "The weights are not finite after"),
        ({"learning_rate": 1e39, "max_steps": 1, "warmup_steps": 0}, "The weights are not finite after step 1"),
    ],
    ids=["in the loss", "before a checkpoint", "in the last update"],
)
def test_a_run_that_diverges_leaves_no_model_and_no_checkpoint_of_it(options, says, inputs, tmp_path, capsys):
    message = refusal(command(inputs, tmp_path, eval_split="none", **options), capsys)
    assert message.startswith(says) and message.endswith("lower --learning_rate, or set --max_grad_norm 1.0.")
    assert not list(tmp_path.glob("model.safetensors"))
    for checkpoint in tmp_path.glob("checkpoint-*"):
        assert all(tensor.isfinite().all() for tensor in load_file(checkpoint / "model.safetensors").values())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "lower --learning_rate, or set --max_grad_norm 1.0."),
        ({"max_grad_norm": 1.0}, "lower --learning_rate."),
        ({"adam_epsilon": 1e-45}, "raise --adam_epsilon 1e-45, which is likely too small (the default is 1e-08)."),
    ],
    ids=str,
)
def test_weights_that_are_not_finite_name_what_is_likely_at_fault(options, says, inputs, tmp_path, capsys):
    argv = command(inputs, tmp_path, eval_split="none", **{"learning_rate": 1e39, "max_steps": 1, **options})
    assert refusal(argv, capsys).startswith("The weights are not finite after step 1: " + says)


def test_fp16_is_named_as_a_likely_fault():
    accelerator = SimpleNamespace(mixed_precision="fp16")
    state = SimpleNamespace(args=ConCLIPTrainingArguments(), accelerator=accelerator)
    assert loop.likely_remedy(state) == "use --bf16 in place of --fp16, or lower --learning_rate"


@pytest.mark.parametrize("tensor", ["text_model.final_layer_norm.weight", "vision_model.post_layernorm.weight"])
def test_a_base_model_with_weights_that_are_not_finite(tensor, inputs, tmp_path, capsys):
    folder = tmp_path / "clip"
    shutil.copytree(inputs["model_name_or_path"], folder)
    tensors = load_file(folder / "model.safetensors")
    tensors[tensor][0] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    argv = command({**inputs, "model_name_or_path": folder}, tmp_path / "out")
    message = f"The model to fine-tune has weights that are not finite, in {tensor}: load another model."
    assert refusal(argv, capsys) == message


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"eval_split": "none"}, "Split 'train', row 0: image has an embedding that is zero or not finite: "),
        ({"eval_split": "none", "train_image_encoder": True}, "The loss is nan at step 1: the preprocessing (image_"),
    ],
    ids=["frozen", "trained"],
)
def test_preprocessing_that_divides_by_zero(options, says, inputs, tmp_path, capsys):
    folder = tmp_path / "clip"
    shutil.copytree(inputs["model_name_or_path"], folder)
    config = json.loads((folder / "processor_config.json").read_text())
    config["image_processor"]["image_std"] = [0.0, 0.0, 0.0]
    (folder / "processor_config.json").write_text(json.dumps(config))
    cache = tmp_path / "cache"
    argv = command({**inputs, "model_name_or_path": folder}, tmp_path / "out", embedding_cache_dir=cache, **options)
    assert refusal(argv, capsys).startswith(says)
    assert not stored(cache), "what is not finite is not cached"


def test_a_warm_up_longer_than_the_run_is_warned_of(inputs, tmp_path, capsys):
    options = {"max_steps": 1, "eval_split": "none", "save_steps": 0}
    warning = (
        "Warning: the warm-up of 2 updates is longer than the run of 1, so the learning rate does not reach its peak: "
        "lower --warmup_steps.\n"
    )
    assert run(command(inputs, tmp_path, **options)) == 0
    assert warning in capsys.readouterr().out
    assert run(command(inputs, tmp_path, **options, warmup_steps=1)) == 0
    assert "warm-up" not in capsys.readouterr().out


def test_one_process_though_several_were_asked_for_gets_a_warning(inputs, tmp_path, capsys, monkeypatch):
    """`accelerate launch --cpu --num_processes 2` starts one process, with this environment."""
    argv = command(inputs, tmp_path, max_steps=1, warmup_steps=1, eval_split="none")
    assert run(argv) == 0
    assert "Warning" not in capsys.readouterr().out
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert run(argv) == 0
    assert "Warning: one process runs, though the launcher was asked for several" in capsys.readouterr().out


def test_accumulation_over_more_than_an_epoch_updates_once_an_epoch(inputs, tmp_path):
    options = {"gradient_accumulation_steps": 100, "max_steps": 2, "eval_split": "none"}
    assert run(command(inputs, tmp_path, **options)) == 0
    assert [(line["step"], line["train/epoch"]) for line in log(tmp_path)] == [(1, 1.0), (2, 2.0)]
