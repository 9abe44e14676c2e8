"""The paper's recipe over rows that are ready: the project's own loader, optimizer and loop."""

import torch
from accelerate import Accelerator

from conclip.embedding.tokens import TextTokens
from conclip.runtime import return_large_blocks
from conclip.training.arguments import Arguments, parse_arguments
from conclip.training.collator import PairCollator
from conclip.training.loop import Training, compiles, prepare_training
from conclip.training.pair_dataset import PairRows
from modeling_conclip import ConCLIPModel
from speed.models import image_processor


class ReadyRows(PairRows):
    """
    Rows of one negated caption and one distractor each, from what `PairRows` would have read from a dataset.

    Args:
        tokens: of N captions, then of their N negated captions.
        image_embeds, distractor_embeds: float32, (N, d).
    """

    def __init__(self, tokens: TextTokens, image_embeds: torch.Tensor, distractor_embeds: torch.Tensor):
        self.size, self.seed, self.tokens, self.tensor_name = len(image_embeds), 0, tokens, "image_embeds"
        self.images = self.distractors = self.image_tensors = image_embeds
        self.distractor_tensors = distractor_embeds
        self.negations = self.distractor_counts = torch.ones(self.size, dtype=torch.int64).numpy()
        self.set_epoch(0)


def recipe(batch_size: int, *options: str) -> Arguments:
    """The paper's recipe without its warm-up, so that the first step counts, and without logging."""
    argv = ["--model_name_or_path", "random", "--per_device_train_batch_size", str(batch_size)]
    return parse_arguments([*argv, "--warmup_steps", "0", "--report_to", "none", *options])


def prepare(model: ConCLIPModel, rows: ReadyRows, arguments: Arguments, accelerator: Accelerator) -> Training:
    return_large_blocks()
    training = arguments.training
    collator = PairCollator(image_processor(), training.mini_batch_size, compiles(training, accelerator))
    return prepare_training(model.to(accelerator.device), rows, collator, arguments, accelerator)
