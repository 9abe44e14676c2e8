"""Text as OpenAI's CLIP reads it: its tokenizer repairs a text before it splits it, and transformers' does not."""

import html
import unicodedata
from collections.abc import Iterable

SPECIAL_TOKENS = ("<|startoftext|>", "<|endoftext|>")


def clean_text(text: str) -> str:
    """
    Repair a text as the tokenizers of OpenAI's CLIP and of open_clip do.

    `ftfy` straightens curly quotes, restores wrongly decoded characters ("cafÃ©") and removes control characters. HTML
    entities are decoded, twice. White space becomes single blanks, and letters lower case.

    Source: `basic_clean`, `whitespace_clean` and `encode` in `clip/simple_tokenizer.py` of github.com/openai/CLIP.
    """
    # Without ftfy and html this is 60 times as fast.
    if not _is_plain(text):
        # Imported late: it takes a tenth of a second.
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def text_warnings(texts: Iterable[str]) -> list[str]:
    """
    Say how many texts are read otherwise than they were meant.

    Returns:
        A sentence about texts that OpenAI's tokenizer repairs and transformers' does not, and one about texts that
        hold a special token; neither if there are none.
    """
    # Counts, and an example of each.
    total, repaired, special, examples = 0, 0, 0, {}
    for text in texts:
        total += 1
        if not _is_plain(text) and clean_text(text) != _as_transformers_reads(text):
            repaired += 1
            examples.setdefault("repaired", text)
        if any(token in text for token in SPECIAL_TOKENS):
            special += 1
            examples.setdefault("special", text)
    sentences = []
    if repaired:
        sentences.append(
            f"Warning: OpenAI's tokenizer repairs {repaired:,} of {total:,} texts before it reads them (curly "
            f"quotes, HTML entities, wrongly decoded characters), such as {examples['repaired']!r}; here they stay as "
            "they are. ftfy.fix_text and html.unescape repair them."
        )
    if special:
        sentences.append(
            f"Warning: {special:,} of {total:,} texts hold {' or '.join(SPECIAL_TOKENS)}, which CLIP reads as "
            f"the start or the end of a text, such as {examples['special']!r}; remove it."
        )
    return sentences


def _is_plain(text: str) -> bool:
    """Return whether neither ftfy nor html changes a text, as most captions are."""
    return text.isascii() and text.isprintable() and "&" not in text


def _as_transformers_reads(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split()).lower()
