"""From the command line to all that a run needs: text, tokens, settings, a model to train."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed

from training.corpus import Corpus, split
from training.errors import TrainingError
from training.model import load_model, new_model
from training.needs import check_room, fresh_weights
from training.plan import heads, plan
from training.progress import say
from training.reading.document import Documents, Messages, Reading
from training.reading.read import read_documents
from training.reading.records import NO_TEMPLATE
from training.run import write_whole
from training.settings import RunSettings
from training.vocabulary import blank_tokenizer, encode_chunks, load_tokenizer, train_tokenizer
from training.windows import Tokens

TOKENIZER = "tokenizer"
MADE_FOR = "made-for.txt"


@dataclass(frozen=True)
class Prepared:
    """What is trained, on what, and how."""

    documents: Documents
    corpus: Corpus
    tokenizer: PreTrainedTokenizerFast
    model: GPT2LMHeadModel
    stream: Tokens
    run: RunSettings


def read_corpus(options: argparse.Namespace) -> tuple[Documents, Corpus]:
    """Read and split what ``--text`` names, and say what there is to say about it."""
    documents = read_documents(options.text, _reading(options))
    for note in documents.notes:
        say(f"note: {note}")
    return documents, split(documents)


def prepare(options: argparse.Namespace, output: Path) -> Prepared:
    """Everything up to the first step; writes nothing.

    Raises:
        TrainingError: text, model or options do not go together.
    """
    documents, corpus = read_corpus(options)
    if options.base:
        return _prepare_base(options, documents, corpus, output)
    heads(options)
    tokenizer = _tokenizer(options, corpus, output)
    stream = np.concatenate(encode_chunks(tokenizer, corpus.train, 0))
    run = plan(options, corpus, None, len(tokenizer), len(stream))
    tokenizer.model_max_length = run.context
    check_room(output, run, fresh_weights(run))
    set_seed(options.seed)
    model = new_model(
        len(tokenizer), run.context, run.layers, run.width, run.heads, options.dropout or 0.0
    )
    return Prepared(documents, corpus, tokenizer, model, stream, run)


def keep_tokenizer(prepared: Prepared, options: argparse.Namespace, output: Path) -> None:
    """Keep a new tokenizer for when the run is resumed; its last file says that it is whole."""
    kept, key = output / TOKENIZER, _tokenizer_key(options, prepared.corpus)
    if not options.base and not _is_kept_for(key, kept):
        prepared.tokenizer.save_pretrained(kept)
        write_whole(kept / MADE_FOR, key)


def _prepare_base(
    options: argparse.Namespace, documents: Documents, corpus: Corpus, output: Path
) -> Prepared:
    overrides = {}
    if options.dropout is not None:
        overrides = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), options.dropout)
    model = load_model(options.base, **overrides)
    tokenizer = load_tokenizer(options.base)
    if options.chat_template:
        tokenizer.chat_template = _template(options)
    chunks = encode_chunks(tokenizer, corpus.train, start_token(model.config))
    stream = np.concatenate(chunks)
    run = plan(options, corpus, model.config, model.config.vocab_size, len(stream))
    check_room(output, run, model.num_parameters())
    return Prepared(documents, corpus, tokenizer, model, stream, run)


def start_token(config: GPT2Config) -> int:
    """The token before each text.

    Raises:
        TrainingError: the checkpoint names none that it has.
    """
    for token in (config.bos_token_id, config.eos_token_id):
        if isinstance(token, int) and 0 <= token < config.vocab_size:
            return token
    raise TrainingError("the model's config.json has neither bos_token_id nor eos_token_id")


def _tokenizer(
    options: argparse.Namespace, corpus: Corpus, output: Path
) -> PreTrainedTokenizerFast:
    kept = output / TOKENIZER
    if _is_kept_for(_tokenizer_key(options, corpus), kept):
        tokenizer = load_tokenizer(str(kept))
    else:
        say(f"training a byte-level BPE of {options.vocab_size:,} tokens")
        tokenizer = train_tokenizer(corpus.train, options.vocab_size)
    if options.chat_template:
        tokenizer.chat_template = _template(options)
    return tokenizer


def _tokenizer_key(options: argparse.Namespace, corpus: Corpus) -> str:
    """What a tokenizer was trained on and for: another text or size needs another one."""
    return f"{corpus.digest} {options.vocab_size}\n"


def _is_kept_for(key: str, kept: Path) -> bool:
    made_for = kept / MADE_FOR
    return made_for.is_file() and made_for.read_text() == key


def _reading(options: argparse.Namespace) -> Reading:
    return Reading(
        format="lines" if options.lines else options.format,
        separator=options.separator,
        column=options.column,
        header=not options.no_header,
        encoding=options.encoding,
        render=_renderer(options),
    )


def _renderer(options: argparse.Namespace) -> Callable[[Messages], str]:
    """What writes messages as text: the template of the command line, or that of the model."""

    @cache
    def loaded() -> tuple[PreTrainedTokenizerFast, str]:
        tokenizer = load_tokenizer(options.base) if options.base else blank_tokenizer()
        template = _template(options) if options.chat_template else tokenizer.chat_template
        if not template:
            raise TrainingError(NO_TEMPLATE)
        return tokenizer, template

    def render(messages: Messages) -> str:
        tokenizer, template = loaded()
        turns = [dict(turn) for turn in messages]
        return str(tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False))

    return render


def _template(options: argparse.Namespace) -> str:
    try:
        return str(options.chat_template.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"--chat-template: {options.chat_template} is not a readable UTF-8 file"
        ) from error
