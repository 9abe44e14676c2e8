"""The default run, made small: two trainings from one base, and their comparison."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from benchmark_runs import report_of
from benchmark_runs import run as evaluate
from datasets import Image as ImageFeature
from PIL import Image
from runs import log, refusal, results, run, weights
from transformers import AutoProcessor, CLIPModel

import conclip.training.default_run as default_run
import conclip.training.loop as loop
import train_accelerate
from conclip.errors import UsageError
from conclip.training.arguments import parse_trainings
from conclip.training.default_run import queries_to_show
from conclip.training.report import REPORT_FILES
from conclip.training.scenes_questions import scenes_questions
from conclip.training.trackers import JsonlTracker
from conclip.training.trainer import ConCLIPTrainer
from dataset_scripts.benchmarks.scenes_choice import choices
from dataset_scripts.scenes import load_scenes
from dataset_scripts.scenes_truth import truth

SHORT = "--per_device_train_batch_size 16 --max_steps 3 --warmup_steps 1 --dataloader_num_workers 0 --report_to jsonl"
RESUME = ("--resume_from_checkpoint", "latest")
FIRST, SECOND = "tuned", "tuned-distilled"


def argv(folder, *more):
    return ["--output_dir", str(folder / FIRST), *SHORT.split(), "--save_steps", "1", *more]


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("default")
    assert run(argv(folder)) == 0
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def same(one, other):
    return all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())


def comparison(folder):
    return json.loads((folder / SECOND / "comparison.json").read_text())


def test_two_models_from_one_base_each_with_its_report(finished):
    first, second = (results(finished / name) for name in (FIRST, SECOND))
    assert first["base_model"] == second["base_model"] and first["before"].keys() <= second["before"].keys()
    assert all(second["before"][name] == metric for name, metric in first["before"].items())
    assert not same(finished / FIRST, finished / SECOND)
    for name, found in ((FIRST, first), (SECOND, second)):
        assert found["before"] != found["after"] and found["model"]["name"] == name
        card = (finished / name / "README.md").read_text()
        assert ("negation distillation" in card) == (name == SECOND)
    assert first["model"]["loss_weights"] == dict.fromkeys(first["model"]["loss_weights"], 1.0)
    assert second["model"]["loss_weights"]["truth_weight"] == 20
    titles = {name: found["title"].partition("training with ")[2] for name, found in (("a", first), ("b", second))}
    assert titles == {"a": "the conclip loss", "b": "the conclip loss and negation distillation"}


def test_the_second_training_is_that_of_the_recipe(copied):
    alone = argv(copied, "--config", "recipes/scenes-distillation.yaml")
    alone[1] = str(copied / "alone")
    assert run(alone) == 0
    assert same(copied / "alone", copied / SECOND) and log(copied / "alone") == log(copied / SECOND)
    assert results(copied / "alone")["after"] == results(copied / SECOND)["after"]


def test_the_comparison_is_of_base_first_and_second_model(finished):
    first, second = (results(finished / name) for name in (FIRST, SECOND))
    found = comparison(finished)
    assert found["models"] == {"base": first["base_model"], "CoN-CLIP": FIRST, "ours": SECOND}
    assert list(found["scores"]) == ["base", "CoN-CLIP", "ours", "query arithmetic"]
    assert [*found["scores"].values()] == [
        first["before"], first["after"], second["after"], second["query_arithmetic"]
    ]  # fmt: skip
    with Image.open(finished / SECOND / "rankings.png") as figure:
        assert min(figure.size) > 500


@torch.no_grad()
def test_the_rankings_are_those_of_the_saved_models(finished):
    """By the stock model, from pixels, a text at a time."""
    rows = load_scenes("test")
    found = comparison(finished)
    assert found["rankings"]
    folders = [finished / name for name in found["models"].values()]
    for name, folder in zip(found["models"], folders, strict=True):
        model, processor = CLIPModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
        for asked in found["rankings"]:
            inputs = processor(text=[asked["text"]], images=rows["image"][:], return_tensors="pt")
            scores = model(**inputs).logits_per_text[0].numpy()
            shown = asked["found"][name]
            assert len(shown) == min(10, len(rows)) and scores[shown] == pytest.approx(-np.sort(-scores)[: len(shown)])
            is_true = truth([asked["text"]], rows["objects"][:])[0]
            assert asked["true"][name] == is_true[shown].tolist() and asked["share"] == is_true.mean()


def test_the_figure_shows_short_queries_that_deny_different_shapes():
    texts = [
        "a large red cross but no blue star",
        "a cross but no red star",
        "a star but no red cross",
        "a cross and no red star",
        "a circle and no small red cross",
        "a red star with no blue star",
    ]
    assert queries_to_show(texts) == [1, 4]
    assert queries_to_show(texts[:1]) == [0] and queries_to_show([]) == []


def test_the_comparison_without_true_negations_to_rank(copied, monkeypatch, capsys):
    """The first and the second training are finished, and the wordings of the rows are others."""
    for name in ("comparison.json", "rankings.png"):
        (copied / SECOND / name).unlink()
    monkeypatch.setattr(default_run, "WORDINGS", (" without ",))
    assert run(argv(copied, *RESUME)) == 0
    assert comparison(copied)["rankings"] == [] and not (copied / SECOND / "rankings.png").exists()
    assert "rankings.png" not in capsys.readouterr().out
    assert default_run.rank_images(SimpleNamespace(evaluator=SimpleNamespace(queries={}), accelerator=None), {}) == []


def test_the_questions_are_those_of_the_benchmark():
    rows = load_scenes("test")
    questions = scenes_questions(rows)
    encoded = rows.cast_column("image", ImageFeature(decode=False))
    items = list(choices(enumerate(encoded), "scenes"))
    assert len(questions) == len(items) == 10
    for number, (question, item) in enumerate(zip(questions, items, strict=True)):
        assert question.image == number and sorted(question.texts) == sorted(item["captions"])
        assert question.texts[0] == item["captions"][item["answer"]]
        assert question.kind == item["category"].replace("positive", "presence")


def test_the_ceiling_is_that_of_the_benchmark(finished, tmp_path):
    """As `conclip evaluate` has it: other code reads the rows and the images."""
    base = next(finished.glob("scenes-base-*"))
    options = ["--model_name_or_path", base, "--benchmarks", "scenes-choice", "--output_dir", tmp_path / "out"]
    assert evaluate([*map(str, options), "--embedding_cache_dir", str(tmp_path / "cache")]) == 0
    lines = report_of(tmp_path / "out", whole_rows=True)
    found = comparison(finished)["multiple choice ceiling"]
    for kind, value in found.items():
        part = {"all": "", "presence": "positive"}.get(kind, kind)
        line = lines["scenes-choice", "ceiling (probe on the image embeddings)", part]
        assert [*line["values"].values()] == [pytest.approx(value)]
    assert 0 < found["all"] < 1 and found.keys() == {"all", "presence", "absence", "hybrid"}


def test_interrupted_in_the_first_training(finished, tmp_path, monkeypatch, capsys):
    interrupt(monkeypatch, after=2)
    shutil.copytree(next(finished.glob("scenes-base-*")), tmp_path / next(finished.glob("scenes-base-*")).name)
    assert run(argv(tmp_path)) == 130
    assert "same command with --resume_from_checkpoint latest continues the run" in capsys.readouterr().err
    assert not (tmp_path / FIRST / "model.safetensors").exists()
    assert not list((tmp_path / SECOND).glob("checkpoint-*"))
    assert run(argv(tmp_path, *RESUME)) == 0
    assert same(tmp_path / FIRST, finished / FIRST) and same(tmp_path / SECOND, finished / SECOND)
    assert comparison(tmp_path) == comparison(finished)


@pytest.mark.parametrize("step", [0, 2])
def test_interrupted_in_the_second_training(step, finished, copied, monkeypatch, capsys):
    """Before its first checkpoint, or after: the first model stays as it is."""
    shutil.rmtree(copied / SECOND)
    before = (copied / FIRST / "results.json").stat().st_mtime_ns
    interrupt(monkeypatch, after=step)
    assert run(argv(copied, *RESUME)) == 130
    assert "same command with --resume_from_checkpoint latest continues the run" in capsys.readouterr().err
    assert len(list((copied / SECOND).glob("checkpoint-*"))) == step
    assert run(argv(copied, *RESUME)) == 0
    assert "tuned is already finished" in capsys.readouterr().out
    assert (copied / FIRST / "results.json").stat().st_mtime_ns == before
    assert same(copied / SECOND, finished / SECOND) and comparison(copied) == comparison(finished)


def test_interrupted_in_the_comparison(finished, copied, capsys):
    for name in ("comparison.json", "rankings.png"):
        (copied / SECOND / name).unlink()
    assert run(argv(copied, *RESUME)) == 0
    assert "first image true, true negations" in capsys.readouterr().out
    assert comparison(copied) == comparison(finished) and (copied / SECOND / "rankings.png").is_file()


def interrupt(monkeypatch, after):
    """Interrupt the next run after so many updates, once."""
    plain, calls = loop.train_step, []

    def step(*arguments, **options):
        calls.append(1)
        if len(calls) == after + 1:
            raise KeyboardInterrupt
        return plain(*arguments, **options)

    monkeypatch.setattr(loop, "train_step", step)


def track(monkeypatch):
    """Return a list to which each tracker adds the folder in which it begins or ends."""
    events = []
    for method, event in (("store_init_configuration", "begins"), ("finish", "ends")):
        monkeypatch.setattr(
            JsonlTracker, method, lambda self, *_, event=event: events.append((event, self.path.parent.name))
        )
    return events


@pytest.fixture
def untrained(finished, tmp_path):
    base = next(finished.glob("scenes-base-*"))
    shutil.copytree(base, tmp_path / base.name)
    return tmp_path


@pytest.mark.parametrize("interrupted", [True, False])
def test_the_trackers_of_a_training_end_before_those_of_the_next_begin(interrupted, untrained, monkeypatch, capsys):
    """And if the second training is interrupted, its trackers end too."""
    events = track(monkeypatch)
    if interrupted:
        interrupt(monkeypatch, after=1)
    options = ["--eval_split", "none", "--max_steps", "1", "--save_steps", "0"]
    assert run(argv(untrained, *options)) == (130 if interrupted else 0)
    assert events == [(event, name) for name in (FIRST, SECOND) for event in ("begins", "ends")]
    if interrupted:
        last = "Interrupted. No file is incomplete; the same command starts the run again."
        assert capsys.readouterr().err.splitlines()[-1] == last


def test_the_trackers_of_the_second_training_end_after_an_error(untrained, monkeypatch, capsys):
    events, plain = track(monkeypatch), ConCLIPTrainer.save_model

    def save_model(trainer):
        if trainer.args.output_dir.endswith(SECOND):
            raise UsageError("The disk is full.")
        plain(trainer)

    monkeypatch.setattr(ConCLIPTrainer, "save_model", save_model)
    message = refusal(argv(untrained, "--eval_split", "none", "--max_steps", "1"), capsys)
    assert message == "The disk is full."
    assert events == [(event, name) for name in (FIRST, SECOND) for event in ("begins", "ends")]


def test_the_warning_of_one_process_is_printed_once(untrained, monkeypatch, capsys):
    """The environment is that of `accelerate launch --cpu`."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(train_accelerate, "run", lambda *_: SimpleNamespace(evaluator=None))
    assert run(argv(untrained)) == 0
    assert capsys.readouterr().out.count("Warning: one process runs") == 1


def test_checkpoints_in_the_second_folder_are_noticed_before_the_first_training(copied, capsys, monkeypatch):
    shutil.rmtree(copied / FIRST)
    monkeypatch.setattr(train_accelerate, "run", None)
    message = refusal(argv(copied), capsys)
    assert message.startswith(f"{copied / SECOND} holds checkpoints of an earlier run, up to checkpoint-3")


def test_a_training_of_the_second_model_alone_removes_the_comparison(copied):
    assert {name for name in REPORT_FILES if (copied / SECOND / name).is_file()} == set(REPORT_FILES)
    shutil.rmtree(copied / SECOND / "checkpoint-3")
    shutil.rmtree(copied / SECOND / "checkpoint-2")
    alone = argv(copied, "--loss", "clip", "--eval_split", "none")
    alone[1] = str(copied / SECOND)
    assert run(alone) == 0
    assert {name for name in REPORT_FILES if (copied / SECOND / name).is_file()} == {"results.json"}


def test_without_an_evaluation_there_is_nothing_to_compare(copied, capsys):
    for folder in (FIRST, SECOND):
        shutil.rmtree(copied / folder)
    assert run(argv(copied, "--eval_split", "none", "--max_steps", "1")) == 0
    assert (copied / FIRST / "model.safetensors").is_file() and (copied / SECOND / "model.safetensors").is_file()
    assert not (copied / SECOND / "comparison.json").exists() and "CoN-CLIP" not in capsys.readouterr().out


def test_options_are_for_both_trainings_and_override_their_recipes():
    given = "--seed 3 --max_steps 5 --learning_rate 0.01 --max_train_samples 32".split()
    (model, data, first), (same_model, same_data, second) = parse_trainings(given)
    assert (model, data) == (same_model, same_data) and data.max_train_samples == 32
    for training in (first, second):
        assert (training.seed, training.max_steps, training.learning_rate) == (3, 5, 0.01)
        assert training.named == {"seed", "max_steps", "learning_rate", "max_train_samples"}
    assert first.loss is None and not first.distills and second.loss == "conclip" and second.distills
    assert (first.output_dir, second.output_dir) == ("outputs/conclip-scenes", "outputs/conclip-scenes-distilled")
    folders = {"a/b/": "a/b-distilled", "../x": "../x-distilled", "/x.y": "/x.y-distilled"}
    assert {folder: parse_trainings(["--output_dir", folder])[1][2].output_dir for folder in folders} == folders


@pytest.mark.parametrize("named", ["--loss conclip", "--loss clip", "--distillation_weight 1"])
def test_a_loss_makes_one_training(named):
    [(model, data, training)] = parse_trainings(named.split())
    assert model.model_name_or_path is None and training.output_dir == "outputs/conclip-scenes"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--push_to_hub --hub_model_id me/x", "--push_to_hub uploads one model, but the default run trains two: "),
        (
            "--train_image_encoder",
            "--train_image_encoder: the second training of the default run needs a frozen image encoder; ",
        ),
        (
            "--resume_from_checkpoint outputs/x/checkpoint-3",
            "--resume_from_checkpoint takes only `latest` in the default run, which has two trainings: use `latest`, "
            "or ",
        ),
    ],
)
def test_what_is_not_for_two_trainings(options, says, capsys):
    assert refusal(options.split(), capsys) == f"{says}add --loss conclip to train only the first model."
    assert len(parse_trainings([*options.split(), "--loss", "conclip"])) == 1


@pytest.mark.parametrize("folder", [".", "..", "a/..", "/"])
def test_a_folder_without_a_name_has_none_beside_it(folder, capsys):
    message = refusal(["--output_dir", folder], capsys)
    ending = "name a folder, since the second model is saved to NAME-distilled beside it."
    assert message == f"--output_dir {folder}: {ending}"


def test_a_warning_about_the_config_file_is_printed_once(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text("lora_rank: 8\n")
    assert len(parse_trainings(["--config", str(tmp_path / "recipe.yaml")])) == 2
    assert capsys.readouterr().out.count("Warning: --lora_rank") == 1
