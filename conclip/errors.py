"""Errors that end a command with one sentence for the user."""


class UsageError(ValueError):
    """Report bad input: the message is one sentence for the user, shown without a traceback."""

    def __str__(self) -> str:
        # A DataLoader worker's error arrives wrapped in that worker's traceback, whose last line it is.
        name = f"{type(self).__module__}.{type(self).__qualname__}: "
        return super().__str__().strip().rpartition("\n")[2].removeprefix(name)


def one_line(error: BaseException) -> str:
    """Return what a library's error says, without the lines of advice or detail that may follow."""
    first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # datasets: "Couldn't cast", both schemas, "because column names don't match".
    return f"{first} {rest[-1]}" if rest and rest[-1].startswith("because") else first
