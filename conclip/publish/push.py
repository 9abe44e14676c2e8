"""Push a folder: read it, make the repository, upload."""

import sys
from pathlib import Path

from conclip.atomic_write import as_size, scratch_folder
from conclip.errors import UsageError
from conclip.publish.contents import Contents
from conclip.publish.folders import read_contents
from conclip.publish.upload import check_target, create_repository, other_files, upload


def push_folder(
    folder: Path,
    repo_id: str,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    create_pr: bool = False,
    message: str | None = None,
    with_images: bool = False,
    quiet: bool = False,
) -> str:
    """
    Upload a folder in one commit, and print what is uploaded and what is left out.

    The repository is created after the folder was read, so a folder that cannot be used leaves none.

    Args:
        folder: see `read_contents`.
        repo_id: the repository, e.g. "me/conclip".
        private: make a new repository private.
        revision: branch, created if it does not exist; by default "main".
        token: by default that of `hf auth login` or HF_TOKEN.
        create_pr: open a pull request in place of a commit.
        message: of the commit.
        with_images: upload the images of a dataset too.
        quiet: print nothing.

    Returns:
        The address of the repository, branch or pull request.

    Raises:
        UsageError: a folder that cannot be used, or an upload that failed; the repository is then as it was.
    """
    check_target(repo_id, token)
    with scratch_folder() as work:
        contents = read_contents(folder, repo_id, Path(work), with_images)
        if not quiet:
            print("\n".join(describe(contents)))
        create_repository(repo_id, contents.repo_type, private, revision, token)
        message = message or f"Upload {contents.kind}"
        address = upload(contents, repo_id, message, revision, token, create_pr)
        if not (quiet or create_pr):
            _print_other_files(contents, repo_id, revision, token)
        return address


def _print_other_files(contents: Contents, repo_id: str, revision: str | None, token: str | None) -> None:
    try:
        others = other_files(contents, repo_id, revision, token)
    except UsageError as error:
        # The upload has succeeded.
        print(f"Warning: {error}", file=sys.stderr)
        return
    if others:
        files = "files" if len(others) > 1 else "file"
        print(
            f"{repo_id} also holds {len(others):,} {files} that this folder does not, such as {others[0]}: delete "
            "them on the Hub if an earlier upload left them."
        )


def describe(contents: Contents) -> list[str]:
    """Return lines that say what is uploaded and what is left out."""
    size = as_size(sum(path.stat().st_size for path in contents.files.values()))
    lines = [f"{contents.kind.capitalize()}: {len(contents.files)} files, {size}"]
    for why, names in contents.left_out.items():
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        lines.append(f"Left out: {why} ({names[0]}{more})")
    return [*lines, *contents.notes]
