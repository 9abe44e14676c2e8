"""The folder of a run."""

import tempfile
from pathlib import Path

from conclip_training.failures import UsageError


def writable_folder(output_dir: str) -> Path:
    """
    Raises:
        UsageError: the folder cannot be made or written to; found now, not after training.
    """
    try:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_dir):
            pass
    except OSError as error:
        raise UsageError(f"--output_dir {output_dir}: cannot write there: {error.strerror}.") from error
    return Path(output_dir)
