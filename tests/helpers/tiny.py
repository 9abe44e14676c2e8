"""A tiny random CLIP with its processor, built without network: helpers of the tests, not a test."""

import torch
from transformers import CLIPImageProcessorPil, CLIPProcessor, CLIPTokenizer

from conclip.training.scenes_base import word_tokenizer
from modeling_conclip import ConCLIPConfig, ConCLIPModel

# Threads waiting for one another cost more than they give on tensors this small, the more so on a busy machine.
torch.set_num_threads(1)

IMAGE_SIZE = 32
TEXT_LENGTH = 77
WORDS = (
    "a an the on in of and with without but no not none any there is are this that photo image picture cat dog man "
    "woman child car table bird horse street water grass ball sofa hat red green blue black white circle square "
    "triangle small large sitting standing holding riding wearing next to left right above below near"
).split()


def tiny_tokenizer() -> CLIPTokenizer:
    """A byte-level BPE that knows `WORDS` as one token each and spells out the rest."""
    return word_tokenizer(WORDS)


VOCABULARY = tiny_tokenizer().get_vocab()


def tiny_processor() -> CLIPProcessor:
    """CLIP's preprocessing to `IMAGE_SIZE`, by PIL, which needs no torchvision."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=size)
    return CLIPProcessor(image_processor=image_processor, tokenizer=tiny_tokenizer())


def tiny_config(cls=ConCLIPConfig, text=None, vision=None, **overrides):
    """
    A configuration of two layers and width 32.

    Args:
        cls: `ConCLIPConfig` or `CLIPConfig`.
        text, vision: dict of what to change in the configuration of that encoder.
        overrides: what to change in the configuration itself, such as `distractor_weight=0`.
    """
    encoder = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    encoder["projection_dim"] = overrides.get("projection_dim", 16)
    start, end = VOCABULARY["<|startoftext|>"], VOCABULARY["<|endoftext|>"]
    tokens = {"vocab_size": len(VOCABULARY), "bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    text_config = {**encoder, **tokens, "max_position_embeddings": TEXT_LENGTH, **(text or {})}
    vision_config = {**encoder, "image_size": IMAGE_SIZE, "patch_size": 16, **(vision or {})}
    return cls(text_config=text_config, vision_config=vision_config, **{"projection_dim": 16, **overrides})


def tiny_model(cls=ConCLIPModel, seed=0, **overrides):
    """A model in eval mode whose random weights depend on `seed` alone; the rest as in `tiny_config`."""
    config = tiny_config(cls.config_class, **overrides)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(config).eval()


def save_tiny(folder, cls=ConCLIPModel, **overrides):
    """Writes a model, `ConCLIPModel` or `CLIPModel`, with its processor into the folder and returns the model."""
    model = tiny_model(cls, **overrides)
    model.save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return model


def tiny_batch(size=4, seed=0, image_size=IMAGE_SIZE, dtype=torch.float32) -> dict[str, torch.Tensor]:
    """Random images, captions, negated captions and distractors as the model's forward names them."""
    generator = torch.Generator().manual_seed(seed)
    shape = (size, 3, image_size, image_size)
    captions = [" ".join(_some_words(generator, 5)) for _ in range(size)]
    negated = [f"{caption} but no {_some_words(generator, 1)[0]}" for caption in captions]
    tokenizer = tiny_tokenizer()
    true, false = (tokenizer(texts, padding=True, return_tensors="pt") for texts in (captions, negated))
    return {
        "input_ids": true["input_ids"],
        "attention_mask": true["attention_mask"],
        "negated_input_ids": false["input_ids"],
        "negated_attention_mask": false["attention_mask"],
        "pixel_values": torch.randn(shape, generator=generator).to(dtype),
        "distractor_pixel_values": torch.randn(shape, generator=generator).to(dtype),
    }


def _some_words(generator, count):
    return [WORDS[index] for index in torch.randint(len(WORDS), (count,), generator=generator)]
