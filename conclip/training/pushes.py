"""Uploads of a training run: of the finished folder, and of the model while training goes on."""

import shlex
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from conclip.atomic_write import scratch_folder
from conclip.errors import UsageError, one_line
from conclip.publish.push import push_folder


class Pushes:
    """
    Push to one repository.

    Args:
        repo_id: e.g. "me/conclip-vit-base-patch32".
        private, revision, token: see `push_folder`.
    """

    def __init__(self, repo_id: str, private: bool, revision: str | None, token: str | None):
        self.repo_id = repo_id
        self.target = {"private": private, "revision": revision, "token": token}
        self.thread: threading.Thread | None = None

    def push_finished(self, folder: Path) -> None:
        """
        Upload the folder of a finished run, after an upload that is still under way.

        Raises:
            UsageError: the upload failed; the message says how to repeat it.
        """
        if self.thread:
            self.thread.join()
        try:
            address = push_folder(folder, self.repo_id, **self.target)
        except UsageError as error:
            again = shlex.join(["conclip", "push", str(folder), self.repo_id])
            reason = str(error).removesuffix(".")
            raise UsageError(f"The model is saved in {folder}, but {reason}; to push it: {again}") from error
        print(f"Pushed to {address}")

    def push_in_background(self, step: int, save: Callable[[Path], None]) -> None:
        """
        Save the model to a temporary folder and upload it while training goes on; a failure is a warning.

        Nothing is done while an earlier upload is still running.

        Args:
            step: number of updates so far, for the message of the commit.
            save: writes the model to a folder.
        """
        if self.thread and self.thread.is_alive():
            print(f"Step {step:,} is not pushed: an earlier upload is still running.")
            return
        with ExitStack() as stack:
            try:
                folder = Path(stack.enter_context(scratch_folder()))
                save(folder)
            except (UsageError, OSError) as error:
                print(f"Warning: step {step:,} was not pushed: {one_line(error)}")
                return
            # Removed when the thread ends.
            scratch = stack.pop_all()

        def upload() -> None:
            message = f"Training in progress, step {step}"
            with scratch:
                try:
                    push_folder(folder, self.repo_id, **self.target, message=message, quiet=True)
                except UsageError as error:
                    print(f"Warning: step {step:,} was not pushed: {error}")

        self.thread = threading.Thread(target=upload, daemon=True)
        self.thread.start()
