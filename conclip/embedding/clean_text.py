"""Text as OpenAI's CLIP reads it: its tokenizer repairs a text before it splits it, and transformers' does not."""

import html


def clean_text(text: str) -> str:
    """
    Repair a text as the tokenizers of OpenAI's CLIP and of open_clip do.

    `ftfy` straightens curly quotes, restores wrongly decoded characters ("cafÃ©") and removes control characters. HTML
    entities are decoded, twice. White space becomes single blanks, and letters lower case.

    Source: `basic_clean`, `whitespace_clean` and `encode` in `clip/simple_tokenizer.py` of github.com/openai/CLIP.
    """
    # Most captions are plain. Neither ftfy nor html changes such a text, and without them this is 60 times as fast.
    if not (text.isascii() and text.isprintable() and "&" not in text):
        # Imported late: it takes a tenth of a second.
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()
