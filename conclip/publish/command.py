"""`conclip push`: upload a model, adapters, a dataset or a metric to the Hub."""

from dataclasses import dataclass
from pathlib import Path

from conclip.atomic_write import scratch_folder, writable_folder
from conclip.cli import Parser, option
from conclip.errors import UsageError
from conclip.runtime import run_command


@dataclass
class PushArguments:
    folder: str = option(
        help="a model or adapters that training saved, a dataset of `conclip negate` or `conclip ccneg`, or a metric",
        positional=True,
    )
    repo_id: str = option(help="repository to push to, such as me/conclip-vit-base-patch32", positional=True)
    private: bool = option(False, "make a new repository private")
    revision: str | None = option(None, "branch to push to, created if it does not exist; by default, main")
    token: str | None = option(None, "token of the Hub; by default, HF_TOKEN or that of `hf auth login`")
    create_pr: bool = option(False, "open a pull request")
    commit_message: str | None = option(None, "message of the commit")
    with_images: bool = option(
        False, "upload the images of a dataset too, for which you need the right to pass them on"
    )
    dry_run: str | None = option(None, "new or empty folder: write what would be uploaded there, and send nothing")


PARSER = Parser(
    {"Options": PushArguments},
    prog="conclip push",
    description="""Upload a folder to the Hugging Face Hub, in one commit: a model or LoRA adapters, a dataset of
annotations, or a metric as a Space. Checkpoints, logs, caches and pickles are left out, and absolute paths of
this machine are shortened to their last part.""",
    example="conclip push outputs/mine me/conclip-vit-base-patch32 --private",
)


# The last step is one commit, and the Hub may have received it before Ctrl-C was pressed.
INTERRUPTED = "Interrupted. The repository has all files of this upload or none; the same command pushes again."


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(argv), interrupted=INTERRUPTED)


def run(argv: list[str] | None) -> None:
    (options,) = PARSER.parse(argv)
    if options.create_pr and options.revision:
        raise UsageError("--create_pr and --revision exclude each other: a pull request has a branch of its own.")
    if options.dry_run is not None:
        names = ["private", "revision", "token", "create_pr", "commit_message"]
        PARSER.without_effect(names, "with --dry_run, which sends nothing")
    # Imported late: --help and a mistyped option are answered without huggingface_hub.
    from conclip.publish.folders import read_contents
    from conclip.publish.push import describe, push_folder
    from conclip.publish.upload import check_name, write_to

    folder = Path(options.folder)
    # As `hf upload` has them.
    if not folder.is_dir() and Path(options.repo_id).is_dir():
        raise UsageError(f"{folder}: there is no such folder; name the folder first: {options.repo_id} {folder}")
    if options.dry_run is not None:
        check_name(options.repo_id)
        check_empty(options.dry_run)
        with scratch_folder() as work:
            contents = read_contents(folder, options.repo_id, Path(work), options.with_images)
            print("\n".join(describe(contents)))
            write_to(writable_folder(options.dry_run, "--dry_run"), contents)
        print(f"Nothing was sent; what would be uploaded is in {options.dry_run}")
        return
    address = push_folder(
        folder,
        options.repo_id,
        private=options.private,
        revision=options.revision,
        token=options.token,
        create_pr=options.create_pr,
        message=options.commit_message,
        with_images=options.with_images,
    )
    print(f"Pushed to {address}")


def check_empty(name: str) -> None:
    """Raise `UsageError` if the folder for --dry_run exists and holds something."""
    if Path(name).is_dir() and any(Path(name).iterdir()):
        raise UsageError(f"--dry_run {name} is not empty: choose another folder.")
