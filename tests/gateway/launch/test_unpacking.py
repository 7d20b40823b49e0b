"""What TorchServe starts with is unpacked for it, and to the same bytes as by anybody else."""

from __future__ import annotations

import contextlib
import os
import zipfile
from pathlib import Path

import pytest

from gateway.launch.unpacking import COMPARED, unpack

LARGE = os.urandom(3 << 20)
FILES = {
    "MAR-INF/MANIFEST.json": b"{}",
    COMPARED: b"{}",
    "model/large": LARGE,
    "model/empty": b"",
    "handler/a/b.py": b"pass\n" * 1000,
}


def packed(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def found(directory: Path) -> dict[str, bytes]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("left_out", ["", COMPARED])
def test_every_byte_is_there(
    tmp_path: Path, compression: int, left_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = os.sendfile

    def some(out: int, source: int, at: int, count: int) -> int:
        """The kernel copies as much at a time as it likes."""
        return sent(out, source, at, min(count, 999_999))

    monkeypatch.setattr(os, "sendfile", some)
    files = {name: content for name, content in FILES.items() if name != left_out}
    unpack(packed(tmp_path / "a.mar", files, compression), tmp_path / "out")
    assert found(tmp_path / "out") == files


@pytest.mark.parametrize("name", ["../large", "a/../../large", "/large"])
def test_nothing_leads_out(tmp_path: Path, name: str) -> None:
    archive = packed(tmp_path / "a.mar", {COMPARED: b"{}", name: LARGE})
    place = tmp_path / "deep" / "out"
    with contextlib.suppress(zipfile.BadZipFile):
        unpack(archive, place)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if place not in path.parents] == [archive]


def test_a_damaged_archive_of_another_kind_is_told(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.mar", {"model/large": LARGE})
    raw = bytearray(archive.read_bytes())
    raw[len(raw) // 2] ^= 1
    archive.write_bytes(raw)
    with pytest.raises(zipfile.BadZipFile, match="large"):
        unpack(archive, tmp_path / "out")
