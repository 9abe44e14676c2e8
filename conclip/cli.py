"""Command-line parsing that all commands share."""

from dataclasses import field
from difflib import get_close_matches

from transformers import HfArgumentParser

from conclip.errors import UsageError


def option(default, help, **metadata):
    return field(default=default, metadata={"help": help, **metadata})


class Parser(HfArgumentParser):
    """Says what is wrong in one sentence."""

    def error(self, message: str):
        # argparse prints the usage first, a screenful here, and exits.
        raise UsageError(f"{message} (--help lists the options)")

    def parse(self, argv: list[str] | None) -> list:
        """
        Returns:
            One dataclass for each that the parser was made of.

        Raises:
            UsageError: an unknown option or a bad value.
        """
        *parts, unknown = self.parse_args_into_dataclasses(argv, return_remaining_strings=True)
        if unknown:
            known = [name for action in self._actions for name in action.option_strings]
            near = get_close_matches(unknown[0], known, n=1, cutoff=0.8)
            self.error(f"unknown option {unknown[0]}" + (f", did you mean {near[0]}?" if near else ""))
        return parts
