"""When ./scripts/serve packs the model, and when it need not."""

from __future__ import annotations

import os
import time

import pytest

from tests.scripts.conftest import SOURCES, Checkout


def test_the_first_start_sets_up_packs_and_serves(checkout: Checkout) -> None:
    ended = checkout.serve()
    assert ended.returncode == 0
    kinds = [line.split()[0] for line in checkout.asked]
    assert kinds == ["pip", "pip", "archive", "gateway"]
    assert "Setting up .venv" in ended.stderr and "Packing gpt2-tales" in ended.stderr


def test_a_second_start_only_serves(checkout: Checkout) -> None:
    checkout.serve()
    (checkout.root / "asked").unlink()
    ended = checkout.serve()
    assert ended.returncode == 0 and ended.stderr == ""
    assert checkout.asked == ["gateway"]


@pytest.mark.parametrize("source", SOURCES)
def test_a_change_packs_again(checkout: Checkout, source: str) -> None:
    checkout.serve()
    later = time.time() + 60
    os.utime(checkout.root / source, (later, later))
    assert checkout.serve().returncode == 0
    assert len(checkout.asked_for("archive")) == 2


@pytest.mark.parametrize("changed", ["ckpt.pt", "config.json", "merges.txt", "meta.pkl"])
def test_a_change_beside_a_checkpoint_of_one_file_packs_again(
    checkout: Checkout, changed: str
) -> None:
    mine = checkout.root / "mine"
    mine.mkdir()
    for name in ("ckpt.pt", "config.json", "merges.txt", "meta.pkl", "train.log"):
        (mine / name).touch()
    for times, name in ((1, ""), (1, "train.log"), (2, changed)):
        if name:
            later = time.time() + 60
            os.utime(mine / name, (later, later))
        assert checkout.serve("--model", "mine/ckpt.pt").returncode == 0
        assert len(checkout.asked_for("archive")) == times


def test_compiled_python_is_no_change(checkout: Checkout) -> None:
    checkout.serve()
    compiled = checkout.root / "handler" / "__pycache__" / "gpt2_handler.cpython-311.pyc"
    compiled.parent.mkdir(exist_ok=True)
    compiled.touch()
    later = time.time() + 60
    os.utime(compiled, (later, later))
    checkout.serve()
    assert len(checkout.asked_for("archive")) == 1


def test_each_checkpoint_has_an_archive_of_its_own(checkout: Checkout) -> None:
    for model in ("openai-community/gpt2", "someone/gpt2", "openai-community/gpt2"):
        assert checkout.serve("--model", model).returncode == 0
    assert len(checkout.asked_for("archive")) == 2
    assert len(list(checkout.archive.parent.iterdir())) == 2


def test_an_archive_is_served_as_it_is(checkout: Checkout) -> None:
    mine = checkout.root / "mine" / "my-gpt2.mar"
    mine.parent.mkdir()
    mine.touch()
    ended = checkout.serve("--model", "mine/my-gpt2.mar")
    assert ended.returncode == 0 and "Packing" not in ended.stderr
    assert not checkout.asked_for("archive") and checkout.asked_for("gateway")
    assert checkout.served_by_the_gateway() == (str(mine.parent), mine.name)


@pytest.mark.parametrize("where", ["environment", ".env.local"])
def test_the_store_and_archive_that_the_settings_name_are_served(
    checkout: Checkout, where: str
) -> None:
    """As who comes from `torchserve --model-store ... --models ...` has them."""
    store = checkout.root / "their models"
    store.mkdir()
    (store / "gpt2.mar").touch()
    settings = {"MODEL_STORE": str(store), "MODEL_ARCHIVE": "gpt2.mar"}
    if where == ".env.local":
        lines = [f"{name}={value}" for name, value in settings.items()]
        (checkout.root / where).write_text("\n".join(lines))
        settings = {}
    ended = checkout.serve(**settings)
    assert ended.returncode == 0 and "ignored" not in ended.stderr
    assert not checkout.asked_for("archive")
    assert checkout.served_by_the_gateway() == (str(store), "gpt2.mar")


def test_an_archive_of_the_settings_that_is_not_there(checkout: Checkout) -> None:
    ended = checkout.serve(MODEL_ARCHIVE="mine.mar")
    assert ended.returncode == 1 and not checkout.asked
    assert "MODEL_ARCHIVE: there is no archive " in ended.stderr and "mine.mar" in ended.stderr


def test_a_store_of_the_settings_gets_what_is_packed(checkout: Checkout) -> None:
    store = checkout.root / "elsewhere"
    ended = checkout.serve(MODEL_STORE=str(store))
    assert ended.returncode == 0
    assert checkout.served_by_the_gateway() == (str(store), checkout.archive.name)
    assert (store / checkout.archive.name).exists() and not checkout.archive.exists()


def test_what_the_option_overrules_is_named(checkout: Checkout) -> None:
    mine = checkout.root / "mine.mar"
    mine.touch()
    ended = checkout.serve("--model", "mine.mar", MODEL_STORE="x", MODEL_ARCHIVE="y.mar")
    assert ended.returncode == 0
    assert "ignored because of --model: MODEL_ARCHIVE, MODEL_STORE" in ended.stderr
    assert checkout.served_by_the_gateway() == (str(mine.parent), "mine.mar")
