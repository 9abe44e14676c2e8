"""BLIP, which scores in two ways: by the cosine of embeddings (ITC), and by reading image and text together (ITM)."""

from collections.abc import Iterator, Sequence

import numpy as np
import PIL.Image
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm.auto import tqdm

from conclip.embedding.images import leave_ctrl_c_to_main_process
from conclip.models.dual_encoder import DualEncoder


class BlipMatcher(DualEncoder):
    """
    `BlipForImageTextRetrieval`. As a `DualEncoder` it returns the embeddings whose cosine is the ITC score.

    A text begins with [CLS], as in transformers and in BLIP's demo (`models/blip_itm.py`). BLIP's training and its
    retrieval evaluation (`train_retrieval.py`) use [ENC], token 30523, instead when image and text are read together,
    and that evaluation adds the ITC score to the ITM score. Published ITM results may have been computed that way.
    """

    def _image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model.vision_proj(self._image_states(pixel_values)[:, 0])

    def text_features(self, **tokens: torch.Tensor) -> torch.Tensor:
        tokens.pop("token_type_ids", None)
        return self.model.text_proj(self.model.text_encoder(**tokens).last_hidden_state[:, 0])

    def _image_states(self, pixel_values: torch.Tensor) -> torch.Tensor:  # (n, patches + 1, width)
        return self.model.vision_model(pixel_values=pixel_values).last_hidden_state

    def _match(self, image_states: torch.Tensor, texts: list[str]) -> torch.Tensor:
        """
        Return float64, (n,): the logit of "match" minus the logit of "no match".

        Args:
            image_states: (n, patches + 1, width), on the model's device.
            texts: n texts.
        """
        tokens = self.tokenize(texts)
        tokens.pop("token_type_ids", None)
        hidden = self.model.text_encoder(**tokens, encoder_hidden_states=image_states).last_hidden_state[:, 0]
        head = self.model.itm_head
        no_match, match = F.linear(hidden.double(), head.weight.double(), head.bias.double()).unbind(1)
        return match - no_match

    @torch.no_grad()
    def pair_scores(
        self,
        images: Sequence[PIL.Image.Image] | Dataset,
        image_at: np.ndarray,
        texts: Sequence[str],
        text_at: np.ndarray,
        batch_size: int,
        num_workers: int = 0,
    ) -> np.ndarray:
        """
        Score how well each text matches its image.

        Each image passes through the image encoder once, and each pair through the text encoder once, which attends to
        the image. Memory depends on `batch_size` alone.

        Args:
            images: PIL images by index.
            image_at: int, (pairs,), index of each pair's image.
            text_at: int, (pairs,), index of each pair's text.
            batch_size: number of images, and of pairs, per batch.
            num_workers: number of processes that read and preprocess images.

        Returns:
            float64, (pairs,): the log-odds of "match". Unlike the probability they do not saturate at 1, where
            different pairs would tie.
        """
        given = np.stack([np.asarray(image_at, np.int64), np.asarray(text_at, np.int64)], axis=1).reshape(-1, 2)
        # Sorted by image. A repeated pair is scored once, since two computations could differ by rounding.
        pairs, inverse = np.unique(given, axis=0, return_inverse=True)
        scores = np.empty(len(pairs))
        with tqdm(total=len(pairs), desc="Matching", unit=" pairs", leave=False) as bar:
            for states, start, stop in self._by_images(images, pairs[:, 0], batch_size, num_workers):
                # For each pair, the row of its image in `states`.
                local = torch.from_numpy(np.unique(pairs[start:stop, 0], return_inverse=True)[1])
                for first in range(start, stop, batch_size):
                    some = slice(first, min(first + batch_size, stop))
                    at = local[some.start - start : some.stop - start].to(states.device)
                    scores[some] = (
                        self._match(states[at], [texts[text] for text in pairs[some, 1].tolist()]).cpu().numpy()
                    )
                    bar.update(some.stop - some.start)
        return scores[inverse.reshape(-1)]

    def _by_images(
        self, images: Sequence | Dataset, image_at: np.ndarray, batch_size: int, num_workers: int
    ) -> Iterator[tuple[torch.Tensor, int, int]]:
        """
        Encode the images batch by batch.

        Args:
            image_at: index of each pair's image, sorted.

        Yields:
            States of up to `batch_size` images, (n, patches + 1, width), and the range of pairs of these images.
        """
        distinct, starts = np.unique(image_at, return_index=True)
        starts = [*starts.tolist(), len(image_at)]
        # As a list of int: a dataset may not accept numpy's integers as an index.
        loader = DataLoader(
            Subset(images, distinct.tolist()),
            batch_size,
            collate_fn=self.preprocess,
            num_workers=num_workers,
            worker_init_fn=leave_ctrl_c_to_main_process,
        )
        for index, inputs in enumerate(loader):
            first = index * batch_size
            last = min(first + batch_size, len(distinct))
            yield self._image_states(inputs["pixel_values"].to(self.model.device)), starts[first], starts[last]
