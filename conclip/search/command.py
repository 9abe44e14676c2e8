"""`conclip search`: find images in a folder by text or by image."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from conclip.atomic_write import naming_option, writable_folder, write_atomically
from conclip.cli import Parser, option
from conclip.embedding.cache_entries import embedding_cache_dir
from conclip.errors import UsageError
from conclip.models.arguments import EncodingArguments
from conclip.runtime import run_command

PROMPT = "query> "
# `-cars` is a word to subtract, but argparse would take it for an option; one-letter options are `-h` alone.
EXCLUDED = re.compile(r'-(?!h$)["\w]')
# Models that were not trained to understand negation begin with this.
CLIPS_OWN = "openai/clip-"
HINT = "CLIP mostly ignores negation: add --query_arithmetic, or search with a model that was fine-tuned for it."


@dataclass
class SearchArguments:
    images_folder: str = option(help="folder of images, with its subfolders", positional=True)
    query: list[str] = option(
        [],
        "what to look for: a text, or the path of an image; `+ text` adds, `- text` and `-word` subtract; without a "
        "query, queries are read from standard input, one on a line",
        positional=True,
    )
    top: int = option(10, "number of images to show", at_least=1)
    filepath_only: bool = option(False, "print the paths alone, one on a line")
    html: str | None = option(None, "HTML page with thumbnails to write")
    exclude_dir: list[str] = option(
        ["@eaDir", "node_modules", "System Volume Information"], "names of subfolders to leave out, at any depth"
    )


@dataclass
class ModelArguments:
    model_name_or_path: str = option(
        "openai/clip-vit-base-patch32",
        "folder or Hub id: CLIP, ConCLIP, LoRA adapters, SigLIP, ALIGN, Chinese-CLIP, FLAVA, BLIP",
    )
    revision: str | None = option(None, "branch, tag or commit of the model on the Hub")
    query_arithmetic: bool = option(
        False, "subtract what a text denies (`no cars`), for models that were not trained for it"
    )
    compare: str | None = option(
        None,
        "folder or Hub id of a second model whose results to show, too; with --query_arithmetic it may be the same "
        "model, which is then used without",
    )


PARSER = Parser(
    {"Search": SearchArguments, "Model": ModelArguments, "Computation": EncodingArguments},
    prog="conclip search",
    description="""Find the images of a folder that fit a text or an image.

The first search embeds the folder. Later ones embed new and changed files alone.""",
    example='conclip search photos "a street with no cars" --model_name_or_path outputs/mine --html found.html',
)


def main(argv: list[str] | None = None) -> int:
    argv = [f" {word}" if EXCLUDED.match(word) else word for word in (sys.argv[1:] if argv is None else argv)]
    interrupted = "Interrupted. The embeddings computed so far are cached; the same command continues from them."
    return run_command(lambda: search(*PARSER.parse(argv)), interrupted)


def search(what: SearchArguments, models: ModelArguments, computation: EncodingArguments) -> None:
    """
    Run the command.

    Raises:
        UsageError: see `check_options` and `Searcher`.
    """
    check_options(what, models)
    for stream in (sys.stdin, sys.stdout):
        # A name of a file that is not UTF-8 comes in and goes out as it is.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape" if is_utf8(stream) else "backslashreplace")
    # Imported late: --help and a mistyped option are answered without numpy.
    from conclip.search.searcher import Searcher, images_in, report_broken, with_names
    from conclip.search.terms import split_query

    if what.query:
        # A query that is not finished is refused before a folder is embedded.
        split_query(what.query)
    shown = [(models.model_name_or_path, models.revision, models.query_arithmetic)]
    if models.compare:
        # The same model without query arithmetic has the same revision.
        revision = models.revision if models.compare == models.model_name_or_path else None
        shown.append((models.compare, revision, False))
    folder = Path(what.images_folder)
    images = images_in(folder, what.exclude_dir)
    searchers = [
        Searcher(
            folder,
            images,
            name,
            embedding_cache_dir(computation.embedding_cache_dir),
            revision,
            what.exclude_dir,
            query_arithmetic,
            computation.mixed_precision,
            computation.per_device_eval_batch_size,
            computation.dataloader_num_workers,
        )
        for name, revision, query_arithmetic in shown
    ]
    report_broken(folder, searchers)
    named = with_names(searchers)
    hint = models.model_name_or_path.startswith(CLIPS_OWN) and not models.query_arithmetic
    for words in [what.query] if what.query else _typed_queries():
        try:
            terms = split_query(words)
            if hint and denies([term.text for term in terms if not term.is_image]):
                print(HINT, file=sys.stderr)
                hint = False
            found = [(name, searcher.search(terms, what.top)) for name, searcher in named]
        except UsageError as error:
            if what.query or not sys.stdin.isatty():
                raise
            print(f"Error: {error}", file=sys.stderr)
            continue
        _print(found, what.filepath_only)
        if what.html:
            _write_page(" ".join(words), folder, found, Path(what.html))


def is_utf8(stream: io.TextIOWrapper) -> bool:
    """Return whether a stream is in UTF-8; other encodings lack letters that the name of a file may have."""
    return codecs.lookup(stream.encoding).name == "utf-8"


def denies(texts: Sequence[str]) -> bool:
    """Return whether one of the texts says what is not there."""
    # Imported late: only a search with CLIP's own weights needs it.
    from conclip.negation.query import parse_query

    return any(parse_query(text).unwanted for text in texts)


def check_options(what: SearchArguments, models: ModelArguments) -> None:
    """
    Check the options before anything is loaded.

    Raises:
        UsageError: no folder, an option without effect, or a page that cannot be written.
    """
    # As `"$FOLDER"` is in a shell where it is not set. An empty path would be the working directory.
    if not what.images_folder.strip():
        raise UsageError("IMAGES_FOLDER is empty: name a folder of images.")
    if Path(models.model_name_or_path).is_dir():
        PARSER.without_effect(["revision"], f"on the local folder {models.model_name_or_path}")
    if what.filepath_only:
        PARSER.without_effect(["compare"], "with --filepath_only, which prints the paths of one model")
    if not what.query:
        PARSER.without_effect(["html"], "without a query")
    if models.compare == models.model_name_or_path and not models.query_arithmetic:
        raise UsageError(f"--compare {models.compare}: this is the model itself; name another one.")
    if what.html is not None:
        if Path(what.html).suffix.lower() not in (".html", ".htm") or Path(what.html).is_dir():
            raise UsageError(f"--html {what.html}: name a file that ends in .html.")
        writable_folder(Path(what.html).parent, "--html")


def _typed_queries() -> Iterator[list[str]]:
    """Yield the lines of standard input that are not empty; at a terminal, ask for each."""
    while True:
        if sys.stdin.isatty():
            print(PROMPT, end="", file=sys.stderr, flush=True)
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            line = ""
        if not line:
            if sys.stdin.isatty():
                # After Ctrl-D or Ctrl-C, the prompt of the shell begins a line.
                print(file=sys.stderr)
            return
        if line.strip():
            yield [line.strip()]


def _print(found: Sequence[tuple[str, Sequence[tuple[Path, float]]]], paths_alone: bool) -> None:
    lines = []
    for name, images in found:
        if len(found) > 1:
            lines.append(f"{name}:")
        if not paths_alone:
            lines.append("score   path")
        lines += [str(path) if paths_alone else f"{score:6.3f}  {_on_one_line(path)}" for path, score in images]
    if paths_alone and (broken := sum("\n" in line for line in lines)):
        what = "paths hold line breaks and fill" if broken > 1 else "path holds a line break and fills"
        print(f"Warning: {broken:,} {what} several lines.", file=sys.stderr)
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain once more when it closes the output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _on_one_line(path: Path) -> str:
    """Return a path with its control characters, such as a line break, written as Python does."""
    return "".join(repr(letter)[1:-1] if letter < " " or letter == "\x7f" else letter for letter in str(path))


def _write_page(query: str, folder: Path, found, file: Path) -> None:
    # Imported late: it needs Pillow.
    from conclip.search.page import results_page, thumbnail

    thumbnails = {path: thumbnail(path) for _, images in found for path, _ in images}
    gone = [path for path, small in thumbnails.items() if small is None]
    if gone:
        what = "images have no thumbnails, such as" if len(gone) > 1 else "image has no thumbnail:"
        print(
            f"Warning: {len(gone):,} {what} {gone[0]} was changed or deleted during the search; repeat it.",
            file=sys.stderr,
        )
    with naming_option("--html"):
        write_atomically(file, results_page(query, folder, found, thumbnails, file).encode())
    print(f"Page: {file}", file=sys.stderr)
