"""nanoGPT's models of single characters: their meta.pkl is read as data, and never run."""

from __future__ import annotations

import io
import pickle
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from archive.checkpoint import open_checkpoint
from archive.errors import CheckpointError
from archive.formats.inert_pickle import read_inert
from archive.letters import read_letters
from archive.text import read_passages
from tests.archive.layouts import PROSE
from tests.archive.spoil import RunsCode
from tests.archive.test_checkpoint_served import TOKENS, greedy, loud, staged
from tests.archive.test_generation import tokens
from tests.archive.tiny import Arrays, doubled, tensors, tiny_config, tiny_weights, turned
from tests.handler.engines import Rig

TEXT = PROSE + "\t\r é🙂漢\u00a0"
LETTERS = {letter: place for place, letter in enumerate(sorted(set(TEXT)))}
META = {
    "vocab_size": len(LETTERS),
    "itos": {place: letter for letter, place in LETTERS.items()},
    "stoi": LETTERS,
}


def nano(directory: Path) -> tuple[Path, Arrays]:
    """nanoGPT's repository after a run on characters: out-x/ckpt.pt and data/x/meta.pkl."""
    out, data = directory / "out-shakespeare-char", directory / "data" / "shakespeare_char"
    out.mkdir()
    data.mkdir(parents=True)
    (data / "meta.pkl").write_bytes(pickle.dumps(META))
    weights = loud(tiny_weights(directory, vocab_size=len(LETTERS)))
    (directory / "config.json").unlink()
    sizes = {"n_layer": 2, "n_head": 4, "n_embd": 48, "block_size": 64, "bias": True}
    torch.save(
        {
            "model": tensors(doubled(turned(weights))),
            "model_args": {**sizes, "vocab_size": len(LETTERS), "dropout": 0.2},
            "config": {"dataset": "shakespeare_char", "out_dir": out.name},
        },
        out / "ckpt.pt",
    )
    return out, weights


def test_a_run_of_nanogpt_on_characters_is_served(tmp_path: Path) -> None:
    out, weights = nano(tmp_path)
    prompts = ["\n", "First Citizen:\nBefore", " the  fox\t🙂漢é"]
    ids = [[LETTERS[letter] for letter in prompt] for prompt in prompts]
    rig = Rig(staged(tmp_path, out, ""), threads=1)
    try:
        assert [rig.vocabulary.encode(prompt) for prompt in prompts] == ids
        assert rig.metadata.bos_token == LETTERS["\n"]
        texts = rig.write(*(rig.sequence(each, max_tokens=TOKENS, logprobs=0) for each in ids))
    finally:
        rig.close()
    config = tiny_config(vocab_size=len(LETTERS), activation_function="gelu", eos_token_id=None)
    expected = [text for text, _ in greedy(config, weights, ids)]
    assert [tokens(text) for text in texts] == expected
    assert [text.text for text in texts] == [
        "".join(META["itos"][token] for token in each) for each in expected
    ]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_ids_are_those_of_meta_pkl_whatever_pickle_it_is(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(META, protocol))
    tokenizer, begin = read_letters(tmp_path, len(LETTERS))
    assert begin == LETTERS["\n"]
    generator = random.Random(0)
    for _ in range(200):
        text = "".join(generator.choices([*LETTERS, "\ufffd", "ж"], k=40))
        ids = tokenizer.encode(text).ids
        assert ids == [LETTERS.get(letter, len(LETTERS)) for letter in text]
        known = [letter for letter in text if letter in LETTERS]
        assert tokenizer.decode(ids) == "".join(known)


def test_it_may_lie_beside_the_weights_or_be_named(tmp_path: Path) -> None:
    out, _ = nano(tmp_path)
    meta = tmp_path / "data" / "shakespeare_char" / "meta.pkl"
    meta.rename(out / "meta.pkl")
    for tokenizer in (None, out):
        checkpoint = open_checkpoint(out, "tales", tokenizer)
        assert checkpoint.tokenizer.encode("To be").ids == [LETTERS[letter] for letter in "To be"]
    (out / "meta.pkl").unlink()
    with pytest.raises(CheckpointError, match=r"nanoGPT's meta\.pkl, is needed"):
        open_checkpoint(out, "tales")


def test_the_gates_text_has_the_models_characters_alone(tmp_path: Path) -> None:
    out, _ = nano(tmp_path)
    passages = read_passages(open_checkpoint(out, "tales"), None)
    assert max(int(window.max()) for window in passages.evaluation) < len(LETTERS)


def test_nothing_of_a_pickle_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunsCode, "place", tmp_path / "executed", raising=False)
    path = tmp_path / "meta.pkl"
    for value in (RunsCode(), META | {"more": RunsCode()}, OrderedDict(META), {1, 2}):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            path.write_bytes(pickle.dumps(value, protocol))
            with pytest.raises(CheckpointError, match="which is never run here"):
                read_letters(tmp_path, len(LETTERS))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ([], "has no stoi"),
        ({"vocab_size": 50257}, "has no stoi"),
        ({"stoi": {"the": 0}}, "'the' in stoi is not a single character"),
        ({"stoi": {"a": 0, "b": 4096}}, "'b' has number 4096"),
        ({"stoi": {"a": True}}, "'a' has number True"),
        ({"stoi": {"a": 1, "b": 1}}, "two characters have the same number"),
    ],
)
def test_what_is_no_vocabulary_of_characters_is_refused(
    tmp_path: Path, meta: Any, words: str
) -> None:
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(meta))
    with pytest.raises(CheckpointError, match=words):
        read_letters(tmp_path, 4096)


def test_a_changed_or_cut_pickle_gives_plain_values_or_words(tmp_path: Path) -> None:
    path, generator = tmp_path / "meta.pkl", random.Random(0)
    small = {"stoi": {"a": 0, "b": 1}, "itos": {0: "a", 1: "b"}, "of": [1.5, None, (True, 1 << 70)]}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        whole = pickle.dumps(small, protocol)
        path.write_bytes(whole)
        assert read_inert(path) == small
        for _ in range(300):
            data = bytearray(whole)
            for _ in range(generator.randrange(1, 4)):
                data[generator.randrange(len(data))] = generator.randrange(256)
            path.write_bytes(data[: generator.choice((len(data), generator.randrange(len(data))))])
            try:
                pickle.dump(read_inert(path), io.BytesIO())
            except CheckpointError as told:
                assert "\n" not in str(told)
