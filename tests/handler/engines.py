"""A real engine over the embedded model, and how a test drives it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from handler.archive_metadata import ArchiveMetadata
from handler.engine.engine import Engine
from handler.engine.loading import load_model
from handler.engine.model import Model
from handler.engine.options import SamplingOptions
from handler.engine.output import LogprobEntry, Output
from handler.engine.sequence import Sequence as EngineSequence
from handler.engine.settings import EngineSettings
from handler.engine.step import NOT_FINITE, Answer, Deadline, DecodeStep, Draw, Rows, Score
from handler.engine.vocabulary import Vocabulary
from tests.conftest import EMBEDDED_MODEL, ROOT
from tests.patience import PATIENCE

# Seconds: it may have to build the engine first, on a machine with much else to do.
PACKING = 540
FILES = {"torch": "model.safetensors", "native": "model.native.safetensors"}


def packed(store: Path, name: str, *arguments: str, model: Path = EMBEDDED_MODEL) -> Path:
    """Pack a checkpoint and unpack its archive; returns the archive's root directory."""
    command = [sys.executable, "-m", "archive", "--model", str(model), "--name", name]
    command += ["--output", str(store), *arguments]
    subprocess.run(command, cwd=ROOT, check=True, timeout=PACKING)
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
        self.tokens += output.token is not None
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
        self.metadata = ArchiveMetadata.read(directory / "model")
        self.shape = self.metadata.shape
        kind = next(kind for kind, name in FILES.items() if (directory / "model" / name).exists())
        threads = 1 if kind == "torch" else 2  # torch's wait for each other by spinning
        self.settings = EngineSettings.from_mapping(
            {"kind": kind, "threads": threads, "stream_interval_ms": 0, **settings}
        )
        self.vocabulary = vocabulary(directory)
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
    ) -> EngineSequence:
        tokens = self.vocabulary.encode(prompt) if isinstance(prompt, str) else prompt
        room = self.shape.max_length - len(tokens)
        defaults = SamplingOptions(max_tokens=min(20, room), seed=0, temperature=0.0)
        return EngineSequence(
            request_id,
            index,
            np.array(tokens, np.int32),
            dataclasses.replace(defaults, **options),  # type: ignore[arg-type]
            self.vocabulary,
            end_tokens=self.metadata.end_tokens,
            deadline=deadline,
        )

    def write(self, *sequences: EngineSequence) -> list[Text]:
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
            for output in self.engine.collect(timeout=PATIENCE):
                texts[output.request_id].add(output)
        return list(texts.values())

    def close(self) -> None:
        self.engine.stop()


class Recorder:
    """A model that notes what it is asked to compute, and passes it on."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.shape = model.shape
        self.buffer = model.buffer
        self.is_exact = model.is_exact
        self.isa = model.isa
        self.steps: list[list[Chunk]] = []
        self.calls: list[int] = []  # steps of each `decode`
        self.before_step: Callable[[], None] = lambda: None
        self.fail_next_step = False
        self.spoil_ask: int | None = None

    def _begin(self) -> None:
        if self.fail_next_step:
            self.fail_next_step = False
            raise RuntimeError("the model failed")
        self.before_step()

    def decode(
        self,
        rows: Rows,
        draws: Sequence[Draw],
        uniforms: npt.NDArray[np.float64],
        until: Deadline,
    ) -> list[DecodeStep]:
        self._begin()
        steps = self.model.decode(rows, draws, uniforms, until)
        self.calls.append(len(steps))
        for number in range(len(steps)):
            self.steps.append([Chunk(int(row[2]) + number, 1) for row in rows])
        return steps

    def step(self, rows: Rows, asks: Sequence[Draw | Score]) -> list[Answer]:
        self._begin()
        _, first, counts = np.unique(rows[:, 1], return_index=True, return_counts=True)
        self.steps.append(
            [Chunk(int(rows[i, 2]), int(count)) for i, count in zip(first, counts, strict=True)]
        )
        answers = self.model.step(rows, asks)
        if self.spoil_ask is not None and self.spoil_ask < len(answers):
            answers[self.spoil_ask] = Answer(NOT_FINITE)
            self.spoil_ask = None
        return answers

    @property
    def chunks(self) -> list[Chunk]:
        """What all steps computed."""
        return [chunk for step in self.steps for chunk in step]

    @property
    def most_at_once(self) -> int:
        """Sequences that a step computed at most."""
        return max(len(step) for step in self.steps)


class Chunk(NamedTuple):
    """What a step computed of a sequence."""

    start: int
    count: int


@cache
def vocabulary(directory: Path) -> Vocabulary:
    metadata = ArchiveMetadata.read(directory / "model")
    return Vocabulary.load(
        directory / "model" / "tokenizer.json",
        metadata.vocab_size,
        metadata.delimiters,
        splits_special_tokens=metadata.splits_special_tokens,
    )
