"""Bills of materials: valid for CycloneDX's own library, and of what is really there."""

from __future__ import annotations

import importlib.metadata
import runpy
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

from packaging.utils import canonicalize_name

from archive.packing import pins
from tests.conftest import ROOT
from tests.operations.sbom import read_bill

IMAGE_SBOM = ROOT / "deploy" / "image" / "sbom.py"


def test_the_archive_has_one_of_its_files_and_packages(model_store: Path) -> None:
    with zipfile.ZipFile(model_store / "gpt2.mar") as packed:
        bill = read_bill(packed.read("sbom.cdx.json").decode())
        model = bill["metadata"]["component"]
        assert model["type"] == "machine-learning-model"
        listed = {each["name"]: each["hashes"][0]["content"] for each in model["components"]}
        assert listed == {
            name: sha256(packed.read(name)).hexdigest()
            for name in packed.namelist()
            if name.startswith(("model/", "handler/engine/native/lib/"))
            and name != "model/archive.json"
        }
    urls = [each["purl"] for each in bill["components"] if "purl" in each]
    assert sorted(urls) == sorted(f"pkg:pypi/{pin.replace('==', '@')}" for pin in pins())


def test_an_environment_has_one_of_all_that_is_installed(tmp_path: Path) -> None:
    target = tmp_path / "sbom.cdx.json"
    subprocess.run([sys.executable, "-B", IMAGE_SBOM, target], check=True)
    bill = read_bill(target.read_text(encoding="utf-8"))
    urls = {each["purl"] for each in bill["components"] if "purl" in each}
    for found in importlib.metadata.distributions():
        name, version = canonicalize_name(found.metadata["Name"]), found.version
        assert f"pkg:pypi/{name}@{version.replace('+', '%2B')}" in urls
    # What SECURITY.md and the gateway's traps speak of.
    assert "pkg:maven/io.netty/netty-codec-http@4.1.53.Final" in urls
    again = tmp_path / "again.json"
    subprocess.run([sys.executable, "-B", IMAGE_SBOM, again], check=True)
    assert again.read_bytes() == target.read_bytes()


def test_of_debians_packages_those_that_are_installed_are_named(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    (tmp_path / "status").write_text(
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12\n"
        "Description: C library\n many things\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n"
    )
    debian_packages = runpy.run_path(str(IMAGE_SBOM))["debian_packages"]
    [found] = debian_packages(tmp_path / "status", tmp_path / "os-release")
    assert found["purl"] == "pkg:deb/debian/libc6@2.36-9%2Bdeb12?arch=amd64"
