"""Text for calibrating and for measuring, cut into windows of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from archive.checkpoint import Checkpoint
from archive.errors import PackagingError
from archive.session import Tokens

PROSE = Path(__file__).resolve().parent / "prose"
WINDOW = 512
CALIBRATION_TOKENS = 16_384
# At least 8,000 tokens are predicted: the first of a window is only read.
EVALUATION_TOKENS = 10_240
MINIMUM_TOKENS = 2_048


@dataclass(frozen=True)
class Passages:
    """Windows to calibrate on and others to measure on, and what to call the text."""

    name: str
    calibration: list[Tokens]
    evaluation: list[Tokens]


def read_passages(checkpoint: Checkpoint, text: Path | None) -> Passages:
    """Cut the bundled prose, or `text` (its last third is kept for measuring), into windows."""
    if text is None:
        name = "bundled prose"
        calibration = (PROSE / "calibration.txt").read_text(encoding="utf-8")
        evaluation = (PROSE / "evaluation.txt").read_text(encoding="utf-8")
    else:
        name = text.name
        whole = _read(text)
        cut = len(whole) * 2 // 3
        calibration, evaluation = whole[:cut], whole[cut:]
    return Passages(
        name,
        _windows(checkpoint, calibration, CALIBRATION_TOKENS, name),
        _windows(checkpoint, evaluation, EVALUATION_TOKENS, name),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PackagingError(f"--calibration-text {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PackagingError(f"--calibration-text {path}: it is not UTF-8 text") from None


def _windows(checkpoint: Checkpoint, text: str, limit: int, name: str) -> list[Tokens]:
    """Cut `text` into windows of at most `limit` tokens in all.

    Every second window begins with the end-of-text token, as an empty prompt does.
    """
    shape = checkpoint.shape
    ids = np.array(checkpoint.tokenizer.encode(text).ids[:limit], np.int64)
    if len(ids) < MINIMUM_TOKENS:
        raise PackagingError(
            f"{name} is too short: {len(ids)} tokens to calibrate or to measure on, "
            f"{MINIMUM_TOKENS} are needed (three times as many in all)"
        )
    length = min(WINDOW, shape.n_positions)
    windows = [ids[start : start + length] for start in range(0, len(ids), length)]
    for window in windows[1::2]:
        window[0] = shape.bos_token_id
    return [window for window in windows if len(window) > 1]
