"""Writes a model as the native engine reads it, in the fastest form whose quality is good."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from archive.checkpoint import Checkpoint, Weights
from archive.native_build import build_libraries
from archive.packing import telling_full_disk
from archive.progress import told
from archive.quality import Quality, compare
from archive.smoothing import smooth, smoothing_factors
from archive.text import Passages, Tokens, read_passages
from handler.engine.model import ModelShape
from handler.engine.native.library import NativeStep
from handler.engine.native.weights import LAYOUT, pack_model, padded, uniform
from handler.engine.native_model import ARRAYS, choose_library, load_step
from handler.engine.settings import EngineSettings

Say = Callable[[str], None]
COLUMNS = "  {:<34} {:<8} {:>10} {:>9} {:>9}  {}"
PRECISIONS = {"auto": ("int8", "float32"), "int8": ("int8",), "fp32": ("float32",)}
# The names that the checkpoint's matrices have in archive/smoothing.py.
SMOOTHED = {"qkv": "attn.c_attn", "projection": "attn.c_proj", "expand": "mlp.c_fc"}


@dataclass(frozen=True)
class Form:
    """What a model's matrices and its cache are kept as."""

    precision: str
    cache: str
    is_smoothed: bool = False
    floats: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What people read."""
        if self.precision == "float32":
            return "fp32"
        words = ["int8", *(["smoothed"] if self.is_smoothed else [])]
        return " ".join(words) + "".join(f", {name} fp32" for name in self.floats)

    @property
    def precisions(self) -> dict[str, str]:
        """The precision of each matrix."""
        return uniform(self.precision) | dict.fromkeys(self.floats, "float32")


# Fastest first. Outliers of LayerNorm can be moved into weights; what follows GELU cannot.
FORMS = (
    Form("int8", "int8"),
    Form("int8", "int8", is_smoothed=True),
    Form("int8", "int8", is_smoothed=True, floats=("contract",)),
    Form("int8", "float32"),
    Form("int8", "float32", is_smoothed=True, floats=("contract",)),
    Form("float32", "int8"),
    Form("float32", "float32"),
)


def add_native_model(
    checkpoint: Checkpoint, precision: str, cache: str, text: Path | None, model: Path, say: Say
) -> dict[str, Any]:
    """Write arrays and libraries into `model`; return what archive.json says about them.

    Args:
        checkpoint: What is packed.
        precision: "auto", "int8" or "fp32".
        cache: "auto", "int8" or "float32".
        text: What to measure on in place of the bundled prose.
        model: The archive's model directory.
        say: Reports progress.

    Raises:
        PackagingError: The compiler cannot be had.
    """
    forms = [
        form
        for form in FORMS
        if form.precision in PRECISIONS[precision]
        and (form.cache == cache or (cache == "auto" and form.cache in _usual_caches(form)))
    ]
    packer = _Packer(checkpoint, model, build_libraries(say))
    if forms == [FORMS[-1]]:
        packer.write(forms[0])
        return {"precision": forms[0].name, "cache": forms[0].cache, "quality": None}
    return packer.write_first_good(forms, read_passages(checkpoint, text), say)


def _usual_caches(form: Form) -> tuple[str, ...]:
    return ("float32",) if form.precision == "float32" else ("int8", "float32")


class _Packer:
    """Writes one checkpoint in one form after another."""

    def __init__(self, checkpoint: Checkpoint, model: Path, libraries: Path) -> None:
        self._checkpoint = checkpoint
        self._model = model
        self._libraries = libraries
        self._shape = shape_of(checkpoint)
        self._smooth: Weights = {}

    def write(self, form: Form, directory: Path | None = None) -> None:
        """Write the arrays of a form."""
        weights, shape = self._checkpoint.weights, self._shape
        if form.is_smoothed:
            weights, shape = self._smooth, replace(shape, tied_head=False)
        arrays = dict(pack_model(weights, shape, form.precisions))
        metadata = {"layout": LAYOUT, "cache": form.cache}
        try:
            save_file(arrays, (directory or self._model) / ARRAYS, metadata=metadata)
        except SafetensorError as error:
            if "os error 28" in str(error):
                raise OSError(errno.ENOSPC, "no space left on device") from None
            raise

    def write_first_good(self, forms: list[Form], passages: Passages, say: Say) -> dict[str, Any]:
        """Write the first form that is good enough, or the last one."""
        tokens = sum(map(len, passages.evaluation))
        say(f"measuring on {tokens:,} tokens of {passages.name}")
        say(COLUMNS.format("precision", "cache", "perplexity", "growth", "KL", ""))
        tried: list[tuple[Form, Quality]] = []
        with self._reference() as reference:
            for form in forms:
                if form.is_smoothed and not self._smooth:
                    self._smooth = self._smoothed(passages.calibration, say)
                self.write(form)
                if form == FORMS[-1]:
                    break
                with runner(self._model, self._shape, self._libraries) as candidate:
                    quality = compare(reference, candidate, passages.evaluation)
                tried.append((form, quality))
                say(_line(form, quality))
                if quality.passes:
                    break
        return {
            "precision": form.name,
            "cache": form.cache,
            "quality": {
                "text": passages.name,
                "tokens": tokens,
                "perplexity_fp32": round(tried[0][1].reference_perplexity, 3),
                **(_figures(tried[-1][1]) if tried[-1][0] == form else {}),
                "tried": [
                    {"precision": form.name, "cache": form.cache, **_figures(quality)}
                    for form, quality in tried
                ],
            },
        }

    @contextmanager
    def _reference(self) -> Iterator[NativeRunner]:
        with (
            telling_full_disk(Path(gettempdir())),
            TemporaryDirectory(prefix="gpt2-gate-") as name,
        ):
            self.write(FORMS[-1], Path(name))
            with runner(Path(name), self._shape, self._libraries) as reference:
                yield reference

    def _smoothed(self, windows: list[Tokens], say: Say) -> Weights:
        """Weights of the same function whose inputs have no outliers, as `windows` show them."""
        say(f"outliers: watching {sum(map(len, windows)):,} other tokens")
        peaks = watch_inputs(self._checkpoint, self._shape, self._libraries, windows)
        shape = self._checkpoint.shape
        factors = smoothing_factors(shape, self._checkpoint.weights, peaks)
        return smooth(shape, self._checkpoint.weights, factors)


def watch_inputs(
    checkpoint: Checkpoint, shape: ModelShape, libraries: Path, windows: list[Tokens]
) -> dict[str, NDArray[np.float32]]:
    """Largest magnitude of each input of each matrix, by the names of archive/smoothing.py."""
    channels = shape.width // shape.heads
    arrays = dict(pack_model(checkpoint.weights, shape, uniform("float32")))
    for layer in range(shape.layers):
        for name in SMOOTHED:
            width = shape.heads * padded(channels) if name == "projection" else padded(shape.width)
            arrays[f"layer.{layer}.{name}.peaks"] = np.zeros(width, np.float32)
    arrays["head.peaks"] = np.zeros(padded(shape.width), np.float32)
    longest = max(map(len, windows))
    step = NativeStep(
        choose_library(libraries), arrays, shape, cache="float32", slots=1, max_rows=longest,
        threads=EngineSettings().num_threads,
    )  # fmt: skip
    for window in told(windows, "watched"):
        rows = np.zeros((len(window), 3), np.int32)
        rows[:, 0], rows[:, 2] = window, np.arange(len(window))
        step.step(rows, range(len(window)))
    seen = {"lm_head": np.asarray(arrays["head.peaks"], np.float32)[: shape.width]}
    for layer in range(shape.layers):
        for name, theirs in SMOOTHED.items():
            peaks = np.asarray(arrays[f"layer.{layer}.{name}.peaks"], np.float32)
            if name == "projection":
                peaks = peaks.reshape(shape.heads, -1)[:, :channels].ravel()
            seen[f"h.{layer}.{theirs}"] = peaks[: shape.width]
    return seen


class NativeRunner:
    """Computes whole windows with a native model, as `compare` asks for them."""

    def __init__(self, step: NativeStep) -> None:
        self._step = step

    def run(self, tokens: Tokens, logit_rows: Tokens, outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Logits of `logit_rows` of a window [length]."""
        logits = np.empty((len(tokens), self._step.shape.vocab_size), np.float32)
        for start in range(0, len(tokens), self._step.max_rows):
            chunk = tokens[start : start + self._step.max_rows]
            rows = np.zeros((len(chunk), 3), np.int32)
            rows[:, 0], rows[:, 2] = chunk, range(start, start + len(chunk))
            self._step.step(rows, range(len(chunk)), logits[start : start + len(chunk)])
        return [logits[logit_rows]]


@contextmanager
def runner(directory: Path, shape: ModelShape, libraries: Path) -> Iterator[NativeRunner]:
    """Load the arrays in `directory`, with one of `libraries`."""
    settings = EngineSettings(slots=1)
    yield NativeRunner(load_step(directory, shape, settings, libraries))


def shape_of(checkpoint: Checkpoint) -> ModelShape:
    """The engine's view of a checkpoint's sizes."""
    return ModelShape.from_config(
        {**checkpoint.config, "tie_word_embeddings": checkpoint.shape.tied_head}
    )


def _line(form: Form, quality: Quality) -> str:
    verdict = "good" if quality.passes else quality.fault
    growth, kl = f"{quality.growth:+.2%}", f"{quality.kl:.5f}"
    return COLUMNS.format(form.name, form.cache, f"{quality.perplexity:.2f}", growth, kl, verdict)


def _figures(quality: Quality) -> dict[str, float | bool]:
    return {
        "perplexity": round(quality.perplexity, 3),
        "perplexity_growth": round(quality.growth, 5),
        "kl": round(quality.kl, 5),
        "passes": quality.passes,
    }
