"""`conclip cache`: list cached embeddings, and delete those that are not needed any more."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from conclip.atomic_write import as_size
from conclip.cli import Parser, option
from conclip.embedding.cache_entries import Entry, delete, embedding_cache_dir, list_entries
from conclip.errors import UsageError
from conclip.folder_lock import InUse
from conclip.runtime import run_command

DAY = 24 * 60 * 60
# What fits in a line of a terminal.
WIDEST = 40


@dataclass
class CacheArguments:
    cache_dir: str | None = option(
        None,
        "folder of the cache: an --embedding_cache_dir, by default conclip/embeddings in $HF_HOME; or a folder of "
        "outputs, for the base models of the scenes",
    )
    delete: list[str] | None = option(None, "delete these entries, named by their ids or beginnings of them")
    older_than: float | None = option(None, "delete entries that were not used in so many days", at_least=0)
    all: bool = option(False, "delete all entries")
    yes: bool = option(False, "delete without asking")


PARSER = Parser(
    {"Options": CacheArguments},
    prog="conclip cache",
    description=(
        "List what the cache of embeddings holds, and delete what --delete, --older_than or --all choose. What a "
        "running process uses is kept, and so are files that ConCLIP did not write."
    ),
    example="conclip cache --older_than 30",
)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_command(lambda: run(*PARSER.parse(argv)), interrupted="Interrupted. The rest is kept.")


def run(arguments: CacheArguments) -> None:
    """
    List the entries, or delete some.

    Raises:
        UsageError: options that exclude each other, an unknown id, an entry that is in use, or an unwritable cache.
    """
    # 0 days are a choice, though 0 equals False.
    is_given = {"delete": arguments.delete is not None, "older_than": arguments.older_than is not None}
    ways = [name for name, given in {**is_given, "all": arguments.all}.items() if given]
    if len(ways) > 1:
        raise UsageError(f"--{ways[0]} and --{ways[1]} exclude each other: give one of them.")
    if not ways:
        PARSER.without_effect(["yes"], "without --delete, --older_than or --all")
    folder = embedding_cache_dir(arguments.cache_dir)
    entries = list_entries(folder)
    if not ways:
        print(as_table(entries, folder))
        return
    chosen = choose(entries, arguments, folder)
    if not chosen:
        print(f"Nothing to delete in {folder}.")
        return
    print(as_table(chosen, folder))
    if not arguments.yes and not confirmed(chosen):
        print("Nothing was deleted.")
        return
    delete_all(chosen, must=arguments.delete is not None)


def choose(entries: list[Entry], arguments: CacheArguments, folder: Path) -> list[Entry]:
    """
    Return the entries to delete.

    Raises:
        UsageError: an id is unknown, or the beginning of several.
    """
    if arguments.all:
        return entries
    if arguments.older_than is not None:
        return [entry for entry in entries if entry.last_used <= time.time() - arguments.older_than * DAY]
    chosen = []
    for name in arguments.delete:
        found = [entry for entry in entries if entry.name.startswith(name)]
        exact = [entry for entry in found if entry.name == name]
        if not found:
            raise UsageError(f"--delete {name}: no such entry in {folder}; `conclip cache` lists them.")
        if len(found) > 1 and not exact:
            raise UsageError(f"--delete {name}: {len(found)} entries begin so; write more of the id.")
        chosen += [entry for entry in exact or found if entry not in chosen]
    return chosen


def confirmed(chosen: list[Entry]) -> bool:
    """
    Ask whether to delete.

    Raises:
        UsageError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise UsageError("There is no terminal to ask before entries are deleted: add --yes.")
    return input(f"Delete {counted(chosen)}? [y/N] ").strip().lower() in ("y", "yes")


def delete_all(chosen: list[Entry], must: bool) -> None:
    """
    Delete entries and say what was deleted; those in use are kept.

    Args:
        must: whether an entry in use is an error.

    Raises:
        InUse: for the last entry in use, if `must`.
    """
    deleted, kept = [], None
    for entry in chosen:
        try:
            delete(entry)
        except InUse as error:
            if kept or not must:
                print(f"Warning: {error}")
            kept = error
        # Another process was faster.
        except FileNotFoundError:
            pass
        else:
            deleted.append(entry)
    print(f"Deleted {counted(deleted)}.")
    if kept and must:
        raise kept


def counted(entries: list[Entry]) -> str:
    noun = "entry" if len(entries) == 1 else "entries"
    return f"{len(entries)} {noun}, {as_size(sum(entry.size for entry in entries))}"


def as_table(entries: list[Entry], folder: Path) -> str:
    """Return the list for a terminal, with the total below it."""
    if not entries:
        return f"Nothing is cached in {folder}."
    head = ("ID", "CONTENTS", "MODEL", "DATA", "COUNT", "SIZE", "LAST USED")
    rows = [
        (
            entry.short_id,
            entry.contents,
            _shortened(entry.model),
            _shortened(entry.data),
            "" if entry.count is None else f"{entry.count:,}",
            as_size(entry.size),
            ago(time.time() - entry.last_used),
        )
        for entry in entries
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, *rows):
        cells = [
            f"{cell:>{width}}" if name in ("COUNT", "SIZE") else f"{cell:<{width}}"
            for name, cell, width in zip(head, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, "", f"{counted(entries)} in {folder}"])


def _shortened(text: str) -> str:
    """Return the end of a long text, which tells paths apart."""
    return text if len(text) <= WIDEST else f"…{text[1 - WIDEST :]}"


def ago(seconds: float) -> str:
    """Return how long ago something was, in the largest unit of which it is at least one."""
    for unit, length in (("day", DAY), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"
