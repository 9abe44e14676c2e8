"""`ConCLIPTrainer`: fine-tune a CLIP model with a negation loss, under accelerate."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from datasets import Dataset, IterableDataset
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from conclip.atomic_write import require_room, write_atomically
from conclip.data import text_lists
from conclip.embedding.embedding_column import EmbeddingColumn
from conclip.embedding.image_column import ImageColumn
from conclip.embedding.images import ImageEmbedder, embedding_cache_dir
from conclip.embedding.texts import cached_tokens, embed_texts
from conclip.embedding.tokens import TextTokens
from conclip.errors import UsageError
from conclip.folder_lock import in_use
from conclip.models.clip import unwrap_lora
from conclip.models.saving import save_model, weights_bytes
from conclip.models.text_distillation import TextDistillationModel
from conclip.negation.arithmetic import QueryArithmetic
from conclip.negation.questions import Question
from conclip.public_names import is_local, public_name, without_paths
from conclip.runtime import software_versions
from conclip.stream import SAMPLE, first_stream_rows, rows_of_stream
from conclip.training.accelerator import make_accelerator
from conclip.training.arguments import DISTILLATION, EVERY_SAVE, ConCLIPTrainingArguments
from conclip.training.card import CARD_FILE, adapter_card, example_texts, model_card
from conclip.training.checkpoints import (
    checkpoint_bytes,
    checkpoint_to_resume,
    mark_finished,
    read_state,
)
from conclip.training.collator import PairCollator
from conclip.training.deepspeed import restore_scalars
from conclip.training.default_loss import with_loss
from conclip.training.evaluator import Truth, make_evaluator
from conclip.training.image_truth import ImageTruth
from conclip.training.loop import run_training
from conclip.training.model_checks import require_fitting_images, require_trainable
from conclip.training.pair_rows import PairRows, columns_of, make_pairs, open_image_column
from conclip.training.pushes import Pushes
from conclip.training.report import REPORT_FILES, table_rows, verdict, write_report
from conclip.training.splits import count_trained_images
from conclip.training.statement_evaluator import StatementEvaluator
from conclip.training.statement_rows import HELD_OUT_STATEMENTS, StatementRows, held_out_statements, make_statements
from conclip.training.stream_rows import StreamRows, make_stream_rows, prepare_stream
from conclip.training.teacher import Teacher
from conclip.training.trackers import start_trackers, tracker_config
from conclip.training.trained_model import describe_model, prepare_model, saved_model
from conclip.training.training_state import (
    announce,
    compiles,
    fixed_settings,
    prepare_training,
    require_full_batch,
)
from modeling_conclip import ConCLIPModel
from modeling_conclip.loss_conclip import l2_normalize

NO_IMAGES = "The data has no images or embeddings of images: only statements are scored."


class ConCLIPTrainer:
    """
    Fine-tune a ConCLIP model and evaluate it, on one process or, started by `accelerate launch`, on several.

    Names and parameters are those of `transformers.Trainer` where they mean the same. While the image encoder is
    frozen, every image is embedded once, before training, and the embeddings are cached for later runs. The loss
    "negation_distillation" needs captions alone; images, if there are any, are used for its scores.

    Args:
        model: loaded in float32. It is trained in place; its loss weights are set from `args`. The loss
            "negation_distillation" also takes a model of another family, any with `get_text_features`.
        args: settings of the run.
        processing_class: the processor of the model; its tokenizer will do if no image is read.
        train_dataset: rows to train on; `args` names the columns. A stream (`IterableDataset`) is read once a pass,
            in buffers of `args.shuffle_buffer_size` rows, and each process reads its share of it.
        eval_dataset: rows to evaluate on, with an image, a caption and, if there are any, negated captions.
        peft_config: train these adapters instead of the weights.
        accelerator: from `make_accelerator(args)`, which makes one by default.
        truth: if it is known of which images a text is true, see `Evaluator`: how often the first image found is one
            of these is scored too.
        questions: multiple-choice questions about rows of `eval_dataset`, see `Evaluator`.

    Raises:
        UsageError: rows or weights that cannot be used, or an output folder that cannot be written to.

    Example:
        >>> from datasets import load_dataset
        >>> from transformers import AutoProcessor
        >>> from conclip import ConCLIPModel, ConCLIPTrainer, ConCLIPTrainingArguments
        >>> name = "openai/clip-vit-base-patch32"
        >>> trainer = ConCLIPTrainer(
        ...     model=ConCLIPModel.from_pretrained(name),
        ...     args=ConCLIPTrainingArguments(output_dir="conclip-vit-base-patch32", max_steps=1000),
        ...     processing_class=AutoProcessor.from_pretrained(name),
        ...     train_dataset=load_dataset("ccneg", split="train"),
        ... )
        >>> trainer.train()
        >>> trainer.save_model()
    """

    def __init__(
        self,
        model: ConCLIPModel | PreTrainedModel,
        args: ConCLIPTrainingArguments,
        processing_class: ProcessorMixin | PreTrainedTokenizerBase,
        train_dataset: Dataset | IterableDataset,
        eval_dataset: Dataset | None = None,
        peft_config: LoraConfig | None = None,
        accelerator: Accelerator | None = None,
        truth: Truth | None = None,
        questions: Sequence[Question] | None = None,
    ):
        if accelerator is None:
            # Lets a notebook train again with another precision.
            AcceleratorState._reset_state()
            accelerator = make_accelerator(args)
        require_trainable(model, args)
        stream, captions = None, train_dataset
        if isinstance(train_dataset, IterableDataset):
            stream, train_dataset = train_dataset, first_stream_rows(train_dataset, SAMPLE)
            args, captions = prepare_stream(stream, train_dataset, args, accelerator)
            if args.loss == DISTILLATION:
                stream, train_dataset = None, captions
        args = with_loss(args, train_dataset, accelerator)
        self.args, self.processing_class, self.accelerator = args, processing_class, accelerator
        self.peft_config = peft_config
        self.stream_length = rows_of_stream(stream) if stream is not None else None
        self.image_processor = getattr(processing_class, "image_processor", None)
        self.output_dir = Path(args.output_dir)
        set_seed(args.seed)
        self.model, self.tokenizer = prepare_model(model, args, processing_class, peft_config)
        cache_dir = embedding_cache_dir(args.embedding_cache_dir)
        tokenize = cached_tokens(self.tokenizer, cache_dir / "texts", accelerator.print)
        self.statements = make_statements(captions, args, self.tokenizer, accelerator) if args.distills else None
        columns = columns_of(args)
        self.train_rows = self._make_train_rows(train_dataset, stream, columns, tokenize)
        if args.truth_weight:
            self.images, self.image_captions = self._open_truth(train_dataset, columns)
        if args.image_embeds_column and args.image_column in train_dataset.column_names:
            accelerator.print(f"The images in the column {args.image_column} are not read: embeddings replace them.")
        if stream is None:
            require_full_batch(self.train_rows, args.per_device_train_batch_size, accelerator.num_processes)
        self.example = example_texts(train_dataset, args)
        self.model.to(accelerator.device)
        self.embedder = ImageEmbedder(
            self.image_processor,
            accelerator,
            args.per_device_eval_batch_size,
            args.dataloader_num_workers,
            cache_dir,
        )
        self.held_out_statements = self.evaluator = None
        if eval_dataset is not None:
            if args.distills:
                self.held_out_statements = held_out_statements(eval_dataset, args, self.statements.generator)
            self.evaluator = make_evaluator(
                eval_dataset, args, columns, model, self.embedder, tokenize, truth, questions
            )
        self.teacher: Teacher | None = None
        self.statement_evaluator: StatementEvaluator | None = None
        # (metrics, margins) of each call of `evaluate`, in order.
        self.evaluations: list[tuple[dict, dict[str, np.ndarray]]] = []
        # Metrics of the base model with query arithmetic; `None` if it was not evaluated before training.
        self.query_arithmetic: dict | None = None
        self.has_begun = False
        self.pushes = Pushes(args.hub_model_id, args.hub_private_repo, args.hub_revision, args.hub_token)
        self.statistics: dict | None = None
        # The folder where this run has written the card of the trained weights.
        self.reported_to: Path | None = None

    def _make_train_rows(
        self,
        dataset: Dataset,
        stream: IterableDataset | None,
        columns: dict,
        tokenize: Callable[[list[str]], TextTokens],
    ) -> PairRows | StatementRows | StreamRows:
        """Return what is trained on: statements or pairs, or both; `dataset` holds the first rows of a stream."""
        args = self.args
        if args.loss == DISTILLATION:
            return self.statements
        rows = make_pairs(dataset, args, columns, tokenize if stream is None else self.tokenizer)
        for images in filter(None, (rows.images, rows.distractors)):
            require_fitting_images(images, self.image_processor, unwrap_lora(self.model))
        if stream is not None:
            rows = make_stream_rows(stream, args, columns, self.tokenizer, self.accelerator)
        if self.statements:
            rows.use_statements(self.statements)
        return rows

    def _open_truth(self, dataset: Dataset, columns: dict) -> tuple[ImageColumn | EmbeddingColumn, list[list[str]]]:
        """Return the images, and the captions of each, that say which statements are true of which images."""
        split = str(dataset.split or "train")
        if isinstance(self.train_rows, PairRows):
            images = self.train_rows.images
        else:
            images = open_image_column(dataset, self.args, columns, split)
            require_fitting_images(images, self.image_processor, unwrap_lora(self.model))
        return images, text_lists(dataset, self.args.caption_column, split)

    def train(self, resume_from_checkpoint: str | bool | None = None) -> dict:
        """
        Train the model to the last step.

        Args:
            resume_from_checkpoint: "latest" or `True` for the newest checkpoint in the output folder, or the folder of
                a checkpoint.

        Returns:
            {"steps", "seconds", "examples_per_second", "loss"}: of this run, with the loss of its last step.

        Raises:
            UsageError: nothing to resume from, checkpoints of an earlier run in the way, another run in the folder, a
                full disk, or training diverged.
        """
        if self.statistics is not None:
            raise UsageError("This trainer has finished: make a new ConCLIPTrainer to train the model further.")
        with in_use(self.output_dir):
            return self._train(checkpoint_to_resume(self.output_dir, resume_from_checkpoint))

    def _train(self, checkpoint: Path | None) -> dict:
        args, accelerator = self.args, self.accelerator
        # Before any work: what the run will write at a time.
        require_room(self.output_dir, checkpoint_bytes(self.model) if args.save_steps else weights_bytes(self.model))
        self.has_begun = True
        inner = unwrap_lora(self.model)
        self._teach()
        if isinstance(self.train_rows, PairRows):
            self._embed_images(inner)
        if args.distills and args.truth_weight:
            self._teach_truth(inner)
        if args.report_to:
            start_trackers(accelerator, tracker_config(args, inner.config.name_or_path))
        collator = PairCollator(
            self.image_processor, args.mini_batch_size, compiles(args, accelerator), inner.pack_texts
        )
        # Embedding images that are not in the cache uses random numbers; dropout must not depend on it.
        set_seed(args.seed)
        state = prepare_training(
            self.model, self.train_rows, collator, args, accelerator, checkpoint, self.stream_length
        )
        announce(state, self.train_rows)
        evaluates = self.evaluator or self.held_out_statements
        pushes = args.push_to_hub and args.hub_strategy == EVERY_SAVE and accelerator.is_main_process
        on_save = self._push_while_training if pushes else None
        self.statistics = run_training(state, self.evaluate if evaluates else None, on_save)
        self.model = accelerator.unwrap_model(state.model, keep_fp32_wrapper=False)
        restore_scalars(state.scalars)
        # A card that was written before the training is not that of the trained weights.
        self.reported_to = None
        return self.statistics

    def _embed_images(self, model: ConCLIPModel) -> None:
        """Embed the images of the training rows, and warn of those that are also evaluated on."""
        for warning in self.train_rows.use_keys(self.embedder.keys):
            self.accelerator.print(f"Warning: {warning}")
        if model.image_encoder_is_frozen:
            # CLIP's preprocessing has no randomness, so an image has the same embedding in every epoch.
            self.train_rows.use_tensors("image_embeds", partial(self.embedder, model.eval()))
        if self.evaluator:
            images = self.evaluator.images
            count = count_trained_images(self.embedder.keys(images), self.embedder.keys(self.train_rows.images))
            if count:
                self.accelerator.print(
                    f"Warning: {count:,} of {len(images):,} evaluation rows (split {images.split!r}) show an image "
                    "that is also trained on: their scores say nothing about new images."
                )

    def _teach(self) -> None:
        """Make the targets of negation distillation, by the model as it is before training."""
        if self.statements is None or self.teacher is not None:
            return
        generators = [self.statements.generator]
        if self.held_out_statements:
            generators.append(self.held_out_statements)
        self.teacher = Teacher(
            lambda texts: self._embed(self.tokenizer(texts)),
            generators,
            self.args.distillation_beta,
            self.args.distillation_anchor_weight,
        )
        self.statements.use_targets(self.teacher, self.teacher.second_moment)
        if self.held_out_statements:
            self.statement_evaluator = StatementEvaluator(
                self.held_out_statements, self.tokenizer, HELD_OUT_STATEMENTS, self.teacher
            )

    def _teach_truth(self, model: ConCLIPModel) -> None:
        """Learn from the training images of which of them statements are true."""
        embeds = l2_normalize(self.embedder(model.eval(), self.images, "images")[:])
        things = self.statements.generator.things()
        self.statements.use_truth(ImageTruth(embeds, self.image_captions, things, self.args.seed))

    def _embed(self, tokens: TextTokens) -> torch.Tensor:
        """Return unit embeddings of n texts, float32, (n, d), on the CPU and on every process."""
        model = unwrap_lora(self.model)
        training = model.training
        embeds = embed_texts(model.eval(), tokens, self.accelerator, self.args.per_device_eval_batch_size)
        model.train(training)
        return embeds

    def is_finished(self, resume_from_checkpoint: str | bool | None) -> bool:
        """
        Return whether the run of a checkpoint has ended, so that its model and results are in the output folder.

        Args:
            resume_from_checkpoint: as in `train`.

        Raises:
            UsageError: nothing to resume from, or checkpoints of an earlier run in the way.
        """
        checkpoint = checkpoint_to_resume(self.output_dir, resume_from_checkpoint)
        evaluates = self.evaluator or self.held_out_statements
        written = ["model.safetensors", "results.json"] if evaluates else ["model.safetensors"]
        if not checkpoint or not all((checkpoint.parent / name).is_file() for name in written):
            return False
        _, fixed, finished = read_state(checkpoint)
        same = fixed == fixed_settings(self.model, self.args, self.accelerator, self.train_rows)
        return same and finished == self._length() and checkpoint.parent.samefile(self.output_dir)

    def mark_finished(self) -> None:
        """Note that the model and all results are written: resuming the run then leaves them as they are."""
        if self.accelerator.is_main_process:
            mark_finished(self.output_dir, self._length())
        self.accelerator.wait_for_everyone()

    def _length(self) -> dict:
        return {name: getattr(self.args, name) for name in ("max_steps", "num_train_epochs")}

    def evaluate(self) -> dict:
        """
        Score the model on `eval_dataset`.

        Returns:
            Metrics by name, each a dict of value, count, ties (which count as errors), chance and, if the data has
            them, categories.

        Raises:
            UsageError: there is no `eval_dataset`.
        """
        if self.evaluator is None and self.held_out_statements is None:
            raise UsageError("Pass an eval_dataset to evaluate.")
        self._teach()
        metrics, margins = {}, {}
        if self.evaluator:
            # New adapters change nothing, so before training this scores the base model.
            metrics, margins = self.evaluator(unwrap_lora(self.model))
        if self.statement_evaluator:
            metrics |= self.statement_evaluator(self._embed)
        if self.evaluator and not self.evaluations and not self.has_begun:
            self._score_query_arithmetic()
        self.evaluations.append((metrics, margins))
        return metrics

    def _score_query_arithmetic(self) -> None:
        """Score the base model, which was evaluated just now, with query arithmetic."""
        embeds = {}

        def embed(texts: list[str]) -> torch.Tensor:
            new = sorted(set(texts) - embeds.keys())
            if new:
                embeds.update(zip(new, self._embed(self.tokenizer(new)), strict=True))
            return torch.stack([embeds[text] for text in texts])

        settings = {"beta": self.args.distillation_beta}
        if self.teacher:
            settings["anchor_weight"] = self.teacher.arithmetic.anchor_weight
        elif self.args.distillation_anchor_weight is not None:
            settings["anchor_weight"] = self.args.distillation_anchor_weight
        self.query_arithmetic = self.evaluator.query_arithmetic(QueryArithmetic(embed, **settings))

    def save_model(self, output_dir: str | None = None) -> None:
        """
        Save model and processor to a folder; adapters are merged, and saved apart too.

        Every CLIP class loads a CLIP. A model of another family is saved in its own class.

        Args:
            output_dir: the folder, by default `args.output_dir`.
        """
        if self.accelerator.is_main_process:
            folder = Path(output_dir or self.args.output_dir)
            # The card of an earlier run, unless this run has written its own there already.
            stale = () if folder.resolve() == self.reported_to else (CARD_FILE, *REPORT_FILES)
            merged = self._write(saved_model(self.model), folder, stale)
            if isinstance(self.model, TextDistillationModel):
                self.model.encoder.model = merged
            else:
                self.model = merged
            print(f"Model saved to {folder}")
        self.accelerator.wait_for_everyone()

    def _write(self, model: PreTrainedModel | PeftModel, folder: Path, stale: Sequence[str] = ()) -> PreTrainedModel:
        """Write a model with its processor, see `save_model`; return it with adapters merged."""
        described = describe_model(self.model, self.args, self.peft_config, self.example)
        card = adapter_card(described) if described["lora"] else None
        return save_model(
            model, self.processing_class, folder, stale, base_model=described["base_model"], adapter_card=card
        )

    def create_model_card(self, dataset_name: str = "dataset", split: str = "test", **details) -> dict:
        """
        Write README.md (the model card) and results.json; after two evaluations also scores.png.

        The card says what was trained on what, and compares the first with the last evaluation. No local path is
        written: of folders, both hold the name alone.

        Args:
            dataset_name: id on the Hub or local path of the training data.
            split: what was evaluated on.
            details: more entries for results.json, such as `command`, how to repeat the run.

        Returns:
            What results.json holds.
        """
        args, dataset = self.args, public_name(dataset_name)
        loss = f"the {args.loss} loss"
        if args.distills and args.loss != DISTILLATION:
            loss += " and negation distillation"
        model = describe_model(self.model, args, self.peft_config, self.example)
        results = {
            "title": f"{dataset}, {split} split, before and after training with {loss}",
            "base_model": model["base_model"],
            "dataset": dataset,
            "split": split,
            "model": {**model, "dataset_is_on_hub": "/" in dataset_name and not is_local(dataset_name)},
        }
        margins = None
        if len(self.evaluations) > 1:
            (before, margins_before), (after, margins_after) = self.evaluations[0], self.evaluations[-1]
            results |= {"before": before, "after": after, "verdict": verdict(table_rows(before, after), loss)}
            margins = {"before": margins_before, "after": margins_after}
            if self.query_arithmetic:
                results["query_arithmetic"] = self.query_arithmetic
            results["not_scored"] = self.evaluator.not_scored if self.evaluator else [NO_IMAGES]
        results |= {
            "training": self.statistics,
            "num_processes": self.accelerator.num_processes,
            "mixed_precision": self.accelerator.mixed_precision,
            "image_processor": type(self.image_processor).__name__ if self.image_processor else None,
            "arguments": self.args.to_dict(),
            "versions": software_versions(),
            **details,
        }
        results["arguments"] = without_paths(results["arguments"])
        if self.accelerator.is_main_process:
            write_report(results, margins, self.output_dir)
            write_atomically(self.output_dir / CARD_FILE, model_card(results).encode())
        self.reported_to = self.output_dir.resolve()
        return results

    def _push_while_training(self, step: int) -> None:
        """Push the model as it is now, without a card; training goes on meanwhile."""

        def save(folder: Path) -> None:
            model = saved_model(self.model)
            # Saving merges adapters, and these are still trained.
            self._write(deepcopy(model) if isinstance(model, PeftModel) else model, folder)

        self.pushes.push_in_background(step, save)

    def push_to_hub(self) -> None:
        """
        Upload the output folder to `args.hub_model_id`, without checkpoints; write a model card if there is none.

        Raises:
            UsageError: the upload failed.
        """
        if not (self.output_dir / CARD_FILE).exists():
            self.create_model_card()
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self.pushes.push_finished(self.output_dir)
        self.accelerator.wait_for_everyone()
