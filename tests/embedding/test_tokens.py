"""Texts as tokens: gathering, truncation, and the cache file."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TEXT_LENGTH, VOCABULARY, WORDS, tiny_model, tiny_tokenizer

import conclip.embedding.tokens
from conclip.atomic_write import WriteError
from conclip.embedding.tokens import TextTokenizer, TextTokens, pooled_length
from conclip.training.scenes_base import word_tokenizer
from modeling_conclip.packing_conclip import PADDING, pack_texts

START, END = VOCABULARY["<|startoftext|>"], VOCABULARY["<|endoftext|>"]
TEXTS = ["a red cat", "dog", "", "no bird above water", "a red cat"]


def tokenizer(end=END, length=TEXT_LENGTH) -> TextTokenizer:
    return TextTokenizer(tiny_tokenizer(), length, end)


def lists(tokens: TextTokens) -> list[list[int]]:
    return [row[row != PADDING].tolist() for row in tokens[range(len(tokens))]]


def words(*names: str) -> list[int]:
    return [START, *(VOCABULARY[f"{name}</w>"] for name in names), END]


class Unwilling:
    """A tokenizer that has its fingerprint but tokenises nothing."""

    def __init__(self):
        self.backend_tokenizer = tiny_tokenizer().backend_tokenizer

    def __call__(self, *args, **kwargs):
        raise AssertionError("tokenised anew")


def unwilling(end=END, length=TEXT_LENGTH) -> TextTokenizer:
    return TextTokenizer(Unwilling(), length, end)


def test_gathering_equals_plain_lists():
    generator = np.random.default_rng(0)
    texts = [generator.integers(0, 99, length).tolist() for length in (3, 1, 0, 5, 2)]
    lengths = [len(text) for text in texts]
    tokens = TextTokens(np.array(sum(texts, []), np.int32), np.cumsum([0, *lengths]))
    assert len(tokens) == 5
    for indices in ([0, 1, 2, 3, 4], [4, 0, 0], [3], [1, 2], [2], [], np.array([3, 1]), range(1, 4)):
        longest = max((lengths[index] for index in indices), default=0)
        expected = [texts[index] + [PADDING] * (longest - lengths[index]) for index in indices]
        actual = tokens[indices]
        assert actual.dtype == np.int32 and actual.shape == (len(indices), longest) and actual.tolist() == expected


def test_texts_become_their_words():
    expected = [words("a", "red", "cat"), words("dog"), words(), words("no", "bird", "above", "water")]
    tokens = tokenizer()(TEXTS)
    assert lists(tokens) == [*expected, expected[0]]
    assert tokens.ids.dtype == np.int32 and tokens.offsets.dtype == np.int64 and len(tokens.ids) == 5 + 3 + 2 + 6 + 5


def test_more_texts_than_are_tokenised_at_a_time(monkeypatch):
    expected = lists(tokenizer()(TEXTS))
    monkeypatch.setattr(conclip.embedding.tokens, "TEXTS_AT_A_TIME", 2)
    assert lists(tokenizer()(TEXTS)) == expected


@pytest.mark.parametrize("form", [list, tuple, np.array])
def test_no_text_and_other_sequences(form, tmp_path):
    for folder in (None, tmp_path, tmp_path):
        none = tokenizer()([], folder)
        assert len(none) == 0 and none[[]].shape == (0, 0) and none.offsets.tolist() == [0]
        assert lists(tokenizer()(form(TEXTS), folder)) == lists(tokenizer()(TEXTS))


@pytest.mark.parametrize("end", [END, 2])
def test_texts_end_where_clip_pools(end):
    """A text may itself hold the end-of-text token, and one of over 77 tokens is cut."""
    texts = [
        *TEXTS,
        "a red <|endoftext|> no dog",
        "<|endoftext|>",
        "red " * 500,
        "red " * 75,
        "red " * 74,
        "é☃ 🐱 zebra",
    ]
    tokens = tokenizer(end)(texts)
    found = lists(tokens)
    assert all(row.count(END) == 1 and row[-1] == END for row in found)
    assert found[5:10] == [words("a", "red"), words(), *[words(*["red"] * 75)] * 2, words(*["red"] * 74)]
    model = tiny_model(text={"eos_token_id": end}).double()
    options = {"padding": "max_length", "truncation": True, "max_length": TEXT_LENGTH}
    ids = tiny_tokenizer()(texts, return_tensors="pt", **options)["input_ids"]
    with torch.no_grad():
        expected = model.text_projection(model.text_model(ids).pooler_output)
        actual = model.embed_packed_texts(pack_texts(tokens[range(len(texts))]))
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def test_the_pooled_token():
    """CLIP's own rule (transformers, `CLIPTextModel.forward`): the first end or, for 2, the first of the highest."""
    assert pooled_length([5, 7, 9, 9, 3], eos_token_id=9) == 3
    assert pooled_length([5, 12, 9, 12, 9], eos_token_id=9) == 3
    assert pooled_length([5, 7, 9, 9, 3], eos_token_id=2) == 3
    assert pooled_length([5, 2, 12, 9, 12, 9], eos_token_id=2) == 3
    with pytest.raises(ValueError, match="lack the end-of-text token 8 .*does not belong to the model"):
        pooled_length([5, 7, 9], eos_token_id=8)


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="tokenizer does not belong"):
        tokenizer(end=END + 1)(TEXTS, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_second_call_reads_the_file(tmp_path):
    folder = tmp_path / "not" / "there yet"
    made = tokenizer()(TEXTS, folder)
    (path,) = folder.iterdir()
    read = unwilling()(TEXTS, folder)
    for name in ("ids", "offsets"):
        assert getattr(read, name).dtype == getattr(made, name).dtype
        assert np.array_equal(getattr(read, name), getattr(made, name))
    assert lists(read) == lists(made) and list(folder.iterdir()) == [path]
    with pytest.raises(AssertionError, match="tokenised anew"):
        unwilling()(TEXTS)


def test_what_the_last_call_asked_of_the_tokenizer_does_not_matter(tmp_path):
    made = tokenizer()
    made(TEXTS, tmp_path)
    made.tokenizer(TEXTS, padding="max_length", truncation=True, max_length=9)
    made(TEXTS, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


OTHERS = {
    "a text": lambda: (tokenizer(), [*TEXTS[:4], "a red dog"]),
    "one text fewer": lambda: (tokenizer(), TEXTS[:4]),
    "their order": lambda: (tokenizer(), TEXTS[::-1]),
    "where one ends": lambda: (tokenizer(), ["a red catdog", "", *TEXTS[2:]]),
    "length": lambda: (tokenizer(length=4), TEXTS),
    "end": lambda: (tokenizer(end=2), TEXTS),
    # "dug" takes the place of "dog" in the vocabulary, which stays as large.
    "vocabulary": lambda: (
        TextTokenizer(word_tokenizer(" ".join(WORDS).replace("dog", "dug").split()), TEXT_LENGTH, END),
        TEXTS,
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_something_else_has_another_file(other, tmp_path):
    tokenizer()(TEXTS, tmp_path)
    changed, texts = OTHERS[other]()
    expected = lists(changed(texts))
    assert expected != lists(tokenizer()(TEXTS)) or other == "end"
    assert lists(changed(texts, tmp_path)) == expected
    assert len(list(tmp_path.iterdir())) == 2
    assert lists(changed(texts, tmp_path)) == expected


def test_a_truncated_file_is_made_anew(tmp_path):
    expected = lists(tokenizer()(TEXTS, tmp_path))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for size in (0, 4, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert lists(tokenizer()(TEXTS, tmp_path)) == expected
        assert path.read_bytes() == whole and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_interrupted_writing_leaves_nothing(error, tmp_path, monkeypatch):
    plain, seen = Path.write_bytes, []

    def interrupted(path, content):
        seen.append(path)
        plain(path, content[:50])
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", interrupted)
        with pytest.raises(WriteError if isinstance(error, OSError) else type(error)):
            tokenizer()(TEXTS, tmp_path)
    assert not any(tmp_path.iterdir())
    tokenizer()(TEXTS, tmp_path)
    assert lists(unwilling()(TEXTS, tmp_path)) == lists(tokenizer()(TEXTS))
    # A killed process cannot tidy up: under the file's own name nothing may stand but the whole file.
    (path,) = tmp_path.iterdir()
    assert len(seen) == 1 and seen[0] != path and seen[0].parent == path.parent


def test_unicode_and_lone_surrogates(tmp_path):
    texts = ["\u00e9", "e\u0301", "☃ 🐱", "一只猫", "\x00"]  # composed or not: two texts
    assert lists(tokenizer()(texts, tmp_path)) == lists(unwilling()(texts, tmp_path)) == lists(tokenizer()(texts))
    # No tokenizer takes half a surrogate pair, and no Parquet file holds one, but its fingerprint is no other's.
    with pytest.raises(TypeError):
        tokenizer()(["\ud83d"], tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


FORK = """
import multiprocessing, sys
from tiny import TEXT_LENGTH, tiny_tokenizer
from conclip.embedding.tokens import TextTokenizer

tokenizer = TextTokenizer(tiny_tokenizer(), TEXT_LENGTH, tiny_tokenizer().eos_token_id)
texts = ["a dog"] * 5_000
tokenizer(texts)
child = multiprocessing.get_context("fork").Process(target=tokenizer, args=(texts,))
child.start()
child.join(30)
waits = child.is_alive()
child.kill()
sys.exit("the child waits" if waits else child.exitcode)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_does_not_wait_for_threads_of_its_parent():
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "2"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run([sys.executable, "-c", FORK], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]
