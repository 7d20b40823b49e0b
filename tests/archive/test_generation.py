"""Greedy texts of packed checkpoints are those of `transformers`, special tokens among them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoTokenizer, GPT2LMHeadModel

from tests.archive.checkpoints import EMBEDDED_MODEL
from tests.archive.layouts import (
    LAYOUTS,
    SIZE,
    SPEAKERS,
    Json,
    Write,
    file,
    legacy,
    save,
    template,
    token,
)
from tests.handler.engines import Rig, Text, packed

TOKENS = 24
PROMPTS = [
    "Once upon a time",
    " The old captain said",
    "",
    "a<|endoftext|>b <|speaker1|>Hello <|speaker2|>",
    "naïve 漢字 🙂\n\n  end",
]


@dataclass(frozen=True)
class Case:
    """A layout, what config.json and generation_config.json say, and words that tokens imitate.

    A token of `louder` is a little likelier than the word, wherever the model would write that.
    """

    layout: Write
    config: Json
    generation: Json | None = None
    louder: tuple[tuple[int, str], ...] = ()


MARKED = file(added=tuple(token(name, special=True, normalized=False) for name in SPEAKERS))
CASES: dict[str, Case] = {
    "as it is": Case(file(), {"eos_token_id": 0}),
    "a token in front": Case(legacy(tokenizer_config={"add_bos_token": True}), {}),
    "a token in front by a template": Case(
        file(post_processor=template("<|endoftext|>", "$A", special={"<|endoftext|>": 0})), {}
    ),
    "a prefix space": Case(LAYOUTS["legacy with add_prefix_space"], {}),
    "turn marks that are written": Case(MARKED, {}, {}, ((SIZE, ","), (SIZE + 1, "."))),
    "added tokens that are written": Case(
        LAYOUTS["legacy with added_tokens.json"], {}, None, ((SIZE + 1, ","), (SIZE + 2, "."))
    ),
    "an end in config.json": Case(MARKED, {"eos_token_id": SIZE}, None, ((SIZE, "."),)),
    "several ends in config.json": Case(MARKED, {"eos_token_id": [0, SIZE]}, None, ((SIZE, ","),)),
    "an end over config.json's": Case(
        MARKED, {"eos_token_id": 0}, {"eos_token_id": SIZE}, ((SIZE, "."),)
    ),
    "several ends over config.json's": Case(
        MARKED, {"eos_token_id": 0}, {"eos_token_id": [SIZE, SIZE + 1]}, ((SIZE + 1, "."),)
    ),
    "no end beside config.json's": Case(
        MARKED, {"eos_token_id": SIZE}, {"do_sample": False}, ((SIZE, "."),)
    ),
    "no end": Case(MARKED, {"eos_token_id": None}, None, ((SIZE, "."),)),
    "an end beyond the vocabulary": Case(file(), {"eos_token_id": 50256}),
    "a word that is an end": Case(file(), {}, {"eos_token_id": [0, 16]}),
    "nothing but zeros": Case(
        file(), {}, {"do_sample": True, "temperature": 0.0, "top_p": 0.0, "top_k": 0}
    ),
    "BERT's words": Case(LAYOUTS["BERT's vocab.txt, class in config.json"], {}),
    "SentencePiece": Case(LAYOUTS["SentencePiece BPE with bytes, as tokenizer.json"], {}),
}


def write(directory: Path, case: Case) -> None:
    """The embedded model with a few more tokens, or without some of its own."""
    directory.mkdir()
    weights = load_file(EMBEDDED_MODEL / "model.safetensors")
    name = next(name for name in weights if name.endswith("wte.weight"))
    words = np.vstack([weights[name], np.zeros_like(weights[name][:3])])
    sounds = json.loads((EMBEDDED_MODEL / "tokenizer.json").read_text())["model"]["vocab"]
    for number, word in case.louder:
        words[number] = words[sounds[word]] * np.float16(1.1)
    save_file(weights | {name: words}, directory / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((EMBEDDED_MODEL / "config.json").read_text())
    del config["eos_token_id"]
    save(directory, "config.json", **config | {"vocab_size": len(words)} | case.config)
    if case.generation is not None:
        save(directory, "generation_config.json", **case.generation)
    case.layout(directory)


def reference(
    directory: Path, texts: list[str] = PROMPTS
) -> tuple[Any, list[list[int]], list[list[int]]]:
    """The judge, the ids of the prompts, and what `generate` writes behind them."""
    judge = AutoTokenizer.from_pretrained(directory)
    model = GPT2LMHeadModel.from_pretrained(directory, dtype=torch.float32).eval()
    begin = model.generation_config.bos_token_id
    prompts, written = [], []
    for text in texts:
        ids = to_be_gone_on_with(judge, text) or [
            begin if begin is not None else judge.bos_token_id
        ]
        output = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids)),
            do_sample=False,
            max_new_tokens=TOKENS,
            repetition_penalty=1.0,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=0,
        )
        prompts.append(ids)
        written.append(output[0, len(ids) :].tolist())
    return judge, prompts, written


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_greedy_texts_are_those_of_transformers(tmp_path: Path, case: Case) -> None:
    write(tmp_path / "model", case)
    judge, prompts, expected = reference(tmp_path / "model")
    rig = Rig(packed(tmp_path, "archive", "--precision", "fp32", model=tmp_path / "model"))
    try:
        asked = [rig.vocabulary.encode(text) or [rig.metadata.bos_token] for text in PROMPTS]
        assert asked == prompts
        shown, all_shown = (
            rig.write(
                *(
                    rig.sequence(ids, max_tokens=TOKENS, logprobs=0, skip_special_tokens=skip)
                    for ids in prompts
                )
            )
            for skip in (None, False)
        )
    finally:
        rig.close()
    ends = rig.metadata.end_tokens
    for prompt, ids, default, everything in zip(prompts, expected, shown, all_shown, strict=True):
        ended = ids[-1] in ends
        assert default.finish_reason == everything.finish_reason == ("stop" if ended else "length")
        assert default.tokens == everything.tokens == len(ids)
        assert tokens(everything) == ids
        assert tokens(default) == ids
        assert everything.text == behind(judge, prompt, ids)
        hidden = {judge.bos_token_id, judge.eos_token_id, *judge("")["input_ids"]}
        hidden |= ends & judge.added_tokens_decoder.keys()
        written = ids[: len(ids) - ended]
        prompt, written = ([i for i in some if i not in hidden] for some in (prompt, written))
        assert default.text == behind(judge, prompt, written)


def to_be_gone_on_with(judge: Any, text: str) -> list[int]:
    """The judge's ids of a text, but for an end or a separator that it appends."""
    whole, alone = (judge("x", add_special_tokens=adds)["input_ids"] for adds in (True, False))
    before = next(
        place for place in range(len(whole)) if whole[place : place + len(alone)] == alone
    )
    ids: list[int] = judge(text)["input_ids"]
    return ids[: len(ids) - (len(whole) - before - len(alone))]


def tokens(text: Text) -> list[int]:
    return [entry.token for entry in text.logprobs]


def behind(judge: Any, prompt: list[int], ids: list[int]) -> str:
    """The judge's text of ids that go on with a prompt: what the two have over the prompt alone."""
    before = judge.decode(prompt, clean_up_tokenization_spaces=False)
    whole = judge.decode([*prompt, *ids], clean_up_tokenization_spaces=False)
    return str(whole[len(before) :])
