"""Nouns that name things one can see, and counts of those that may be said to be absent (`nouns.tsv`)."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from conclip.negation.lexicon.inflection import is_person

# Made by `make_nouns`. A line holds a noun; of the frequent ones also how many of `PER` captions name it, and how many
# name it together with each noun after it in the alphabet. A star marks what may be said to be absent.
NOUNS_FILE = Path(__file__).with_name("nouns.tsv")
PER = 100_000
# Names of one word that the same captions use eight times or more in the plural or behind "a", and at least twice as
# often so as bare, of two words four times; common names of substances; what names no thing alone ("ring", "team") was
# struck by hand.
NAMES_FILE = Path(__file__).with_name("countable.txt")


class Nouns(NamedTuple):
    """What `nouns.tsv` holds: all nouns, those that may be absent, (name -> count) and ((name, name) -> count)."""

    visible: frozenset[str]
    absent: frozenset[str]
    totals: dict[str, int]
    pairs: dict[tuple[str, str], int]


@lru_cache(maxsize=1)
def read_nouns() -> Nouns:
    visible, absent, totals, pairs = set(), set(), {}, {}
    for line in NOUNS_FILE.read_text(encoding="utf-8").splitlines():
        marked, _, counts = line.partition("\t")
        noun = marked.removesuffix("*")
        visible.add(noun)
        if marked != noun:
            absent.add(noun)
        if counts:
            total, _, beside = counts.partition("\t")
            totals[noun] = int(total)
            for record in filter(None, beside.split(";")):
                other, _, count = record.partition(":")
                pairs[noun, other] = int(count)
    return Nouns(frozenset(visible), frozenset(absent), totals, pairs)


@lru_cache(maxsize=1 << 16)
def is_visible(name: str) -> bool:
    """Return whether a name, singular, is one of a thing or person that one can see."""
    head = name.rpartition(" ")[2]
    return is_person(head) or not read_nouns().visible.isdisjoint((head, *head.split("-")[-1:]))


def may_be_absent(name: str) -> bool:
    """Return whether people would notice the thing if it were there, and say its name."""
    return name in read_nouns().absent


@lru_cache(maxsize=1)
def _read_names() -> frozenset[str]:
    return frozenset(NAMES_FILE.read_text(encoding="utf-8").splitlines())


def is_known(name: str) -> bool:
    """Return whether captions often use a name, singular, by itself: "tennis ball", and not "ring" or "apparel"."""
    return name in _read_names() or " " not in name and is_person(name)
