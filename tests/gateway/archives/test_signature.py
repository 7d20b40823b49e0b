"""Where a key is named, archives that it did not sign are not loaded, whenever that would be."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.gateway.conftest import StartService, wait_until

PEM = serialization.Encoding.PEM
SAYS_WHY = "requires it: there is no unsigned.mar.sig next to it"


class Key:
    """A pair of keys, made as `openssl ecparam -name prime256v1 -genkey` makes one."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self.private, self.public = place / "private.pem", place / "public.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        kind = serialization.PrivateFormat.TraditionalOpenSSL
        secret = key.private_bytes(PEM, kind, serialization.NoEncryption())
        self.private.write_bytes(secret)
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        self.public.write_bytes(key.public_key().public_bytes(PEM, form))

    def sign(self, archive: Path) -> None:
        words = ["--private_key", self.private, "--signature", f"{archive}.sig", archive]
        command = [sys.executable, "-m", "model_signing", "sign", "key", *words]
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path / "key")


@pytest.fixture
def store(tmp_path: Path, model_store: Path, key: Key) -> Path:
    """One archive that is signed, one by another key, one not."""
    store = tmp_path / "store"
    store.mkdir()
    for name in ("gpt2", "others", "unsigned"):
        shutil.copy(model_store / "gpt2.mar", store / f"{name}.mar")
    key.sign(store / "gpt2.mar")
    Key(tmp_path / "another").sign(store / "others.mar")
    return store


def test_what_the_key_signed_is_served_and_nothing_else(
    start_service: StartService, store: Path, key: Key
) -> None:
    service = start_service(store=store, MODEL_PUBLIC_KEY_FILE=str(key.public))
    assert service.complete(max_tokens=2).status_code == 200
    for name, reason in (
        ("unsigned", SAYS_WHY),
        ("others", "was not signed with this key, or has changed since"),
    ):
        refused = service.manage("POST", f"/models?url={name}.mar&model_name={name}")
        assert refused.status_code == 400, refused.text
        assert refused.json()["error"]["code"] == "bad_signature"
        assert reason in refused.json()["error"]["message"]
    # A copy under another name is the same archive.
    for suffix in ("", ".sig"):
        shutil.copy(f"{store / 'gpt2.mar'}{suffix}", f"{store / 'copy.mar'}{suffix}")
    added = service.manage("POST", "/models?url=copy.mar&model_name=copy")
    assert added.status_code == 200, added.text
    # Loaded again after TorchServe was lost: what changed meanwhile is not.
    with (store / "copy.mar").open("ab") as archive:
        archive.write(b"changed")
    [java] = [each for each in service.descendants() if each.name() == "java"]
    java.kill()
    wait_until(lambda: service.complete(max_tokens=2).status_code == 200)
    wait_until(lambda: any("copy.mar was not signed" in str(each) for each in service.records()))
    assert service.complete(model="copy", max_tokens=2).status_code == 503


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        ("unsigned.mar", SAYS_WHY),
        ("others.mar", "others.mar was not signed with this key, or has changed since: "),
    ],
)
def test_a_start_with_another_archive_ends_with_its_reason(
    start_service: StartService, store: Path, key: Key, archive: str, reason: str
) -> None:
    public = str(key.public)
    service = start_service(
        ready=False, store=store, MODEL_PUBLIC_KEY_FILE=public, MODEL_ARCHIVE=archive
    )
    wait_until(lambda: service.process.poll() is not None)
    assert service.process.returncode == 1
    wait_until(lambda: any(reason in str(each) for each in service.records()))


def test_a_key_that_is_not_there_ends_the_start(start_service: StartService, store: Path) -> None:
    service = start_service(ready=False, store=store, MODEL_PUBLIC_KEY_FILE="/nowhere/key.pem")
    wait_until(lambda: service.process.poll() is not None)
    wait_until(lambda: any("no file /nowhere/key.pem" in str(each) for each in service.records()))
