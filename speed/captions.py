"""Tokens of captions and their negations: those of a dataset, or random ones with the lengths of real captions."""

import numpy as np
from datasets import load_dataset
from transformers import AutoTokenizer

from conclip.embedding.tokens import TextTokenizer, TextTokens
from speed.models import END_OF_TEXT, START_OF_TEXT

# Tokens of 1,000 Flickr8k captions, start and end included: 0th, 10th, ... 100th percentile; their mean is 13.6.
LENGTHS = (7, 9, 10, 11, 12, 13, 14, 15, 17, 19, 33)
# A negation adds one token on average. It shares this part of the caption, start included, up to the inserted token.
SHARED = 0.43
VOCABULARY = 40_000


def sampled_pairs(count: int, seed: int = 0) -> TextTokens:
    """
    Sample tokens of `count` captions, then of their negated captions.

    Words are sampled independently by Zipf's law, so the captions share less of their beginnings than real captions,
    half of which begin with "a".
    """
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, VOCABULARY + 1)
    lengths = np.interp(rng.random(count), np.linspace(0, 1, len(LENGTHS)), LENGTHS).round().astype(int) - 2
    words = rng.choice(VOCABULARY, size=int(lengths.sum()) + count, p=weights / weights.sum())
    captions, negated, start = [], [], 0
    for length in lengths:
        caption = words[start : start + length].tolist()
        at = rng.binomial(length, SHARED * (length + 2) / length - 1 / length)
        negation = [*caption[:at], int(words[start + length]), *caption[at:]]
        captions.append([START_OF_TEXT, *caption, END_OF_TEXT])
        negated.append([START_OF_TEXT, *negation, END_OF_TEXT])
        start += length + 1
    texts = captions + negated
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])])
    return TextTokens(np.concatenate(texts).astype(np.int32), offsets)


def dataset_pairs(dataset_name: str, tokenizer_name: str, count: int) -> TextTokens:
    """Tokenise the first captions and negated captions of a split in the layout of CC-Neg, repeated to `count`."""
    rows = load_dataset(dataset_name, split="train").select_columns(["caption", "negated_captions"])[:count]
    tokenizer = TextTokenizer(AutoTokenizer.from_pretrained(tokenizer_name), 77, END_OF_TEXT)
    negated = [texts[0] for texts in rows["negated_captions"]]
    repeated = [(texts * -(-count // len(texts)))[:count] for texts in (list(rows["caption"]), negated)]
    return tokenizer(repeated[0] + repeated[1])
