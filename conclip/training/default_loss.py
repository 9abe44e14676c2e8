"""The losses that a dataset allows."""

from dataclasses import fields, replace

import pyarrow as pa
import pyarrow.compute as pc
from accelerate import Accelerator
from datasets import Dataset

from conclip.data import require_columns
from conclip.errors import UsageError
from conclip.training.arguments import DISTILLATION, ConCLIPTrainingArguments
from conclip.training.pair_rows import DISTRACTOR_LOSSES, NEGATED_LOSSES

ROWS_AT_A_TIME = 1_000


def with_loss(args: ConCLIPTrainingArguments, dataset: Dataset, accelerator: Accelerator) -> ConCLIPTrainingArguments:
    """
    Set the first loss that the data allows, if no loss was named; print what the data lacks for the others.

    Raises:
        UsageError: the data lacks what the named loss needs, or a column that was named.
    """
    if args.loss == DISTILLATION:
        return args
    option, distractor_column = [*args.image_columns.items()][1]
    columns = {"--negated_caption_column": args.negated_caption_column, f"--{option}": distractor_column}
    if args.loss:
        require_values(dataset, args.loss, *columns.values(), f"--{option}")
        return args
    defaults = {f"--{item.name}": item.default for item in fields(args)}
    named = {option: column for option, column in columns.items() if column != defaults[option]}
    require_columns(dataset, named, str(dataset.split or "train"))
    loss, note = default_loss(dataset, *columns.values())
    if note:
        accelerator.print(note)
    return replace(args, loss=loss)


def default_loss(dataset: Dataset, negated_caption_column: str, distractor_image_column: str) -> tuple[str, str]:
    """
    Choose the loss by the columns that have values.

    Returns:
        "conclip", "negclip" or "clip"; and a sentence that says what the data lacks, empty for "conclip".
    """
    if not has_values(dataset, negated_caption_column):
        return "clip", (
            f"The data has no negated captions (column {negated_caption_column}): training with CLIP's own loss "
            "(--loss clip); `conclip negate` makes them."
        )
    if not has_values(dataset, distractor_image_column):
        return "negclip", (
            f"The data has no distractor images (column {distractor_image_column}): training with the paper's loss "
            "without them, which is NegCLIP's (--loss negclip); `conclip distractors` finds them."
        )
    return "conclip", ""


def require_values(
    dataset: Dataset,
    loss: str,
    negated_caption_column: str,
    distractor_image_column: str,
    option: str = "--distractor_image_column",
) -> None:
    """
    Args:
        option: the option that names the column of distractors, for messages.

    Raises:
        UsageError: the dataset has no negated captions, or no distractors, and the loss needs them.
    """
    if loss in NEGATED_LOSSES and not has_values(dataset, negated_caption_column):
        raise UsageError(
            f"--loss {loss} needs negated captions, and the column {negated_caption_column} has none: make them with "
            "`conclip negate`, or name the column with --negated_caption_column."
        )
    if loss in DISTRACTOR_LOSSES and not has_values(dataset, distractor_image_column):
        raise UsageError(
            f"--loss {loss} needs distractor images, and the column {distractor_image_column} has none: find them "
            f"with `conclip distractors`, name the column with {option}, or choose --loss negclip."
        )


def has_values(dataset: Dataset, column: str) -> bool:
    """Return whether any row of the column has a value; an empty list or text is none."""
    if column not in dataset.column_names:
        return False
    rows = dataset.select_columns([column]).with_format("arrow")
    for table in rows.iter(ROWS_AT_A_TIME):
        values = table[column].drop_null()
        # Images are structs, which have no length. Numbers of rows have none either.
        if any(check(values.type) for check in (pa.types.is_struct, pa.types.is_null, pa.types.is_integer)):
            found = len(values) > 0
        else:
            length = pc.list_value_length if hasattr(values.type, "value_type") else pc.binary_length
            found = pc.any(pc.greater(length(values), 0)).as_py()
        if found:
            return True
    return False
