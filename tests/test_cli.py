"""The parser that all commands share, and the command line as a user meets it."""

import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

from conclip.__main__ import COMMANDS, main
from conclip.cli import Parser, option
from conclip.errors import UsageError
from conclip.evaluation.arguments import parse_arguments as parse_evaluate

HEAVY = ("torch", "transformers", "datasets", "accelerate", "spacy", "peft", "matplotlib")


@dataclass
class Model:
    name: str = option(help="folder or Hub id")
    revision: str | None = option(None, "branch on the Hub")


@dataclass
class Training:
    learning_rate: float = option(1e-6, "peak learning rate, 100% of it", at_least=0)
    num_train_epochs: int = option(5, "passes over the data", at_least=1, below=100)
    schedule: str = option("cosine", "schedule", choices=["cosine", "linear"])
    bf16: bool = option(False, "use bfloat16")
    torch_compile: bool | None = option(None, "compile")
    report_to: list[str] = option(["jsonl"], "trackers")
    run_name: str = option("", "name of the run")
    warmup_steps: int = option(0, "updates of warm-up")


def parser():
    return Parser(
        {"Model": Model, "Training": Training},
        prog="conclip something",
        description="Do something.",
        example="conclip something --name x",
        alternative_defaults={
            "on Sundays": {"learning_rate": 1.5e-3, "num_train_epochs": 5},
            "at night": {"learning_rate": 2e-3, "warmup_steps": 7},
        },
    )


def parse(*argv):
    model, training = parser().parse([*argv])
    return {**vars(model), **vars(training)}


def refusal(*argv):
    with pytest.raises(UsageError) as error:
        parser().parse([*argv])
    return str(error.value)


def test_defaults_and_values_of_every_type():
    assert parse("--name", "x") == {
        "name": "x",
        "revision": None,
        "learning_rate": 1e-6,
        "num_train_epochs": 5,
        "schedule": "cosine",
        "bf16": False,
        "torch_compile": None,
        "report_to": ["jsonl"],
        "run_name": "",
        "warmup_steps": 0,
    }
    given = parse(
        *"--name x --learning_rate=2e-5 --num-train-epochs 7 --bf16 --torch_compile false --report_to a b".split()
    )
    assert (given["learning_rate"], given["num_train_epochs"]) == (2e-5, 7)
    assert (given["bf16"], given["torch_compile"], given["report_to"]) == (True, False, ["a", "b"])


def test_a_list_is_not_shared_between_instances():
    parse("--name", "x")["report_to"].append("more")
    assert parse("--name", "x")["report_to"] == ["jsonl"]
    assert Training().report_to is not Training().report_to


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("", "the following arguments are required: --name (--help lists the options)"),
        ("--name x --num_train_epochs 0", "--num_train_epochs must be 1 or more, got 0."),
        ("--name x --num_train_epochs 100", "--num_train_epochs must be less than 100, got 100."),
        ("--name x --learning_rate -1", "--learning_rate must be 0 or more, got -1.0."),
        ("--name x --learning_rate nan", "--learning_rate must be a finite number, got nan."),
        ("--name x --num_train_epochs two", "argument --num_train_epochs: invalid int value: 'two'"),
        ("--name x --bf16 perhaps", "argument --bf16: must be true or false, got 'perhaps'"),
        ("--name x --schedule sine", "argument --schedule: invalid choice: 'sine'"),
        ("--name x --learnig_rate 1", "unknown option --learnig_rate, did you mean --learning_rate?"),
        ("--name x --epochs 1", "unknown option --epochs, did you mean --num_train_epochs?"),
        ("--name x --learning 1", "unknown option --learning, did you mean --learning_rate?"),
        ("--nam x", "unknown option --nam, did you mean --name?"),
        ("--name x --zzz", "unknown option --zzz (--help lists the options)"),
        ("--name x stray", "unknown option stray"),
    ],
)
def test_a_mistake_is_one_sentence(argv, says):
    assert says in refusal(*argv.split())


def test_a_config_file_sets_the_same_options_and_the_command_line_wins(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("name: from-file\nlearning-rate: 2.0e-5\nbf16: true\nreport_to: [a, b]\nrevision:\n")
    given = parse("--config", str(path), "--learning_rate", "3e-5")
    assert (given["name"], given["learning_rate"], given["bf16"]) == ("from-file", 3e-5, True)
    assert given["report_to"] == ["a", "b"] and given["revision"] is None
    assert parse(f"--config={path}", "--name", "mine", "--report_to", "c")["report_to"] == ["c"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "recipe.yaml cannot be read: No such file or directory."),
        ("- a\n- b\n", "recipe.yaml must hold lines such as `learning_rate: 1.0e-6`."),
        ("name: [unclosed", "recipe.yaml cannot be read: expected ',' or ']', but got '<stream end>' (line 1)"),
        ("lerning_rate: 1\n", "recipe.yaml: unknown option --lerning_rate, did you mean --learning_rate?"),
        ("config: other.yaml\n", "recipe.yaml: unknown option --config"),
        ("num_train_epochs: 0\n", "--num_train_epochs must be 1 or more, got 0."),
        ("num_train_epochs: 1.5\n", "argument --num_train_epochs: invalid int value: '1.5'"),
        ("name: {a: 1}\n", "recipe.yaml: name must be a value or a list of values, got {'a': 1}."),
    ],
)
def test_a_bad_config_file_is_one_sentence(tmp_path, content, says):
    path = tmp_path / "recipe.yaml"
    if content is not None:
        path.write_text(content)
    assert says in refusal("--name", "x", "--config", str(path))


# Of each command but train (tests/training/test_bad_arguments.py): an option that has no effect beside the others, and
# the end of the sentence that says so.
EMBED = "embed --output_file out.npz --model_name_or_path"
NEGATE = "negate --output_dir out --dataset_name rows.csv"
MODEL = "--generator language_model --model_name_or_path me/model"
WITHOUT_EFFECT = [
    ("evaluate --model_name_or_path .", "--revision main", "on a local folder."),
    ("evaluate --model_name_or_path . ..", "--revision main", "on local folders."),
    (
        "evaluate --model_name_or_path me/clip",
        "--data_dir data",
        "on the scenes, which are drawn: name other benchmarks",
    ),
    ("evaluate --model_name_or_path me/clip", "--allow_missing_images", "on the scenes, which are drawn: name other"),
    (f"{EMBED} . --image_dir images", "--revision main", "on the local folder .."),
    (f"{EMBED} me/clip --image_dir images", "--split test", "without --dataset_name."),
    (f"{EMBED} me/clip --image_dir images", "--image_column x", "without --dataset_name."),
    (f"{EMBED} me/clip --dataset_name rows.csv", "--dataset_config_name x", "on the file rows.csv."),
    ("ccneg --data_dir d", "--num_distractors 1", "without --coco_dir."),
    ("ccneg --data_dir d --annotations_only", "--num_proc 2", "with --annotations_only, which reads no images."),
    (
        "ccneg --data_dir d --annotations_only",
        "--skip_broken_images",
        "with --annotations_only, which reads no images.",
    ),
    (NEGATE, "--temperature 0", "without --generator language_model."),
    (NEGATE, "--num_distractors 2", "without --distractor_mapping."),
    (NEGATE, "--dataset_config_name x", "on the file rows.csv."),
    (f"{NEGATE} {MODEL}", "--max_retries 2", "without --base_url."),
    (f"{NEGATE} {MODEL} --base_url http://localhost", "--generation_batch_size 9", "with --base_url."),
]


@pytest.mark.parametrize(("command", "option", "says"), WITHOUT_EFFECT)
def test_an_option_without_effect_is_refused(command, option, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").touch()
    assert main([*command.split(), *option.split()]) == 1
    assert capsys.readouterr().err.startswith(f"Error: {option.split()[0]} has no effect {says}")
    assert {path.name for path in tmp_path.iterdir()} == {"rows.csv"}


def test_a_revision_has_no_effect_on_the_local_folders_among_the_models(capsys, monkeypatch):
    argv = ["--model_name_or_path", "me/clip", ".", "--revision", "main"]
    assert parse_evaluate(argv)[0].revision == "main"
    assert capsys.readouterr().out == "Warning: --revision has no effect on local folders: ..\n"
    monkeypatch.setenv("RANK", "1")
    parse_evaluate(argv)
    assert capsys.readouterr().out == ""


@dataclass
class Search:
    folder: str = option(help="folder of images", positional=True)
    query: list[str] = option([], "what to look for", positional=True)
    top: int = option(10, "how many", at_least=1)
    plain: bool = option(False, "print paths alone")


def positional_parser():
    return Parser({"Search": Search}, prog="conclip x", description="Do.", example="conclip x photos a dog")


@pytest.mark.parametrize(
    ("argv", "folder", "query", "top", "plain"),
    [
        ("photos", "photos", [], 10, False),
        ("photos a + b - c", "photos", ["a", "+", "b", "-", "c"], 10, False),
        # Options may be anywhere, and a flag does not take the next word.
        ("photos --top 3 a --plain b", "photos", ["a", "b"], 3, True),
        ("--plain photos a", "photos", ["a"], 10, True),
        ("--plain false photos --top=2 a", "photos", ["a"], 2, False),
        ("photos a --plain", "photos", ["a"], 10, True),
    ],
)
def test_arguments_by_place(argv, folder, query, top, plain):
    parsed = positional_parser()
    assert parsed.parse(argv.split()) == [Search(folder, query, top, plain)]
    places = {"folder", *(["query"] if query else [])}
    assert parsed.named - {"top", "plain"} == places


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("", "the following arguments are required: FOLDER"),
        ("--top 3", "the following arguments are required: FOLDER"),
        ("photos --topp 3", "unknown option --topp, did you mean --top?"),
        ("photos a --top 0", "--top must be 1 or more, got 0."),
        ("photos a -q", "unknown option -q"),
        ("photos a --folder b", "unknown option --folder"),
    ],
)
def test_a_mistake_beside_arguments_by_place(argv, says):
    with pytest.raises(UsageError) as error:
        positional_parser().parse(argv.split())
    assert says in str(error.value)


def test_help_shows_the_places_of_arguments(capsys):
    with pytest.raises(SystemExit):
        positional_parser().parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("usage: conclip x FOLDER [QUERY ...] [OPTIONS]")
    assert "FOLDER folder of images (required) QUERY what to look for --top INT how many (default: 10)" in text


def test_which_options_were_given(tmp_path, capsys):
    """On the command line, even with the default value; in the config file, if the value is another."""
    (tmp_path / "recipe.yaml").write_text("num_train_epochs: 7\nschedule: cosine\nbf16: false\n")
    parsed = parser()
    parsed.parse(["--name", "x", "--config", str(tmp_path / "recipe.yaml"), "--learning-rate=1e-6", "--bf16", "false"])
    parsed.without_effect(["schedule", "bf16", "revision", "torch_compile"], "here")
    assert capsys.readouterr().out == ""
    parsed.without_effect(["num_train_epochs"], "here")
    assert capsys.readouterr().out == "Warning: --num_train_epochs in the config file has no effect here.\n"
    with pytest.raises(UsageError, match="^--learning_rate has no effect here.$"):
        parsed.without_effect(["num_train_epochs", "learning_rate"], "here")
    parsed.parse(["--name", "x"])
    parsed.without_effect(["num_train_epochs", "learning_rate"], "here")


def test_help_has_groups_real_defaults_and_an_example(capsys):
    with pytest.raises(SystemExit):
        parser().parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Do something." in text and "Example: conclip something --name x" in text
    assert "Model: --name NAME folder or Hub id (required) --revision VALUE branch on the Hub" in text
    assert "peak learning rate, 100% of it (default: 1e-06; on Sundays: 0.0015; at night: 0.002)" in text
    assert "trackers (default: jsonl)" in text and "use bfloat16 (" not in text and "name of the run (" not in text
    assert "passes over the data (default: 5)" in text and "updates of warm-up (default: 0; at night: 7)" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_texts_have_one_style(command, monkeypatch):
    texts = []
    monkeypatch.setattr(Parser, "print_help", lambda self: texts.extend(action.help for action in self._actions))
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert len(texts) > 2
    for text in texts:
        words = re.sub(r" \((default|required|without) ?.*\)$", "", text)
        assert not words.endswith("."), text
        assert words.startswith("Hub id") or not re.match(r"[A-Z][a-z]*\b", words), text


def test_commands_are_listed_and_a_wrong_one_is_refused(capsys):
    assert main([]) == main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n  {name} " in listed for name in COMMANDS)
    assert main(["--version"]) == 0 and capsys.readouterr().out.startswith("conclip ")
    assert main(["trian"]) == 2
    assert capsys.readouterr().err.startswith("Error: unknown command 'trian', did you mean train?")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_needs_none_of_the_heavy_libraries(command):
    """They take seconds to import; a mistyped option is answered without them as well."""
    code = (
        "import sys\nfrom conclip.__main__ import main\n"
        "try:\n    main([sys.argv[1], '--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert main([sys.argv[1], '--no_such_option']) == 1\n"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"
    text = " ".join(done.stdout.split())
    assert f"usage: conclip {command} " in text and "Example: " in text
    # All options of these are absent or off by default.
    assert ("(default: " in text) == (command not in ("cache", "export", "push"))
    assert done.stderr.startswith("Error: ") and "--no_such_option" in done.stderr
    assert "Traceback" not in done.stderr
