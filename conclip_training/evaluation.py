"""Scores a model on held-out rows: negation pairs, true negations, retrieval."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from conclip_metrics.pair_accuracy.pair_accuracy import pair_accuracy
from conclip_training.arguments import Arguments
from conclip_training.data import open_image, require_columns, text_lists
from conclip_training.failures import UsageError
from dataset_scripts.collate import PairCollator
from modeling_conclip import ConCLIPModel
from modeling_conclip.loss_conclip import l2_normalize

QUERIES_AT_A_TIME = 1_000


@dataclass
class Pairs:
    """Captions of which the first is true of the image of its row and the second is not."""

    rows: list[int]
    true: list[str]
    false: list[str]
    kinds: list[str] | None


def negation_pairs(dataset: Dataset, arguments: Arguments, captions: list[str]) -> Pairs | None:
    """Each caption with each of its negated captions; `None` if the data has none."""
    column, split = arguments.data.negated_caption_column, arguments.data.eval_split_name
    if column not in dataset.column_names:
        return None
    negated = text_lists(dataset, column, split)
    rows = [row for row, texts in enumerate(negated) for _ in texts]
    true = [captions[row] for row in rows]
    return Pairs(rows, true, [*chain.from_iterable(negated)], kinds_of(dataset, "negation_kinds", rows))


def true_negation_pairs(dataset: Dataset, arguments: Arguments) -> Pairs | None:
    """True negations with their foils, columns of the project's schema; `None` if the data has none."""
    split = arguments.data.eval_split_name
    if not {"true_negations", "true_negation_foils"} <= set(dataset.column_names):
        return None
    true = text_lists(dataset, "true_negations", split, may_be_empty=True)
    rows = [row for row, texts in enumerate(true) for _ in texts]
    if not rows:
        return None
    false = text_lists(dataset, "true_negation_foils", split, may_be_empty=True)
    for index, (texts, foils) in enumerate(zip(true, false, strict=True)):
        if len(texts) != len(foils):
            raise UsageError(
                f"Split {split!r}, row {index}: {len(texts)} true_negations, but {len(foils)} true_negation_foils."
            )
    flat = [[*chain.from_iterable(texts)] for texts in (true, false)]
    return Pairs(rows, *flat, kinds_of(dataset, "true_negation_kinds", rows))


def kinds_of(dataset: Dataset, column: str, rows: list[int]) -> list[str] | None:
    if column not in dataset.column_names:
        return None
    kinds = [kind for kinds in dataset[column] for kind in kinds or ()]
    return kinds if len(kinds) == len(rows) and all(kinds) else None


def recall_at_1(text_embeds: torch.Tensor, image_embeds: torch.Tensor, groups: np.ndarray) -> dict:
    """
    Text-to-image recall@1.

    Args:
        text_embeds, image_embeds: float32, (N, d), unit rows; text i describes image i.
        groups: int, (N,). Images of the same group as the text are all right answers (rows with the same caption).

    Returns:
        `value`: share of texts whose best right image scores strictly above every other; `ties`: texts where they
        are equal, counted as errors; `count`: N; `chance`: the mean share of right images.
    """
    groups = torch.from_numpy(groups)
    right = ties = positives = 0
    for start in range(0, len(text_embeds), QUERIES_AT_A_TIME):
        chunk = slice(start, start + QUERIES_AT_A_TIME)
        scores = text_embeds[chunk] @ image_embeds.T
        positive = groups[chunk, None] == groups[None, :]
        best = scores.masked_fill(~positive, -torch.inf).amax(dim=1)
        rival = scores.masked_fill(positive, -torch.inf).amax(dim=1)
        right += (best > rival).sum().item()
        ties += (best == rival).sum().item()
        positives += positive.sum().item()
    count = len(text_embeds)
    return {"value": right / count, "count": count, "ties": ties, "chance": positives / count**2}


class Evaluator:
    """
    Scores models on one split. Every distinct image and text is embedded once; image embeddings are kept for the next
    call while the image tower is frozen.

    Args:
        dataset: the rows to score.
        collator: the model's preprocessing.
        arguments: columns and batch size.
        accelerator: its processes share the embedding.
    """

    def __init__(self, dataset: Dataset, collator: PairCollator, arguments: Arguments, accelerator: Accelerator):
        data = arguments.data
        columns = {"--image_column": data.image_column, "--caption_column": data.caption_column}
        require_columns(dataset, columns, data.eval_split_name)
        self.dataset, self.collator, self.data, self.accelerator = dataset, collator, data, accelerator
        self.batch_size = arguments.training.per_device_eval_batch_size
        self.captions = [texts[0] for texts in text_lists(dataset, data.caption_column, data.eval_split_name)]
        self.pairs = {
            "negation pair accuracy": negation_pairs(dataset, arguments, self.captions),
            "true negation accuracy": true_negation_pairs(dataset, arguments),
        }
        self.image_embeds = None

    def __call__(self, model: ConCLIPModel) -> tuple[dict, dict[str, np.ndarray]]:
        """
        Returns:
            Metrics (name -> value, count, ties, chance, and by category), and for each pair metric the margins:
            float64, cosine of the true minus cosine of the false caption.
        """
        training = model.training
        model.eval()
        image_encoder = chain(model.vision_model.parameters(), model.visual_projection.parameters())
        frozen = not any(parameter.requires_grad for parameter in image_encoder)
        images = self.image_embeds if frozen and self.image_embeds is not None else self.embed_images(model)
        self.image_embeds = images if frozen else None
        texts = list(dict.fromkeys(self.captions + [t for p in self.pairs.values() if p for t in p.true + p.false]))
        index = {text: at for at, text in enumerate(texts)}
        embeds = self.embed_texts(model, texts)
        model.train(training)

        metrics, margins = {}, {}
        for name, pairs in self.pairs.items():
            if pairs is None:
                continue
            rows = images[pairs.rows]
            scores = [
                (rows * embeds[[index[text] for text in side]]).sum(dim=1).double().numpy()
                for side in (pairs.true, pairs.false)
            ]
            result = pair_accuracy(*scores, categories=pairs.kinds)
            metrics[name] = {"value": result.pop("accuracy"), **result}
            margins[name] = scores[0] - scores[1]
        at = np.array([index[caption] for caption in self.captions])
        metrics["text-to-image recall@1"] = recall_at_1(embeds[at], images, at)
        return metrics, margins

    @torch.inference_mode()
    def embed_images(self, model: ConCLIPModel) -> torch.Tensor:
        loader = DataLoader(
            _ImageRows(self.dataset, self.data.image_column, self.data.eval_split_name, self._own(len(self.dataset))),
            batch_size=self.batch_size,
            collate_fn=self.collator.images,
            num_workers=self.data.dataloader_num_workers,
        )
        batches = (
            model.get_image_features(pixels.to(self.accelerator.device)).pooler_output
            for pixels in self._progress(loader, "Embedding images")
        )
        return self._gather(batches, len(self.dataset))

    @torch.inference_mode()
    def embed_texts(self, model: ConCLIPModel, texts: list[str]) -> torch.Tensor:
        # Neighbours of like length need little padding.
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        own = [texts[order[at]] for at in self._own(len(texts))]
        starts = self._progress(range(0, len(own), self.batch_size), "Embedding texts")
        batches = (
            model.get_text_features(
                **{
                    name: tensor.to(self.accelerator.device)
                    for name, tensor in self.collator.texts(own[start : start + self.batch_size]).items()
                }
            ).pooler_output
            for start in starts
        )
        embeds = self._gather(batches, len(texts))
        return embeds[torch.tensor(order).argsort()]

    def _own(self, count: int) -> list[int]:
        """This process's share, as many items on each: the last ones are repeated where they do not divide."""
        world = self.accelerator.num_processes
        return [min(at, count - 1) for at in range(self.accelerator.process_index, -(-count // world) * world, world)]

    def _gather(self, batches, count: int) -> torch.Tensor:
        with self.accelerator.autocast():
            own = torch.cat([l2_normalize(batch) for batch in batches])
        gathered = self.accelerator.gather(own[None])  # (processes, share, d)
        return gathered.transpose(0, 1).flatten(0, 1)[:count].float().cpu()

    def _progress(self, items, name: str):
        return tqdm(items, desc=name, leave=False, disable=not self.accelerator.is_local_main_process)


class _ImageRows(torch.utils.data.Dataset):
    def __init__(self, dataset: Dataset, column: str, split: str, rows: list[int]):
        self.dataset, self.column, self.split, self.rows = dataset.select_columns([column]), column, split, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int):
        return open_image(self.dataset, self.rows[at], self.column, self.split)
