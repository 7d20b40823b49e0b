"""Text for calibrating and for measuring, cut into windows of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive.checkpoint import Checkpoint
from archive.errors import PackagingError

Tokens = NDArray[np.int64]

PROSE = Path(__file__).resolve().parent / "prose"
WINDOW = 512
CALIBRATION_TOKENS = 16_384
EVALUATION_TOKENS = 10_240
# Less than this measures chance; the first token of a window is only read, so that 8,176 count.
MINIMUM_EVALUATION_TOKENS = 8_192
MINIMUM_CALIBRATION_TOKENS = 2_048


@dataclass(frozen=True)
class Passages:
    """Windows to calibrate on and others to measure on, and what to call the text."""

    name: str
    calibration: list[Tokens]
    evaluation: list[Tokens]


def read_passages(checkpoint: Checkpoint, text: Path | None) -> Passages:
    """Cut the bundled prose, or `text` (its end is kept for measuring), into windows."""

    def encode(words: str) -> Tokens:
        encoded = checkpoint.tokenizer.encode(words, add_special_tokens=False).ids
        ids = np.array(encoded, np.int64)
        return ids[ids < checkpoint.shape.vocab_size]  # without characters that it has not

    if text is None:
        name = "bundled prose"
        calibration = encode((PROSE / "calibration.txt").read_text(encoding="utf-8"))
        evaluation = encode((PROSE / "evaluation.txt").read_text(encoding="utf-8"))
    else:
        name = text.name
        ids = encode(_read(text))
        kept = max(MINIMUM_EVALUATION_TOKENS, min(EVALUATION_TOKENS, len(ids) // 3))
        calibration, evaluation = ids[:-kept], ids[-kept:]
        if len(calibration) < MINIMUM_CALIBRATION_TOKENS:
            raise PackagingError(
                f"{name} is too short: {len(ids):,} tokens, and "
                f"{MINIMUM_CALIBRATION_TOKENS + MINIMUM_EVALUATION_TOKENS:,} are needed "
                f"({MINIMUM_CALIBRATION_TOKENS:,} to calibrate, the others to measure on)"
            )
    return Passages(
        name,
        _windows(checkpoint, calibration[:CALIBRATION_TOKENS]),
        _windows(checkpoint, evaluation[:EVALUATION_TOKENS]),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PackagingError(f"--calibration-text {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PackagingError(f"--calibration-text {path}: it is not UTF-8 text") from None


def _windows(checkpoint: Checkpoint, ids: Tokens) -> list[Tokens]:
    """Cut `ids` into windows.

    Every second window begins as an empty prompt does.
    """
    length = min(WINDOW, checkpoint.shape.max_length)
    windows = [ids[start : start + length] for start in range(0, len(ids), length)]
    for window in windows[1::2]:
        window[0] = checkpoint.tokens.begin
    return [window for window in windows if len(window) > 1]
