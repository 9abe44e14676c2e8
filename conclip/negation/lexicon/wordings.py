"""What is known of the rules in `wordings.txt`, from which statements are composed, beside the rules themselves."""

import re
from pathlib import Path

WORDINGS_FILE = Path(__file__).with_name("wordings.txt")

# Forms of benchmarks, and of questions for development, which no composed text may have: their wordings have to be
# new to a model that is measured by them.
HELD_OUT = (
    r"(?:^|[.;,] )this image",
    r"\b(?:present|included) in this image",
    r"\bin this image\W*$",
    r"^an? \w+ not \w+ing\W*$",
    r"^the image (?:shows|features|includes|contains) [\w -]+\W*$",
    r"\bno [\w -]+ (?:is|are) (?:present|included)\W*$",
)

# A statement keeps to one of them.
PICTURES = ("picture", "photo", "image", "scene", "photograph", "shot", "snapshot")


def read_wordings() -> dict[str, list[tuple[str, str]]]:
    """Return rule -> its alternatives, each a tag ("" for none) and a text; one drawn more often is repeated."""
    rules: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in WORDINGS_FILE.read_text(encoding="utf-8").splitlines():
        if line[:1].isalpha():
            name = line.removesuffix(":")
            rules[name] = []
        elif line.startswith("  "):
            times, tag, text = re.fullmatch(r"  (?:(\d)x )?(?:(\w+)\| )?(.*)", line).groups()
            rules[name] += [(tag or "", "" if text == "-" else text)] * int(times or 1)
    return rules
