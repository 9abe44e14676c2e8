"""The Hugging Face Hub: working without a network, licences, and uploading a finished run."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
from huggingface_hub import HfApi, ModelCard, constants, get_session, hf_hub_download

from conclip.errors import UsageError, one_line
from conclip.folder_lock import LOCK_FILE
from conclip.public_names import is_local

# Beside what belongs to the run alone: weights of other formats, which an earlier run may have left.
NOT_UPLOADED = (
    *("checkpoint-*", "unfinished-*", "conclip/*", "metrics.jsonl", LOCK_FILE),
    *("*.bin", "*.bin.index.json", "*.h5", "*.msgpack"),
)


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
