"""All benchmarks, by name."""

import os
from difflib import get_close_matches
from pathlib import Path

from conclip.errors import UsageError
from dataset_scripts.benchmarks.aro import VG_ATTRIBUTION, VG_RELATION
from dataset_scripts.benchmarks.bivlc import BIVLC
from dataset_scripts.benchmarks.caption_orders import (
    COCO_ORDER,
    COCO_ORDER_STRICT,
    COCO_SHUFFLED_RETRIEVAL,
    FLICKR30K_ORDER,
    FLICKR30K_ORDER_STRICT,
    FLICKR30K_SHUFFLED_RETRIEVAL,
)
from dataset_scripts.benchmarks.captions_retrieval import COCO_RETRIEVAL, COCO_VAL2017_RETRIEVAL, FLICKR30K_RETRIEVAL
from dataset_scripts.benchmarks.classification import CLASSIFICATION, class_folder
from dataset_scripts.benchmarks.cola import COLA
from dataset_scripts.benchmarks.colorswap import COLORSWAP
from dataset_scripts.benchmarks.crepe import CREPE
from dataset_scripts.benchmarks.eqben import EQBEN
from dataset_scripts.benchmarks.negbench import (
    NEGBENCH_MCQ_COCO,
    NEGBENCH_MCQ_SYNTHETIC,
    NEGBENCH_MCQ_VOC,
    NEGBENCH_RETRIEVAL_COCO,
)
from dataset_scripts.benchmarks.negrefcocog import NEGREFCOCOG
from dataset_scripts.benchmarks.own_files import choice, pairs
from dataset_scripts.benchmarks.scenes_and_ccneg import CCNEG, CCNEG_COMMAS_STRIPPED, SCENES
from dataset_scripts.benchmarks.schema import Benchmark
from dataset_scripts.benchmarks.spec import SPEC_IMAGE_TO_TEXT, SPEC_TEXT_TO_IMAGE
from dataset_scripts.benchmarks.sugarcrepe import SUGARCREPE, SUGARCREPE_PP
from dataset_scripts.benchmarks.svo_probes import SVO_PROBES
from dataset_scripts.benchmarks.two_by_two import WINOGROUND, two_by_two
from dataset_scripts.benchmarks.valse import VALSE_EXISTENCE, VALSE_EXISTENCE_UNFILTERED
from dataset_scripts.benchmarks.vl_checklist import VL_CHECKLIST
from dataset_scripts.benchmarks.whatsup import WHATSUP

BENCHMARKS = (
    *SCENES,
    CCNEG,
    CCNEG_COMMAS_STRIPPED,
    SUGARCREPE,
    SUGARCREPE_PP,
    VALSE_EXISTENCE,
    VALSE_EXISTENCE_UNFILTERED,
    VG_RELATION,
    VG_ATTRIBUTION,
    *CREPE,
    VL_CHECKLIST,
    *WHATSUP,
    COCO_ORDER,
    COCO_ORDER_STRICT,
    FLICKR30K_ORDER,
    FLICKR30K_ORDER_STRICT,
    NEGBENCH_MCQ_COCO,
    NEGBENCH_MCQ_VOC,
    NEGBENCH_MCQ_SYNTHETIC,
    NEGBENCH_RETRIEVAL_COCO,
    COCO_RETRIEVAL,
    COCO_VAL2017_RETRIEVAL,
    FLICKR30K_RETRIEVAL,
    COCO_SHUFFLED_RETRIEVAL,
    FLICKR30K_SHUFFLED_RETRIEVAL,
    WINOGROUND,
    EQBEN,
    COLORSWAP,
    BIVLC,
    COLA,
    SPEC_IMAGE_TO_TEXT,
    SPEC_TEXT_TO_IMAGE,
    SVO_PROBES,
    NEGREFCOCOG,
    *CLASSIFICATION,
)

# Sets of one's own, by the word before the colon.
OWN = {"classes": class_folder, "two_by_two": two_by_two, "pairs": pairs, "choice": choice}


def choose_benchmarks(names: list[str], option: str = "--benchmarks") -> list[Benchmark]:
    """
    Return the benchmarks that an option names.

    Args:
        names: names of benchmarks; beginnings of several names (`scenes`, `negbench`); a set of one's own:
            `classes:FOLDER`, `two_by_two:FOLDER`, `pairs:FILE` or `choice:FILE`; or `all`.
        option: what messages call it.

    Raises:
        UsageError: an unknown name, or a folder or file that has the name of another benchmark.
    """
    if names == ["all"]:
        return list(BENCHMARKS)
    if len(names) > 1 and (alone := {"all", "list"}.intersection(names)):
        raise UsageError(f"{option} {min(alone)} cannot be combined with other names.")
    chosen: dict[str, Benchmark] = {}
    for name in dict.fromkeys(names):
        for benchmark in benchmarks_named(name, option):
            # Two folders or files may have the same name.
            if chosen.setdefault(benchmark.name, benchmark) != benchmark:
                raise UsageError(
                    f"{option} {name}: there is another {benchmark.name} among them; rename the folder or file, "
                    "or run the two one after the other."
                )
    return list(chosen.values())


def benchmarks_named(name: str, option: str) -> list[Benchmark]:
    kind, _, place = name.partition(":")
    if place and kind in OWN:
        # Relative to the working directory, not to --data_dir.
        path = Path(os.path.abspath(os.path.expanduser(place)))
        return [OWN[kind](path.stem if kind in ("pairs", "choice") else path.name, path)]
    if kind in OWN:
        place = "FILE.jsonl" if kind in ("pairs", "choice") else "FOLDER"
        raise UsageError(f"{option} {name}: name your own set, {kind}:{place}.")
    found = [benchmark for benchmark in BENCHMARKS if benchmark.name == name]
    found = found or [benchmark for benchmark in BENCHMARKS if benchmark.name.startswith(f"{name}-")]
    if not found:
        known = [benchmark.name for benchmark in BENCHMARKS]
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the benchmarks are {', '.join(known)}."
        raise UsageError(f"{option} {name}: no such benchmark; {hint}")
    return found


def list_benchmarks() -> str:
    return "\n".join(f"{benchmark.name}: {benchmark.title}. {benchmark.source}" for benchmark in BENCHMARKS)
