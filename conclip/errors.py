"""Errors that end a command with one sentence for the user."""

import pickle

MORE_THAN_DATA = "holds more than plain data, which could run code, and was not loaded"
# Characters. The longest of our own sentences have 600.
LONGEST_MESSAGE = 1_000


class UsageError(ValueError):
    """Report bad input: the message is one sentence for the user, shown without a traceback."""

    def __str__(self) -> str:
        # A DataLoader worker's error arrives wrapped in that worker's traceback, whose last line it is.
        name = f"{type(self).__module__}.{type(self).__qualname__}: "
        return _printable(super().__str__().strip().rpartition("\n")[2].removeprefix(name))


def _printable(message: str) -> str:
    """Return a message that moves no cursor and fills no screen, whatever a file had in it."""
    if len(message) > LONGEST_MESSAGE:
        half = LONGEST_MESSAGE // 2
        message = f"{message[:half]} … {message[-half:]}"
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in message
    )


def refuses_pickle(error: BaseException) -> bool:
    """Return whether a library refused a file because loading it could run code."""
    # The error of torch; that of a library that passes torch's message on; those of numpy.
    marks = ("Weights only load failed", "allow_pickle=False", "Python objects in dtype")
    return isinstance(error, pickle.UnpicklingError) or any(mark in str(error) for mark in marks)


def one_line(error: BaseException) -> str:
    """Return what a library's error says, without the lines of advice or detail that may follow."""
    if refuses_pickle(error):
        # torch and numpy advise to load the file all the same.
        return f"a file {MORE_THAN_DATA}"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if "contains custom code" in str(error):
        # transformers advises to run it.
        return "it needs code of its own, which is not run."
    if mark := getattr(error, "problem_mark", None):
        # PyYAML prints the line, too, in six lines.
        return f"{error.problem or error.context} (line {mark.line + 1})"
    first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # huggingface_hub: "Validation error for field 'x':", and what is wrong with it.
    if first.endswith(":") and rest:
        return f"{first} {rest[0]}"
    # datasets: "Couldn't cast", both schemas, "because column names don't match".
    return f"{first} {rest[-1]}" if rest and rest[-1].startswith("because") else first
