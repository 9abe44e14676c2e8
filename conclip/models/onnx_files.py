"""CLIP's encoders as ONNX, and how far onnxruntime's embeddings are from PyTorch's."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel

# Also used by Transformers.js, https://github.com/huggingface/transformers.js, whose names these are.
TEXT_INPUTS, IMAGE_INPUTS = ("input_ids", "attention_mask"), ("pixel_values",)
# Protocol buffers are limited to 2 GiB.
LARGEST_FILE = 2**31 - 2**20  # bytes


class TextEncoder(nn.Module):
    """`CLIPTextModelWithProjection` over the weights of a `CLIPModel`."""

    name, inputs, outputs = "text_model", TEXT_INPUTS, ("text_embeds",)

    def __init__(self, model: CLIPModel):
        super().__init__()
        self.encoder, self.projection = model.text_model, model.text_projection
        self.end = end_token(model.config.text_config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        # Transformers.js cuts the end token off with a text that is too long; that of transformers is its last token.
        is_cut = (input_ids != self.end).all(dim=1, keepdim=True)
        last = torch.arange(input_ids.shape[1]) == input_ids.shape[1] - 1
        input_ids = input_ids.masked_fill(is_cut & last, self.end)
        pooled = self.encoder(input_ids=input_ids, attention_mask=attention_mask, return_dict=True).pooler_output
        return self.projection(pooled)


class ImageEncoder(nn.Module):
    """`CLIPVisionModelWithProjection` over the weights of a `CLIPModel`."""

    name, inputs, outputs = "vision_model", IMAGE_INPUTS, ("image_embeds",)

    def __init__(self, model: CLIPModel):
        super().__init__()
        self.encoder, self.projection = model.vision_model, model.visual_projection

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.projection(self.encoder(pixel_values=pixel_values, return_dict=True).pooler_output)


class BothEncoders(nn.Module):
    """`CLIPModel`: logits, and L2-normalised embeddings."""

    name, inputs = "model", ("input_ids", "pixel_values", "attention_mask")
    outputs = ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds")

    def __init__(self, model: CLIPModel):
        super().__init__()
        self.text, self.image, self.logit_scale = TextEncoder(model), ImageEncoder(model), model.logit_scale

    def forward(self, input_ids: Tensor, pixel_values: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        texts = F.normalize(self.text(input_ids, attention_mask), dim=-1)
        images = F.normalize(self.image(pixel_values), dim=-1)
        logits = self.logit_scale.exp() * texts @ images.T
        return logits.T, logits, texts, images


def end_token(config) -> int:
    """
    Return the token whose output a text encoder pools.

    Args:
        config: that of the text encoder.
    """
    # 2 stands in the configs of old checkpoints; such a model takes the token with the largest id.
    return config.vocab_size - 1 if config.eos_token_id == 2 else config.eos_token_id


def to_onnx(encoder: nn.Module, config) -> bytes:
    """
    Return an encoder as the content of an ONNX file.

    The number of texts, their length and the number of images are free; the two numbers may differ.

    Args:
        encoder: one of the classes above, in eval mode, on the CPU, in float32.
        config: `CLIPConfig` of the model.
    """
    sizes = {
        "input_ids": {0: "texts", 1: "length"},
        "attention_mask": {0: "texts", 1: "length"},
        "pixel_values": {0: "images"},
    }
    examples = example_inputs(config)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            encoder,
            tuple(examples[name] for name in encoder.inputs),
            dynamo=True,
            verbose=False,
            input_names=list(encoder.inputs),
            output_names=list(encoder.outputs),
            dynamic_shapes=tuple(sizes[name] for name in encoder.inputs),
        )
    return program.model_proto.SerializeToString()


def quantize(content: bytes, path: Path) -> None:
    """
    Write an ONNX file whose matrix products have 8-bit weights; the embeddings of tokens and patches stay float32.

    Args:
        content: from `to_onnx`.
        path: file to write.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            onnx.load_from_string(content),
            path,
            op_types_to_quantize=["MatMul"],
            weight_type=QuantType.QInt8,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the exporters say about their own code, that torchvision is missing, and a step that is not needed."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def difference(path: Path, encoder: nn.Module, config) -> float:
    """
    Return by how much a number of the L2-normalised embeddings by onnxruntime differs at most from PyTorch's.

    Args:
        path: file of ONNX.
        encoder: what `to_onnx` took.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    # A single text and image, and other numbers and lengths than those of the example that was exported.
    for texts, length, images in ((1, 3, 1), (5, config.text_config.max_position_embeddings, 4)):
        inputs = example_inputs(config, texts, length, images)
        inputs = {name: inputs[name] for name in encoder.inputs}
        with torch.no_grad():
            expected = encoder(**inputs)
        expected = dict(zip(encoder.outputs, expected if isinstance(expected, tuple) else [expected], strict=True))
        names = [name for name in encoder.outputs if name.endswith("_embeds")]
        found = session.run(names, {name: tensor.numpy() for name, tensor in inputs.items()})
        for name, embeds in zip(names, found, strict=True):
            ours, theirs = F.normalize(torch.from_numpy(embeds), dim=-1), F.normalize(expected[name], dim=-1)
            largest = max(largest, float((ours - theirs).abs().max()))
    return largest


def example_inputs(config, texts: int = 3, length: int = 6, images: int = 2) -> dict[str, Tensor]:
    """
    Return random inputs of a CLIP: `input_ids` and `attention_mask` int64 (texts, length), of texts of several lengths
    that end as the tokenizer ends them, and `pixel_values` float32 (images, channels, size, size).
    """
    text, vision = config.text_config, config.vision_config
    generator = torch.Generator().manual_seed(texts)
    end = end_token(text)
    ids = torch.randint(0, max(1, end), (texts, length), generator=generator)
    ends = length - 1 - torch.arange(texts) % (length - 1)
    positions = torch.arange(length)
    ids[positions >= ends[:, None]] = end
    mask = (positions <= ends[:, None]).long()
    shape = (images, vision.num_channels, vision.image_size, vision.image_size)
    return {"input_ids": ids, "attention_mask": mask, "pixel_values": torch.randn(shape, generator=generator)}
