"""`ConCLIPTrainer` in Python: the same numbers as the command, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch
from accelerate_state import reset_accelerate
from bad_rows import encoded, make_rows
from peft import LoraConfig
from runs import command, log, results, run, weights, write_inputs
from tiny import tiny_model, tiny_processor
from transformers import AutoProcessor, CLIPModel

import conclip
from conclip import ConCLIPModel, ConCLIPTrainer, ConCLIPTrainingArguments
from conclip.errors import UsageError
from conclip.training.arguments import LORA_TARGET_MODULES, parse_arguments, parse_trainings
from conclip.training.trackers import tracker_config

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "per_device_train_batch_size": 8,
    "max_steps": 8,
    "learning_rate": 1e-3,
    "warmup_steps": 2,
    "logging_steps": 1,
    "eval_steps": 3,
    "save_steps": 4,
    "report_to": "jsonl",
}


@pytest.fixture(autouse=True)
def fresh_state():
    yield
    reset_accelerate()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def make_trainer(inputs, output_dir, peft_config=None, **settings) -> ConCLIPTrainer:
    splits = datasets.load_dataset(inputs["dataset_name"])
    return ConCLIPTrainer(
        model=ConCLIPModel.from_pretrained(inputs["model_name_or_path"]),
        args=ConCLIPTrainingArguments(output_dir=str(output_dir), **{**SETTINGS, **settings}),
        processing_class=AutoProcessor.from_pretrained(inputs["model_name_or_path"]),
        train_dataset=splits["train"],
        eval_dataset=splits["test"],
        peft_config=peft_config,
    )


def test_a_card_stays_only_beside_the_weights_it_describes(inputs, tmp_path):
    trainer = make_trainer(inputs, tmp_path / "run", max_steps=1, warmup_steps=0)
    trainer.create_model_card()
    trainer.train()
    trainer.save_model()
    assert not (tmp_path / "run/README.md").exists()
    trainer.create_model_card()
    trainer.save_model()
    assert (tmp_path / "run/README.md").exists()
    used = tmp_path / "used"
    used.mkdir()
    for name in ("README.md", "results.json", "scores.png"):
        (used / name).write_text("of an earlier run")
    trainer.save_model(str(used))
    assert not [name for name in ("README.md", "results.json", "scores.png") if (used / name).exists()]


def test_trackers_get_no_local_path(inputs, tmp_path):
    args = ConCLIPTrainingArguments(output_dir=str(tmp_path / "run"), embedding_cache_dir=str(tmp_path / "cache"))
    config = tracker_config(args, inputs["model_name_or_path"])
    assert (config["model_name_or_path"], config["output_dir"]) == ("clip", "run")
    assert not [value for value in config.values() if str(tmp_path) in str(value)]
    assert tracker_config(args, "openai/clip-vit-base-patch32")["model_name_or_path"] == "openai/clip-vit-base-patch32"


@pytest.mark.parametrize("lora", [False, True], ids=["weights", "adapters"])
def test_a_notebook_trains_to_the_weights_of_the_command(lora, inputs, tmp_path):
    config, options = None, {}
    if lora:
        config = LoraConfig(r=4, lora_alpha=32, lora_dropout=0.2, target_modules=LORA_TARGET_MODULES)
        options = {"use_lora": True, "lora_rank": 4, "lora_dropout": 0.2}
    assert run(command(inputs, tmp_path / "command", **SETTINGS, **options)) == 0
    trainer = make_trainer(inputs, tmp_path / "notebook", config)
    before = trainer.evaluate()
    statistics = trainer.train()
    after = trainer.evaluate()
    trainer.save_model()
    card = trainer.create_model_card(dataset_name="toys")
    expected = weights(tmp_path / "command")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(tmp_path / "notebook").items())
    assert log(tmp_path / "notebook") == log(tmp_path / "command")
    found = results(tmp_path / "command")
    assert (before, after) == (found["before"], found["after"]) == (card["before"], card["after"])
    arithmetic = found["query_arithmetic"]
    assert arithmetic == card["query_arithmetic"] and arithmetic.keys() == before.keys()
    # The captions negate nothing; their true negations do.
    assert arithmetic["text-to-image recall@5"] == before["text-to-image recall@5"]
    assert arithmetic["true negation accuracy"] != before["true negation accuracy"]
    assert found["not_scored"] == []
    assert (statistics["steps"], statistics["loss"]) == (8, found["training"]["loss"])
    assert (tmp_path / "notebook/adapter").is_dir() is lora
    assert "toys, test split" in (tmp_path / "notebook/README.md").read_text("utf-8")


def test_rows_in_memory_and_no_evaluation(tmp_path):
    rows = [
        {
            "image": {"bytes": encoded(color)},
            "caption": f"a {color} square",
            "negated_captions": [f"no {color} square"],
        }
        for color in ("red", "green", "blue", "white")
    ]
    features = {"image": datasets.Image(), "caption": datasets.Value("string")}
    features["negated_captions"] = datasets.List(datasets.Value("string"))
    model, before = tiny_model(), tiny_model().state_dict()
    trainer = ConCLIPTrainer(
        model=model,
        args=ConCLIPTrainingArguments(
            output_dir=str(tmp_path / "run"),
            loss="negclip",
            image_to_text_weight=2.0,
            per_device_train_batch_size=2,
            num_train_epochs=2,
            learning_rate=1e-3,
            warmup_steps=0,
            report_to="none",
        ),
        processing_class=tiny_processor(),
        train_dataset=datasets.Dataset.from_list(rows, features=datasets.Features(features)),
    )
    assert trainer.train()["steps"] == 4
    assert model.config.image_to_text_weight == 2.0
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved and not any(name.startswith("vision_model") for name in moved)
    trainer.save_model(str(tmp_path / "elsewhere"))
    CLIPModel.from_pretrained(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="Pass an eval_dataset"):
        trainer.evaluate()
    assert "after" not in trainer.create_model_card()
    assert "Not evaluated." in (tmp_path / "run/README.md").read_text("utf-8")
    with pytest.raises(UsageError, match="make a new ConCLIPTrainer"):
        trainer.train()


def test_resumed_in_a_notebook_ends_the_same(inputs, tmp_path):
    make_trainer(inputs, tmp_path).train()
    expected, lines = (tmp_path / "checkpoint-8/model.safetensors").read_bytes(), log(tmp_path)
    with pytest.raises(UsageError, match="holds checkpoints of an earlier run, up to checkpoint-8"):
        make_trainer(inputs, tmp_path).train()
    trainer = make_trainer(inputs, tmp_path)
    assert trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))["steps"] == 8
    assert (tmp_path / "checkpoint-8/model.safetensors").read_bytes() == expected and log(tmp_path) == lines
    assert make_trainer(inputs, tmp_path).train(resume_from_checkpoint=True)["loss"] is None


def test_a_notebook_may_train_again_with_another_precision(inputs, tmp_path):
    for bf16, precision in ((False, "no"), (True, "bf16")):
        trainer = make_trainer(inputs, tmp_path / precision, bf16=bf16, max_steps=1)
        trainer.train()
        assert trainer.accelerator.mixed_precision == precision


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"learning_rate": -1}, "--learning_rate must be above 0, got -1."),
        ({"loss": "clip", "distractor_weight": 2.0}, "--loss clip takes no weights"),
        ({"loss": "negclip", "distractor_weight": 2.0}, "--distractor_weight has no effect with --loss negclip"),
        ({"bf16": True, "fp16": True}, "--bf16 and --fp16 exclude each other"),
        ({"report_to": ["none", "jsonl"]}, "--report_to none excludes other trackers"),
    ],
    ids=str,
)
def test_bad_settings_are_refused_in_python_too(settings, says):
    with pytest.raises(UsageError, match=says):
        ConCLIPTrainingArguments(**settings)


def test_bad_rows_are_refused_before_training(tmp_path):
    with pytest.raises(UsageError, match="row 3: caption holds ' ', not a caption"):
        ConCLIPTrainer(
            model=tiny_model(),
            args=ConCLIPTrainingArguments(output_dir=str(tmp_path), per_device_train_batch_size=4),
            processing_class=tiny_processor(),
            train_dataset=make_rows(8, {3: {"caption": " "}}),
        )


def test_a_config_file_sets_the_options(inputs, tmp_path):
    lines = [f"{name}: {value}" for name, value in {**inputs, **SETTINGS, "output_dir": tmp_path / "file"}.items()]
    (tmp_path / "recipe.yaml").write_text("\n".join([*lines, "eval_split: none"]))
    assert run(["--config", str(tmp_path / "recipe.yaml"), "--max_steps", "2"]) == 0
    assert [line["step"] for line in log(tmp_path / "file")] == [1, 2]


# The paper's settings (arXiv 2403.20312) and the weights of L1, L2 and L3 in its ablation.
PAPER = {
    "per_device_train_batch_size": 200,
    "num_train_epochs": 5,
    "learning_rate": 1e-6,
    "weight_decay": 0.2,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 50,
    "max_grad_norm": 0,
}
# The authors' published command (arXiv 2210.01936).
NEGCLIP = {"per_device_train_batch_size": 256, "num_train_epochs": 5, "learning_rate": 1e-6, "warmup_steps": 50}
RECIPES = {
    "conclip": ("conclip", (1, 1, 1), PAPER),
    "conclip-l1": ("conclip", (1, 0, 0), PAPER),
    "conclip-l2": ("conclip", (0, 1, 0), PAPER),
    "conclip-l1-l2": ("conclip", (1, 1, 0), PAPER),
    "conclip-no-distractors": ("negclip", (1, 1, 1), PAPER),
    "negclip": ("negclip", (1, 1, 1), NEGCLIP),
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_have_the_settings_of_their_papers(name, capsys):
    loss, weights, settings = RECIPES[name]
    model, _, training = parse_arguments(["--config", str(ROOT / f"recipes/{name}.yaml")])
    assert (training.loss, tuple(training.loss_weights.values())) == (loss, weights)
    assert {key: getattr(training, key) for key in settings} == settings
    assert model.train_image_encoder == (name == "negclip")
    assert training.output_dir == f"outputs/{name}-vit-base-patch32"
    # An option without effect gives a warning.
    assert capsys.readouterr() == ("", "")


def test_every_recipe_is_in_the_documents_and_trains_a_model_that_it_names():
    text = "".join(page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md"))
    for path in (ROOT / "recipes").glob("*.yaml"):
        assert f"recipes/{path.name}" in text
        model, _, training = parse_arguments(["--config", str(path)])
        # Without a model, training begins with that of the scenes.
        assert model.model_name_or_path or path.name == "scenes-distillation.yaml"


def test_the_recipe_of_scenes_is_that_of_the_default_runs_second_training(capsys):
    [alone] = parse_trainings(["--config", str(ROOT / "recipes/scenes-distillation.yaml")])
    _, second = parse_trainings([])
    assert alone == second and capsys.readouterr() == ("", "")


def test_the_public_interface_is_small_and_costs_nothing_to_import():
    code = "import sys, conclip; print(sorted({'torch', 'transformers', 'datasets', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert len(conclip.__all__) < 12 and set(conclip.__all__) <= set(dir(conclip))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        conclip.nothing  # noqa: B018


@pytest.mark.parametrize("name", conclip.__all__)
def test_public_names_are_there(name):
    assert getattr(conclip, name).__name__ == name and getattr(conclip, name).__doc__


def test_the_card_says_how_to_repeat_a_command(inputs, tmp_path):
    assert run(command(inputs, tmp_path, max_steps=1)) == 0
    assert results(tmp_path)["command"].startswith("conclip train --model_name_or_path ")
    saved = json.loads((tmp_path / "results.json").read_text())["arguments"]
    assert saved["model"]["use_lora"] is False and saved["training"]["max_steps"] == 1


def test_texts_that_openais_tokenizer_repairs_are_counted_in_a_warning(tmp_path, capsys):
    changes = {1: {"caption": "a dog\u2019s square"}, 2: {"negated_captions": ["no &amp; square", "no square"]}}
    ConCLIPTrainer(
        model=tiny_model(),
        args=ConCLIPTrainingArguments(output_dir=str(tmp_path), embedding_cache_dir=str(tmp_path / "cache")),
        processing_class=tiny_processor(),
        train_dataset=make_rows(256, changes),
    )
    # 256 captions, and two negated captions each.
    assert "Warning: OpenAI's tokenizer repairs 2 of 768 texts" in capsys.readouterr().out
