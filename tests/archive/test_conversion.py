"""Written a layer at a time, a model has the same bytes, in any scheme and on any machine."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from archive.checkpoint import open_checkpoint
from archive.conversion import write_scheme
from archive.layers import FileSource, Layerwise
from archive.native_build import build_libraries
from archive.progress import Progress
from archive.schemes import FULL, Scheme
from handler.engine.errors import ModelError
from handler.engine.model import ModelShape
from handler.engine.native import cpu
from handler.engine.native.array_sizes import model_arrays
from handler.engine.native.arrays_file import read_arrays, write_arrays
from handler.engine.native.library import NativeStep
from handler.engine.native.matrices import pack_int8
from handler.engine.native.weights import pack_model, uniform
from handler.engine.native_model import choose_library
from tests.archive.checkpoints import ROOT, write_checkpoint
from tests.archive.layouts import legacy

INT8 = Scheme("int8", "int8")
# Widths that no vector divides, a head of its own, attention scaled by layer.
ODD = {
    "n_embd": 90,
    "n_head": 3,
    "n_inner": 70,
    "tie_word_embeddings": False,
    "scale_attn_by_inverse_layer_idx": True,
}


def written(directory: Path, scheme: Scheme, **settings: object) -> tuple[Path, ModelShape]:
    write_checkpoint(directory / "model", **settings)
    checkpoint = open_checkpoint(directory / "model", "test")
    path = directory / "arrays"
    write_scheme(checkpoint.weights, checkpoint.shape, scheme, path, lambda line: None)
    return path, checkpoint.shape


@pytest.mark.parametrize("scheme", [INT8, FULL], ids=["int8", "fp32"])
@pytest.mark.parametrize("settings", [{}, ODD], ids=["even", "odd"])
def test_a_layer_at_a_time_gives_the_bits_of_the_whole_model(
    tmp_path: Path, scheme: Scheme, settings: dict[str, object]
) -> None:
    path, shape = written(tmp_path, scheme, **settings)
    library = choose_library(build_libraries())
    tokens = np.random.default_rng(0).integers(0, shape.vocab_size, 100)
    arrays, said = read_arrays(path)
    rows = np.zeros((100, 3), np.int32)
    rows[:, 0], rows[:, 2] = tokens, np.arange(100)
    whole = np.empty((100, shape.vocab_size), np.float32)
    step = NativeStep(library, arrays, shape, cache=said["cache"], slots=1, max_rows=100)
    step.step(rows, range(100), whole)

    model = Layerwise(FileSource(path, shape, said["cache"]), library, 2)
    [hidden] = model.hidden([tokens], Progress("", 9, lambda line: None))
    assert (model.head().logits(hidden) == whole).all()


def test_the_file_is_what_safetensors_reads(tmp_path: Path) -> None:
    path, shape = written(tmp_path, INT8)
    checkpoint = open_checkpoint(tmp_path / "model", "test")
    expected = dict(pack_model(checkpoint.weights, shape, uniform("int8")))
    found = load_file(path)
    assert found.keys() == expected.keys() == model_arrays(shape, uniform("int8")).keys()
    assert all((found[name] == array).all() for name, array in expected.items())


def test_the_token_embedding_stays_in_the_file(tmp_path: Path) -> None:
    path, _ = written(tmp_path, INT8, vocab_size=40_000, n_embd=64)

    def resident() -> int:
        """KiB of the file that are in this process's memory."""
        found = [0]
        for part in re.split(r"^(?=[0-9a-f]+-)", Path("/proc/self/smaps").read_text(), flags=re.M):
            if str(path) in part:
                found += map(int, re.findall(r"^Rss: +(\d+)", part, re.M))
        return sum(found)

    arrays, _ = read_arrays(path)
    embedding = arrays["token_embedding"]
    assert embedding.nbytes > 4 << 20
    row = embedding[30_000].copy()
    assert 0 < resident() < embedding.nbytes // 1024 // 2
    assert (row == load_file(path)["token_embedding"][30_000]).all()


def test_arrays_that_were_not_announced_are_not_written(tmp_path: Path) -> None:
    path, shape = written(tmp_path, FULL)
    kinds = model_arrays(shape, uniform("float32"))
    found, _ = read_arrays(path)
    arrays = {name: found[name] for name in kinds}
    with pytest.raises(ValueError, match="arrays are missing"):
        write_arrays(tmp_path / "short", kinds, list(arrays.items())[:-1], "float32")
    with pytest.raises(ValueError, match="comes where token_embedding"):
        write_arrays(tmp_path / "mixed", kinds, reversed(arrays.items()), "float32")


def test_arrays_of_another_layout_are_to_be_packed_again(tmp_path: Path) -> None:
    path, _ = written(tmp_path, FULL)
    path.write_bytes(path.read_bytes().replace(b'"layout":"1"', b'"layout":"0"'))
    with pytest.raises(ModelError, match="pack the model again"):
        read_arrays(path)


def test_packing_leaves_the_weights_as_they_are() -> None:
    weight = np.random.default_rng(0).standard_normal((32, 32), np.float32)
    before = weight.copy()
    pack_int8(weight, np.zeros(32, np.float32))
    assert (weight == before).all()


def test_columns_of_any_size_are_rounded_to_seven_bits() -> None:
    columns = np.array([[0.0, 1e-45, 1e-38, 1.0, 3e38], [0.0, -1e-45, 1e-38, -63.0, 1.0]])
    packed = pack_int8(columns.astype(np.float32), np.zeros(5, np.float32))
    units = packed.weight.transpose(1, 3, 0, 2).reshape(-1, 32)[:2, :5].astype(int)
    assert np.abs(units).max() == 63
    assert (units[:, 3] == [1, -63]).all() and (units[:, :3] == 0).all()


# What two processors differ in: NumPy's own kernels, those of its BLAS, and ours.
PLAIN_CPU = {
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL "
    "AVX512_SPR AVX2 FMA3",
    "OPENBLAS_CORETYPE": "Nehalem",
    "ENGINE_ISA": "avx2",
}
PACK = """
import json, sys
from dataclasses import replace
from pathlib import Path
from archive.checkpoint import load_checkpoint
from archive.gate import write_model
from archive.text import read_passages
from tests.archive.checkpoints import EMBEDDED_MODEL, twin_with_outliers
checkpoint = load_checkpoint(EMBEDDED_MODEL, "twin")
if sys.argv[2] == "int8":
    checkpoint = twin_with_outliers(checkpoint, 100)
passages = read_passages(checkpoint, None)
passages = replace(passages, calibration=passages.calibration[:1],
                   evaluation=passages.evaluation[:1])
choice = write_model(checkpoint.weights, checkpoint.shape, Path(sys.argv[1]),
                     precision=sys.argv[2], cache="int8", passages=passages,
                     say=lambda line: None)
print(repr(choice.tried))
"""


@pytest.mark.parametrize(("precision", "computed"), [("int8", "is_smoothed=True"), ("int4", "")])
@pytest.mark.skipif("avx2" not in cpu.runnable(cpu.CPUINFO.read_text()), reason="not an x86 CPU")
def test_two_kinds_of_processor_pack_the_same_bytes_and_pass_the_same_verdict(
    tmp_path: Path, precision: str, computed: str
) -> None:
    """A twin whose outliers have to be smoothed, and weights that are rounded by their inputs:
    everything that is computed decides their bytes."""
    made = []
    for name, setting in (("this", {}), ("plain", PLAIN_CPU)):
        (tmp_path / name).mkdir()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PACK, str(tmp_path / name), precision],
            env={**os.environ, "PYTHONPATH": str(ROOT), **setting},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        [path] = (tmp_path / name).iterdir()
        made.append((hashlib.sha256(path.read_bytes()).hexdigest(), done.stdout))
    assert f"weights='{precision}'" in made[0][1]
    assert computed in made[0][1]
    assert made[0] == made[1]


BLOCK = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ImportError(f"{name} is not to be imported")
sys.meta_path.insert(0, Refuse())
"""


def test_a_plain_checkpoint_is_packed_without_torch_and_transformers(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BLOCK)
    blocked = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)])}
    probe = [sys.executable, "-c", "import torch"]
    assert subprocess.run(probe, env=blocked, capture_output=True).returncode
    for name in ("tokenizer.json", "vocab.json"):
        write_checkpoint(tmp_path / name)
    (tmp_path / "vocab.json" / "tokenizer.json").unlink()
    legacy()(tmp_path / "vocab.json")
    for name in ("tokenizer.json", "vocab.json"):
        command = [sys.executable, "-m", "archive", "--model", str(tmp_path / name)]
        command += ["--output", str(tmp_path / "store"), "--precision", "fp32"]
        done = subprocess.run(command, cwd=ROOT, env=blocked, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
