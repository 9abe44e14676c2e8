"""A metric of the `evaluate` library as a Space of the Hub."""

import re
from pathlib import Path

from conclip.errors import UsageError
from conclip.publish.contents import CARD_FILE, Contents

APP_FILE, REQUIREMENTS = "app.py", "requirements.txt"
OFFLINE = "From the root of the repository; no network is needed:"


def check_metric(folder: Path, contents: Contents, repo_id: str) -> None:
    """
    Check that the folder is a Space that runs, and that `evaluate.load` finds the metric in it.

    Raises:
        UsageError: a file is missing, or the repository has another name than the metric.
    """
    name = folder.resolve().name
    missing = [file for file in (CARD_FILE, APP_FILE, REQUIREMENTS) if file not in contents.files]
    if missing:
        raise UsageError(
            f"{folder} is not complete: a Space needs {', '.join(missing)}; follow evaluate/pair_accuracy."
        )
    if repo_id.rpartition("/")[2] != name:
        # It looks for the file OWNER/NAME/NAME.py.
        raise UsageError(
            f"{repo_id} must end in the metric's name, by which evaluate.load finds it: push to "
            f"{repo_id.rpartition('/')[0]}/{name}."
        )


def name_metric(folder: Path, contents: Contents, repo_id: str) -> None:
    """Let the examples of the card load the metric from its repository."""
    name = re.escape(folder.resolve().name)

    def change(text: str) -> str:
        return re.sub(rf'"\./(?:evaluate/)?{name}"', f'"{repo_id}"', text.replace(f"{OFFLINE}\n\n", ""))

    contents.edit(CARD_FILE, change)
