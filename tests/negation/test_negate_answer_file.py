"""Answers on disk: what a stop in the middle of a line leaves, and who else writes."""

import json
import multiprocessing

import pytest

from conclip.negation.llm.answer_file import AnswerFile

KEYS = [f"{n:032x}" for n in range(200)]


def test_answers_are_found_again(tmp_path):
    path = tmp_path / "new" / "answers.jsonl"
    answers = AnswerFile(path)
    assert answers.get(KEYS[0]) is None
    answers.add(KEYS[0], 'a "b"\n{ü \ud800', caption="x")
    answers.add(KEYS[1], "")
    for file in (answers, AnswerFile(path)):
        assert [file.get(key) for key in KEYS[:3]] == ['a "b"\n{ü ?', "", None] or file is answers
        assert file.get(KEYS[1]) == ""
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == KEYS[:2]


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_cut_line_is_dropped_and_the_next_is_whole(tmp_path, cut):
    path = tmp_path / "answers.jsonl"
    answers = AnswerFile(path)
    for key in KEYS[:3]:
        answers.add(key, key)
    path.write_bytes(path.read_bytes()[:-cut])
    again = AnswerFile(path)
    assert [again.get(key) for key in KEYS[:3]] == [KEYS[0], KEYS[1], None]
    again.add(KEYS[2], "new")
    again.add(KEYS[3], "newer")
    for file in (again, AnswerFile(path)):
        assert [file.get(key) for key in KEYS[:4]] == [KEYS[0], KEYS[1], "new", "newer"]


@pytest.mark.parametrize(
    "line", ["", "{}", "[1]", "null", '{"key": "00", "answer": "x"}', '{"key": 3, "answer": "x"}']
)
def test_lines_of_something_else_are_passed_over(tmp_path, line):
    path = tmp_path / "answers.jsonl"
    AnswerFile(path).add(KEYS[0], "one")
    with open(path, "a") as file:
        file.write(line + "\n")
    AnswerFile(path).add(KEYS[1], "two")
    answers = AnswerFile(path)
    assert [answers.get(key) for key in KEYS[:2]] == ["one", "two"]


def _write(path, keys):
    answers = AnswerFile(path)
    for key in keys:
        answers.add(key, key * 50)
    assert all(answers.get(key) == key * 50 for key in keys)


def test_processes_share_a_file(tmp_path):
    path = tmp_path / "answers.jsonl"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write, args=(path, KEYS[n::2])) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    answers = AnswerFile(path)
    assert all(answers.get(key) == key * 50 for key in KEYS)
