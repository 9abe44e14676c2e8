"""docs/bad_inputs.md from the cases of the tests: `python tests/helpers/bad_inputs_page.py` writes it. Not a test."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]

from bad_accepted import ACCEPTED  # noqa: E402
from bad_benchmarks import BENCHMARKS  # noqa: E402
from bad_code import CODE  # noqa: E402
from bad_data import DATA  # noqa: E402
from bad_embeddings import EMBEDDINGS  # noqa: E402
from bad_images import IMAGES  # noqa: E402
from bad_inputs import BadInput  # noqa: E402
from bad_models import MODELS  # noqa: E402
from bad_options import OPTIONS  # noqa: E402

PAGE = ROOT / "docs" / "bad_inputs.md"
# Title -> text, cases.
SECTIONS = {
    "Options and output folders": ("", OPTIONS),
    "Models": ("", MODELS),
    "Rows": ("", DATA),
    "Images": (
        """Images are read from where the rows say. Absolute paths, paths with `..` and links are followed, since many
datasets have them. A file that is no image is refused, so that `conclip negate` copies no other file into the folder
that it writes; an image of yours that the rows name is copied. `conclip ccneg` refuses paths and links that lead out
of the folders of CC-Neg and COCO.""",
        IMAGES,
    ),
    "Embeddings and texts of images": ("", EMBEDDINGS),
    "Benchmarks and results": ("", BENCHMARKS),
    "Files that try to run code": (
        """Each of these files would make another file if it were run; the tests look for that file. Models, data and
checkpoints that somebody sent can therefore be tried. What is installed is trusted: Python packages, among them
spaCy's models.""",
        CODE,
    ),
    "Unusual, but used": ("These inputs are used. The table shows what is printed.", ACCEPTED),
}


def table(cases: list[BadInput], last: str) -> list[str]:
    lines = [f"| command | input | {last} |", "|---|---|---|"]
    for case in cases:
        cells = (f"`{case.command}`", case.wrong, case.says)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|').replace('<', '&lt;') for cell in cells)} |")
    return lines


def page() -> str:
    refused = sum(len(cases) for cases, _ in ((cases, text) for text, cases in SECTIONS.values())) - len(ACCEPTED)
    lines = [
        "# Bad inputs",
        "",
        f"This page shows what the commands say to {refused} bad inputs. Each is a test: the command ends with exit",
        'code 1 and this message after "Error: ", and leaves no half-written file. "…" stands for what a library or',
        "the system says.",
    ]
    for title, (text, cases) in SECTIONS.items():
        lines += ["", f"## {title}", "", *([text, ""] if text else [])]
        lines += table(cases, "output" if cases is ACCEPTED else "message")
    lines += ["", "`python tests/helpers/bad_inputs_page.py` writes this page from the cases of the tests."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
