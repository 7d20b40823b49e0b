"""Reads generation_config.json: the defaults, and the options that are not supported."""

from __future__ import annotations

from pathlib import Path

from archive.errors import CheckpointError
from archive.reading import read_json
from handler.archive_metadata import Defaults
from handler.engine.errors import ModelError

FILE = "generation_config.json"
# What `generate` of transformers would do besides, with the values that mean that it does not.
UNSERVED = {
    **dict.fromkeys(("num_beams", "num_beam_groups", "typical_p", "guidance_scale"), (1,)),
    **dict.fromkeys(("min_length", "min_new_tokens", "no_repeat_ngram_size"), (0,)),
    **dict.fromkeys(("epsilon_cutoff", "eta_cutoff", "penalty_alpha", "diversity_penalty"), (0,)),
    **dict.fromkeys(("bad_words_ids", "suppress_tokens", "begin_suppress_tokens"), ([],)),
    **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id", "sequence_bias"), ()),
    **dict.fromkeys(("force_words_ids", "exponential_decay_length_penalty", "stop_strings"), ()),
}


def check_generation(directory: Path) -> tuple[str, ...]:
    """Return what the person who packs is told of the defaults of a checkpoint.

    Raises CheckpointError if one is what no request may ask for either.
    """
    path = directory / FILE
    if not path.is_file():
        return ()
    config = read_json(path)
    try:
        Defaults.read(directory, max_tokens=1)
    except ModelError as error:
        raise CheckpointError(str(error)) from None
    found = [
        name
        for name, neutral in UNSERVED.items()
        if config.get(name) is not None and config[name] not in neutral
    ]
    if not found:
        return ()
    return (f"{FILE} asks for {', '.join(found)}, not served: completions come without",)
