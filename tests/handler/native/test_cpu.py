"""Which library a processor gets."""

from __future__ import annotations

from ctypes import CDLL
from pathlib import Path
from typing import Any, cast

import pytest

from handler.engine import native_model
from handler.engine.errors import ModelError
from handler.engine.native import cpu
from handler.engine.native.library import load_library
from handler.engine.native.records import PRECISIONS

AVX2 = "avx2 fma f16c bmi1 bmi2 movbe"
AVX512 = f"{AVX2} avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni"


def _cpuinfo(features: str, name: str = "flags") -> str:
    return f"processor\t: 0\nmodel name\t: some processor\n{name}\t\t: fpu {features}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (_cpuinfo(AVX512), ["avx512-vnni", "avx2"]),
        (_cpuinfo(f"{AVX512} avx_vnni"), ["avx512-vnni", "avx-vnni", "avx2"]),
        (_cpuinfo(f"{AVX2} avx_vnni"), ["avx-vnni", "avx2"]),
        (_cpuinfo(AVX512.replace("avx512_vnni", "")), ["avx2"]),
        (_cpuinfo(AVX2.replace("fma", "")), []),
        (_cpuinfo("asimd asimddp i8mm", "Features"), ["neon-i8mm", "neon-dotprod"]),
        (_cpuinfo("asimd asimddp", "Features"), ["neon-dotprod"]),
        (_cpuinfo("asimd", "Features"), []),
        ("", []),
    ],
)
def test_a_processor_runs_what_its_features_allow(text: str, expected: list[str]) -> None:
    assert cpu.runnable(text) == expected


def _choose(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    features: str,
    *,
    agrees: bool,
    forced: str = "",
) -> Any:
    (tmp_path / "cpuinfo").write_text(_cpuinfo(features))
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "cpuinfo")
    return cpu.choose(lambda isa: cast(CDLL, isa), lambda *_: agrees, forced)


def test_the_fastest_is_taken_unless_it_gives_a_wrong_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = f"{AVX2} avx_vnni"
    assert _choose(tmp_path, monkeypatch, features, agrees=True) == "avx-vnni"
    assert _choose(tmp_path, monkeypatch, features, agrees=False) == "avx2"
    assert _choose(tmp_path, monkeypatch, features, agrees=True, forced="avx2") == "avx2"


def test_what_cannot_be_run_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="package_model --engine torch"):
        _choose(tmp_path, monkeypatch, "sse2", agrees=True)
    with pytest.raises(ModelError, match="ENGINE_ISA must be one of avx2 here, not 'avx512-vnni'"):
        _choose(tmp_path, monkeypatch, AVX2, agrees=True, forced="avx512-vnni")


def test_another_system_than_linux_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "none")
    with pytest.raises(ModelError, match="only on Linux.*container image"):
        cpu.choose(lambda isa: cast(CDLL, isa), lambda *_: True)


@pytest.mark.skipif("avx2" not in cpu.runnable(cpu.CPUINFO.read_text()), reason="no AVX2 here")
def test_libraries_are_compared_in_every_precision(
    library: CDLL, libraries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = load_library(libraries / "libgpt2-avx2.so")
    assert native_model._agree(library, reference)
    answer = native_model._answer
    for wrong in PRECISIONS:

        def answer_of(each: CDLL, precision: str, wrong: str = wrong) -> bytes:
            spoilt = each is library and precision == wrong
            return b"" if spoilt else answer(each, precision)

        monkeypatch.setattr(native_model, "_answer", answer_of)
        assert not native_model._agree(library, reference)
