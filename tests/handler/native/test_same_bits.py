"""The promise beneath all others: the same rows give the same bits on every instruction set,
however they are cut into steps, whatever is computed beside them, with any number of threads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from archive.native_build import TARGETS, Command, library_name
from tests.handler.native.conftest import HERE

DRIVER = Path(__file__).with_name("driver.c")
ARM_ROOT = Path("/usr/aarch64-linux-gnu")
# Of the last logits of each model of driver.c, and of the tokens that it answers; of weights that
# are rounded by what the first one computes. They change only
# if texts do, which a release says.
DIGESTS = """\
int8 b8dfcffdf0c36ff5 b1174c5fd906dab1 d9c48037fc11eb8e
rounded 86ac8c4a7b412437
float 04e9638f124f5f98 ce4c9ab6f5a18319 d03942a4a30fd3d1
mixed bbe4341b3f1c373c be828df456f0bf36 650538213b97b76b
odd 3c2e92c54bcd6969 6877450dd595201f bad746bfb1297e71
int4 d837fd665b109d61 459217b0922b3df7 745df7e555acc070
int4 odd b9d99e954f86ed78 1a5ffc5bfccba24d 5445af996f77d97e
single 36aaa7be7bcdebdd 508ad560edb4d989 513a3ddc817add83
"""


def emulator(isa: str) -> list[str]:
    """What runs a program for this instruction set; skips where nothing does."""
    if isa in HERE:
        return []
    if not isa.startswith("neon"):
        pytest.skip(f"this processor has no {isa}")
    found = shutil.which("qemu-aarch64")
    if found is None or not ARM_ROOT.is_dir():
        pytest.skip("qemu-user or libc6-arm64-cross is not installed")
    return [found, "-L", str(ARM_ROOT), "-cpu", "max"]


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_every_instruction_set_gives_the_same_bits(
    architecture: str, libraries: Path, native_command: Command, tmp_path: Path
) -> None:
    isas = [isa for isa, target in TARGETS.items() if target.triple.startswith(architecture)]
    runnable = [isa for isa in isas if architecture == "aarch64" or isa in HERE]
    driver = tmp_path / "driver"
    triple = TARGETS[isas[0]].triple
    native_command.run("-target", triple, "-O1", "-I.", str(DRIVER), "-ldl", "-o", str(driver))
    for place, isa in enumerate(runnable):
        # Emulated, each takes ten seconds of a processor: with either number in turn.
        for threads in ("1", "3") if isa in HERE else ("13"[place % 2],):
            command = [*emulator(isa), driver, libraries / library_name(isa), threads]
            done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
            assert done.stdout == DIGESTS, (isa, threads, done.stderr)
            assert done.stderr.strip() == isa
