"""The state that accelerate keeps for the whole process: a helper, not a test."""

from accelerate.state import AcceleratorState


def reset_accelerate() -> None:
    """Forget the process group, the device and the precision, so that the next `Accelerator` chooses its own."""
    AcceleratorState._reset_state(reset_partial_state=True)
