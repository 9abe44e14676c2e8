"""
Pack texts into one sequence of tokens in which a beginning that several texts share appears once.

CLIP's text encoder is causal: what it computes at a token depends on that token and those before it. Texts that begin
alike, such as a caption and its negation, have the same values up to the token at which they differ. The texts of a
batch therefore form a tree of tokens (a trie) whose root is the start-of-text token. A packed batch lists the nodes of
that tree, parents before children and each subtree in one piece: in other words, it lists the sorted texts without
what each shares with the one before it. The linear layers, which do nearly all of the encoder's work, run over these
nodes, and there is padding only at the end.

Attention runs in blocks of `BLOCK` consecutive nodes. A node attends to itself and its ancestors. Ancestors outside
its own block are also ancestors of the block's first node, so each block needs its own nodes and one short list of
others.
"""

import numpy as np
import torch

BLOCK = 64
PADDING = -1
# With static shapes, the length of the lists of ancestors is rounded up to a multiple of this.
ANCESTORS = 32


def pack_texts(texts: np.ndarray, pieces: int = 1, static_shapes: bool = False) -> list[dict[str, torch.Tensor]]:
    """
    Pack tokenised texts for `ConCLIPModel.forward(packed_texts=...)`.

    Args:
        texts: int, (n, length). Each text ends with the token at which it is pooled, then `PADDING`.
        pieces: number of packed batches to divide the texts into. With gradient caching, only one piece's activations
            are in memory at a time.
        static_shapes: round sizes up to a few different ones, so that compiled code is rarely recompiled.

    Returns:
        For each piece, of T nodes in T / BLOCK blocks:
        `input_ids`, `position_ids`: int64, (T,).
        `subtree_end`: int64, (T,). Node j is an ancestor of node i (or i itself) where j <= i < subtree_end[j].
        `ancestors`: int64, (T / BLOCK, A). For each block, the nodes outside it that its nodes attend to, then -1.
        `ends`: int64, (texts of the piece,). The node at which each text is pooled.
        `rows`: int64, (texts of the piece,). Index of each text among the n texts.
    """
    order = np.lexsort(texts.T[::-1])
    return [_pack_sorted(texts[rows], rows, static_shapes) for rows in np.array_split(order, pieces)]


def _pack_sorted(texts: np.ndarray, rows: np.ndarray, static_shapes: bool) -> dict[str, torch.Tensor]:
    columns = np.arange(texts.shape[1])
    lengths = (texts != PADDING).sum(axis=1)
    shared = shared_with_previous(texts, lengths)
    new = (columns >= shared[:, None]) & (columns < lengths[:, None])  # the tokens that become nodes
    text_of, position = np.nonzero(new)
    nodes, size = len(text_of), rounded_size(len(text_of), static_shapes)

    # Node of each token of each text: its own, or that of the earlier text with which it shares the token.
    own = np.cumsum(new).reshape(new.shape) - 1
    owner = np.maximum.accumulate(np.where(new, np.arange(len(texts))[:, None], 0), axis=0)
    node = np.take_along_axis(own, owner, axis=0)

    packed = {name: np.zeros(size, dtype=np.int64) for name in ("input_ids", "position_ids")}
    packed["input_ids"][:nodes], packed["position_ids"][:nodes] = texts[new], position
    # Padding attends to itself: a softmax over nothing would be NaN.
    packed["subtree_end"] = np.arange(1, size + 1)
    packed["subtree_end"][:nodes] = subtree_ends(shared, new)[text_of, position]
    first = np.arange(0, nodes, BLOCK)
    packed["ancestors"] = list_ancestors(node[text_of[first]], position[first], size // BLOCK, static_shapes)
    packed["ends"] = node[np.arange(len(texts)), lengths - 1]
    packed["rows"] = rows
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in packed.items()}


def shared_with_previous(texts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Count how many tokens at the beginning of each sorted text equal those of the text before it: int, (n,)."""
    same = np.logical_and.accumulate(texts[1:] == texts[:-1], axis=1).sum(axis=1)
    return np.concatenate([[0], np.minimum(same, lengths[1:])])


def subtree_ends(shared: np.ndarray, new: np.ndarray) -> np.ndarray:
    """
    Find where the subtree of each node ends.

    Args:
        shared: int, (n,), from `shared_with_previous`.
        new: bool, (n, length), the tokens that are nodes.

    Returns:
        int, (n, length). For a node of text i at position p, the first node after its subtree: the node at which the
        next text begins that shares p tokens or fewer with the text before it.
    """
    ends = np.cumsum(new.sum(axis=1))  # of each text's nodes, where those of the next text begin
    columns = np.arange(new.shape[1])
    parts = np.where(shared[1:, None] <= columns, ends[:-1, None], ends[-1])
    parts = np.concatenate([parts, np.full((1, new.shape[1]), ends[-1])])
    return np.minimum.accumulate(parts[::-1], axis=0)[::-1]


def list_ancestors(paths: np.ndarray, counts: np.ndarray, blocks: int, static_shapes: bool) -> np.ndarray:
    """
    List the ancestors of each block's first node.

    Args:
        paths: int, (blocks in use, length). The nodes of the text to which each block's first node belongs.
        counts: int, (blocks in use,). How many of them come before that node.

    Returns:
        int, (blocks, A), padded with -1. A is the largest count, at least 1.
    """
    width = max(1, counts.max())
    if static_shapes:
        width = -(-width // ANCESTORS) * ANCESTORS
    ancestors = np.full((blocks, width), -1, dtype=np.int64)
    columns = np.arange(width)[: paths.shape[1]]
    ancestors[: len(paths), : len(columns)] = np.where(columns < counts[:, None], paths[:, : len(columns)], -1)
    return ancestors


def rounded_size(nodes: int, static_shapes: bool) -> int:
    """Round up to a multiple of `BLOCK`; with static shapes, of an eighth of the power of two below (if larger)."""
    step = max(BLOCK, 2 ** (nodes.bit_length() - 4)) if static_shapes else BLOCK
    return -(-nodes // step) * step
