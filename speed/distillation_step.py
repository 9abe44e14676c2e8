"""
Time a training step of negation distillation against a step of the paper's loss in this project:

    python -m speed.distillation_step --model vit-base-patch32

Both are ours: a step over statements composes, tokenises and packs them; a step over pairs reads cached image
embeddings of captions and distractors. Random weights; without --tokenizer_name, a word of a statement is one token.
"""

import argparse
import re
import zlib

import numpy as np
import torch
from accelerate import Accelerator
from transformers import AutoTokenizer

from conclip.embedding.tokens import TextTokenizer, TextTokens
from conclip.negation.statements import StatementGenerator
from conclip.training.loop import train_step
from conclip.training.statement_rows import StatementRows
from modeling_conclip.loss_conclip import l2_normalize
from speed.captions import VOCABULARY, sampled_pairs
from speed.models import END_OF_TEXT, SIZES, START_OF_TEXT, as_conclip, make_model
from speed.paired import as_text, machine, time_in_turns, write_json
from speed.recipe import ReadyRows, prepare, recipe

_WORD = re.compile(r"[a-z'’]+|[^\sa-z]")


def tokens_by_word(texts: list[str]) -> TextTokens:
    """Return tokens of texts: a word or mark is one token, the same in every text."""
    rows = [
        [START_OF_TEXT, *(zlib.crc32(word.encode()) % VOCABULARY for word in _WORD.findall(text.lower())), END_OF_TEXT]
        for text in texts
    ]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return TextTokens(np.concatenate(rows).astype(np.int32), offsets)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit-base-patch32", choices=SIZES)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--statements", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--tokenizer_name", help="tokenizer of CLIP")
    parser.add_argument("--output_file", default="outputs/speed/distillation_step.json")
    options = parser.parse_args(argv)
    accelerator = Accelerator()
    pairs = _prepare_pairs(options, accelerator)
    statements, tokens = _prepare_statements(options, accelerator)
    times = time_in_turns(
        lambda: train_step(statements, next(iter(statements.loader))),
        lambda: train_step(pairs, next(iter(pairs.loader))),
        options.rounds,
        accelerator.device.type,
    )
    print(
        f"{options.model}: a step over {options.pairs} pairs takes {as_text(times['ratio'])} as long as one over "
        f"{options.statements} statements ({tokens:.1f} tokens each)"
    )
    result = {"options": vars(options), "tokens_a_statement": tokens}
    write_json({**result, **machine(accelerator.device.type), **times}, options.output_file)


def _prepare_pairs(options, accelerator: Accelerator):
    model = make_model(options.model)
    embeds = torch.randn(2, options.pairs, model.projection_dim, generator=torch.Generator().manual_seed(1))
    rows = ReadyRows(sampled_pairs(options.pairs), *embeds)
    return prepare(as_conclip(model), rows, recipe(options.pairs), accelerator)


def _prepare_statements(options, accelerator: Accelerator):
    """Return the state of the step over statements, and how many tokens one of them has on average."""
    model = make_model(options.model)
    tokenize = tokens_by_word
    if options.tokenizer_name:
        tokenize = TextTokenizer(AutoTokenizer.from_pretrained(options.tokenizer_name), 77, END_OF_TEXT)
    rows = StatementRows(StatementGenerator(), tokenize, options.statements)
    width = model.projection_dim
    targets = l2_normalize(torch.randn(options.statements, width, generator=torch.Generator().manual_seed(1)))
    rows.use_targets(lambda queries: targets[: len(queries)], torch.eye(width) / width)
    tokens = tokenize([rows.generator(0, index).text for index in range(options.statements)])
    state = prepare(as_conclip(model), rows, recipe(options.statements), accelerator)
    return state, len(tokens.ids) / options.statements


if __name__ == "__main__":
    main()
