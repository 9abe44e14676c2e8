"""Cleaned text: literals that `basic_clean`, `whitespace_clean` and `lower` of openai-clip 1.0.1 gave."""

import numpy as np
import pytest
from tiny import TEXT_LENGTH, VOCABULARY, tiny_tokenizer

from conclip.embedding.clean_text import clean_text
from conclip.embedding.tokens import TextTokenizer

EXPECTED = {
    "A dog\u2019s \u201cball\u201d": 'a dog\'s "ball"',
    "a cat &amp; a dog": "a cat & a dog",
    "&amp;lt;b&amp;gt;": "<b>",
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
