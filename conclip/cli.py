"""
Command-line parsing that all commands share: options are the fields of dataclasses.

Imports nothing beyond the standard library and PyYAML, so that `--help` and a mistyped option are answered at once.
"""

import argparse
import dataclasses
import math
import os
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from conclip.errors import UsageError, one_line

# Last word of an option's name -> what `--help` shows for its value.
METAVARS = {"dir": "FOLDER", "file": "FILE", "column": "COLUMN", "path": "NAME", "name": "NAME", "split": "SPLIT"}


def option(
    default=dataclasses.MISSING,
    help: str = "",
    *,
    choices: Sequence[str] | None = None,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    positional: bool = False,
):
    """
    A field of a dataclass of options.

    Args:
        default: without one, the option is required. A list is copied for each instance.
        help: for `--help`, in lower case and without a final full stop; the default is appended.
        choices: the only values allowed.
        at_least, above, below: bounds of a number, checked by `Parser.parse`.
        positional: it is a text given by its place on the command line, without its name, and not in a config file. A
            list of texts comes last and takes all that is left.
    """
    metadata = {"help": help, "choices": choices, "at_least": at_least, "above": above, "below": below}
    metadata["positional"] = positional
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Parser(argparse.ArgumentParser):
    """
    Parse the options of one command, from the command line and from `--config file.yaml`.

    Args:
        groups: dataclasses of options by the title of their group in `--help`.
        prog: the command as the user types it, e.g. "conclip negate".
        description: what the command does, a sentence.
        example: a command that works.
        alternative_defaults: case -> option -> default: defaults that hold in a case, such as "without --name", shown
            by `--help` where they differ; the command itself applies them with `set_defaults`.
    """

    def __init__(
        self,
        groups: Mapping[str, type],
        prog: str,
        description: str,
        example: str,
        alternative_defaults: Mapping[str, Mapping[str, object]] = types.MappingProxyType({}),
    ):
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"Example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._classes = list(groups.values())
        # Checked by `parse`: argparse would name a missing option before the mistyped one that was meant.
        self._required: list[str] = []
        self._positional: set[str] = set()
        # Of the last `parse`: options on the command line, and those that differ from their default.
        self._on_command_line: set[str] = set()
        self._differing: set[str] = set()
        # Of the last `parse`: all options on the command line and in the config file.
        self.named: frozenset[str] = frozenset()
        self.add_argument(
            "--config", metavar="FILE", help="YAML file with options; options on the command line override it"
        )
        for title, cls in groups.items():
            group = self.add_argument_group(title)
            hints = typing.get_type_hints(cls)
            for field in dataclasses.fields(cls):
                self._add_field(group, field, hints[field.name], alternative_defaults)
        if self._positional:
            # argparse names optional what `parse` requires.
            places = [
                f"[{action.metavar} ...]" if action.nargs == "*" else action.metavar
                for action in self._actions
                if action.dest in self._positional
            ]
            self.usage = f"{prog} {' '.join(places)} [OPTIONS]"

    def _add_field(self, group, field: dataclasses.Field, hint, alternative_defaults) -> None:
        kind, is_list = _value_type(hint)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        required = default is dataclasses.MISSING
        hidden = default is None or default is False or default == "" or default == []
        notes = [] if hidden else [f"default: {_as_text(default)}"]
        if required:
            notes, default = ["required"], None
            self._required.append(field.name)
        for case, defaults in alternative_defaults.items():
            if defaults.get(field.name, default) != default:
                notes.append(f"{case}: {_as_text(defaults[field.name])}")
        help_text = field.metadata["help"] + (f" ({'; '.join(notes)})" if notes else "")
        how: dict = {"type": kind, "metavar": _metavar(field.name, kind)}
        if field.metadata["positional"]:
            self._positional.add(field.name)
            how = {"type": kind, "nargs": "*" if is_list else "?", "metavar": field.name.upper()}
            group.add_argument(field.name, default=default, help=help_text.replace("%", "%%"), **how)
            return
        if field.metadata["choices"]:
            how = {"type": kind, "choices": field.metadata["choices"]}
        if kind is _boolean:
            how = {"type": kind, "nargs": "?", "const": True, "metavar": "BOOL"}
        elif is_list:
            how["nargs"] = "+"
        group.add_argument(
            f"--{field.name}",
            default=default,
            # argparse formats help texts with %.
            help=help_text.replace("%", "%%"),
            **how,
        )

    def error(self, message: str):
        # argparse prints the usage first, a screenful here, and exits.
        raise UsageError(f"{message} (--help lists the options)")

    def parse(self, argv: Sequence[str] | None = None) -> list:
        """
        Args:
            argv: the arguments, by default those of this process.

        Returns:
            An instance of each dataclass, in the order of the groups.

        Raises:
            UsageError: an unknown option, a bad value, or a config file that cannot be read.
        """
        argv = [_with_underscores(argument) for argument in (sys.argv[1:] if argv is None else argv)]
        file_argv = self._config_arguments(argv)
        parsed, unknown = self._parse_known([*file_argv, *argv])
        if unknown:
            self._refuse_unknown(unknown[0])
        values = vars(parsed)
        given = self._given_in(argv)
        self.named = frozenset(self._given_in([*file_argv, *argv]))
        self._differing = {name for name in values if values[name] != self.get_default(name)}
        self._on_command_line = {name for name in given if values[name] is not False} - {"config"}
        missing = [self._as_typed(name) for name in self._required if values[name] is None]
        if missing:
            self.error(f"the following arguments are required: {', '.join(missing)}")
        instances = [
            cls(**{field.name: values[field.name] for field in dataclasses.fields(cls)}) for cls in self._classes
        ]
        for instance in instances:
            check_ranges(instance)
        return instances

    def _given_in(self, argv: list[str]) -> set[str]:
        unset = object()
        options = argparse.Namespace(**{action.dest: unset for action in self._actions})
        values = vars(self._parse_known(argv, options)[0])
        given = [name for name, value in values.items() if value is not unset]
        # argparse sets positional arguments to their defaults, even in a namespace that has them.
        return {name for name in given if name not in self._positional or values[name] != self.get_default(name)}

    def _parse_known(self, argv: list[str], namespace: argparse.Namespace | None = None):
        if not self._positional:
            return self.parse_known_args(argv, namespace)
        # `--flag "a street"` is a flag and a positional argument, where argparse would want true or false.
        flags = {name for name, action in self._option_string_actions.items() if action.type is _boolean}
        followers = [*argv, ""][1:]
        argv = [
            f"{own}=true" if own in flags and after.lower() not in ("true", "false") else own
            for own, after in zip(argv, followers, strict=True)
        ]
        return self.parse_known_intermixed_args(argv, namespace)

    def _as_typed(self, name: str) -> str:
        return name.upper() if name in self._positional else f"--{name}"

    def without_effect(self, names: Sequence[str], why: str) -> None:
        """
        Refuse options of the last `parse` that have no effect, or warn of those in the config file.

        The config file may serve several commands, of which one option on the command line makes another.

        Args:
            names: options that have no effect, without dashes.
            why: the end of the sentence, e.g. "without --use_lora".

        Raises:
            UsageError: one of them is on the command line, and not to say false.
        """
        for name in names:
            if name in self._on_command_line:
                raise UsageError(f"{self._as_typed(name)} has no effect {why}.")
        in_file = [f"--{name}" for name in names if name in self._differing]
        if in_file:
            has = "has" if len(in_file) == 1 else "have"
            warn(f"{', '.join(in_file)} in the config file {has} no effect {why}.")

    def _config_arguments(self, argv: list[str]) -> list[str]:
        """The options of the config file as arguments, so that they pass the same checks as those of the user."""
        files = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        files.add_argument("--config", nargs="?")
        path = files.parse_known_args(argv)[0].config
        if path is None:
            return []
        arguments = []
        for name, value in read_config(Path(path)).items():
            name = str(name).replace("-", "_")
            if f"--{name}" not in self._option_string_actions or name in ("config", "help"):
                self._refuse_unknown(f"--{name}", where=f"--config {path}: ")
            if value is None:
                continue
            values = value if isinstance(value, list) else [value]
            if any(isinstance(one, dict | list) for one in values):
                raise UsageError(f"--config {path}: {name} must be a value or a list of values, got {value!r}.")
            arguments += [f"--{name}", *(str(one).lower() if isinstance(one, bool) else str(one) for one in values)]
        return arguments

    def _refuse_unknown(self, name: str, where: str = "") -> None:
        given = name.partition("=")[0]
        near = get_close_matches(given, self._option_string_actions, n=1, cutoff=0.6)
        self.error(f"{where}unknown option {given}" + (f", did you mean {near[0]}?" if near else ""))


def warn(sentence: str) -> None:
    """Print a warning about the options, once in a run of several processes, each of which parses them."""
    if not int(os.environ.get("RANK", 0)):
        print(f"Warning: {sentence}")


def read_config(path: Path) -> dict:
    """
    The options in a YAML file.

    Raises:
        UsageError: there is no such file, or it does not hold `option: value` lines.
    """
    import yaml

    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else one_line(error)
        raise UsageError(f"--config {path} cannot be read: {reason}.") from error
    if not isinstance(options, dict):
        raise UsageError(f"--config {path} must hold lines such as `learning_rate: 1.0e-6`.")
    return options


def check_ranges(options) -> None:
    """
    Args:
        options: an instance of a dataclass with fields made by `option`.

    Raises:
        UsageError: a number that is not finite or out of the range of its `option`.
    """
    for field in dataclasses.fields(options):
        value, bounds = getattr(options, field.name), field.metadata
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{field.name} must be a finite number, got {value}.")
        if value is None or isinstance(value, str | list):
            continue
        if bounds["at_least"] is not None and value < bounds["at_least"]:
            raise UsageError(f"--{field.name} must be {bounds['at_least']} or more, got {value}.")
        if bounds["above"] is not None and value <= bounds["above"]:
            raise UsageError(f"--{field.name} must be above {bounds['above']}, got {value}.")
        if bounds["below"] is not None and value >= bounds["below"]:
            raise UsageError(f"--{field.name} must be less than {bounds['below']}, got {value}.")


def _metavar(name: str, kind) -> str:
    """Return what stands for the value of an option in `--help`; the end of the name says what a text is."""
    text = "VALUE" if kind is str else kind.__name__.strip("_").upper()
    return METAVARS.get(name.rpartition("_")[2], text) if kind in (str, Path) else text


def _value_type(hint) -> tuple:
    """The type that converts one value, and whether the option takes a list of them."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    is_list = typing.get_origin(hint) is list
    if is_list:
        (hint,) = typing.get_args(hint)
    return _boolean if hint is bool else hint, is_list


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, got {text!r}")
    return text.lower() == "true"


def _as_text(default) -> str:
    return " ".join(map(str, default)) if isinstance(default, list) else str(default)


def _with_underscores(argument: str) -> str:
    """`--learning-rate` is `--learning_rate`, as for Hugging Face's own parser."""
    name, equals, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if argument.startswith("--") else argument
