"""The run: captions in, a folder out, in two stages (parse and count; negate and write) that can be resumed."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from conclip.negation.lexicon.absent import AbsentNouns, count_names, count_pairs
from conclip.negation.llm.chat import BudgetReached
from conclip.negation.llm.http_chat import ServerError
from conclip.negation.pipeline.arguments import WORK, NegateArguments, NegateError
from conclip.negation.pipeline.begin import begin, check_folder, check_maker, write_json
from conclip.negation.pipeline.folder import ShardWriter, is_kept, make_card, make_row
from conclip.negation.pipeline.look_alikes import LookAlikes
from conclip.negation.pipeline.report import make_report, write_samples
from conclip.negation.pipeline.source import Source
from conclip.negation.pipeline.work import (
    NOUNS_FILE,
    UNIT,
    Processes,
    Unit,
    count_reasons,
    nouns_path,
    read_nouns,
    replace,
)

REPORT_FILE, SAMPLES_FILE = "report.json", "samples.md"
# Captions the frequencies of absent nouns are fitted on, evenly spread.
_SAMPLE = 4_096


@dataclass(frozen=True)
class Shard:
    """One Parquet file: captions `first` to `last` (excluded) of a split."""

    split: str
    name: str
    first: int
    last: int

    def units(self) -> list[Unit]:
        return [Unit(first, min(first + UNIT, self.last)) for first in range(self.first, self.last, UNIT)]


def plan(source: Source, captions_per_shard: int) -> list[Shard]:
    shards = []
    for split in source.splits:
        first, last = int(source.offsets[split.first]), int(source.offsets[split.last])
        starts = range(first, last, captions_per_shard)
        shards += [
            Shard(
                split.name,
                f"{split.name}-{number:05}-of-{len(starts):05}",
                start,
                min(start + captions_per_shard, last),
            )
            for number, start in enumerate(starts)
        ]
    return shards


def write_folder(arguments: NegateArguments) -> str:
    """Writes `arguments.output_dir` and returns what to tell the user.

    A folder that the same command began is continued: units parsed and shards written are kept. Raises `NegateError`.
    """
    started = time.monotonic()
    output = Path(arguments.output_dir)
    check_folder(output, arguments.overwrite_output_dir)
    check_maker(arguments)
    source = Source(arguments)
    look_alikes = LookAlikes(arguments, len(source.offsets) - 1) if arguments.distractor_mapping else None
    settings = begin(output, arguments, source)
    if (output / "README.md").exists():
        return f"{output} was finished before with these settings: nothing to do."
    shards = plan(source, arguments.captions_per_shard)
    work = output / WORK
    rows = (arguments.seed, arguments.strategy, arguments.products)
    worker = (str(work), *rows, arguments.tokenizer_name, arguments.language_model)
    try:
        with Processes(arguments.num_proc, worker) as processes:
            parse_all(source, shards, output, processes)
            if not (work / NOUNS_FILE).exists():
                fit_absent(source, shards, work)
            negate_all(source, look_alikes, shards, output, processes)
    except (BudgetReached, ServerError) as error:
        raise NegateError(f"{error} Answers are kept: the same command goes on from here.") from error
    except ValueError as error:
        # The model cannot be loaded, a prompt or key is none: each says what.
        if arguments.language_model and not isinstance(error, NegateError):
            raise NegateError(str(error)) from error
        raise
    except BrokenProcessPool as error:
        raise NegateError(
            "a process was ended from outside, for want of memory perhaps; the same command goes on from here, with "
            "fewer --num_proc if need be."
        ) from error
    return finish(output, arguments, source, shards, settings, time.monotonic() - started)


def parse_all(source: Source, shards: list[Shard], output: Path, processes: Processes) -> None:
    units = [unit for shard in shards for unit in shard.units()]
    missing = [unit for unit in units if not nouns_path(output / WORK, unit).exists()]
    done = source.num_captions - sum(unit.last - unit.first for unit in missing)
    jobs = ((unit, source.captions(unit.first, unit.last)) for unit in missing)
    with progress("Parsing", source.num_captions, done) as bar:
        for captions in processes.map("parse", jobs):
            bar.update(captions)


def progress(what: str, total: int, done: int):
    return tqdm(total=total, initial=done, desc=what, unit=" captions", unit_scale=True)


def fit_absent(source: Source, shards: list[Shard], work: Path) -> None:
    """Counts nouns and fits how absent ones are drawn."""
    units = [unit for shard in shards for unit in shard.units()]

    def lists() -> Iterator[list[str]]:
        for unit in units:
            yield from read_nouns(work, unit)

    counted = count_names(lists())
    names = [name for name, _ in counted]
    absent = AbsentNouns(names, np.array([count for _, count in counted], np.int64), count_pairs(lists(), names))
    every = max(1, source.num_captions // _SAMPLE)

    def sample():
        for unit in units:
            chosen = [number for number in range(unit.first, unit.last) if number % every == 0]
            nouns = read_nouns(work, unit) if chosen else []
            for number, (captions, labels) in zip(chosen, source.said(chosen), strict=True):
                yield nouns[number - unit.first], captions, labels

    absent.fit(sample())
    unfinished = work / "unfinished-nouns.npz"
    absent.save(unfinished)
    unfinished.rename(work / NOUNS_FILE)


def negate_all(
    source: Source, look_alikes: LookAlikes | None, shards: list[Shard], output: Path, processes: Processes
) -> None:
    """Writes the shards that are not there yet; a shard is finished when its counts are."""
    missing = [shard for shard in shards if not counts_path(output, shard).exists()]
    done = source.num_captions - sum(shard.last - shard.first for shard in missing)
    units = (unit for shard in missing for unit in shard.units())
    found = processes.map("negate", ((unit, source.said(range(unit.first, unit.last))) for unit in units))
    with progress("Negating", source.num_captions, done) as bar:
        for shard in missing:
            write_shard(source, shard, look_alikes, output, found, bar)


def write_shard(
    source: Source, shard: Shard, look_alikes: LookAlikes | None, output: Path, found: Iterator, bar
) -> None:
    arguments = source.arguments
    writer = ShardWriter(output / "data" / f"{shard.name}.parquet", bool(arguments.image_column))
    reasons: dict[str, Counter] = {}
    try:
        for unit in shard.units():
            results = next(found)
            for product, counts in count_reasons(result for _, result, _ in results).items():
                reasons.setdefault(product, Counter()).update(counts)
            writer.write(make_rows(source, look_alikes, unit, results))
            bar.update(unit.last - unit.first)
        writer.close()
    except BaseException:
        writer.discard()
        raise
    counts = {"split": shard.split, "rows": writer.rows, "bytes": writer.nbytes, "reasons": reasons}
    write_json(counts_path(output, shard), counts)


def make_rows(source: Source, look_alikes: LookAlikes | None, unit: Unit, results: list) -> list[dict]:
    rows = []
    for number, (caption, result, nouns) in zip(range(unit.first, unit.last), results, strict=True):
        row = make_row(caption, result, nouns)
        if is_kept(row, source.arguments.products):
            row["source_row"], row["source_caption"] = source.place(number)
            rows.append(row)
    if source.arguments.image_column and rows:
        at = [row["source_row"] for row in rows]
        distractors = look_alikes.images(at) if look_alikes else [[] for _ in at]
        for row, image, own in zip(rows, source.images(at), distractors, strict=True):
            row |= {"image": image, "distractor_images": own}
    return rows


def counts_path(output: Path, shard: Shard) -> Path:
    return output / WORK / f"{shard.name}.json"


def finish(
    output: Path, arguments: NegateArguments, source: Source, shards: list[Shard], settings: dict, seconds: float
) -> str:
    """Report, samples and card, the card last: a folder with a card is finished."""
    splits: dict[str, tuple[int, int]] = {}
    reasons: dict[str, Counter] = {}
    for shard in shards:
        counts = json.loads(counts_path(output, shard).read_text(encoding="utf-8"))
        rows, nbytes = splits.get(shard.split, (0, 0))
        splits[shard.split] = (rows + counts["rows"], nbytes + counts["bytes"])
        for product, found in counts["reasons"].items():
            reasons.setdefault(product, Counter()).update(found)
    empty = next((name for name, (rows, _) in splits.items() if not rows), None)
    if empty:
        raise NegateError(
            f"no negation could be made of any caption of the split {empty!r}: are {arguments.caption_column} English "
            "sentences that name things?"
        )
    files = [output / "data" / f"{shard.name}.parquet" for shard in shards]
    report = make_report(files, source.num_captions, reasons, settings)
    write_json(output / REPORT_FILE, report)
    write_samples(output / SAMPLES_FILE, files, arguments.seed)
    rows = sum(rows for rows, _ in splits.values())
    told = {
        "captions": f"{source.num_captions:,}",
        "left_out": f"{source.num_captions - rows:,}",
        "strategy": arguments.strategy,
        "maker": arguments.maker,
        "seed": str(arguments.seed),
        "yields": "\n".join(
            f"| {product} | {made['texts']:,} | {made['share']:.1%} |" for product, made in report["yield"].items()
        ),
    }
    replace(output / "README.md", make_card(splits, output, bool(arguments.image_column), told).encode())
    shutil.rmtree(output / WORK)
    return summary(output, arguments, source, rows, report, seconds)


def summary(output: Path, arguments, source: Source, rows: int, report: dict, seconds: float) -> str:
    lines = [
        f"Wrote {output}: {rows:,} rows of {source.num_captions:,} captions in {seconds:.0f} s "
        f"({source.num_captions / seconds:.0f} captions/s, --num_proc {arguments.num_proc}).",
        *(f"  {product}: {made['share']:.1%} of the captions" for product, made in report["yield"].items()),
        f"Read {output / SAMPLES_FILE}; the counts are in {output / REPORT_FILE}. Load it:",
        f"  python -c 'import datasets; print(datasets.load_dataset(\"{output}\"))'",
    ]
    return "\n".join(lines)
