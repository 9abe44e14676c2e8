"""Upload to the Hub: the repository, one commit, and what went wrong in a sentence."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from conclip.errors import UsageError, one_line
from conclip.publish.contents import Contents

AGAIN = "push again: files that have arrived are not sent twice"
# Status -> what it means, and what to do.
REASONS = {
    401: "the Hub does not accept the token: run `hf auth login`, or set HF_TOKEN",
    402: "the Hub asks for a paid plan: it needs one for a Space with Gradio",
    403: "the token may not write there: use one with write access to {owner}",
    404: "the Hub does not find it: check the name and --revision",
    409: "somebody else is changing it at the same time: push again",
    413: "the Hub refuses files of this size",
    429: "the Hub asks to wait after so many requests: push again in some minutes",
}
LOGIN = "there is no token: run `hf auth login`, or set HF_TOKEN"


def check_name(repo_id: str) -> None:
    """Raise `UsageError` if this cannot be the name of a repository with its owner."""
    try:
        validate_repo_id(repo_id)
        valid = repo_id.count("/") == 1
    except HFValidationError:
        valid = False
    if not valid:
        raise UsageError(f"{repo_id!r} is not the name of a repository, such as me/conclip-vit-base-patch32.")


def check_target(repo_id: str, token: str | None) -> None:
    """
    Check what can be known without the network: the name of a repository, and that there is a token.

    Raises:
        UsageError: the name cannot be one of a repository, or there is no token.
    """
    check_name(repo_id)
    if constants.HF_HUB_OFFLINE:
        raise UsageError(f"{repo_id} cannot be reached: the Hub does not answer, or HF_HUB_OFFLINE is set.")
    if not (token or get_token()):
        raise UsageError(f"{repo_id} cannot be written: {LOGIN}.")


def create_repository(
    repo_id: str,
    repo_type: str = "model",
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> None:
    """
    Create a repository, and a branch in it, unless they exist.

    Args:
        repo_type: "model", "dataset" or "space".
        private: only its owner sees it.
        revision: the branch.

    Raises:
        UsageError: it cannot be created, or exists and is public though `private` was asked for.
    """
    api = HfApi(token=token)
    try:
        sdk = "gradio" if repo_type == "space" else None
        api.create_repo(repo_id, repo_type=repo_type, private=private or None, exist_ok=True, space_sdk=sdk)
        # The Hub ignores `private` for a repository that exists.
        is_public = private and not api.repo_info(repo_id, repo_type=repo_type).private
        # The Hub makes the branches of pull requests itself.
        if revision and not is_public and not revision.startswith("refs/"):
            api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
    # Each cause has its own type: of the Hub, of the HTTP client, of the operating system.
    except Exception as error:
        raise UsageError(f"{repo_id} cannot be created: {why(error, repo_id)}.") from error
    if is_public:
        raise UsageError(
            f"{repo_id} exists and is public: make it private in its settings on the Hub, or choose another name; "
            "nothing was uploaded."
        )


def upload(
    contents: Contents,
    repo_id: str,
    message: str,
    revision: str | None = None,
    token: str | None = None,
    create_pr: bool = False,
) -> str:
    """
    Upload files in one commit: all of them are there afterwards, or none.

    Args:
        contents: what to upload.
        repo_id: the repository, which exists.
        message: of the commit.
        revision: branch.
        create_pr: open a pull request in place of a commit.

    Returns:
        The address of the repository, branch or pull request.

    Raises:
        UsageError: the upload failed.
    """
    api = HfApi(token=token)
    operations = [CommitOperationAdd(name, str(path)) for name, path in sorted(contents.files.items())]
    try:
        info = api.create_commit(
            repo_id,
            operations,
            commit_message=message,
            repo_type=contents.repo_type,
            revision=revision,
            create_pr=create_pr,
        )
    except Exception as error:
        # The library's progress bar is left without an end of line.
        print(file=sys.stderr)
        raise UsageError(f"{repo_id} was not changed: {why(error, repo_id)}.") from error
    if create_pr:
        return info.pr_url
    prefix = constants.REPO_TYPES_URL_PREFIXES.get(contents.repo_type, "")
    return f"{api.endpoint}/{prefix}{repo_id}" + (f"/tree/{revision}" if revision else "")


def other_files(contents: Contents, repo_id: str, revision: str | None = None, token: str | None = None) -> list[str]:
    """Return the files of a repository that are not among those that were uploaded, e.g. of an earlier upload."""
    try:
        info = HfApi(token=token).repo_info(repo_id, repo_type=contents.repo_type, revision=revision)
    except Exception as error:
        raise UsageError(f"{repo_id} was changed, but its files cannot be listed: {why(error, repo_id)}.") from error
    # The Hub writes this one itself.
    found = {file.rfilename for file in info.siblings or ()} - {".gitattributes"}
    return sorted(found - contents.files.keys())


def write_to(folder: Path, contents: Contents) -> None:
    """Copy the files that would be uploaded into a folder, which is made."""
    for name, path in contents.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def why(error: BaseException, repo_id: str) -> str:
    """Return what an error of an upload means and what to do, without a full stop; tokens are not in it."""
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    response = _response_behind(error)
    if response is None:
        if isinstance(error, ValueError) and "README.md" in str(error):
            # The Hub's complaints are lines of a list.
            return " ".join(line.strip("- ") for line in str(error).splitlines() if line.strip()).rstrip(".")
        broken = next(filter(_is_of_connection, _chain(error)), None)
        what = f"the connection to {constants.ENDPOINT}" if broken else "the upload"
        return f"{what} failed ({one_line(broken or error)}): {AGAIN}"
    status = response.status_code
    if status >= 500:
        return f"the Hub has a problem ({status}): {AGAIN}"
    said = REASONS.get(status, "the Hub refuses it").format(owner=repo_id.partition("/")[0])
    name, colon, todo = said.partition(": ")
    detail = one_line(ValueError(getattr(error, "server_message", None) or "")) if status not in REASONS else ""
    return f"{name} ({status}{f', {detail}' if detail and detail != 'ValueError' else ''}){colon}{todo}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _response_behind(error: BaseException):
    responses = (one.response for one in _chain(error) if isinstance(one, HfHubHTTPError))
    return next((response for response in responses if response is not None), None)


def _is_of_connection(error: BaseException) -> bool:
    # The HTTP client was httpx, is httpx2, and may be another.
    of_client = any(base.__name__ == "TransportError" for base in type(error).__mro__)
    return of_client or isinstance(error, ConnectionError | TimeoutError)
