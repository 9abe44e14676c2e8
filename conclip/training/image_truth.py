"""Of which images a statement is true, learned from images and their captions, for negation distillation."""

from collections.abc import Sequence

import numpy as np
import torch

from conclip.embedding.probes import fit_probes, with_constant
from conclip.errors import UsageError
from conclip.negation.arithmetic import mentions
from conclip.negation.query import Query
from conclip.negation.wording import form_of

# Images that probes are fitted on, and those of them on which statements are scored in each step.
FITTED, SCORED = 10_000, 2_048
MAX_ITER = 40
# A probe of fewer captions than this says little.
LEAST_CAPTIONS = 10


class ImageTruth:
    """
    How likely statements about things are true of some images.

    A probe for each thing tells the images whose captions name it from all others. Captions leave much unsaid, so it
    underestimates: its probability is divided by its mean over the images whose captions name the thing (Elkan and
    Noto, KDD 2008). What is known of several things is multiplied.

    Args:
        image_embeds: float32, (N, d), unit rows.
        captions: the captions of each image.
        things: names, singular and without article; those that few captions name are left out.
        seed: of the choice of images, if there are more than `FITTED`.

    Raises:
        UsageError: no thing is named often enough.
    """

    def __init__(
        self, image_embeds: torch.Tensor, captions: Sequence[Sequence[str]], things: Sequence[str], seed: int
    ):
        chosen = np.random.default_rng(seed).permutation(len(captions))[:FITTED]
        rows = image_embeds[torch.from_numpy(chosen)].float().cpu()
        at_image, at_thing = mentions(things, [" . ".join(captions[row]) for row in chosen.tolist()])
        named = torch.zeros(len(rows), len(things), dtype=torch.float64)
        named[at_image, at_thing] = 1
        counts = named.sum(dim=0)
        kept = ((counts >= LEAST_CAPTIONS) & (counts < len(rows))).nonzero().flatten()
        if not len(kept):
            raise UsageError(
                f"--truth_weight needs things that {LEAST_CAPTIONS} captions or more name; these captions name none."
            )
        named = named[:, kept]
        found = torch.sigmoid(with_constant(rows) @ fit_probes(rows, named, MAX_ITER))
        named_mean = (found * named).sum(dim=0) / named.sum(dim=0)
        self.image_embeds = rows[:SCORED]
        self.presence = (found[:SCORED] / named_mean).clamp(0, 1).float().numpy()
        self._at = {things[thing]: number for number, thing in enumerate(kept.tolist())}
        self._of_phrase = {form_of(thing, False).some: number for thing, number in self._at.items()}

    def __call__(self, queries: Sequence[Query]) -> torch.Tensor:
        """
        Return how likely n statements are true of the images in `image_embeds`, float32, (n, images).

        The row of a statement that is not about these things alone, such as a caption, is NaN.
        """
        # By numpy: loader processes are forked, where large operations of torch wait for threads that are not there.
        truth = np.full((len(queries), len(self.image_embeds)), np.nan, np.float32)
        for row, query in enumerate(queries):
            wanted = [self._of_phrase.get(phrase) for phrase in query.wanted.split(" and ")] if query.wanted else []
            unwanted = [self._at.get(thing) for thing in query.unwanted]
            if None not in (*wanted, *unwanted):
                truth[row] = self.presence[:, wanted].prod(axis=1) * (1 - self.presence[:, unwanted]).prod(axis=1)
        return torch.from_numpy(truth)
