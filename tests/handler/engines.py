"""A real engine over the embedded model, and how a test drives it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from handler.archive_facts import ArchiveFacts, read_json
from handler.engine.engine import Engine
from handler.engine.model import Model, ModelShape, load_model
from handler.engine.options import SamplingOptions
from handler.engine.sequence import LogprobEntry, Output, Sequence
from handler.engine.settings import EngineSettings
from handler.engine.vocabulary import Vocabulary
from tests.conftest import EMBEDDED_MODEL, ROOT

FILES = {"torch": "model.safetensors", "native": "model.native.safetensors"}


def packed(store: Path, name: str, *arguments: str, model: Path = EMBEDDED_MODEL) -> Path:
    """Pack a checkpoint and unpack its archive; returns the archive's root directory."""
    command = [sys.executable, "-m", "archive", "--model", str(model), "--name", name]
    command += ["--output", str(store), *arguments]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    with zipfile.ZipFile(store / f"{name}.mar") as archive:
        archive.extractall(store / name)
    return store / name


@dataclass
class Text:
    """A text as a client would put it together from outputs."""

    text: str = ""
    tokens: int = 0
    finish_reason: str | None = None
    error: str | None = None
    cached_tokens: int = 0
    logprobs: list[LogprobEntry] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)

    def add(self, output: Output) -> None:
        self.text += output.text
        self.tokens += output.num_tokens
        self.finish_reason = output.finish_reason
        self.error = output.error
        self.cached_tokens = output.cached_tokens
        self.logprobs += output.logprobs
        self.outputs.append(output)

    @property
    def is_finished(self) -> bool:
        return self.finish_reason is not None or self.error is not None


class Rig:
    """An engine, the model under it with the batch size of each step, and a way to write texts."""

    def __init__(self, directory: Path, **settings: object) -> None:
        config = read_json(directory / "model" / "config.json")
        self.shape = ModelShape.from_config(config)
        kind = next(kind for kind, name in FILES.items() if (directory / "model" / name).exists())
        self.settings = EngineSettings.from_mapping({"kind": kind, "threads": 2, **settings})
        self.vocabulary = vocabulary(directory)
        self.facts = ArchiveFacts.read(directory / "model", config)
        self.model = Recorder(load_model(directory / "model", self.shape, self.settings))
        self.engine = Engine(self.model, self.settings)
        self.engine.start()

    def sequence(
        self,
        prompt: str | list[int],
        *,
        request_id: str = "r",
        index: int = 0,
        deadline: float = float("inf"),
        **options: object,
    ) -> Sequence:
        tokens = self.vocabulary.encode(prompt) if isinstance(prompt, str) else prompt
        room = self.shape.max_length - len(tokens)
        defaults = SamplingOptions(max_tokens=min(20, room), seed=0, temperature=0.0)
        return Sequence(
            request_id,
            index,
            np.array(tokens, np.int64),
            dataclasses.replace(defaults, **options),  # type: ignore[arg-type]
            self.vocabulary,
            end_tokens=self.facts.end_tokens,
            deadline=deadline,
        )

    def write(self, *sequences: Sequence) -> list[Text]:
        """Submit sequences one request each and collect until all have ended."""
        for number, sequence in enumerate(sequences):
            sequence.request_id = f"{sequence.request_id}-{number}"
            self.engine.submit([sequence])
        return self.collect([sequence.request_id for sequence in sequences])

    def collect(self, request_ids: list[str], *, steps: int = 10_000) -> list[Text]:
        texts = {request_id: Text() for request_id in request_ids}
        for _ in range(steps):
            if all(text.is_finished for text in texts.values()):
                break
            for output in self.engine.collect(timeout=10):
                texts[output.request_id].add(output)
        return list(texts.values())

    def close(self) -> None:
        self.engine.stop()


class Recorder:
    """A model that notes what it is asked to compute, and passes it on."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.shape = model.shape
        self.slab = model.slab
        self.sampler = model.sampler
        self.is_exact = model.is_exact
        self.decode_batches: list[int] = []
        self.prefill_pieces: list[tuple[int, int]] = []
        self.calls: list[str] = []  # both, in order
        self.before_decode: Callable[[], None] = lambda: None
        self.fail_next_decode = False
        self.spoil_row: int | None = None
        self.fail_prompts_of: int | None = None  # the token that a prompt must not begin with

    def prefill(self, slot, tokens, start, num_logits):  # type: ignore[no-untyped-def]
        if tokens[0] == self.fail_prompts_of:
            raise RuntimeError("the model failed")
        self.prefill_pieces.append((start, len(tokens)))
        self.calls.append("prefill")
        return self.model.prefill(slot, tokens, start, num_logits)

    def decode(self, tokens, lengths):  # type: ignore[no-untyped-def]
        if self.fail_next_decode:
            self.fail_next_decode = False
            raise RuntimeError("the model failed")
        self.before_decode()
        self.decode_batches.append(len(tokens))
        self.calls.append("decode")
        logits = self.model.decode(tokens, lengths)
        if self.spoil_row is not None and self.spoil_row < len(logits):
            logits[self.spoil_row, 5] = np.nan
            self.spoil_row = None
        return logits


@cache
def vocabulary(directory: Path) -> Vocabulary:
    facts = ArchiveFacts.read(directory / "model", read_json(directory / "model" / "config.json"))
    return Vocabulary.load(
        directory / "model" / "tokenizer.json",
        facts.vocab_size,
        facts.delimiters,
        splits_special_tokens=facts.splits_special_tokens,
    )
