"""An archive that was packed for the native step, on a real TorchServe."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from handler.engine.errors import ModelError
from handler.engine.native import cpu
from handler.engine.settings import EngineSettings
from tests.conftest import running_torchserve
from tests.handler.engines import Rig, packed

BUDGET = EngineSettings.from_mapping({}).max_num_batched_tokens


def test_an_archive_of_four_bits_serves_prompts_beyond_a_steps_budget(tmp_path: Path) -> None:
    packed(tmp_path, "gpt2", "--precision", "int4")
    asked = {"max_tokens": 12, "seed": 5, "logprobs": 1, "ignore_eos": True}
    short, long = "Once upon a time", "Once upon a time there was a king. " * 45
    with running_torchserve(tmp_path) as server:
        address = f"{server.settings.inference_url}/predictions/gpt2/1.0/v1"
        for prompt in (short, long):
            first, second = (
                requests.post(
                    f"{address}/completions", json=asked | {"prompt": prompt}, timeout=60
                ).json()
                for _ in range(2)
            )
            assert first["usage"]["completion_tokens"] == 12
            assert first["choices"] == second["choices"]
        assert first["usage"]["prompt_tokens"] > BUDGET
        [card] = requests.post(f"{address}/models", json={}, timeout=60).json()["data"]
    assert (card["engine"], card["precision"], card["cache"]) == ("native", "int4", "int8")
    assert card["quality"]["perplexity_growth"] < 0.02


def test_a_processor_that_cannot_run_it_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = packed(tmp_path, "gpt2", "--precision", "fp32")
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu sse2\n")
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "cpuinfo")
    with pytest.raises(ModelError, match="--engine torch"):
        Rig(root)
