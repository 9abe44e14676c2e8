"""Errors that end a command with one sentence for the user."""

import pickle

MORE_THAN_DATA = "holds more than plain data, which could run code, and was not loaded"


class UsageError(ValueError):
    """Report bad input: the message is one sentence for the user, shown without a traceback."""

    def __str__(self) -> str:
        # A DataLoader worker's error arrives wrapped in that worker's traceback, whose last line it is.
        name = f"{type(self).__module__}.{type(self).__qualname__}: "
        return super().__str__().strip().rpartition("\n")[2].removeprefix(name)


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
    first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # datasets: "Couldn't cast", both schemas, "because column names don't match".
    return f"{first} {rest[-1]}" if rest and rest[-1].startswith("because") else first
