"""`conclip fetch`: download the files of benchmarks."""

from dataclasses import dataclass

from conclip.atomic_write import writable_folder
from conclip.cli import Parser, option
from conclip.errors import UsageError
from conclip.folder_lock import in_use
from conclip.runtime import run_command


@dataclass
class FetchArguments:
    benchmarks: list[str] = option([], "names of benchmarks, as for `conclip evaluate`", positional=True)
    data_dir: str = option("data", "folder for the files, which `conclip evaluate` reads")
    annotations_only: bool = option(False, "leave out the images, which take up to 14 GB")


PARSER = Parser(
    {"Options": FetchArguments},
    prog="conclip fetch",
    description="""Download the files of benchmarks, from where an interrupted download stopped, and check them by
their checksums. For files that it cannot download, the command prints where they are.""",
    example="conclip fetch sugarcrepe valse-existence --data_dir data",
)


def main(argv: list[str] | None = None) -> int:
    return run_command(
        lambda: run(argv), interrupted="Interrupted. The same command continues where this one stopped."
    )


def run(argv: list[str] | None) -> None:
    (options,) = PARSER.parse(argv)
    if not options.benchmarks:
        raise UsageError(
            "Name the benchmarks to fetch, such as sugarcrepe; `conclip evaluate --benchmarks list` names them all."
        )
    # Imported late: --help and a mistyped option are answered at once.
    from dataset_scripts.benchmarks.downloads import DOWNLOADS
    from dataset_scripts.benchmarks.fetch_files import fetch
    from dataset_scripts.benchmarks.registry import choose_benchmarks

    chosen = choose_benchmarks(options.benchmarks, "BENCHMARKS")
    data_dir = writable_folder(options.data_dir, "--data_dir")
    with in_use(data_dir, "--data_dir"):
        # Several benchmarks share files.
        done = set()
        for benchmark in chosen:
            parts = {"the annotations": DOWNLOADS.get(benchmark.name, ((), ()))[0]}
            if not options.annotations_only:
                parts["the images"] = DOWNLOADS.get(benchmark.name, ((), ()))[1]
            for download in sum(parts.values(), ()):
                if download not in done:
                    print(f"{data_dir / download.path}: {fetch(download, data_dir)}", flush=True)
                    done.add(download)
            if by_hand := [what for what, downloads in parts.items() if not downloads]:
                what = " and ".join(by_hand)
                print(f"{benchmark.name}: {what} are not fetched by this command. {benchmark.source}", flush=True)
    if not done:
        names = ", ".join(benchmark.name for benchmark in chosen)
        raise UsageError(f"Nothing was fetched for {names}: the lines above say where the files come from.")
