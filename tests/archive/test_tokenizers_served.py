"""Tokenizers of each kind behind a real service: its ids and texts are those of `transformers`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.numpy import save_file
from transformers import AutoTokenizer

from archive.package import package_model
from archive.packing import Target
from archive.settings import Settings
from tests.archive.layouts import LAYOUTS, SIZE, SPEAKERS, mixed_lines
from tests.archive.test_checkpoint_served import loud
from tests.archive.test_generation import TOKENS, behind, reference, to_be_gone_on_with
from tests.archive.tiny import full, tiny_weights
from tests.gateway.conftest import Service, events

KINDS = {
    "bytes": "tokenizer.json with tokens of all flags",
    "turns": "legacy with added_tokens.json",
    "begin": "legacy with add_bos_token",
    "space": "legacy with add_prefix_space",
    "ends": "ends of words, GPT-1's class",
    "clip": "ends of words, CLIP's class",
    "bert": "BERT's vocab.txt, class in tokenizer_config.json",
    "llama": "SentencePiece BPE with bytes, as tokenizer.json",
    "unigram": "unigram, as tokenizer.json",
    "words": "whole words",
}
LINES = 2_000
LINES_AT_ONCE = 400  # a request of the tokenizer's route may have 64 KB


@dataclass(frozen=True)
class Served:
    """A model that the service has, and what `transformers` says of its directory."""

    name: str
    service: Service
    directory: Path

    def tokenize(self, text: str, **options: bool) -> list[int]:
        body = {"model": self.name, "prompt": text, **options}
        reply = self.service.post("/v1/tokenize", json=body)
        assert reply.status_code == 200, reply.text
        ids: list[int] = reply.json()["tokens"]
        return ids

    def write(self, prompt: str) -> tuple[list[int], str, int]:
        """The ids of a greedy text as they came, the text, and the number of the prompt's ids."""
        options = {"do_sample": False, "max_new_tokens": TOKENS, "return_full_text": False}
        options |= {"details": True, "skip_special_tokens": False}
        body = {"inputs": prompt, "stream": True, "parameters": options}
        with self.service.post(f"/predictions/{self.name}", json=body, stream=True) as reply:
            assert reply.status_code == 200, reply.text
            found = events(reply)
        text = "".join(event["token"]["text"] for event in found)
        assert text == found[-1]["generated_text"]
        ids = [event["token"]["id"] for event in found]
        return ids, text, found[-1]["details"]["input_length"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of each kind, and the directory that it was made of."""
    store = tmp_path_factory.mktemp("kinds")
    for name, layout in KINDS.items():
        directory = store / name
        directory.mkdir()
        weights = loud(tiny_weights(directory, vocab_size=SIZE + 8))
        save_file(full(weights), directory / "model.safetensors", metadata={"format": "pt"})
        LAYOUTS[layout](directory)
        package_model(Settings(str(directory), Target(name, "1.0", store), precision="fp32"))
    return store


@pytest.fixture(scope="module")
def service(store: Path) -> Iterator[Service]:
    """One service that has them all."""
    first, *others = KINDS
    started = Service(store, MODEL_ARCHIVE=f"{first}.mar", MODEL_NAME=first)
    try:
        started.wait_ready()
        for name in others:
            reply = started.manage("POST", f"/models?url={name}.mar&synchronous=true")
            assert reply.status_code == 200, reply.text
        yield started
    finally:
        started.stop()


@pytest.mark.parametrize("name", KINDS)
def test_ids_and_texts_over_http_are_those_of_transformers(
    service: Service, store: Path, name: str
) -> None:
    served = Served(name, service, store / name)
    prompts = prompts_of(served.directory)
    judge, prompt_ids, expected = reference(served.directory, prompts)
    for prompt, ids, written in zip(prompts, prompt_ids, expected, strict=True):
        assert served.tokenize(prompt) == ids
        alone = judge(prompt, add_special_tokens=False)["input_ids"]
        assert served.tokenize(prompt, add_special_tokens=False) == alone
        assert served.write(prompt) == (written, behind(judge, ids, written), len(ids))
    lines = mixed_lines(LINES)
    for start in range(0, LINES, LINES_AT_ONCE):
        text = "\n".join(lines[start : start + LINES_AT_ONCE])
        assert served.tokenize(text) == to_be_gone_on_with(judge, text)


def prompts_of(directory: Path) -> list[str]:
    """Five prompts, the tokens that a tokenizer has of its own among them."""
    names = added_names(directory)
    marked = " x".join(f"{name}The {name} fox" for name in names)
    return [
        "Once upon a time",
        " The old captain said",
        marked[:300],
        f"a{names[-1]}b {SPEAKERS[0]}Hello {SPEAKERS[1]}<|endoftext|>",
        "naïve 漢字 🙂\n\n  end",
    ]


def added_names(directory: Path) -> list[str]:
    return sorted(AutoTokenizer.from_pretrained(directory).get_added_vocab())
