"""Cleaned text: literals that `basic_clean`, `whitespace_clean` and `lower` of openai-clip 1.0.1 gave."""

import numpy as np
import pytest
from tiny import TEXT_LENGTH, VOCABULARY, tiny_tokenizer

from conclip.embedding.clean_text import clean_text, text_warnings
from conclip.embedding.texts import cached_tokens
from conclip.embedding.tokens import TextTokenizer

EXPECTED = {
    "A dog\u2019s \u201cball\u201d": 'a dog\'s "ball"',
    "a cat &amp; a dog": "a cat & a dog",
    "&amp;lt;b&amp;gt;": "<b>",
    "<b> &amp;amp; &amp;lt;": "<b> & <",
    "a caf\xc3\xa9 sign": "a caf\xe9 sign",
    "  a\xa0b\n\tc ": "a b c",
    "\ufb01re": "fire",
    "cafe\u0301": "caf\xe9",
    "&nbsp;a": "a",
    "a\x1fb": "ab",
    "\ufeffa": "a",
    "&eacute; &hearts;": "\xe9 \u2665",
    "plain, 1% (x) <b>  It's": "plain, 1% (x) <b> it's",
    "": "",
}


@pytest.mark.parametrize("text", EXPECTED)
def test_text_is_cleaned_as_in_openais_code(text):
    assert clean_text(text) == EXPECTED[text]


def tokenizer(clean: bool) -> TextTokenizer:
    return TextTokenizer(tiny_tokenizer(), TEXT_LENGTH, VOCABULARY["<|endoftext|>"], clean)


def test_a_tokenizer_that_cleans_reads_the_clean_text(tmp_path):
    cleaned, raw = (tokenizer(clean)([*EXPECTED], tmp_path) for clean in (True, False))
    expected = tokenizer(False)([*EXPECTED.values()])
    assert np.array_equal(cleaned.ids, expected.ids) and np.array_equal(cleaned.offsets, expected.offsets)
    # Two files: the tokens of the one are not those of the other.
    assert len(raw.ids) > len(cleaned.ids) and len(list(tmp_path.iterdir())) == 2


def test_warnings_count_the_texts_that_are_read_otherwise():
    # Case, white space and composed letters are the same to both tokenizers.
    alike = ["A  dog\u00a0here", "cafe\u0301", "it's 1% <b>"]
    assert text_warnings(alike) == text_warnings([]) == []
    (repaired,) = text_warnings([*alike, "a dog\u2019s ball", "x &amp; y"])
    assert repaired.startswith("Warning: OpenAI's tokenizer repairs 2 of 5 texts before it reads them")
    assert "such as 'a dog\u2019s ball'; here they stay as they are." in repaired
    (special,) = text_warnings(iter(["a dog<|endoftext|> and a cat", "a dog"]))
    assert special == (
        "Warning: 1 of 2 texts hold <|startoftext|> or <|endoftext|>, which CLIP reads as the start or the end of a "
        "text, such as 'a dog<|endoftext|> and a cat'; remove it."
    )


def test_cached_tokens_warn_every_time(tmp_path):
    heard = []
    tokenize = cached_tokens(tokenizer(False), tmp_path, heard.append)
    for _ in range(2):
        tokenize(["a cat", "a dog&#39;s ball"])
    assert len(heard) == 2 and heard[0] == heard[1] and "repairs 1 of 2 texts" in heard[0]
