"""Packed texts: the tree equals one built by hand, and the encoder over it equals CLIP's over padded texts."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import TEXT_LENGTH, tiny_batch, tiny_model, tiny_tokenizer

from conclip.embedding.tokens import TextTokenizer
from conclip.training.arguments import LORA_TARGET_MODULES
from modeling_conclip.encoders_conclip import packed_layer, piece_by_piece
from modeling_conclip.packing_conclip import (
    ANCESTORS,
    BLOCK,
    PADDING,
    pack_texts,
    rounded_size,
    shared_with_previous,
)

CAPTIONS = ["a cat", "dog", "a cat on the sofa", "a cat", "street <|endoftext|> car"]
CAPTIONS += ["the small bird above water " * 20]  # cut at 77 tokens
RIDING = "the man riding a horse on the green grass with a red"
CAPTIONS += [f"{RIDING} ball next to a large white table", f"{RIDING} hat zebra"]
NEGATED = [f"{caption[:80]} but no {CAPTIONS[at - 1].split()[-1]}" for at, caption in enumerate(CAPTIONS)]


def padded(rows: list[list[int]]) -> np.ndarray:
    width = max(map(len, rows))
    return np.array([[*row, *[PADDING] * (width - len(row))] for row in rows])


# Texts; then tokens, positions and subtree_end of the nodes, the nodes pooled and the texts to which they belong.
BY_HAND = [
    ([[1, 2, 4, 9], [1, 2, 3, 9]], [1, 2, 3, 9, 4, 9], [0, 1, 2, 3, 2, 3], [6, 6, 4, 4, 6, 6], [3, 5], [1, 0]),
    ([[1, 2, 9], [1, 2, 9]], [1, 2, 9], [0, 1, 2], [3, 3, 3], [2, 2], [0, 1]),
    ([[1, 2, 9], [1, 2]], [1, 2, 9], [0, 1, 2], [3, 3, 3], [1, 2], [1, 0]),
    ([[5, 1, 9], [2, 1]], [2, 1, 5, 1, 9], [0, 1, 0, 1, 2], [2, 2, 5, 5, 5], [1, 4], [1, 0]),
    ([[1, 2], [1, 2, 3], [1, 4], [1, 4]], [1, 2, 3, 4], [0, 1, 2, 1], [4, 3, 3, 4], [1, 2, 3, 3], [0, 1, 2, 3]),
    ([[7]], [7], [0], [1], [0], [0]),
]


@pytest.mark.parametrize(("texts", "ids", "positions", "subtree_end", "ends", "rows"), BY_HAND)
def test_trees_by_hand(texts, ids, positions, subtree_end, ends, rows):
    (packed,) = pack_texts(padded(texts))
    nodes = len(ids)
    zeros = [0] * (BLOCK - nodes)
    # A padding node attends to itself only.
    subtree_end = [*subtree_end, *range(nodes + 1, BLOCK + 1)]
    expected = {"input_ids": ids + zeros, "position_ids": positions + zeros, "subtree_end": subtree_end}
    expected |= {"ancestors": [[-1]], "ends": ends, "rows": rows}
    assert {name: tensor.tolist() for name, tensor in packed.items()} == expected
    assert all(tensor.dtype == torch.int64 for tensor in packed.values())


def test_blocks_by_hand():
    """65 nodes start a second block, with a node that attends to all 64 before it, or to two of them."""
    (full,) = pack_texts(padded([list(range(BLOCK))]))
    assert full["input_ids"].tolist() == list(range(BLOCK)) and full["ancestors"].tolist() == [[-1]]
    (deep,) = pack_texts(padded([list(range(BLOCK + 1))]))
    assert deep["ancestors"].tolist() == [[-1] * BLOCK, list(range(BLOCK))] and deep["ends"].tolist() == [BLOCK]
    assert deep["input_ids"].tolist() == [*range(BLOCK + 1), *[0] * (BLOCK - 1)]
    assert deep["subtree_end"].tolist() == [*[BLOCK + 1] * (BLOCK + 1), *range(BLOCK + 2, 2 * BLOCK + 1)]
    (branched,) = pack_texts(padded([[0, 1, 80, 9], list(range(BLOCK))]))
    assert branched["ancestors"].tolist() == [[-1, -1], [0, 1]]
    assert branched["ends"].tolist() == [BLOCK - 1, BLOCK + 1] and branched["rows"].tolist() == [1, 0]
    assert branched["subtree_end"][[0, 1, 2, BLOCK - 1]].tolist() == [BLOCK + 2, BLOCK + 2, BLOCK, BLOCK]


def random_texts(seed: int) -> list[tuple[int, ...]]:
    """Few different tokens, so that texts share much, and a shared beginning longer than a block."""
    generator = np.random.default_rng(seed)
    texts = [generator.integers(1, 4, generator.integers(1, 12)) for _ in range(60)]
    stem = generator.integers(1, 4, BLOCK + 8)
    texts += [[*stem[: generator.integers(1, len(stem) + 1)], *text] for text in texts[:20]]
    return [tuple(map(int, text)) for text in texts]


def trie_paths(trie: dict, path: tuple = ()) -> list[tuple]:
    """Describe each node by the tokens from the root to it."""
    return [path] * bool(path) + [node for token in trie for node in trie_paths(trie[token], (*path, token))]


@pytest.mark.parametrize("static_shapes", [False, True])
@pytest.mark.parametrize(("seed", "pieces"), [(0, 1), (1, 3), (2, 80)])
def test_trees_equal_a_trie_of_dicts(seed, pieces, static_shapes):
    texts = random_texts(seed)
    packed_pieces = pack_texts(padded(texts), pieces, static_shapes)
    rows = torch.cat([packed["rows"] for packed in packed_pieces]).tolist()
    assert len(packed_pieces) == pieces and sorted(rows) == list(range(len(texts)))
    assert max(len(packed["rows"]) for packed in packed_pieces) == -(-len(texts) // pieces)
    across_blocks = 0
    for packed in packed_pieces:
        own = [texts[row] for row in packed["rows"].tolist()]
        trie = {}
        for text in own:
            node = trie
            for token in text:
                node = node.setdefault(token, {})
        ids, ends = packed["input_ids"].tolist(), packed["subtree_end"].tolist()
        line = [[j for j in range(i + 1) if ends[j] > i] for i in range(len(ids))]  # each node below its ancestors
        paths, expected = [tuple(ids[j] for j in nodes) for nodes in line], trie_paths(trie)
        used = len(expected)
        assert sorted(paths[:used]) == sorted(expected) and used <= sum(map(len, own))
        assert packed["position_ids"].tolist() == [len(path) - 1 for path in paths[:used]] + [0] * (len(ids) - used)
        assert [paths[end] for end in packed["ends"].tolist()] == own
        assert all(line[node] == [node] and ids[node] == 0 for node in range(used, len(ids)))
        assert len(ids) % BLOCK == 0 and len(packed["ancestors"]) == len(ids) // BLOCK
        assert len(ids) == rounded_size(used, static_shapes)
        for start, listed in zip(range(0, len(ids), BLOCK), packed["ancestors"].tolist(), strict=True):
            before = line[start][:-1]
            assert listed == before + [-1] * (len(listed) - len(before))
            across_blocks += len(before)
        longest = max(1, *(len(line[start]) - 1 for start in range(0, len(ids), BLOCK)), 1)
        assert packed["ancestors"].shape[1] == (-(-longest // ANCESTORS) * ANCESTORS if static_shapes else longest)
    assert across_blocks > 0 or pieces == 80


def test_static_shapes_are_few_and_little_larger():
    sizes = {nodes: rounded_size(nodes, True) for nodes in range(1, 40_000)}
    assert all(0 <= size - nodes < max(BLOCK, nodes / 8 + 1) and size % BLOCK == 0 for nodes, size in sizes.items())
    assert len({size for nodes, size in sizes.items() if nodes > 20_000}) <= 10
    assert [rounded_size(16 * BLOCK + more, False) // BLOCK for more in (0, 1, BLOCK, BLOCK + 1)] == [16, 17, 17, 18]


def test_static_lists_of_ancestors_are_aligned():
    """On a GPU, attention with a mask copies it unless the length of its rows is a multiple of 16."""
    for words in (5, 30, 40, 70):
        (packed,) = pack_texts(np.arange(3 * words).reshape(3, words) % (words + 1), static_shapes=True)
        assert packed["ancestors"].shape[1] % 32 == 0


def test_tokens_shared_with_the_text_before():
    texts = padded([[1, 2], [1, 2, 3], [1, 2, 3], [1, 4]])
    assert shared_with_previous(texts, np.array([2, 3, 3, 2])).tolist() == [0, 2, 3, 1]


def pack(captions, model, *options):
    config = model.config.text_config
    tokens = TextTokenizer(tiny_tokenizer(), TEXT_LENGTH, config.eos_token_id)(captions)
    return pack_texts(tokens[range(len(tokens))], *options)


def clip_ids(captions, padding="max_length"):
    options = {"padding": padding, "truncation": True, "max_length": TEXT_LENGTH}
    return tiny_tokenizer()(captions, return_tensors="pt", **options)["input_ids"]


def clip_embeds(model, captions, padding="max_length"):
    return model.text_projection(model.text_model(clip_ids(captions, padding)).pooler_output)


def make_model(lora=False, **text):
    """A model with sharp attention, so that masks matter, and with biases and adapters that are not 0."""
    text = {"num_hidden_layers": 3, "num_attention_heads": 4, **text}
    model = tiny_model(freeze_image_encoder=False, text=text).double()
    if lora:
        model = get_peft_model(model, LoraConfig(r=3, target_modules=LORA_TARGET_MODULES)).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "bias" in name:
                parameter.normal_(std=0.3, generator=generator)
            elif "text_model" in name and parameter.ndim == 2:
                parameter.mul_(5)
    return model.eval()


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_same_gradients(actual, expected):
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        # A softmax does not depend on the biases of its keys: their gradient is rounding error.
        largest = 1e-3 if "k_proj.bias" in name else gradient.abs().max().item()
        assert largest > 1e-6, name
        torch.testing.assert_close(actual[name], gradient, rtol=1e-9, atol=1e-9 * largest)


IMAGES = ("pixel_values", "distractor_pixel_values")
CASES = [
    ("L_conclip", "pixels", {"hidden_act": "gelu"}),
    ("L_conclip", "embeds", {"hidden_act": "quick_gelu", "eos_token_id": 2}),
    ("L_conclip", "embeds", {"lora": True}),
    ("NegCLIP", "pixels", {"lora": True}),
    ("NegCLIP", "embeds", {}),
    ("CLIP", "pixels", {"eos_token_id": 2}),
]


@pytest.mark.parametrize(("loss", "images", "options"), CASES, ids=str)
def test_losses_and_gradients_equal_those_of_padded_texts(loss, images, options):
    """Compare every gradient. Seven pieces separate captions from their negations; some have less than a block."""
    model, batch = make_model(**options), tiny_batch(len(CAPTIONS), dtype=torch.float64)
    inputs = {name: pixels for name, pixels in batch.items() if name in IMAGES[: 1 + (loss == "L_conclip")]}
    if images == "embeds":
        with torch.no_grad():
            encoded = {name: model.get_image_features(pixels).pooler_output for name, pixels in inputs.items()}
        inputs = {name.replace("pixel_values", "image_embeds"): embeds for name, embeds in encoded.items()}
    negated = [] if loss == "CLIP" else NEGATED
    ids = {"negated_input_ids": clip_ids(negated)} if negated else {}
    expected = model(clip_ids(CAPTIONS), **ids, **inputs, return_loss=True)
    reference = gradients(model, expected.loss)
    assert sum("text_model" in name for name in reference) > 30
    for pieces in (1, 7):
        texts = pack(CAPTIONS + negated, model, pieces)
        assert pieces > 1 or (texts[0]["ancestors"] >= 0).any()  # there are blocks that see others
        actual = model(**inputs, packed_texts=texts, return_loss=True)
        names = expected.keys() - {"text_model_output", "vision_model_output"}
        assert actual.keys() - {"vision_model_output"} == names
        for name in names:
            torch.testing.assert_close(actual[name], expected[name], rtol=1e-10, atol=1e-10)
        assert_same_gradients(gradients(model, actual.loss), reference)


def test_embeddings_and_gradients_equal_those_of_each_text_alone():
    model = make_model()
    weights = torch.randn(len(CAPTIONS), 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([model.embed_packed_texts(pack([caption], model)) for caption in CAPTIONS])
    expected = gradients(model, (alone * weights).sum())
    for options in ((1,), (1, True), (3, True), (len(CAPTIONS),)):
        together = model.embed_packed_texts(pack(CAPTIONS, model, *options))
        torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)
        assert_same_gradients(gradients(model, (together * weights).sum()), expected)


@pytest.mark.parametrize("padding", ["longest", "max_length"])
def test_length_of_padding_changes_nothing(padding):
    model, captions = make_model(), [caption for caption in CAPTIONS if len(caption) < 40]
    actual, expected = model.embed_packed_texts(pack(captions, model)), clip_embeds(model, captions, padding)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def test_float32_and_autocast_to_bf16():
    model, captions = make_model().float(), CAPTIONS + NEGATED
    exact = clip_embeds(model.double(), captions)
    model.float()
    texts, errors = pack(captions, model), []
    for embed in (lambda: clip_embeds(model, captions), lambda: model.embed_packed_texts(texts)):
        assert (embed() - exact).norm() < 1e-5 * exact.norm()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            coarse = embed()
        assert coarse.dtype == torch.bfloat16
        errors.append((coarse - exact).norm() / exact.norm())
    assert errors[1] < 1.5 * errors[0] < 0.1


def test_attention_dropout_reaches_training_alone():
    model = make_model(attention_dropout=0.5)
    texts = pack(CAPTIONS, model)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        expected = clip_embeds(model, CAPTIONS)
        torch.testing.assert_close(model.embed_packed_texts(texts), expected)
        one, other = model.train().embed_packed_texts(texts), model.embed_packed_texts(texts)
    assert (one - other).abs().max() > 0.01 and (one - expected).abs().max() > 0.01


def test_texts_in_two_forms_or_none_are_refused():
    model, images = make_model(), {"image_embeds": torch.eye(len(CAPTIONS), 16, dtype=torch.float64)}
    for texts in ({}, {"packed_texts": pack(CAPTIONS, model), "input_ids": clip_ids(CAPTIONS)}):
        with pytest.raises(ValueError, match="packed_texts"):
            model(**images, **texts)


@pytest.mark.parametrize(("pieces", "calls"), [(1, 1), (2, 4), (3, 6)])
def test_several_pieces_are_computed_again_in_the_backward_pass(pieces, calls):
    seen, inputs = [], [torch.ones(2, requires_grad=True) for _ in range(pieces)]

    def embed(piece):
        seen.append(len(piece))
        return piece * piece

    with torch.no_grad():
        piece_by_piece(embed, inputs)
    assert len(seen) == pieces
    seen.clear()
    torch.cat(piece_by_piece(embed, inputs)).sum().backward()
    assert len(seen) == calls and all(piece.grad.tolist() == [2, 2] for piece in inputs)


def test_images_are_embedded_in_as_many_pieces_as_texts():
    model, pixels, seen = make_model(), tiny_batch(len(CAPTIONS))["pixel_values"], []
    model.vision_model.register_forward_pre_hook(
        lambda module, arguments, named: seen.append(len(named["pixel_values"])), with_kwargs=True
    )
    whole = model(packed_texts=pack(CAPTIONS, model), pixel_values=pixels)
    cut = model(packed_texts=pack(CAPTIONS, model, 2), pixel_values=pixels)
    assert len(CAPTIONS) == 8 and seen == [8, 4, 4]
    torch.testing.assert_close(cut.image_embeds, whole.image_embeds)
    assert cut.vision_model_output is None and whole.vision_model_output.pooler_output.shape == (8, 16)


def test_the_compiled_layer_is_for_training():
    model, calls = make_model(), []

    def compiled(*arguments):
        calls.append(len(arguments))
        return packed_layer(*arguments)

    model._packed_layer = compiled
    packed = pack(CAPTIONS, model)
    model.eval().embed_packed_texts(packed)
    assert not calls
    model.train().embed_packed_texts(packed)
    # The last layer computes only what is pooled.
    assert len(calls) == model.config.text_config.num_hidden_layers - 1


@pytest.mark.parametrize("images", [1, 3])
def test_images_are_embedded_as_clip_does(images):
    model = tiny_model(vision={"num_hidden_layers": 3})
    pixels = tiny_batch()["pixel_values"][:images]
    assert model.config.vision_config.num_attention_heads > 1
    with torch.no_grad():
        expected = model.get_image_features(pixels).pooler_output
    embeds = model.embed_images(pixels)
    assert embeds.shape == (images, 16) and not embeds.requires_grad
    torch.testing.assert_close(embeds, expected, rtol=1e-5, atol=1e-6)
