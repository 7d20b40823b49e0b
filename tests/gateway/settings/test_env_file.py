"""`.env` is read as python-dotenv reads it."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from dotenv import dotenv_values
from dotenv.parser import parse_stream
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings.env_file import EnvFileError, parse, read

PIECES = ["A", "B", "PORT", "=", "=", "'", '"', "#", "\\", "\\n", "$", "${A}", "${B:-x}", "${HOME}"]
BLANKS = ["\n", "\r\n", "\r", " ", "\t", "\v", "\u2028", "export", "export ", "= #", "x y", "é"]


@given(st.lists(st.sampled_from([*PIECES, *BLANKS]), max_size=14).map("".join))
def test_any_text_means_what_python_dotenv_makes_of_it(text: str) -> None:
    if any(binding.error for binding in parse_stream(io.StringIO(text, newline=""))):
        with pytest.raises(EnvFileError):  # it passes such a line over
            parse(text, os.environ)
    else:
        theirs = dotenv_values(stream=io.StringIO(text, newline=""))
        assert parse(text, os.environ) == theirs


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("PORT=1", "1"),
        ("export PORT=1", "1"),
        ("  export\tPORT = 1  ", "1"),
        ("PORT='1'", "1"),
        ('PORT="1" # the port', "1"),
        ("PORT=1 # the port", "1"),
        ("PORT=1#the port", "1#the port"),
        ("PORT= # none", ""),
        ("# PORT=2\n\nPORT=1\r\n", "1"),
        ('PORT="1\n2"', "1\n2"),
        (r'PORT="a\nb\"c"', 'a\nb"c'),
        (r"PORT='a\nb\'c'", r"a\nb'c"),
        ("A=1\nPORT=${A}${B:-2}${C}", "12"),
        ("PORT=${HOME}", "/home/me"),
        ("PORT=pa$$word", "pa$$word"),
        ("PORT=a=b", "a=b"),
        ("PORT", None),
    ],
)
def test_a_value(text: str, value: str | None) -> None:
    assert parse(text, {"HOME": "/home/me"})["PORT"] == value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_of_order_changes_nothing(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=1234\nHOST=http://é.example\n", encoding=encoding)
    assert read(file, {}) == {"PORT": "1234", "HOST": "http://é.example"}


def test_no_file_gives_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / ".env", {}) == {}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PORT=1\n\n  API_KEYS: alice:secret\n", "line 3 is neither NAME=value"),
        (b'PORT="1\nN_TOKENS=2\n', "line 1 is neither NAME=value"),
        (b"PORT=1\n=2\n", "line 2 is neither NAME=value"),
        ("HOST=http://é.example".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_what_can_not_be_read_is_named_and_not_passed_over(
    tmp_path: Path, data: bytes, words: str
) -> None:
    (tmp_path / ".env").write_bytes(data)
    with pytest.raises(EnvFileError, match=words) as fault:
        read(tmp_path / ".env", {})
    assert "secret" not in str(fault.value)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(EnvFileError, match="cannot be read: Is a directory"):
        read(tmp_path, {})
