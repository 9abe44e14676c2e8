"""`conclip reproduce` on small stand-ins, its tables by hand, and its trainings against the recipes."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import bad_inputs
import pytest
from stand_ins import write_benchmarks, write_ccneg, write_coco
from tiny import save_tiny

from conclip.errors import UsageError
from conclip.evaluation import paper_tables, reproduce_command
from conclip.evaluation.paper_tables import TABLES, ZERO_SHOT, Row, compare, format_comparison
from conclip.evaluation.reproduce_command import PARSER, ReproduceArguments, in_new_process, run, steps_of, training
from conclip.training.arguments import parse_arguments
from dataset_scripts.ccneg_folder import main as write_ccneg_folder

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
# Two models of the table, of which one is trained.
SMALL = replace(TABLES["sugarcrepe"], rows=dict([*TABLES["sugarcrepe"].rows.items()][:2]))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    save_tiny(folder / "clip")
    write_coco(folder / "coco")
    write_ccneg(folder / "CC-Neg")
    write_benchmarks(folder / "data")
    options = {"data_dir": "CC-Neg", "coco_dir": "coco", "output_dir": "data/ccneg"}
    words = [word for name, value in options.items() for word in (f"--{name}", str(folder / value))]
    assert write_ccneg_folder([*words, "--strip_commas", "--test_size", "4"]) == 0
    return folder


@pytest.fixture
def arguments(inputs, tmp_path, monkeypatch) -> ReproduceArguments:
    monkeypatch.setitem(TABLES, "sugarcrepe", SMALL)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    return ReproduceArguments(
        tables=["sugarcrepe"],
        data_dir=str(inputs / "data"),
        output_dir=str(tmp_path / "out"),
        clip_b32=str(inputs / "clip"),
        per_device_train_batch_size=4,
        max_steps=1,
    )


def test_a_table_from_start_to_end(arguments, capsys):
    ran = []

    def run_step(words: list[str]) -> int:
        ran.append(words[0])
        # The second model cannot be scored the first time.
        return 7 if len(ran) == 3 else bad_inputs.run(words)

    with pytest.raises(UsageError, match="scores/sugarcrepe/clip_b32-L_conclip ended with exit status 7"):
        run(arguments, run_step)
    run(arguments, run_step)
    # The training and the scores of the base are not made again.
    assert ran == ["evaluate", "train", "evaluate", "evaluate"]
    output_dir = Path(arguments.output_dir)
    assert (output_dir / "models/clip_b32-L_conclip/config.json").is_file()
    report = json.loads((output_dir / "reproduction.json").read_text())
    for label, model in (("CLIP B/32", "clip_b32"), ("CoN-CLIP B/32", "clip_b32-L_conclip")):
        cells = report["tables"]["sugarcrepe"][label]
        rows = json.loads((output_dir / f"scores/sugarcrepe/{model}/benchmarks.json").read_text())["rows"]
        [added] = [row for row in rows if row["metric"] == "pair accuracy" and row["part"] == "add_att"]
        # Of two items.
        assert cells["add_att"]["value"] == 100 * [*added["values"].values()][0] == 50
        [ccneg] = [row for row in rows if row["benchmark"] == "ccneg-commas-stripped" and row["headline"]]
        assert cells["CC-Neg"]["value"] == 100 * [*ccneg["values"].values()][0]
    cells = report["tables"]["sugarcrepe"]["CLIP B/32"]["replace_obj"]
    assert (cells["published"], cells["difference"]) == (90.8, cells["value"] - 90.8)
    assert re.search(r"^CoN-CLIP B/32, published +90.86 +81.47", capsys.readouterr().out, re.MULTILINE)

    run(arguments, run_step)
    assert len(ran) == 4
    with pytest.raises(UsageError, match="models/clip_b32-L_conclip was made with other settings .*--max_steps 1"):
        run(replace(arguments, max_steps=2), run_step)


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}'])
def test_a_damaged_list_of_steps(arguments, content):
    path = Path(arguments.output_dir) / "steps.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(UsageError, match=f"{path} is damaged; delete it to run all steps again"):
        run(arguments, lambda words: 0)


def test_a_step_in_a_new_process_ends_with_its_status(capfd):
    assert in_new_process(["--version"]) == 0 and in_new_process(["no-such-command"]) == 2
    assert capfd.readouterr().out.startswith("conclip ")


def test_all_that_is_missing_is_said_before_anything_is_run(arguments, tmp_path, capsys, monkeypatch):
    def never(words: list[str]) -> int:
        raise AssertionError(words)

    monkeypatch.setattr(reproduce_command, "absent_from_hub", lambda name: "no network" if name == "me/none" else "")
    wrong = replace(arguments, data_dir=str(tmp_path / "nowhere"), clip_b32="me/none")
    with pytest.raises(UsageError, match="^3 files, datasets or models are missing: get them as"):
        run(wrong, never)
    said = capsys.readouterr().out
    assert said.startswith("Missing:\n- --clip_b32 me/none: there is no such folder, and the Hub does not give it")
    assert f"- {tmp_path / 'nowhere' / 'ccneg'} has no rows to train on: write it with `conclip ccneg" in said
    assert "- SugarCrepe: " in said and "- CC-Neg" not in said
    assert not (tmp_path / "out").exists()
    run(replace(arguments, check=True), never)
    assert capsys.readouterr().out.count("conclip evaluate --model_name_or_path") == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", [["ablation"], ["zero-shot", "sugarcrepe"], [*TABLES]])
def test_each_model_is_trained_once(names):
    steps = list(steps_of(ReproduceArguments(tables=names)))
    assert len({step.name for step in steps}) == len(steps)
    trained = {row.model for name in names for row in TABLES[name].models if row.loss}
    assert sorted(step.name for step in steps if step.words[0] == "train") == sorted(
        f"models/{own}" for own in trained
    )
    # A model is there before it is scored.
    made = set()
    for step in steps:
        made.add(step.name)
        assert (
            step.words[0] == "train" or not step.name.count("-L") or f"models/{step.name.rpartition('/')[2]}" in made
        )


def test_gains_are_those_over_the_base_of_the_same_size():
    base = {(name, ""): 50.0 for name in ZERO_SHOT}
    tuned = base | {("imagenet", ""): 58.0, ("cifar10", ""): 46.0, ("food101", ""): 54.0}
    scores = {own: base for own in ("clip_b32", "clip_b16", "clip_l14")}
    scores |= {"clip_b32-L_conclip": tuned, "clip_b16-L_conclip": base, "clip_l14-L_conclip": base}
    cells = compare(TABLES["zero-shot"], scores)["ViT-B/32"]
    assert [cells[name]["value"] for name in ("mean", "max", "min")] == [1, 8, -4]
    assert cells["mean"]["difference"] == 1 - 2.95


def test_a_table_of_the_ablation():
    row = {("sugarcrepe", part): value for part, value in {"replace": 80.0, "add": 70.0, "swap": 60.0}.items()}
    row |= {("ccneg-commas-stripped", ""): 99.0} | {(name, ""): 70.0 + at for at, name in enumerate(ZERO_SHOT)}
    cells = compare(TABLES["ablation"], {f"clip_b32-{loss}": row for loss in paper_tables.LOSSES})["L1+L2"]
    assert [cell["value"] for cell in cells.values()] == [80, 70, 60, 99, 73.5]
    assert [cell["published"] for cell in cells.values()] == [80.55, 83.29, 64.07, 99.72, 73.37]


def test_a_number_without_a_published_one():
    cells = {"a": {"value": 1.0, "published": None, "difference": None}}
    cells["long column"] = {"value": 2.0, "published": 3.5, "difference": -1.5}
    lines = format_comparison("title", {"row": cells}).splitlines()
    assert [line.split() for line in lines] == [
        ["title"],
        ["a", "long", "column"],
        ["row,", "ours", "1.00", "2.00"],
        ["row,", "published", "-", "3.50"],
        ["row,", "difference", "-", "-1.50"],
    ]
    assert len({len(line) for line in lines[1:]}) == 1


@pytest.mark.parametrize(
    ("loss", "recipe"),
    [("L1", "conclip-l1"), ("L2", "conclip-l2"), ("L1+L2", "conclip-l1-l2"), ("L_conclip", "conclip")],
)
def test_the_trainings_are_those_of_the_recipes(loss, recipe):
    words = training(Row("clip_b32", loss, ()), ReproduceArguments(), Path("outputs"))
    own, theirs = (
        [asdict(group) for group in parse_arguments(argv)]
        for argv in (words[1:], ["--config", str(RECIPES / f"{recipe}.yaml")])
    )
    for mine, other in zip(own, theirs, strict=True):
        differing = {name for name in mine if mine[name] != other[name]}
        assert differing <= {"dataset_name", "output_dir", "eval_split", "config"}


def test_the_options_are_read():
    (arguments,) = PARSER.parse(["--tables", "ablation", "zero-shot"])
    assert arguments.tables == ["ablation", "zero-shot"]
    with pytest.raises(UsageError, match="table3"):
        PARSER.parse(["--tables", "table3"])
