"""What unusual checkpoints need is in the groups that people get, not just among developers'."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.utils import canonicalize_name
from safetensors.numpy import save_file

from commands.groups import Groups
from commands.measure import closure
from tests.archive.checkpoints import ROOT
from tests.archive.layouts import LAYOUTS, SENTENCE_PIECE, Write
from tests.archive.served import MADE
from tests.archive.test_checkpoint_layouts import MADE as DIRECTORY
from tests.archive.tiny import full, tiny_weights

# Opens a checkpoint where nothing but some modules can be imported.
PROGRAM = """
import json, sys
from pathlib import Path

hidden = set(json.loads(sys.argv[1]))

from importlib.machinery import PathFinder

class Shows(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in hidden or name.partition(".")[0] in hidden:
            return None
        return super().find_spec(name, path, target)

sys.meta_path[:] = [Shows if finder is PathFinder else finder for finder in sys.meta_path]
from archive.checkpoint import open_checkpoint
for directory in map(Path, sys.argv[2:]):
    checkpoint = open_checkpoint(directory, directory.name)
    for name in checkpoint.weights:
        checkpoint.weights[name]
    print(directory.name)
"""


def hidden() -> list[str]:
    """Modules of packages that are in no group with which people pack."""
    there = {canonicalize_name(name) for name in closure(Groups(ROOT).requirements(GROUPS))}
    return [
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if not there & {canonicalize_name(owner) for owner in owners}
        and module not in sys.stdlib_module_names
    ]


GROUPS = ["package", "convert"]
TOKENIZERS: dict[str, Write] = {
    **SENTENCE_PIECE,
    **{
        name: LAYOUTS[name]
        for name in (
            "legacy with added_tokens.json",
            "BERT's vocab.txt, class in tokenizer_config.json",
            "unigram, as tokenizer.json",
            "ends of words, GPT-1's class",
            "ends of words, CLIP's class",
        )
    },
}


def opened(directory: Path) -> list[str]:
    """The names of those checkpoints in a directory that can be opened, up to the first fault."""
    command = [sys.executable, "-c", PROGRAM, json.dumps(hidden())]
    found = sorted(directory.iterdir())
    done = subprocess.run([*command, *found], cwd=ROOT, capture_output=True, text=True)
    print(done.stderr)
    return done.stdout.splitlines()


def test_tokenizers_need_no_more(tmp_path: Path) -> None:
    for name, layout in TOKENIZERS.items():
        directory = tmp_path / name
        directory.mkdir()
        save_file(full(tiny_weights(directory)), directory / "model.safetensors")
        layout(directory)
    assert opened(tmp_path) == sorted(TOKENIZERS)


def test_weights_need_no_more(tmp_path: Path) -> None:
    for name in MADE:
        shutil.copytree(DIRECTORY / name, tmp_path / name)
        put_letters(tmp_path / name)
    assert opened(tmp_path) == sorted(MADE)


def put_letters(directory: Path) -> None:
    words = {letter: place for place, letter in enumerate(map(chr, range(32, 127)))}
    model = {"type": "WordLevel", "vocab": words | {"<unk>": 95}, "unk_token": "<unk>"}
    (directory / "tokenizer.json").write_text(
        json.dumps({"version": "1.0", "added_tokens": [], "model": model})
    )
    kind = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (directory / "tokenizer_config.json").write_text(json.dumps(kind))
