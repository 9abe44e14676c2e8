"""PEFT adapters on the text encoder and the Trainer of transformers work with ConCLIP."""

import pytest
import torch
from accelerate import Accelerator
from peft import LoraConfig, PeftModel, get_peft_model
from tiny import save_tiny, tiny_batch, tiny_model
from transformers import CLIPModel, Trainer, TrainingArguments

from conclip.models.clip import add_lora
from conclip.models.loading import load_encoders
from modeling_conclip import ConCLIPModel

TEXT_ENCODER = r"text_model\.encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"
DROPOUT = {"vision": {"attention_dropout": 0.5}}
OUTPUTS = (
    "loss",
    "loss_image_to_text",
    "loss_text_to_image",
    "loss_distractor",
    "logits_per_image",
    "negated_text_embeds",
)


def train(model, steps=2, lr=1e-2):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    model.train()
    for seed in range(steps):
        optimizer.zero_grad()
        model(**tiny_batch(seed=seed), return_loss=True).loss.backward()
        optimizer.step()
    return model.eval()


def outputs(model) -> list[torch.Tensor]:
    with torch.no_grad():
        output = model(**tiny_batch(seed=9), return_loss=True)
    return [output[name] for name in OUTPUTS]


@pytest.fixture
def folder(tmp_path):
    """A ConCLIP folder whose image encoder has dropout, so that train and eval mode differ."""
    save_tiny(tmp_path / "base", **DROPOUT)
    return tmp_path / "base"


@pytest.fixture
def lora(folder) -> PeftModel:
    """LoRA on the text encoder after two steps."""
    config = LoraConfig(r=4, lora_alpha=16, target_modules=TEXT_ENCODER)
    torch.manual_seed(0)
    return train(get_peft_model(ConCLIPModel.from_pretrained(folder), config), lr=5e-2)


def test_lora_trains_the_text_tower_alone(folder, lora):
    trained = {name for name, parameter in lora.named_parameters() if parameter.requires_grad}
    assert trained and all("text_model" in name and "lora_" in name for name in trained)
    base = ConCLIPModel.from_pretrained(folder)
    assert not torch.allclose(outputs(lora)[0], outputs(base)[0], atol=1e-3)
    lora.train()
    inner = lora.get_base_model()
    assert isinstance(inner, ConCLIPModel)
    assert inner.text_model.training and not any(module.training for module in inner.vision_model.modules())
    first, second = (lora(**tiny_batch()).image_embeds for _ in range(2))
    assert torch.equal(first, second)
    lora.clamp_logit_scale()


def test_adapter_folder_loads_back(tmp_path, folder, lora):
    lora.save_pretrained(tmp_path / "adapter")
    onto_base = PeftModel.from_pretrained(ConCLIPModel.from_pretrained(folder), tmp_path / "adapter")
    alone = ConCLIPModel.from_pretrained(tmp_path / "adapter")
    assert type(alone) is ConCLIPModel
    for model in (onto_base, alone):
        torch.testing.assert_close(outputs(model), outputs(lora), rtol=1e-5, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in alone.vision_model.parameters())


def test_adapter_onto_a_free_base_leaves_the_base_frozen(tmp_path):
    """freeze_image_encoder=False unfreezes nothing that PEFT froze."""
    save_tiny(tmp_path / "base", freeze_image_encoder=False)
    config = LoraConfig(r=4, target_modules=TEXT_ENCODER)
    get_peft_model(ConCLIPModel.from_pretrained(tmp_path / "base"), config).save_pretrained(tmp_path / "adapter")
    model = ConCLIPModel.from_pretrained(tmp_path / "adapter")
    assert {name for name, p in model.named_parameters() if p.requires_grad and "lora_" not in name} == set()


def test_merged_lora_is_a_plain_clip(tmp_path, lora):
    expected = outputs(lora)
    merged = lora.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    clip, info = CLIPModel.from_pretrained(tmp_path / "merged", output_loading_info=True)
    assert not any(info.values())
    torch.testing.assert_close(
        outputs(ConCLIPModel.from_pretrained(tmp_path / "merged")), expected, rtol=1e-4, atol=1e-4
    )
    batch = tiny_batch(seed=9)
    with torch.no_grad():
        logits = clip(batch["input_ids"], batch["pixel_values"], batch["attention_mask"]).logits_per_image
    torch.testing.assert_close(logits, expected[4], rtol=1e-4, atol=1e-4)


class Examples(torch.utils.data.Dataset):
    """Single examples of one batch, as the Trainer of transformers takes them."""

    def __init__(self, size=8):
        self.batch = tiny_batch(size)

    def __len__(self):
        return len(self.batch["input_ids"])

    def __getitem__(self, index):
        return {name: tensor[index] for name, tensor in self.batch.items()}


def collate(examples):
    batch = {name: torch.stack([example[name] for example in examples]) for name in examples[0]}
    return {**batch, "return_loss": True}


def test_trainer(tmp_path):
    model = tiny_model(**DROPOUT)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    arguments = TrainingArguments(
        output_dir=tmp_path / "run",
        max_steps=2,
        per_device_train_batch_size=4,
        per_device_eval_batch_size=4,
        learning_rate=1e-2,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(model, arguments, data_collator=collate, train_dataset=Examples(), eval_dataset=Examples())
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2
    after = dict(model.named_parameters())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if not name.startswith(("vision_model.", "visual_projection."))}
    with torch.no_grad():
        halves = [model(**collate([Examples()[i] for i in rows])).loss for rows in (range(4), range(4, 8))]
    assert trainer.evaluate()["eval_loss"] == pytest.approx(torch.stack(halves).mean().item(), rel=1e-5)
    trainer.save_model(tmp_path / "saved")
    for saved in ("saved", "run/checkpoint-2"):
        torch.testing.assert_close(outputs(ConCLIPModel.from_pretrained(tmp_path / saved)), outputs(model))


def test_adapters_are_added_and_read_without_a_warning(tmp_path, recwarn):
    save_tiny(tmp_path / "base")
    config = LoraConfig(r=4, target_modules=TEXT_ENCODER)
    add_lora(ConCLIPModel.from_pretrained(tmp_path / "base"), config).save_pretrained(tmp_path / "adapter")
    load_encoders(str(tmp_path / "adapter"), Accelerator(cpu=True), tmp_path)
    assert [str(warning.message) for warning in recwarn.list if "is_gradient" in str(warning.message)] == []
