"""What a checkpoint's own tokenizer does is what is served: `AutoTokenizer` is the judge."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer

from archive.errors import CheckpointError
from archive.reading import read_json
from archive.text_tokens import find_text_tokens
from archive.tokenizer import load_tokenizer
from handler.engine.vocabulary import Vocabulary
from tests.archive.checkpoints import TINY
from tests.archive.layouts import (
    FAST,
    LAYOUTS,
    SENTENCE_PIECE,
    SIZE,
    Write,
    file,
    legacy,
    mixed_lines,
    save,
    word_piece,
)

MODEL_SIZE = SIZE + 64


def write(directory: Path, layout: Write) -> None:
    save(directory, "config.json", **TINY | {"vocab_size": MODEL_SIZE})
    layout(directory)


def served(directory: Path) -> Vocabulary:
    tokenizer = load_tokenizer(directory, MODEL_SIZE)
    config = read_json(directory / "config.json")
    tokens = find_text_tokens(directory, config, MODEL_SIZE, tokenizer)
    return tokenizer.vocabulary(MODEL_SIZE, frozenset(tokens.delimiters))


def judge_of(directory: Path) -> Any:
    return AutoTokenizer.from_pretrained(directory)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_ids_and_text_are_those_of_the_checkpoints_own_tokenizer(
    tmp_path: Path, layout: Write
) -> None:
    write(tmp_path, layout)
    compare(served(tmp_path), judge_of(tmp_path))


@pytest.mark.parametrize("layout", SENTENCE_PIECE.values(), ids=SENTENCE_PIECE.keys())
def test_sentence_pieces_own_format_is_converted(tmp_path: Path, layout: Write) -> None:
    pytest.importorskip("sentencepiece")
    write(tmp_path, layout)
    compare(served(tmp_path), judge_of(tmp_path))


def compare(vocabulary: Vocabulary, judge: Any) -> None:
    lines = mixed_lines()
    expected = judge(lines)["input_ids"]
    plain = judge(lines, add_special_tokens=False)["input_ids"]
    begins = len(vocabulary.encode("")) - len(vocabulary.encode("", add_special_tokens=False))
    appended = len(judge("")["input_ids"]) - begins
    for line, ids, alone in zip(lines, expected, plain, strict=True):
        assert vocabulary.encode(line) == ids[: len(ids) - appended]
        assert vocabulary.encode(line, add_special_tokens=False) == alone
    # Whatever a model may write, and not just what a text would become.
    generator, around = random.Random(1), delimiters(judge)
    texts = [*expected[::25], *(generator.choices(range(SIZE + 9), k=30) for _ in range(120))]
    for ids in texts:
        ids = [i for i in ids if i < vocabulary.size]
        for skip in (False, True):
            whole = judge.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
            assert streamed(vocabulary, ids, skip) == whole
            assert vocabulary.decode(ids, skip_special_tokens=skip) == whole
        shown = [i for i in ids if i not in around]
        whole = judge.decode(shown, clean_up_tokenization_spaces=False)
        assert vocabulary.decode(ids) == streamed(vocabulary, ids, None) == whole


def delimiters(judge: Any) -> set[int]:
    """What stands around every text or may, and TINY's ends where they are added tokens."""
    ends = {judge.bos_token_id, judge.eos_token_id}
    return {*judge("")["input_ids"], *ends, *({0} & judge.added_tokens_decoder.keys())}


def streamed(vocabulary: Vocabulary, tokens: list[int], skip: bool | None) -> str:
    writer = vocabulary.detokenizer(skip)
    return "".join([*map(writer.push, tokens), writer.finish()])


def test_text_goes_on_behind_a_prompt_as_if_it_were_one(tmp_path: Path) -> None:
    for name in (
        "SentencePiece BPE with bytes, as tokenizer.json",
        "whole words",
        *(name for name in LAYOUTS if name.startswith("ends of words")),
    ):
        directory = tmp_path / name.replace(" ", "-").replace("'", "")
        directory.mkdir()
        write(directory, LAYOUTS[name])
        vocabulary = served(directory)
        ids = vocabulary.encode("Once upon a time there was a fox")
        for cut in range(2, len(ids)):
            writer = vocabulary.detokenizer(after=ids[:cut])
            text = vocabulary.decode(ids[:cut]) + "".join(map(writer.push, ids[cut:]))
            assert text + writer.finish() == vocabulary.decode(ids)


def without(name: str, layout: Write) -> Write:
    def write_all_but_one(directory: Path) -> None:
        layout(directory)
        (directory / name).unlink()

    return write_all_but_one


def python_alone(directory: Path) -> None:
    save(directory, "vocab.json", a=0, b=1)
    (directory / "merges.txt").write_text("#version\na b\n")
    save(directory, "tokenizer_config.json", tokenizer_class="CTRLTokenizer")


def the_first_of_neighbours(directory: Path) -> None:
    """CTC's decoder, which writes neighbours that are equal once."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.CTC(pad_token="<unk>")
    tokenizer.save(str(directory / "tokenizer.json"))
    save(directory, "tokenizer_config.json", **FAST, unk_token="<unk>")


REFUSED: dict[str, tuple[Write, str]] = {
    "none": (lambda directory: None, "no tokenizer in the checkpoint"),
    "no merges": (without("merges.txt", legacy()), "merges.txt"),
    "run by Python": (python_alone, "only Python can run; save it as tokenizer.json"),
    "text that changes": (the_first_of_neighbours, "cannot be streamed"),
    "no class": (
        without("tokenizer_config.json", word_piece("tokenizer_config.json")),
        "names as tokenizer_class",
    ),
}


@pytest.mark.parametrize(("layout", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_served_is_refused_in_one_line(
    tmp_path: Path, layout: Write, words: str
) -> None:
    write(tmp_path, layout)
    with pytest.raises(CheckpointError) as told:
        served(tmp_path)
    assert words in str(told.value) and "\n" not in str(told.value)
    assert str(tmp_path) not in str(told.value)


def test_code_of_a_checkpoint_never_runs(tmp_path: Path) -> None:
    config = {"auto_map": {"AutoTokenizer": ["mine.Mine", None]}, "tokenizer_class": "Mine"}
    write(tmp_path, file(config))
    (tmp_path / "mine.py").write_text("raise SystemExit('code of the checkpoint has run')")
    judge = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=False)
    assert served(tmp_path).encode("The fox") == judge("The fox")["input_ids"]
