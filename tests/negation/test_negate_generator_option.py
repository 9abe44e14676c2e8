"""The command line with the language model's generator, against a server of the test's own."""

import json

import pytest
from chat_server import chat_server, task
from datasets import load_dataset

from conclip.negation.pipeline.command import main

CAPTIONS = [f"a man with a red {thing} sits on a bench" for thing in ("hat", "bag", "ball", "scarf", "box", "cup")]
CAPTIONS += [f"a dog near a {thing} runs on the beach" for thing in ("tree", "car", "boat", "house", "wall", "bike")]


@pytest.fixture
def negate(tmp_path, capsys):
    source = tmp_path / "captions.jsonl"
    source.write_text("\n".join(json.dumps({"caption": caption}) for caption in CAPTIONS))

    def negate_(*options):
        given = ["--dataset_name", source, "--output_dir", tmp_path / "out", "--negation_types", "false", *options]
        status = main([*map(str, given)])
        err = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
        assert not any("Traceback" in line for line in err)
        return status, err[-1] if err else ""

    return negate_


def put_not(number, payload):
    """Puts "not" before what it is asked to negate: right of phrases and participles, and refused of some nouns."""
    asked = task(payload)
    denied = asked["Caption"].replace(asked["Deny"], f"not {asked['Deny']}", 1)
    return json.dumps({"negated_caption": denied})


def model(url, *options):
    return ["--generator", "language_model", "--model_name_or_path", "some-model", "--base_url", url, *options]


def test_the_server_makes_the_sentences_whatever_the_number_of_processes(negate, tmp_path):
    with chat_server(put_not) as (url, log):
        assert negate(*model(url))[0] == 0
        asked = len(log.payloads)
        assert asked >= len(CAPTIONS)
        one = load_dataset(str(tmp_path / "out"), split="train").to_list()
        assert negate(*model(url, "--overwrite", "--num_proc", "2"))[0] == 0
        assert len(log.payloads) == 2 * asked
    assert load_dataset(str(tmp_path / "out"), split="train").to_list() == one
    assert {generator for row in one for generator in row["negation_generators"]} == {"language model"}
    assert len(one) >= 6 and all(row["caption"] in CAPTIONS for row in one)
    assert all(row["negated_captions"][0].replace("not ", "") == row["caption"] for row in one)


def test_a_budget_stops_it_and_no_answer_is_asked_for_twice(negate):
    with chat_server(put_not) as (url, log):
        status, message = negate(*model(url, "--max_requests", "5"))
        assert status == 1 and "the same command continues from here" in message and len(log.payloads) == 5
        assert negate(*model(url))[0] == 0
        prompts = [json.dumps(payload["messages"]) for payload in log.payloads]
    assert len(prompts) == len(set(prompts)) >= len(CAPTIONS)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--generator", "language_model"], "--generator language_model needs --model_name_or_path"),
        (["--temperature", "1"], "--temperature has no effect without --generator language_model."),
        (model("http://127.0.0.1:9", "--max_concurrency", "0"), "--max_concurrency must be 1 or more, got 0."),
        (model("http://127.0.0.1:9", "--api_key_env", "NO_SUCH_KEY"), "NO_SUCH_KEY"),
        (["--generator", "language_model", "--model_name_or_path", "./nowhere"], "nowhere cannot be loaded"),
        (model("http://127.0.0.1:9", "--max_tokens", "9", "--num_proc", "2"), "--max_tokens needs --num_proc 1"),
    ],
    ids=["no model", "grammar", "bad value", "no key", "no folder", "budget"],
)
def test_one_sentence_for_what_cannot_work(options, says, negate):
    status, message = negate(*options)
    assert status in (1, 2) and says in message
