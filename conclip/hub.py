"""The Hugging Face Hub: working without a network, and licences."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
from huggingface_hub import ModelCard, constants, get_session, hf_hub_download

from conclip.errors import one_line
from conclip.public_names import is_local


def license_of(model_name_or_path: str, revision: str | None = None) -> str | None:
    """Return the licence that the model's card names, or `None` if there is no card or it names none."""
    try:
        if is_local(model_name_or_path):
            card = Path(model_name_or_path) / "README.md"
        else:
            card = hf_hub_download(model_name_or_path, "README.md", revision=revision)
        return ModelCard(Path(card).read_text("utf-8")).data.license
    # No card, no network, a damaged card: each has its own type of error.
    except Exception:
        return None


def use_cache_without_network(names: list[str | None]) -> None:
    """
    Switch the libraries to offline mode if the Hub is needed and does not answer.

    Without this they retry for most of a minute before they look into their caches.

    Args:
        names: models and datasets of the run; the Hub is needed if one of them is no local path.
    """
    if constants.HF_HUB_OFFLINE or all(name is None or Path(name).exists() for name in names):
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    # Whatever the client's library raises: it was httpx's, it may be another's.
    except Exception as error:
        print(f"{constants.ENDPOINT} does not answer ({one_line(error)}): using what is in the cache.")
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True


@contextmanager
def cache_alone() -> Iterator[None]:
    """Let the libraries look into their caches alone, and download nothing, inside a `with` block."""
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
