"""A small model of sentences for NLTK, in place of the one that users download: fixtures, not a test."""

import pytest

from dataset_scripts.benchmarks.aro_draw import nltk_words


@pytest.fixture
def punkt_tab(tmp_path_factory, monkeypatch):
    """`punkt_tab` with two abbreviations, and the folder that holds it."""
    import nltk

    folder = tmp_path_factory.mktemp("nltk_data")
    english = folder / "tokenizers" / "punkt_tab" / "english"
    english.mkdir(parents=True)
    (english / "abbrev_types.txt").write_text("mr\nu.s\n")
    for name in ("collocations.tab", "sent_starters.txt", "ortho_context.tab"):
        (english / name).write_text("")
    monkeypatch.setattr(nltk.data, "path", [str(folder)])
    forget_nltk_data()
    yield folder
    forget_nltk_data()


def forget_nltk_data() -> None:
    """Forget what NLTK and the project remember of the model."""
    from nltk import tokenize

    tokenize._get_punkt_tokenizer.cache_clear()
    nltk_words.cache_clear()
