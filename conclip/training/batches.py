"""Batches in which no two rows share an image or a text, for a loss that compares all rows of a batch."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
import torch

from conclip.training.pair_rows import PairRows
from conclip.training.statement_rows import StatementRows
from conclip.training.stream_rows import StreamRows

# Batches that are searched in vain for partners of one batch's rows before the search ends. The first nearly always
# has one, unless the data has too few different rows.
TRIES_A_BATCH = 20
NO_KEY = -1


class DistinctBatches(torch.utils.data.Sampler[list[int]]):
    """
    Sample batches without false negatives.

    A row that shares an image or a text with another row of its batch is a false negative of that row: the loss
    pushes apart what belongs together. Rows are shuffled by seed and epoch and cut into batches. Then each row that
    shares something with an earlier row of its batch changes places with a row of another batch. Where this is
    impossible, the row stays, and `report` is called once with the numbers.

    The batches depend on seed, epoch and the rows alone, so all processes and a resumed run agree on them. The epoch
    is that of `rows`, which accelerate sets. Rows that do not fill a batch are left out, other ones in each epoch.

    Args:
        rows: the training rows; their keys say which images and texts are equal.
        batch_size: rows of one process. The loss compares the rows of all processes, so these are kept apart.
        num_processes: each batch of all processes is yielded in so many parts; accelerate gives one to each process.
        seed: of the shuffling.
        report: takes a sentence for the user.
    """

    drop_last = True

    def __init__(
        self,
        rows: PairRows | StatementRows | StreamRows,
        batch_size: int,
        num_processes: int,
        seed: int,
        report: Callable[[str], object],
    ):
        self.rows, self.batch_size, self.num_processes = rows, batch_size, num_processes
        self.seed, self.report, self.reported = seed, report, False

    def __len__(self) -> int:
        return len(self.rows) // (self.batch_size * self.num_processes) * self.num_processes

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.rows.epoch)
        order = torch.randperm(len(self.rows), generator=generator).numpy()
        keys = number_shared_keys(self.rows.keys())
        batches = separate(order, keys, self.batch_size * self.num_processes)
        self._report(batches, keys)
        yield from map(np.ndarray.tolist, batches.reshape(-1, self.batch_size))

    def _report(self, batches: np.ndarray, keys: np.ndarray) -> None:
        clashes = int(repeats(keys[batches]).sum())
        if clashes and not self.reported:
            self.reported = True
            most = np.bincount(keys[keys != NO_KEY]).max()
            self.report(
                f"Warning: {clashes:,} of {batches.size:,} rows of epoch {self.rows.epoch + 1} share an image or a "
                "text with an earlier row of their batch, which makes them false negatives; the most frequent one is "
                f"in {most:,} rows, and an epoch has {len(batches):,} batches of {batches.shape[1]:,} rows: use "
                "smaller batches, or fewer rows with the same image or text."
            )


def number_shared_keys(keys: np.ndarray) -> np.ndarray:
    """
    Number the keys that occur in several rows.

    Args:
        keys: uint64, (rows, k): what each row holds.

    Returns:
        int64, (rows, k): equal numbers for equal keys; `NO_KEY` for a key that no other row has, and where a row
        repeats its own.
    """
    _, numbers = np.unique(keys, return_inverse=True)
    numbers = numbers.reshape(keys.shape)
    for column in range(1, keys.shape[1]):
        numbers[(numbers[:, :column] == numbers[:, [column]]).any(axis=1), column] = NO_KEY
    counts = np.bincount(numbers[numbers != NO_KEY])
    return np.where(counts[numbers] > 1, numbers, NO_KEY) if len(counts) else numbers


def repeats(keys: np.ndarray) -> np.ndarray:
    """
    Find the rows that share a key with an earlier row of their batch.

    Args:
        keys: int64, (batches, batch size, k), from `number_shared_keys`.

    Returns:
        bool, (batches, batch size).
    """
    shared = keys != NO_KEY
    batch_keys = (keys + np.arange(len(keys))[:, None, None] * (keys.max(initial=0) + 1))[shared]
    repeated = np.ones(batch_keys.shape, bool)
    repeated[np.unique(batch_keys, return_index=True)[1]] = False
    found = np.zeros(keys.shape, bool)
    found[shared] = repeated
    return found.any(axis=2)


def separate(order: np.ndarray, keys: np.ndarray, batch_size: int) -> np.ndarray:
    """
    Cut shuffled rows into batches, and let rows change places until no two rows of a batch share a key.

    Without shared keys, the batches are the slices of `order`. A row changes places with one of the next batch where
    both fit, else with one of the rows that fill no batch.

    Args:
        order: int64, (rows,), a permutation.
        keys: int64, (rows, k), from `number_shared_keys`.

    Returns:
        int64, (batches, batch_size). A row that fits nowhere stays where it is; `repeats` finds it.
    """
    count = len(order) // batch_size
    order = order.copy()
    batches, spare = order[: count * batch_size].reshape(count, batch_size), order[count * batch_size :]
    clashing = repeats(keys[batches])
    holders = count_holders(order, keys, batch_size, np.unique(keys[batches[clashing]]))
    for batch in np.flatnonzero(clashing.any(axis=1)).tolist():
        inside = Counter(keys[batches[batch]].ravel().tolist())
        tries = {False: TRIES_A_BATCH, True: TRIES_A_BATCH}
        for slot in np.flatnonzero(clashing[batch]).tolist():
            own = keys_of(batches[batch, slot], keys)
            inside.subtract(own)
            # None, if an earlier change has taken the other row away.
            clashes = sum(inside[key] > 0 for key in own)
            for other in better_batches(own, clashes, holders, batch, count):
                if not tries[other == count]:
                    break
                partners = spare if other == count else batches[other]
                at = first_fitting(partners, keys, inside)
                if at is None:
                    tries[other == count] -= 1
                    continue
                move(holders, own, batch, other)
                own = keys_of(partners[at], keys)
                move(holders, own, other, batch)
                batches[batch, slot], partners[at] = partners[at], batches[batch, slot]
                break
            inside.update(own)
    return batches


def keys_of(row: int, keys: np.ndarray) -> list[int]:
    return [key for key in keys[row].tolist() if key != NO_KEY]


def first_fitting(rows: np.ndarray, keys: np.ndarray, inside: Counter) -> int | None:
    """Return the position of the first row that has none of the keys inside another batch."""
    return next((at for at, row in enumerate(rows) if not any(inside[key] for key in keys_of(row, keys))), None)


def better_batches(own: list[int], clashes: int, holders: dict[int, Counter], batch: int, count: int) -> Iterator[int]:
    """
    Yield the batches in which a row clashes less than in its own.

    Args:
        own: the keys of the row.
        clashes: how many of them its batch holds otherwise.

    Yields:
        First the batches that hold none of the keys, beginning with those after its own; last `count`, which stands
        for the left-over rows.
    """
    held = [holders[key] for key in own]
    everywhere = sum(len(batches) - (count in batches) == count for batches in held)
    for fewer in range(everywhere, clashes):
        for other in chain(range(batch + 1, count), range(batch)):
            if sum(other in batches for batches in held) == fewer:
                yield other
    if clashes:
        yield count


def count_holders(order: np.ndarray, keys: np.ndarray, batch_size: int, wanted: np.ndarray) -> dict[int, Counter]:
    """Return, for each wanted key, the batches that hold it, and in how many rows; the left-over rows come last."""
    holders: dict[int, Counter] = {key: Counter() for key in wanted.tolist() if key != NO_KEY}
    found = np.isin(keys[order], [*holders])
    batches = np.nonzero(found)[0] // batch_size
    for key, batch in zip(keys[order][found].tolist(), batches.tolist(), strict=True):
        holders[key][batch] += 1
    return holders


def move(holders: dict[int, Counter], row_keys: list[int], source: int, target: int) -> None:
    """Count a row with these keys in another batch."""
    for held in [holders[key] for key in row_keys if key in holders]:
        held[target] += 1
        held[source] -= 1
        if not held[source]:
            del held[source]
