"""Tiny random models of other families than CLIP with their processors, built without network: helpers of tests."""

import numpy as np
import PIL.Image
import torch
from transformers import (
    AlignConfig,
    AlignModel,
    AlignProcessor,
    BertTokenizer,
    BlipConfig,
    BlipForImageTextRetrieval,
    BlipImageProcessorPil,
    BlipProcessor,
    ChineseCLIPConfig,
    ChineseCLIPImageProcessorPil,
    ChineseCLIPModel,
    ChineseCLIPProcessor,
    EfficientNetImageProcessorPil,
    FlavaConfig,
    FlavaForPreTraining,
    FlavaImageProcessorPil,
    FlavaProcessor,
    GemmaTokenizer,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    Siglip2Processor,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipProcessor,
)

torch.set_num_threads(1)

FAMILIES = ("align", "blip", "chinese_clip", "flava", "siglip", "siglip2")
SIZE = {"height": 32, "width": 32}
SIGLIP_LENGTH = 24
ENCODER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**ENCODER, "image_size": 32, "patch_size": 16}
# Of different lengths; the siglips spell them out.
TEXTS = ["a cat", "a red dog and a cat", "dog", "no cat", "a red cat and no dog"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "cat", "dog", "and", "no"]
LETTERS = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]


def word_pieces() -> BertTokenizer:
    return BertTokenizer(vocab={word: index for index, word in enumerate(WORDS)})


def letters(cls: type):
    """As in the folders of SigLIP 2, of which those of fixed size say GemmaTokenizer; one letter is one token."""
    vocabulary = {letter: index for index, letter in enumerate(LETTERS)}
    return cls(vocab=vocabulary, merges=[], add_bos_token=False, add_eos_token=True)


def _align():
    text = {**ENCODER, "vocab_size": len(WORDS), "max_position_embeddings": 64, "pad_token_id": 0}
    vision = {
        **{"image_size": 32, "width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 64},
        **{"kernel_sizes": [3, 3], "in_channels": [32, 8], "out_channels": [8, 16], "strides": [1, 2]},
        **{"num_block_repeats": [1, 1], "expand_ratios": [1, 2]},
    }
    model = AlignModel(AlignConfig(text_config=text, vision_config=vision, projection_dim=16))
    return model, AlignProcessor(EfficientNetImageProcessorPil(size=SIZE), word_pieces())


def _blip():
    text = {**ENCODER, "vocab_size": len(WORDS), "encoder_hidden_size": 32, "max_position_embeddings": 64}
    text.update(pad_token_id=0, bos_token_id=2, sep_token_id=3, eos_token_id=3)
    model = BlipForImageTextRetrieval(BlipConfig(text_config=text, vision_config=VISION, image_text_hidden_size=16))
    return model, BlipProcessor(BlipImageProcessorPil(size=SIZE), word_pieces())


def _chinese_clip():
    text = {**ENCODER, "vocab_size": len(WORDS), "max_position_embeddings": 64, "pad_token_id": 0}
    model = ChineseCLIPModel(ChineseCLIPConfig(text_config=text, vision_config=VISION, projection_dim=16))
    return model, ChineseCLIPProcessor(ChineseCLIPImageProcessorPil(size=SIZE, crop_size=SIZE), word_pieces())


def _flava():
    text = {**ENCODER, "vocab_size": len(WORDS), "max_position_embeddings": 64}
    config = FlavaConfig(
        text_config=text,
        image_config={**VISION, "vocab_size": 8},
        multimodal_config=ENCODER,
        hidden_size=32,
        projection_dim=16,
        init_codebook=False,
    )
    image_processor = FlavaImageProcessorPil(size=SIZE, crop_size=SIZE)
    return FlavaForPreTraining(config), FlavaProcessor(image_processor, word_pieces())


def _siglip_text():
    return {**ENCODER, "vocab_size": len(LETTERS), "max_position_embeddings": SIGLIP_LENGTH, "projection_size": 32}


def _siglip():
    model = SiglipModel(SiglipConfig(text_config=_siglip_text(), vision_config=VISION))
    return model, SiglipProcessor(SiglipImageProcessorPil(size=SIZE), letters(GemmaTokenizer))


def _siglip2():
    vision = {**ENCODER, "patch_size": 8, "num_patches": 16}
    model = Siglip2Model(Siglip2Config(text_config=_siglip_text(), vision_config=vision))
    image_processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    return model, Siglip2Processor(image_processor, letters(Siglip2Tokenizer))


BUILDERS = {
    **{"align": _align, "blip": _blip, "chinese_clip": _chinese_clip},
    **{"flava": _flava, "siglip": _siglip, "siglip2": _siglip2},
}


def save_other(folder, family: str, seed: int = 0):
    """
    Write a model of the family with its processor into the folder, in the form in which their authors publish them.

    Returns:
        The model, an object of transformers' class, in eval mode. Its weights depend on `seed` alone and are large
        enough for every part of the input to change the output.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, processor = BUILDERS[family]()
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.dim() > 1 and tensor.is_floating_point():
                is_table = "embedding" in name and "patch" not in name
                torch.nn.init.normal_(tensor, std=1.0 if is_table else 2.0 / tensor[0].numel() ** 0.5)
            elif name.endswith(("running_var", "running_mean")):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return model


def some_images(count: int = 4, seed: int = 0) -> list[PIL.Image.Image]:
    """Return smooth random images of different shapes."""
    rng = np.random.default_rng(seed)
    small = [PIL.Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)) for _ in range(count)]
    return [image.resize((32 + 16 * (index % 3), 48)) for index, image in enumerate(small)]
