"""The chat template of a checkpoint is found where transformers looks for it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from archive.chat import find_chat_template
from archive.errors import PackagingError


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"chat_template.jinja": "A", "tokenizer_config.json": {"chat_template": "B"}}, "A"),
        ({"tokenizer_config.json": {"chat_template": "B"}}, "B"),
        (
            {
                "tokenizer_config.json": {
                    "chat_template": [
                        {"name": "tool_use", "template": "C"},
                        {"name": "default", "template": "D"},
                    ]
                }
            },
            "D",
        ),
        ({"config.json": {"task_specific_params": {"conversational": {}}}}, "eos_token"),
        ({}, None),
    ],
)
def test_a_template_is_found(tmp_path: Path, files: dict[str, Any], found: str | None) -> None:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / name).write_text(text)
    checkpoint: Any = SimpleNamespace(config=files.get("config.json", {}))
    template = find_chat_template(None, checkpoint, tmp_path)
    assert template == found or (found == "eos_token" and found in str(template))


def test_a_given_file_comes_first_and_has_to_be_there(tmp_path: Path) -> None:
    checkpoint: Any = SimpleNamespace(config={})
    (tmp_path / "chat_template.jinja").write_text("own")
    (tmp_path / "given").write_text("given")
    assert find_chat_template(tmp_path / "given", checkpoint, tmp_path) == "given"
    with pytest.raises(PackagingError, match="--chat-template"):
        find_chat_template(tmp_path / "missing", checkpoint, tmp_path)
