"""What generation_config.json asks for is judged before work begins, by `--check` as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archive.errors import CheckpointError
from archive.package import check_model, package_model
from archive.packing import Target
from archive.settings import Settings
from tests.archive.checkpoints import write_checkpoint


def settings(directory: Path, config: Any) -> Settings:
    write_checkpoint(directory / "model")
    (directory / "model" / "generation_config.json").write_text(json.dumps(config))
    target = Target("tales", "1.0", directory / "store")
    return Settings(str(directory / "model"), target, precision="fp32")


@pytest.mark.parametrize(
    ("config", "left_out"),
    [
        ({"num_beams": 4, "no_repeat_ngram_size": 3}, "num_beams, no_repeat_ngram_size"),
        ({"suppress_tokens": [5]}, "suppress_tokens"),
        ({"bad_words_ids": [[5, 6]], "typical_p": 0.9}, "typical_p, bad_words_ids"),
        ({"forced_eos_token_id": 0, "min_length": 10}, "min_length, forced_eos_token_id"),
        ({"num_beams": 1, "typical_p": 1.0, "min_length": 0, "suppress_tokens": None}, ""),
        ({"do_sample": True, "top_k": 50, "top_p": 0.95, "max_length": 50}, ""),
        ({"do_sample": True, "temperature": 0.0, "top_p": 0.0, "top_k": 0}, ""),
        ({"_from_model_config": True, "transformers_version": "4.26.0", "use_cache": False}, ""),
    ],
)
def test_what_is_not_served_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: dict[str, Any], left_out: str
) -> None:
    check_model(settings(tmp_path, config))
    told = capsys.readouterr().out
    line = f"note: generation_config.json asks for {left_out}, not served: completions come without"
    assert (line in told) if left_out else ("asks for" not in told)


@pytest.mark.parametrize("run", [package_model, check_model])
@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"do_sample": True, "temperature": -1}, "`temperature` must be"),
        ({"do_sample": True, "top_p": 1.5}, "`top_p` must be"),
        ({"do_sample": True, "top_k": "many"}, "`top_k`"),
        ({"eos_token_id": "50256"}, "eos_token_id is '50256'; a token id, a list of them or null"),
        ([1, 2], "generation_config.json is broken: it is not a JSON object"),
    ],
)
def test_what_cannot_be_had_is_refused_before_work_begins(
    tmp_path: Path, run: Any, config: Any, words: str
) -> None:
    given = settings(tmp_path, config)
    with pytest.raises(CheckpointError) as told:
        run(given)
    assert words in str(told.value) and "generation_config.json" in str(told.value)
    assert not (tmp_path / "store").exists()
