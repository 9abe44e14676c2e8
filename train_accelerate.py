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
    PLAIN_CAPTIONS,
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
        if any(any(folder.glob(CHECKPOINTS)) for folder in folders):
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
    """Return the message of an error; for a full disk, it says how to continue from checkpoints, if there are any."""
    if isinstance(error, WriteError) and any(any(folder.glob(CHECKPOINTS)) for folder in folders):
        return str(error).removesuffix(".") + " with --resume_from_checkpoint latest."
    return str(error)


def run(
    model_args: ModelArguments,
    data_args: DataArguments,
    training_args: ConCLIPTrainingArguments,
    accelerator,
    command: str,
):
    """Train a model, score it before and after, and save it with its report; return its trainer."""
    from conclip.hub import use_cache_without_network
    from conclip.models.clip import load_model, require_folder
    from conclip.models.loading import family_of, load_text_model
    from conclip.publish.upload import check_target, create_repository
    from conclip.stream import SAMPLE, first_stream_rows
    from conclip.training.model_checks import require_texts_alone
    from conclip.training.own_distractors import needs_distractors, refuse_numbers, with_distractors
    from conclip.training.own_negations import lacks_negations, with_negations, with_recipe
    from conclip.training.pair_dataset import NEGATED_LOSSES
    from conclip.training.report import format_table, table_rows
    from conclip.training.scenes_base import base_clip
    from conclip.training.scenes_questions import scenes_questions
    from conclip.training.trainer import ConCLIPTrainer
    from dataset_scripts.scenes_truth import truth

    output_dir = Path(training_args.output_dir)
    name = model_args.model_name_or_path
    if name is not None:
        # Before the data is read, which may take long.
        require_folder(name, f"--model_name_or_path {name}")
    use_cache_without_network([model_args.model_name_or_path, data_args.dataset_name])
    # What cannot be read is reported when it is loaded.
    family = "clip" if name is None else family_of(name, model_args.revision) or "clip"
    if family != "clip":
        require_texts_alone(training_args, f"--model_name_or_path {name}: a {family} model")
    if training_args.push_to_hub and accelerator.is_main_process:
        check_target(training_args.hub_model_id, training_args.hub_token)
    if model_args.model_name_or_path is not None:
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
    base = model_args.model_name_or_path or str(base_clip(output_dir.parent))
    reads_images = training_args.image_embeds_column is None and (
        training_args.loss != DISTILLATION or training_args.image_column in sample.column_names
    )
    if family == "clip":
        freeze = not model_args.train_image_encoder
        model, processor = load_model(
            base, model_args.revision, needs_images=reads_images, freeze_image_encoder=freeze
        )
    else:
        model, processor, surplus = load_text_model(base, model_args.revision)
        if surplus:
            accelerator.print(
                f"Warning: {len(surplus):,} weights in {base} are not part of {type(model).__name__} and are not "
                f"saved, such as {surplus[0]}."
            )

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


def load(data_args: DataArguments, training_args: ConCLIPTrainingArguments, accelerator):
    """
    Load the rows to train and evaluate on.

    Returns:
        The training rows; the rows to evaluate on and the name of their split, `None` without an evaluation.
    """
    from conclip.data import first_rows, split_names
    from conclip.embedding.images import embedding_cache_dir, image_keys
    from conclip.training.pair_dataset import columns_of, open_image_column
    from conclip.training.splits import default_eval_split, first_caption_keys, hold_out

    name = data_args.dataset_name or default_dataset(training_args)
    train_split, eval_split = data_args.train_split, data_args.eval_split
    with accelerator.main_process_first():
        train_dataset, eval_dataset = load_rows(data_args, training_args, train_split), None
        if eval_split is None:
            # The captions that ship with the package are one split.
            own = ["train"] if training_args.loss == DISTILLATION else ["train", "test"]
            names = split_names(name, data_args.dataset_config_name) if data_args.dataset_name else own
            eval_split = default_eval_split(names, train_split)
            if eval_split not in ("test", None):
                accelerator.print(f"{name} has no split 'test': evaluating on {eval_split!r}.")
        if eval_split not in ("none", None):
            eval_dataset = load_rows(data_args, training_args, eval_split)
    if eval_split is None:
        columns = columns_of(training_args)
        if training_args.loss == DISTILLATION and columns["image_column"] not in train_dataset.column_names:
            keys, what = first_caption_keys(train_dataset, training_args.caption_column, train_split), "captions"
        else:
            images = open_image_column(train_dataset, training_args, columns, train_split)
            keys = image_keys(images, embedding_cache_dir(training_args.embedding_cache_dir), accelerator)
            what = "images"
        train_dataset, eval_dataset, note = hold_out(train_dataset, keys, training_args.seed, what)
        eval_split = "held-out"
        accelerator.print(f"{name} has no split to evaluate on: {note}; --eval_split none trains on all rows.")
    if eval_dataset is not None:
        eval_dataset = first_rows(eval_dataset, data_args.max_eval_samples)
    return first_rows(train_dataset, data_args.max_train_samples), eval_dataset, eval_split


def load_streams(data_args: DataArguments, training_args: ConCLIPTrainingArguments, accelerator):
    """
    Open the training rows as a stream, and read the rows to evaluate on into memory.

    Returns:
        As `load`.
    """
    from conclip.data import split_names
    from conclip.stream import first_stream_rows
    from conclip.training.splits import MOST_HELD_OUT, default_eval_split

    name, eval_split = data_args.dataset_name, data_args.eval_split
    train_dataset, eval_dataset = open_stream(data_args, training_args, data_args.train_split), None
    if eval_split is None:
        names = split_names(name, data_args.dataset_config_name, streaming=True)
        eval_split = default_eval_split(names, data_args.train_split) or "none"
        if eval_split == "none":
            accelerator.print(
                f"{name} has no split 'test' or 'validation', and nothing is held out of a stream, so there is no "
                "evaluation; --eval_split names a split for it."
            )
        elif eval_split != "test":
            accelerator.print(f"{name} has no split 'test': evaluating on {eval_split!r}.")
    if eval_split != "none":
        count = data_args.max_eval_samples or MOST_HELD_OUT
        eval_dataset = first_stream_rows(open_stream(data_args, training_args, eval_split), count)
        accelerator.print(f"Evaluating on the first {len(eval_dataset):,} rows of the split {eval_split!r}.")
    return train_dataset, eval_dataset, eval_split


def open_stream(data_args: DataArguments, training_args: ConCLIPTrainingArguments, split: str):
    """
    Open a split of the dataset as a stream; paths of images become paths from the working directory.

    With --image_embeds_file, rows without numbers are numbered, see `numbered_stream`.

    Raises:
        UsageError: the dataset cannot be opened, or it is not known which row has which embedding.
    """
    from conclip.data import data_folder, files_of_pattern, load_stream
    from conclip.embedding.embedding_stream import numbered_stream
    from conclip.embedding.image_files import with_full_paths
    from conclip.stream import features_of

    name, file, column = data_args.dataset_name, training_args.image_embeds_file, training_args.image_embeds_column
    dataset = load_stream(name, data_args.dataset_config_name, split)
    if file and column not in (kinds := features_of(dataset)):
        if "source_row" in kinds:
            raise UsageError("--streaming: add --image_embeds_column source_row, the column with the rows' numbers.")
        path = Path(name)
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else files_of_pattern(name) or [path]
        if split != data_args.train_split or any(one.suffix != ".parquet" for one in files):
            raise UsageError(
                f"--image_embeds_file {file}: of the split {split!r}, a stream cannot tell which row has which "
                "embedding: name a column with the row numbers by --image_embeds_column."
            )
        return numbered_stream(files, Path(file), column, split)
    if column is not None:
        return dataset
    columns = (training_args.image_column, training_args.distractor_image_column)
    return with_full_paths(dataset, columns, data_args.image_dir or data_folder(data_args.dataset_name))


def default_dataset(training_args: ConCLIPTrainingArguments) -> str:
    """Return the name of what is trained on if no dataset is named."""
    return PLAIN_CAPTIONS if training_args.loss == DISTILLATION else "scenes"


def load_rows(data_args: DataArguments, training_args: ConCLIPTrainingArguments, split: str):
    """
    Load a split of the dataset; paths of images become images.

    If no dataset is named, load the scenes or, to train on texts alone, the captions that ship with the package.
    """
    from datasets import Dataset

    from conclip.data import data_folder, load_split
    from conclip.embedding.image_files import as_image_column
    from conclip.negation.plain_captions import plain_captions
    from dataset_scripts.scenes import load_scenes

    if not data_args.dataset_name and training_args.loss == DISTILLATION:
        return Dataset.from_dict({training_args.caption_column: plain_captions()})
    if not data_args.dataset_name:
        return load_scenes(split)
    dataset = load_split(data_args.dataset_name, data_args.dataset_config_name, split)
    if training_args.image_embeds_column is not None:
        return with_embeddings(dataset, training_args, split, data_args.train_split)
    if training_args.image_column not in dataset.column_names and "source_caption" in dataset.column_names:
        raise UsageError(
            f"--dataset_name {data_args.dataset_name} holds texts alone: repeat `conclip negate` with --image_column, "
            "which puts the images into the folder."
        )
    texts = (training_args.caption_column, training_args.negated_caption_column)
    for column in (training_args.image_column, training_args.distractor_image_column):
        if column in dataset.column_names and column not in texts:
            dataset = as_image_column(dataset, column, data_args.image_dir or data_folder(data_args.dataset_name))
    return dataset


def with_embeddings(dataset, training_args: ConCLIPTrainingArguments, split: str, train_split: str):
    """
    Return rows with the numbers of their embeddings in --image_embeds_file, unless they have them.

    Raises:
        UsageError: the file lacks an image, or has another number of rows than the split.
    """
    import numpy as np
    from datasets import Value

    from conclip.embedding.embedding_files import numbers_of_names, read_embeddings, read_parts

    file, column = training_args.image_embeds_file, training_args.image_embeds_column
    if not file or column in dataset.column_names:
        return dataset
    names = None if Path(file).is_dir() else read_embeddings(Path(file)).names
    if names and dataset.features.get(training_args.image_column) == Value("string"):
        of_rows = dataset[training_args.image_column][:]
        return dataset.add_column(column, numbers_of_names(of_rows, names, f"Split {split!r}", file))
    if "source_row" in dataset.column_names:
        return dataset.add_column(column, dataset.with_format("numpy")["source_row"][:])
    if split != train_split:
        raise UsageError(
            f"The rows of --image_embeds_file {file} belong to those of the split {train_split!r}: for the split "
            f"{split!r}, name a column of the dataset with their numbers by --image_embeds_column, or use "
            "--eval_split none."
        )
    found = sum(map(len, read_parts(Path(file))))
    if found != len(dataset):
        raise UsageError(
            f"--image_embeds_file {file} has {found:,} rows, but the split {split!r} has {len(dataset):,}: it needs "
            "an embedding for each row in the same order, or name a column of row numbers with --image_embeds_column."
        )
    return dataset.add_column(column, np.arange(found))


if __name__ == "__main__":
    sys.exit(main())
