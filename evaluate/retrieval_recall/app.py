"""The Space of a metric: columns as JSON in, scores out. Every metric folder holds a copy of this file.

`launch_gradio_widget` of the library needs Gradio 3 and cannot leave out an optional column.
"""

from __future__ import annotations

import ast
import doctest
import json
import re
from pathlib import Path

import evaluate

FOLDER = Path(__file__).parent
CARD = re.sub(r"\A---\n.*?\n---\n", "", (FOLDER / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
# A Space's own folder has another name than the metric.
(NAME,) = (path.stem for path in FOLDER.glob("*.py") if path.stem not in ("app", "checks"))


def example() -> dict:
    """The columns of the card's first example."""
    columns = {}
    for part in doctest.DocTestParser().get_examples(CARD):
        for node in ast.walk(ast.parse(part.source)):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
                columns[node.targets[0].id] = ast.literal_eval(node.value)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "metric.compute":
                named = ((keyword.arg, keyword.value) for keyword in node.keywords)
                return {
                    name: columns[value.id] if isinstance(value, ast.Name) else ast.literal_eval(value)
                    for name, value in named
                }
    raise ValueError("The card has no example that calls metric.compute.")


def compute(columns: str) -> dict:
    """Scores of columns.

    Args:
        columns: a JSON object, name of a column or option -> its value.

    Returns:
        What the metric computes, or {"error": what is wrong with the columns}.
    """
    try:
        values = json.loads(columns)
        if not isinstance(values, dict):
            raise ValueError('the columns must be a JSON object, such as {"true_scores": [0.3, 0.2]}.')
        return evaluate.load(str(FOLDER / f"{NAME}.py")).compute(**values)
    except (ValueError, TypeError) as error:
        return {"error": str(error)}


def interface():
    """The page of the Space."""
    import gradio

    return gradio.Interface(
        fn=compute,
        inputs=gradio.Code(json.dumps(example(), indent=2), language="json", label="Columns and options, as JSON"),
        outputs=gradio.JSON(label="Scores"),
        title=NAME.replace("_", " ").capitalize(),
        article=CARD,
        flagging_mode="never",
    )


if __name__ == "__main__":
    interface().launch()
