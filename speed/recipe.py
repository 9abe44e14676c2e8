"""The paper's recipe over rows that are in memory, with the project's own loader, optimizer and training step."""

import numpy as np
import torch
from accelerate import Accelerator

from conclip.embedding.tokens import TextTokens
from conclip.runtime import return_large_blocks
from conclip.training.arguments import ConCLIPTrainingArguments
from conclip.training.collator import PairCollator
from conclip.training.pair_rows import PairRows
from conclip.training.training_state import TrainingState, compiles, prepare_training
from modeling_conclip import ConCLIPModel
from speed.models import image_processor


class ReadyRows(PairRows):
    """
    Rows with one negated caption and one distractor each, made of what `PairRows` would read from a dataset.

    Args:
        tokens: of N captions, then of their N negated captions.
        image_embeds, distractor_embeds: float32, (N, d).
    """

    def __init__(self, tokens: TextTokens, image_embeds: torch.Tensor, distractor_embeds: torch.Tensor):
        self.seed, self.tokens, self.tensor_name = 0, tokens, "image_embeds"
        self.images = self.distractors = self.image_tensors = image_embeds
        self.distractor_tensors, self.distractor_images = distractor_embeds, np.arange(len(distractor_embeds))
        self.captions = self.negations = self.distractor_counts = np.ones(len(image_embeds), np.int64)
        self._use_all()

    def keys(self) -> np.ndarray:
        """Return no keys: all rows are different."""
        return np.empty((len(self), 0), np.uint64)


def recipe(batch_size: int, **settings) -> ConCLIPTrainingArguments:
    """
    Return the paper's recipe without logging and without warm-up, so that the first step changes the weights.

    Args:
        settings: other fields of `ConCLIPTrainingArguments`.
    """
    return ConCLIPTrainingArguments(
        per_device_train_batch_size=batch_size, warmup_steps=0, report_to="none", **settings
    )


def prepare(
    model: ConCLIPModel, rows: ReadyRows, args: ConCLIPTrainingArguments, accelerator: Accelerator
) -> TrainingState:
    """Return the state that `train_step` and `run_training` take."""
    return_large_blocks()
    collator = PairCollator(image_processor(), args.mini_batch_size, compiles(args, accelerator))
    return prepare_training(model.to(accelerator.device), rows, collator, args, accelerator)
