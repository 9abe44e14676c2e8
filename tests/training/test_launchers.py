"""The configurations of accelerate, the SLURM script, and what is refused of accelerate's ways to train."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from runs import command, log, refusal, run, weights, write_inputs
from safetensors.torch import save_file
from transformers import CLIPModel

from conclip.errors import UsageError
from conclip.training.arguments import ConCLIPTrainingArguments
from conclip.training.deepspeed import refuse_settings

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "recipes/accelerate"
# Of each file: the way to train, machines, processes.
EXPECTED = {
    "one_gpu": (DistributedType.NO, 1, 1),
    "one_node": (DistributedType.MULTI_GPU, 1, 8),
    "several_nodes": (DistributedType.MULTI_GPU, 2, 16),
    "deepspeed_zero1": (DistributedType.DEEPSPEED, 1, 8),
    "deepspeed_zero2": (DistributedType.DEEPSPEED, 1, 8),
}
OPTIONS = {
    "per_device_train_batch_size": 4,
    "max_steps": 6,
    "save_steps": 3,
    "eval_steps": 2,
    "gradient_accumulation_steps": 2,
    "max_grad_norm": 5.0,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def test_accelerate_reads_its_configurations():
    """accelerate's own reader refuses keys that it does not know."""
    assert {path.stem for path in CONFIGS.iterdir()} == EXPECTED.keys()
    for name, expected in EXPECTED.items():
        config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
        assert (config.distributed_type, config.num_machines, config.num_processes) == expected
        assert (config.mixed_precision, config.use_cpu) == ("no", False)
        if config.distributed_type == DistributedType.DEEPSPEED:
            assert config.deepspeed_config["zero_stage"] == int(name[-1])
        text = (ROOT / "docs/training.md").read_text("utf-8")
        assert f"recipes/accelerate/{name}.yaml" in text


def test_the_launcher_of_the_readme_has_no_warnings(caplog):
    """Without a configuration, accelerate warns of each setting that it chose."""
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("python -m venv") and "accelerate launch" in line)
    words = line.partition("accelerate launch ")[2].replace("recipes", str(ROOT / "recipes")).split()
    with caplog.at_level("WARNING"):
        _validate_launch_command(launch_command_parser().parse_args(words))
        assert not caplog.records
        _validate_launch_command(launch_command_parser().parse_args(words[2:]))
        assert "were not passed to `accelerate launch`" in caplog.text


def test_slurm_starts_a_launcher_on_each_machine(tmp_path):
    """Of three machines with four GPUs; `srun` runs the command once for each, as SLURM does."""
    scripts = {
        "scontrol": 'printf "node1\\nnode2\\nnode3\\n"',
        "srun": 'for node in 0 1 2; do SLURM_NODEID=$node "$@"; done',
        "accelerate": 'printf "%s|" "$@"; echo',
    }
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n", "utf-8")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_GPUS_ON_NODE": "4", "SLURM_NNODES": "3"}
    script = [ROOT / "recipes/slurm/several_nodes.sbatch", "--dataset_name", "my data", "--bf16"]
    done = subprocess.run(
        ["bash", *map(str, script)],
        env={**env, "SLURM_JOB_NODELIST": "node[1-3]"},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    config = "launch|--config_file|recipes/accelerate/several_nodes.yaml|--num_machines|3|--num_processes|12"
    address = "--main_process_ip|node1|--main_process_port|29500"
    assert done.stdout.splitlines() == [
        f"{config}|--machine_rank|{rank}|{address}|train_accelerate.py|--dataset_name|my data|--bf16|"
        for rank in range(3)
    ]


@pytest.mark.parametrize(
    ("way", "says"),
    [
        (
            "FSDP",
            "FSDP cannot be used: the text encoder is also used outside of its forward pass, where FSDP does not "
            "gather the weights; use recipes/accelerate/one_node.yaml, or recipes/accelerate/deepspeed_zero2.yaml to "
            "save memory.",
        ),
        ("MEGATRON_LM", "Megatron-LM does not train CLIP: use recipes/accelerate/one_node.yaml."),
    ],
)
def test_other_ways_are_refused_before_anything_is_read_or_written(way, says, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(f"ACCELERATE_USE_{way}", "true")
    argv = command({"model_name_or_path": "nowhere", "dataset_name": "nowhere"}, tmp_path / "out")
    assert refusal(argv, capsys) == says
    assert not (tmp_path / "out").exists()


CONFIG = {"zero_optimization": {"stage": 2}, "gradient_clipping": "auto", "gradient_accumulation_steps": "auto"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_processes": 1}, "accelerate runs DeepSpeed on GPUs, and none was found: "),
        ({"stage": 3}, "DeepSpeed's zero_stage 3 cannot be used, since the weights have to be whole on each process"),
        ({"stage": 0}, "DeepSpeed's zero_stage 0 cannot be used"),
        ({"precision": "bf16"}, "With bf16, DeepSpeed would round the weights themselves: set mixed_precision to no"),
        ({"zero_optimization": {"offload_optimizer": {"device": "cpu"}}}, "DeepSpeed would train with another optim"),
        ({"optimizer": {}}, "Leave optimizer out of DeepSpeed's settings: "),
        ({"scheduler": {}}, "Leave scheduler out of DeepSpeed's settings: "),
        ({"gradient_clipping": 1.0}, "gradient_clipping is 1.0 in DeepSpeed's settings and 5.0 by the options: "),
        ({"gradient_accumulation_steps": 4}, "gradient_accumulation_steps is 4 in DeepSpeed's settings and 2 by the"),
        ({"train_micro_batch_size_per_gpu": 8}, "train_micro_batch_size_per_gpu is 8 in DeepSpeed's settings and 4 b"),
        ({}, None),
        ({"stage": 1, "gradient_clipping": 5.0, "train_micro_batch_size_per_gpu": 4}, None),
    ],
    ids=str,
)
def test_settings_of_deepspeed_that_would_change_the_training_are_refused(change, says, monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("WORLD_SIZE", "2")
    change = dict(change)
    accelerator = SimpleNamespace(
        num_processes=change.pop("num_processes", 2),
        mixed_precision=change.pop("precision", "no"),
        deepspeed_plugin=SimpleNamespace(zero_stage=change.pop("stage", 2), deepspeed_config={**CONFIG, **change}),
    )
    args = ConCLIPTrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=4, gradient_accumulation_steps=2, max_grad_norm=5.0
    )
    if says is None:
        refuse_settings(accelerator, args)
    else:
        with pytest.raises(UsageError) as caught:
            refuse_settings(accelerator, args)
        assert str(caught.value).startswith(says)


def start(config: str, folder: Path, *options, on_cpu: bool = False, **environment) -> subprocess.Popen:
    """Start `accelerate launch` with a configuration and two processes in all."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests/helpers"), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **environment}
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / f"{config}.yaml")]
    worker = [str(ROOT / "tests/helpers/launched_worker.py"), str(folder), *(["--deepspeed_on_cpu"] if on_cpu else [])]
    return subprocess.Popen([*launcher, "--num_processes", "2", *options, *worker], env=env, stdout=subprocess.DEVNULL)


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.fixture(scope="module")
def variants(inputs, tmp_path_factory):
    """Options of each run. The scale of "clamped" is above its limit before training."""
    clip = tmp_path_factory.mktemp("large-scale") / "clip"
    shutil.copytree(inputs["model_name_or_path"], clip)
    tensors = weights(clip)
    save_file({**tensors, "logit_scale": torch.tensor(6.0)}, clip / "model.safetensors", {"format": "pt"})
    return {
        "whole": OPTIONS,
        "clamped": {**OPTIONS, "model_name_or_path": clip},
        "lora": {**OPTIONS, "use_lora": True},
    }


@pytest.fixture(scope="module")
def one(inputs, variants, tmp_path_factory):
    """The folder of the same runs on one process, with twice the batch."""
    folder = tmp_path_factory.mktemp("one")
    for name, options in variants.items():
        assert run(command(inputs, folder / name, **{**options, "per_device_train_batch_size": 8})) == 0
    return folder


def prepare(folder: Path, inputs: dict, variants: dict, names: list[str]) -> None:
    """Write the runs of a launch; "resumed" continues "whole" from its middle."""
    options = {**variants, "resumed": {**OPTIONS, "resume_from_checkpoint": folder / "whole/checkpoint-3"}}
    argv = [command(inputs, folder / name, **options[name]) for name in names]
    (folder / "runs.json").write_text(json.dumps(argv), "utf-8")


def losses(folder: Path) -> torch.Tensor:
    return torch.tensor([line["train/loss"] for line in log(folder) if "train/loss" in line])


def check(folder: Path, names: list[str], one: Path) -> None:
    """Losses as of one process, a resumed run to the bit, and models that transformers loads."""
    for rank in (0, 1):
        done = json.loads((folder / f"done-{rank}.json").read_text("utf-8"))
        assert done == {"codes": [0] * len(names), "world_size": 2}
    for name in names:
        assert CLIPModel.from_pretrained(folder / name).logit_scale.shape == ()
    for name in {*names} - {"resumed"}:
        assert len(losses(folder / name)) == OPTIONS["max_steps"]
        torch.testing.assert_close(losses(folder / name), losses(one / name), rtol=1e-5, atol=0)
        scales = [weights(path / name)["logit_scale"] for path in (folder, one)]
        torch.testing.assert_close(*scales, rtol=1e-6, atol=0)
    if "resumed" in names:
        expected = weights(folder / "whole")
        assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(folder / "resumed").items())
        assert log(folder / "resumed") == [line for line in log(folder / "whole") if line["step"] > 3]


@pytest.mark.slow
def test_two_machines(inputs, variants, one, tmp_path):
    """Both on this one, with a launcher each, as several_nodes.yaml is used."""
    prepare(tmp_path, inputs, variants, ["whole"])
    port = free_port()
    options = ["several_nodes", tmp_path, "--main_process_port", port, "--machine_rank"]
    machines = [start(*options, rank, ACCELERATE_USE_CPU="true") for rank in "01"]
    assert [machine.wait(240) for machine in machines] == [0, 0]
    check(tmp_path, ["whole"], one)


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "names"), [(1, ["whole", "resumed", "clamped"]), (2, ["whole", "resumed", "lora"])])
def test_deepspeed(stage, names, inputs, variants, one, tmp_path):
    prepare(tmp_path, inputs, variants, names)
    launcher = start(
        f"deepspeed_zero{stage}", tmp_path, "--main_process_port", free_port(), on_cpu=True, DS_ACCELERATOR="cpu"
    )
    assert launcher.wait(240) == 0
    check(tmp_path, names, one)
    files = {path.name for path in (tmp_path / "whole/checkpoint-6").iterdir()}
    assert {"model.safetensors", "optimizer_0.bin", "optimizer_1.bin"} <= files
