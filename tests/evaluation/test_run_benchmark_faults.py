"""Whatever is wrong with what evaluate/run_benchmarks.py is given: one sentence, and nothing half written."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from benchmark_runs import command, evaluate_models, refusal, report_of, run
from huggingface_hub import constants
from other_models import save_other
from small_benchmarks import write_images
from tiny import save_tiny

from conclip.errors import UsageError
from conclip.evaluation.benchmarking import has_items
from conclip.evaluation.items import ItemReader
from dataset_scripts.benchmarks.registry import choose_benchmarks
from modeling_conclip import ConCLIPModel


@pytest.mark.parametrize(
    ("card", "says"),
    [
        (b"---\nlicense: [mit\n---\n# A model\n", "is damaged: expected ',' or ']', but got '<stream end>' (line 1)"),
        (b"# A model\n<!-- benchmarks: written by run_benchmarks.py -->\n", "has no section between"),
        (b"\xff\xfe# A model", "'utf-8' codec"),
    ],
    ids=["metadata", "section", "bytes"],
)
def test_a_card_that_cannot_be_filled_is_refused_before_any_model_is_loaded(card, says, data, tmp_path, capsys):  # noqa: F811
    path = tmp_path / "README.md"
    path.write_bytes(card)
    message = refusal(["nowhere/at/all"], ["sugarcrepe"], data, tmp_path / "out", capsys, model_card=path)
    assert message.startswith(f"--model_card {path}: ") and says in message
    assert path.read_bytes() == card


def test_a_card_without_metadata_gets_some(data, models, tmp_path):  # noqa: F811
    path = tmp_path / "README.md"
    path.write_text("# A model\n")
    evaluate_models([models["one"]], ["sugarcrepe"], data, tmp_path / "out", model_card=path)
    text = path.read_text()
    assert text.startswith("---\nmodel-index:") and "# A model" in text and "name: SugarCrepe" in text


def test_scores_that_are_no_numbers(data, tmp_path, capsys):  # noqa: F811
    model = save_tiny(tmp_path / "broken")
    with torch.no_grad():
        model.text_projection.weight[:] = float("nan")
    model.save_pretrained(tmp_path / "broken")
    message = refusal([tmp_path / "broken"], ["sugarcrepe"], data, tmp_path / "out", capsys, log_samples=True)
    assert message == "SugarCrepe cannot be scored: Row 0 of true_scores is nan: a score must be a finite number."
    for folder, names in {"cat": ["a.png"], "dog": ["b.png"]}.items():
        write_images(tmp_path / "mine" / folder, names)
    message = refusal([tmp_path / "broken"], [f"classes:{tmp_path / 'mine'}"], data, tmp_path / "out", capsys)
    assert message.startswith("mine cannot be scored: Row 0 of scores is nan")
    assert {path.name for path in (tmp_path / "out").rglob("*json*")} == {"meta.json"}


def test_a_single_class(models, tmp_path, capsys):  # noqa: F811
    write_images(tmp_path / "mine" / "cat", ["a.png"])
    message = refusal([models["one"]], [f"classes:{tmp_path / 'mine'}"], tmp_path, tmp_path / "out", capsys)
    assert message == "mine has a single class; classification needs two or more."


def test_some_items_with_a_category_and_some_without(models, tmp_path, capsys):  # noqa: F811
    write_images(tmp_path / "mine" / "images", ["a.png", "b.png"])
    row = {"image_0": "a", "image_1": "b", "caption_0": "a cat", "caption_1": "a dog"}
    rows = [{"id": 0, **row}, {"id": 1, "collapsed_tag": "Object", **row}]
    (tmp_path / "mine" / "examples.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    message = refusal([models["one"]], [f"two_by_two:{tmp_path / 'mine'}"], tmp_path, tmp_path / "out", capsys)
    assert message.startswith("mine cannot be scored: Row 0 of categories is ''")


def test_folders_are_named_and_found_from_where_the_command_is_given(tmp_path, monkeypatch):
    write_images(tmp_path / "mine" / "images", ["a.png"])
    row = {"id": 0, "image_0": "a", "image_1": "a", "caption_0": "a cat", "caption_1": "a dog"}
    (tmp_path / "mine" / "examples.jsonl").write_text(json.dumps(row))
    monkeypatch.chdir(tmp_path / "mine")
    for name in (".", "../mine/", str(tmp_path / "mine")):
        (benchmark,) = choose_benchmarks([f"two_by_two:{name}"])
        assert benchmark.name == "mine" and len([*benchmark.read(tmp_path / "elsewhere")]) == 1


@pytest.mark.parametrize("kind", ["classes", "two_by_two"])
def test_two_folders_of_one_name_would_be_mixed_up(kind):
    with pytest.raises(UsageError, match=f"{kind}:b/mine: there is another mine among them"):
        choose_benchmarks([f"{kind}:a/mine", f"{kind}:b/mine"])
    with pytest.raises(UsageError, match="there is another cifar10"):
        choose_benchmarks(["cifar10", f"{kind}:b/cifar10"])
    assert len(choose_benchmarks([f"{kind}:a/mine", f"{kind}:a/mine", "sugarcrepe", "sugarcrepe"])) == 2


@pytest.mark.parametrize("name", ["all", "list"])
def test_names_that_stand_alone(name):
    with pytest.raises(UsageError, match=f"--benchmarks {name} cannot be combined"):
        choose_benchmarks(["sugarcrepe", name])


def test_the_list_needs_no_model(capsys):
    assert run(["--benchmarks", "list"]) == 0
    assert "sugarcrepe: SugarCrepe. The seven annotation files" in capsys.readouterr().out
    assert run(["--benchmarks", "scenes"]) == 1
    assert capsys.readouterr().err.startswith("Error: the following arguments are required: --model_name_or_path")


def test_a_model_called_as_another_ones_score(data, models, tmp_path, capsys):  # noqa: F811
    save_other(tmp_path / "blip", "blip")
    shutil.copytree(models["one"], tmp_path / "blip (ITC)")
    message = refusal([tmp_path / "blip (ITC)", tmp_path / "blip"], ["sugarcrepe"], data, tmp_path / "out", capsys)
    assert message.endswith("the table already has a column blip (ITC); rename a folder.")


def test_samples_of_models_of_one_name_and_of_one_model_twice(data, tmp_path, monkeypatch):  # noqa: F811
    for seed, parent in enumerate("ab"):
        save_tiny(tmp_path / parent / "tiny", seed=seed)
    monkeypatch.chdir(tmp_path)
    # Relative and absolute: the second label is the whole path.
    names = ["a/tiny", "b/tiny/", "b/tiny"]
    evaluate_models(names, ["sugarcrepe"], data, tmp_path / "out", log_samples=True)
    found = {path.parent.name: path.read_text() for path in (tmp_path / "out" / "samples").glob("*/sugarcrepe.jsonl")}
    assert found.keys() == {"a%2Ftiny", "b%2Ftiny", "b%2Ftiny (2)"}
    assert found["b%2Ftiny"] == found["b%2Ftiny (2)"] != found["a%2Ftiny"]
    assert report_of(tmp_path / "out", "b/tiny") == report_of(tmp_path / "out", "b/tiny (2)")


@pytest.mark.parametrize("blocked", ["benchmarks.json/", "benchmarks.png/", "samples"])
def test_results_that_cannot_be_written(blocked, data, models, tmp_path, capsys):  # noqa: F811
    out = tmp_path / "out"
    if blocked.endswith("/"):
        (out / blocked).mkdir(parents=True)
    else:
        out.mkdir()
        (out / blocked).touch()
    message = refusal([models["one"]], ["sugarcrepe"], data, out, capsys, log_samples=True)
    assert message.startswith(f"cannot write to {out}")
    assert not [*out.rglob("unfinished*")]


def test_a_cache_that_takes_images_and_no_texts(data, models, tmp_path, capsys):  # noqa: F811
    evaluate_models([models["one"]], ["sugarcrepe"], data, tmp_path / "out")
    (of_texts,) = (
        path.parent
        for path in (tmp_path / "out" / "cache").glob("*/meta.json")
        if "text_config" in json.loads(path.read_text())
    )
    shutil.rmtree(of_texts)
    of_texts.touch()
    message = refusal([models["one"]], ["sugarcrepe"], data, tmp_path / "out", capsys)
    assert message.startswith(f"--embedding_cache_dir: cannot write to {of_texts}")


def test_an_interrupted_run_leaves_no_part_of_a_file(data, models, tmp_path, monkeypatch):  # noqa: F811
    def interrupted(self, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(ConCLIPModel, "embed_packed_texts", interrupted)
    assert run(command([models["one"]], ["sugarcrepe"], data, tmp_path, log_samples=True)) == 130
    assert {path.name for path in tmp_path.rglob("*") if path.is_file() and "cache" not in path.parts} == set()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("config.json", "3", "cannot be loaded: "),
        ("config.json", '{"model_type": "bert"}', "a bert model; supported are clip"),
        ("adapter_config.json", "[]", "adapter_config.json does not hold a JSON object"),
        ("adapter_config.json", '{"peft_type": "OTHER", "base_model_name_or_path": "x"}', "no model there"),
        ("adapter_config.json", '{"peft_type": "LORA", "base_model_name_or_path": "/no/x"}', "its base model /no/x"),
    ],
)
def test_a_folder_that_holds_no_model(name, content, says, data, tmp_path, capsys):  # noqa: F811
    folder: Path = tmp_path / "model"
    folder.mkdir()
    (folder / name).write_text(content)
    message = refusal([folder], ["sugarcrepe"], data, tmp_path / "out", capsys)
    assert message.startswith(f"--model_name_or_path {folder}") and says in message


def test_looking_for_all_benchmarks_fetches_nothing(tmp_path, monkeypatch, capsys):
    found = []

    def fetched(*_args, **_options):
        found.append(constants.HF_HUB_OFFLINE)
        raise OSError

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    (benchmark,) = choose_benchmarks(["cifar10"])
    assert not has_items(ItemReader(benchmark, tmp_path), Accelerator())
    assert found == [True] and constants.HF_HUB_OFFLINE is False
    assert capsys.readouterr().out.startswith("Not run: cifar10. uoft-cs/cifar10 cannot be downloaded")


def test_a_tokenizer_that_does_not_belong_to_the_model(data, tmp_path, capsys):  # noqa: F811
    save_tiny(tmp_path / "model", text={"eos_token_id": 5})
    message = refusal([tmp_path / "model"], ["sugarcrepe"], data, tmp_path / "out", capsys)
    assert message.endswith(
        "its tokenizer ends a text with token 685, but its model looks for token 5: correct "
        "`eos_token_id` of `text_config` in config.json."
    )
