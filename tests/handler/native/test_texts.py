"""A hundred texts of the embedded model: the same on every processor, as long as nobody says so.

A change of TEXTS changes what users get for a seed: CHANGELOG must say it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.handler.engines import Rig
from tests.handler.native.conftest import HERE

TEXTS = "72700f6e84c1e60d0505cab6c5d002a845dd89c23ab3c67213f1d5acee7880f3"
PROMPTS = ("Once upon a time", "The fox", '"Who is there?" said', "It was night, and", "Ωmega 東京")
OPTIONS = (
    {"temperature": 0.0},
    {"temperature": 1.0},
    {"temperature": 0.7, "top_p": 0.95, "repetition_penalty": 1.1},
    {"temperature": 1.0, "top_k": 40, "min_p": 0.02, "frequency_penalty": 0.3},
)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("isa", HERE)
def test_a_hundred_texts_are_those_that_were_kept(
    isa: str, threads: int, archives: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_ISA", isa)
    rig = Rig(archives["int8"], threads=threads, max_waiting=100)
    sequences = [
        rig.sequence(prompt, seed=seed, max_tokens=24, **options)
        for prompt in PROMPTS
        for options in OPTIONS
        for seed in range(5)
    ]
    texts = rig.write(*sequences)
    rig.close()
    assert len(texts) == 100
    joined = "\0".join(text.text for text in texts)
    assert hashlib.sha256(joined.encode()).hexdigest() == TEXTS, joined[:2000]
