"""The Hugging Face Hub: working without a network, and uploading a finished run."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
from huggingface_hub import HfApi, constants, get_session

from conclip.errors import UsageError, one_line

NOT_UPLOADED = ("checkpoint-*", "unfinished-*", "conclip/*", "metrics.jsonl")


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


def create_repository(hub_model_id: str) -> None:
    """
    Create the repository before training, so that a missing token is found early.

    Raises:
        UsageError: the repository cannot be created.
    """
    try:
        HfApi().create_repo(hub_model_id, exist_ok=True)
    # No network, no token, no write permission, an invalid name.
    except Exception as error:
        raise UsageError(
            f"--push_to_hub: cannot create {hub_model_id} ({one_line(error)}): run `hf auth login` with a token that "
            "may write, or leave --push_to_hub out and upload later."
        ) from error


def push(hub_model_id: str, output_dir: Path, model_class: str) -> None:
    """
    Upload what `from_pretrained` needs, the card and the results; no checkpoint.

    Raises:
        UsageError: the upload failed; the message says how to repeat it.
    """
    try:
        HfApi().upload_folder(
            repo_id=hub_model_id,
            folder_path=output_dir,
            ignore_patterns=list(NOT_UPLOADED),
            commit_message=f"Upload {model_class}",
        )
    except Exception as error:
        again = shlex.join(["hf", "upload", hub_model_id, str(output_dir), "."])
        excluded = " ".join(f"--exclude {shlex.quote(pattern)}" for pattern in NOT_UPLOADED)
        raise UsageError(
            f"--push_to_hub: the model is saved in {output_dir}, but was not uploaded ({one_line(error)}): "
            f"{again} {excluded}"
        ) from error
    print(f"Pushed to https://huggingface.co/{hub_model_id}")
