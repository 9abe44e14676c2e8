"""
Fine-tune a CLIP model to understand negation (CoN-CLIP, arXiv 2403.20312), on one process or several.

The default run fine-tunes a small CLIP on generated scenes, once with the paper's loss and once with ours, and
compares the two models. It takes about eight minutes on two cores:

    accelerate launch train_accelerate.py

The recipe of the paper, on CC-Neg (`conclip ccneg` writes the folder):

    accelerate launch --config_file recipes/accelerate/one_node.yaml train_accelerate.py --fp16 \\
        --model_name_or_path openai/clip-vit-base-patch32 --dataset_name ccneg --output_dir conclip-vit-base-patch32

Writes to --output_dir the model, results.json, scores.png, README.md (the model card) and metrics.jsonl. The second
model of the default run has a folder of its own, with comparison.json and rankings.png.
"""

import sys
import traceback
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from conclip.atomic_write import WriteError
from conclip.errors import UsageError
from conclip.folder_lock import in_use
from conclip.runtime import command_line, end_failed_run, for_user, return_large_blocks, use_all_cores
from conclip.training.arguments import (
    CHECKPOINTS,
    DISTILLATION,
    ConCLIPTrainingArguments,
    DataArguments,
    ModelArguments,
    parse_trainings,
)

# torch, transformers and datasets take seconds to import, so the functions below import what needs them: `--help` and
# a mistyped option are answered at once.


def main(argv: list[str] | None = None) -> int:
    return_large_blocks()
    folders, accelerator = [], None
    try:
        trainings = parse_trainings(argv)
        folders = [Path(training_args.output_dir) for _, _, training_args in trainings]
        from conclip.training.accelerator import make_accelerator
        from conclip.training.checkpoints import checkpoint_to_resume
        from conclip.training.trackers import finish_trackers

        # What can fail is checked before the work begins.
        accelerators = [make_accelerator(training_args) for _, _, training_args in trainings]
        accelerator = accelerators[0]
        command = command_line("train", argv, accelerator.num_processes)
        with ExitStack() as locks:
            for folder in folders:
                locks.enter_context(in_use(folder))
            for folder, (_, _, training_args) in zip(folders, trainings, strict=True):
                checkpoint_to_resume(folder, training_args.resume_from_checkpoint)
            for arguments, own in zip(trainings, accelerators, strict=True):
                # Some trackers log to the run that is open, which must not be that of the training before.
                finish_trackers(accelerator)
                accelerator = own
                trainer = run(*arguments, accelerator, command)
            if len(trainings) > 1 and trainer.evaluator:
                from conclip.training.default_run import compare

                compare(trainer, folders[0])
            finish_trackers(accelerator)
    except KeyboardInterrupt:
        again = "starts the run again"
        if have_checkpoints(folders):
            again = "with --resume_from_checkpoint latest continues the run"
        # Ctrl-C reaches all processes.
        message = f"\nInterrupted. No file is incomplete; the same command {again}."
        return end_failed_run(message, 130, accelerator, main_process_only=True)
    except Exception as error:
        if found := for_user(error):
            return end_failed_run(f"Error: {with_remedy(found, folders)}", 1, accelerator)
        # The main process may only have lost its peer, which then prints the cause.
        if accelerator and accelerator.num_processes > 1:
            end_failed_run(traceback.format_exc(), 1, accelerator, wait=True)
        raise
    accelerator.end_training()
    return 0


def with_remedy(error: UsageError, folders: list[Path]) -> str:
    """
    Return the message of an error; for a full disk, it says how to continue from checkpoints, if there are any, and
    for an image that is not there, which option names the folder.
    """
    from conclip.embedding.image_modes import ImageError

    if isinstance(error, WriteError) and have_checkpoints(folders):
        return str(error).removesuffix(".") + " with --resume_from_checkpoint latest."
    if isinstance(error.__cause__, ImageError) and isinstance(error.__cause__.__cause__, FileNotFoundError):
        return str(error).removesuffix(".") + "; --image_dir is the folder that paths are relative to."
    return str(error)


def have_checkpoints(folders: list[Path]) -> bool:
    """Return whether one of the output folders holds a checkpoint."""
    return any(any(folder.glob(CHECKPOINTS)) for folder in folders)


def run(
    model_args: ModelArguments,
    data_args: DataArguments,
    training_args: ConCLIPTrainingArguments,
    accelerator,
    command: str,
):
    """Train a model, score it before and after, and save it with its report; return its trainer."""
    from conclip.hub import use_cache_without_network
    from conclip.model_folders import require_folder
    from conclip.models.clip import load_model
    from conclip.models.loading import family_of
    from conclip.publish.upload import check_target, create_repository
    from conclip.stream import SAMPLE, first_stream_rows
    from conclip.training.model_checks import require_texts_alone
    from conclip.training.own_distractors import needs_distractors, refuse_numbers, with_distractors
    from conclip.training.own_negations import lacks_negations, with_negations, with_recipe
    from conclip.training.pair_rows import NEGATED_LOSSES
    from conclip.training.report import format_table, table_rows
    from conclip.training.scenes_base import base_clip
    from conclip.training.scenes_questions import scenes_questions
    from conclip.training.trainer import ConCLIPTrainer
    from conclip.training.training_data import default_dataset, load, load_streams
    from dataset_scripts.scenes_truth import truth

    output_dir = Path(training_args.output_dir)
    name = model_args.model_name_or_path
    if name is not None:
        # Before the data is read, which may take long.
        require_folder(name, f"--model_name_or_path {name}")
    use_cache_without_network([name, data_args.dataset_name])
    # What cannot be read is reported when it is loaded.
    family = "clip" if name is None else family_of(name, model_args.revision) or "clip"
    if family != "clip":
        require_texts_alone(training_args, f"--model_name_or_path {name}: a {family} model")
    if training_args.push_to_hub and accelerator.is_main_process:
        check_target(training_args.hub_model_id, training_args.hub_token)
    if name is not None:
        use_all_cores(accelerator)

    # Load
    if data_args.streaming:
        train_dataset, eval_dataset, eval_split = load_streams(data_args, training_args, accelerator)
        sample = first_stream_rows(train_dataset, SAMPLE)
    else:
        train_dataset, eval_dataset, eval_split = load(data_args, training_args, accelerator)
        sample = train_dataset
    makes_negations = family == "clip" and lacks_negations(sample, training_args)
    if makes_negations:
        training_args = with_recipe(training_args, model_args.train_image_encoder, accelerator)
    # A stream gets none: the trainer says what it lacks.
    makes_negations = makes_negations and not (data_args.streaming and training_args.loss in NEGATED_LOSSES)
    refuse_numbers(sample, training_args)
    if makes_negations:
        train_dataset, eval_dataset = with_negations(train_dataset, eval_dataset, training_args, accelerator)
    base = name or str(base_clip(output_dir.parent))
    reads_images = training_args.image_embeds_column is None and (
        training_args.loss != DISTILLATION or training_args.image_column in sample.column_names
    )
    if family == "clip":
        freeze = not model_args.train_image_encoder
        model, processor = load_model(
            base, model_args.revision, needs_images=reads_images, freeze_image_encoder=freeze
        )
    else:
        model, processor = load_text_encoder(base, model_args.revision, accelerator)
    if makes_negations and not data_args.streaming and needs_distractors(train_dataset, training_args):
        train_dataset = with_distractors(
            train_dataset, model, getattr(processor, "image_processor", None), training_args, accelerator
        )

    # Train, and evaluate before and after
    known = {}
    if not data_args.dataset_name:
        known = {"truth": truth, "questions": scenes_questions(eval_dataset) if eval_split == "test" else None}
    trainer = ConCLIPTrainer(
        model=model,
        args=training_args,
        processing_class=processor,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        peft_config=model_args.peft_config(),
        accelerator=accelerator,
        **known,
    )
    if training_args.push_to_hub and accelerator.is_main_process:
        # After the data was read and before the training: a run that cannot begin leaves no repository.
        create_repository(
            training_args.hub_model_id,
            private=training_args.hub_private_repo,
            revision=training_args.hub_revision,
            token=training_args.hub_token,
        )
    if trainer.is_finished(training_args.resume_from_checkpoint):
        accelerator.print(f"The run in {output_dir} is already finished: its model and results stay as they are.")
        if training_args.push_to_hub:
            trainer.push_to_hub()
        return trainer
    before = trainer.evaluate() if eval_dataset is not None else None
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
    after = trainer.evaluate() if eval_dataset is not None else None

    # Save
    trainer.save_model()
    results = trainer.create_model_card(
        dataset_name=data_args.dataset_name or default_dataset(training_args),
        split=eval_split,
        command=command,
        arguments={"model": asdict(model_args), "data": asdict(data_args), "training": trainer.args.to_dict()},
    )
    if eval_dataset is not None:
        table = format_table(table_rows(before, after, results.get("query_arithmetic")), results["title"])
        notes = "".join(f"{sentence}\n" for sentence in results["not_scored"])
        accelerator.print(
            f"\n{table}\n\n{notes}{results['verdict']}\nA tie counts as an error. Report: {output_dir}/README.md"
        )
    trainer.mark_finished()
    if training_args.push_to_hub:
        trainer.push_to_hub()
    return trainer


def load_text_encoder(name: str, revision: str | None, accelerator):
    """Load a model of another family than CLIP with its processor; warn of weights that will not be saved."""
    from conclip.models.loading import load_text_model

    model, processor, surplus = load_text_model(name, revision)
    if surplus:
        accelerator.print(
            f"Warning: {len(surplus):,} weights in {name} are not part of {type(model).__name__} and are not saved, "
            f"such as {surplus[0]}."
        )
    return model, processor


if __name__ == "__main__":
    sys.exit(main())
