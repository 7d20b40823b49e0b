"""Loads a checkpoint's tokenizer as `transformers` has it, and checks that it is served so."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from archive.errors import CheckpointError
from archive.gpt2_own import END_ID, gpt2_tokenizer
from archive.plain_tokenizer import read_plain
from archive.unusual import need
from handler.engine.errors import ModelError
from handler.engine.token_bytes import CLIP_DECODER
from handler.engine.vocabulary import Vocabulary, surroundings

# Any of these is a tokenizer; GPT-2's first layout needs merges.txt besides.
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model", "*.tiktoken")
WAY_OUT = "save it as tokenizer.json, with AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"
PROBE = Path(__file__).resolve().parent / "probe.txt"
RANDOM_TEXTS = 64
RANDOM_TOKENS = 16


@dataclass(frozen=True)
class CheckpointTokenizer:
    """A tokenizer, the names of the tokens that begin and end a text, and one of its settings."""

    tokenizer: Tokenizer
    bos_token: int | None
    eos_token: int | None
    splits_special_tokens: bool = False

    def vocabulary(self, vocab_size: int, delimiters: frozenset[int] = frozenset()) -> Vocabulary:
        """The tokenizer as the service has it.

        Raises CheckpointError if its text cannot be streamed.
        """
        served = Tokenizer.from_str(self.tokenizer.to_str())
        try:
            return Vocabulary(
                served, vocab_size, delimiters, splits_special_tokens=self.splits_special_tokens
            )
        except ModelError as error:
            raise CheckpointError(str(error)) from None


def load_tokenizer(directory: Path, vocab_size: int) -> CheckpointTokenizer:
    """Load the tokenizer of the checkpoint in `directory`.

    A tokenizer.json beside which nothing changes what it does is taken as it is; anything else
    is what `AutoTokenizer` makes of the directory.

    Raises CheckpointError if there is none, if it is broken, if `tokenizers` cannot run it alone,
    or if its words do not fit `vocab_size`.
    """
    _check_files(directory)
    plain = read_plain(directory)
    if plain is not None:
        found = CheckpointTokenizer(*plain)
    else:
        found = _ask_transformers(directory, vocab_size)
    found.tokenizer.no_truncation()
    found.tokenizer.no_padding()
    _check_size(found.tokenizer, vocab_size)
    return found


def own_tokenizer(vocab_size: int) -> CheckpointTokenizer:
    """GPT-2's own tokenizer; CheckpointError if the model has fewer tokens."""
    return given_tokenizer(gpt2_tokenizer(), END_ID, END_ID, vocab_size)


def given_tokenizer(
    tokenizer: Tokenizer, bos_token: int | None, eos_token: int | None, vocab_size: int
) -> CheckpointTokenizer:
    """A tokenizer that lay in a file of weights; CheckpointError if it does not fit the model."""
    _check_size(tokenizer, vocab_size)
    return CheckpointTokenizer(tokenizer, bos_token, eos_token)


def has_tokenizer(directory: Path) -> bool:
    """Whether files of a tokenizer lie in a directory."""
    return any(any(directory.glob(pattern)) for pattern in TOKENIZER_FILES)


def _check_files(directory: Path) -> None:
    found = {pattern for pattern in TOKENIZER_FILES if any(directory.glob(pattern))}
    if not found:
        raise CheckpointError(
            "no tokenizer in the checkpoint: tokenizer.json, or vocab.json and merges.txt, or "
            "nanoGPT's meta.pkl, is needed; give the one that it was trained with: --tokenizer "
            "gpt2, DIR or HUB_ID"
        )
    if found == {"vocab.json"} and not (directory / "merges.txt").is_file():
        raise CheckpointError(
            "no merges.txt in the checkpoint, which vocab.json needs; copy it from the same source"
        )


def _check_size(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Refuse another model's tokenizer; added tokens may lie beyond the model's vocabulary."""
    added = tokenizer.get_added_tokens_decoder()
    words = tokenizer.get_vocab(with_added_tokens=False).values()
    count = max((token for token in words if token not in added), default=-1) + 1
    if not count:
        raise CheckpointError(
            "the tokenizer has an empty vocabulary: its files are not those of the class that "
            "tokenizer_config.json or config.json names as tokenizer_class"
        )
    if count > vocab_size:
        raise CheckpointError(
            f"the tokenizer does not fit the model: it has {count} tokens, "
            f"the model's vocab_size is {vocab_size}"
        )


def _ask_transformers(directory: Path, vocab_size: int) -> CheckpointTokenizer:
    judge = _auto_tokenizer(directory)
    if not getattr(judge, "is_fast", False):
        raise CheckpointError(
            f"the tokenizer is a {type(judge).__name__}, which only Python can run; {WAY_OUT}"
        )
    found = CheckpointTokenizer(
        Tokenizer.from_str(json.dumps(_as_data(judge))),
        judge.bos_token_id,
        judge.eos_token_id,
        bool(judge.split_special_tokens),
    )
    found.tokenizer.no_truncation()
    found.tokenizer.no_padding()
    _compare(found, vocab_size, judge)
    return found


def _as_data(judge: Any) -> dict[str, Any]:
    """What tokenizer.json says; of CLIP's also what its class does to text in Python."""
    data: dict[str, Any] = json.loads(judge.backend_tokenizer.to_str())
    if type(judge).__name__ == "CLIPTokenizer":
        data["decoder"] = CLIP_DECODER
    return data


def _auto_tokenizer(directory: Path) -> Any:
    need("transformers", "this tokenizer")
    from transformers import AutoTokenizer  # seconds of import, for those who need it

    with _silence():
        try:
            return AutoTokenizer.from_pretrained(
                directory, trust_remote_code=False, local_files_only=True
            )
        except Exception as error:  # each kind of tokenizer raises its own
            reason = " ".join(str(error).replace(f"{directory}/", "").split())[:200]
            raise CheckpointError(
                "the tokenizer's files are broken, or need what is not installed "
                f"({reason or type(error).__name__}); where it loads, {WAY_OUT}"
            ) from None


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the library's remarks to itself: what matters is said as an error."""
    logger = logging.getLogger("transformers")
    level, disabled = logger.level, logger.disabled
    logger.disabled = True
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        logger.setLevel(level)
        logger.disabled = disabled


def _compare(found: CheckpointTokenizer, vocab_size: int, judge: Any) -> None:
    """Refuse a tokenizer that is not the same once it is served."""
    served = found.vocabulary(vocab_size)
    _, closing = surroundings(found.tokenizer)
    tokens = [f"a{token} {token}b" for token in judge.get_added_vocab()]
    for text in [*PROBE.read_text(encoding="utf-8").split("\n"), *tokens]:
        whole = judge(text)["input_ids"]
        if served.encode(text) + closing != whole:
            raise CheckpointError(f"the tokenizer cannot be served as it is: {WAY_OUT}")
        _compare_text(served, judge, whole)
    generator = random.Random(0)
    for _ in range(RANDOM_TEXTS):
        _compare_text(served, judge, generator.choices(range(served.size), k=RANDOM_TOKENS))


def _compare_text(served: Vocabulary, judge: Any, tokens: list[int]) -> None:
    for skip in (True, False):
        whole = judge.decode(tokens, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
        if served.decode(tokens, skip_special_tokens=skip) != whole:
            raise CheckpointError(
                "the tokenizer cannot be streamed: its decoder changes text already written; "
                "give a tokenizer with another decoder"
            )
