"""Pictures of results."""

import io
from pathlib import Path

from dataset_scripts.whole_files import write_whole


def save_figure(figure, path: Path) -> None:
    """
    The matplotlib figure as PNG, whole or not at all.

    Raises:
        CannotWrite: the folder cannot be made or written to.
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    write_whole(path, content.getvalue())
