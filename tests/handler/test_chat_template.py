"""Chat templates: rendered as transformers renders them, and never more than is allowed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import _compile_jinja_template

from archive.chat import TURNS
from handler.chat.chat_template import MAX_SECONDS, ChatTemplate
from handler.engine.errors import ModelError
from handler.errors import BadRequest
from handler.service import Service

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
CHATML = """\
{%- if messages[0]['role'] == 'system' -%}
    {{- '<|im_start|>system\n' + messages[0]['content'] ~ '<|im_end|>\n' }}
    {%- set messages = messages[1:] -%}
{%- endif -%}
{%- for message in messages %}
    {%- if loop.index0 > 40 %}{% break %}{% endif %}
    {{- '<|im_start|>' + message.role + '\n' + message.content | trim + '<|im_end|>' + '\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\n' }}
{% endif %}
"""
MACROS = """\
{% macro turn(m) %}[{{ m.role | upper }}] {{ m.content | tojson }} {{ eos_token }}{% endmacro %}
{{ bos_token }}
{% for m in messages %}
  {% if m.role == 'assistant' %}{% generation %}{{ turn(m) }}{% endgeneration %}
  {% else %}{{ turn(m) }}{% endif %}
{% endfor %}
{% set ns = namespace(count=0) %}
{% for m in messages %}{% set ns.count = ns.count + 1 %}{% endfor %}
{{ ns.count }}
{{ messages | map(attribute='role') | join(', ') }} {{ tools is none }} {{ pad_token }}
"""
TALK = [
    {"role": "system", "content": "Be <brief> & 'good'."},
    {"role": "user", "content": "Grüße, 漢字 🙂\n\nand more  "},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": "{{ 7 * 7 }} {% raw %}"},
]
BOMBS = {
    "nested loops": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "a long text": "{{ 'a' * 10 ** 9 }}",
    "a long list": "{{ [0] * 10 ** 9 }}",
    "doubling": "{% set n = namespace(x='aa') %}{% for i in range(60) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "adding": "{% set n = namespace(x='aa') %}{% for i in range(60) %}"
    "{% set n.x = n.x + n.x %}{% endfor %}",
    "a high power": "{{ 9 ** 9 ** 9 }}",
    "a wide format": "{{ '%999999999d' % 1 }}",
    "macros": "{% macro f(n) %}{{ f(n - 1) ~ f(n - 1) if n else '' }}{% endmacro %}{{ f(40) }}",
    "endless depth": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "much output": "{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
}


def render(source: str, messages: list[dict[str, Any]] = TALK, *, answers: bool = True) -> str:
    return ChatTemplate(source, TOKENS).render(messages, 1_700_000_000, answers=answers)


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("source", [CHATML, MACROS, TURNS])
def test_a_template_is_rendered_as_transformers_renders_it(source: str, answers: bool) -> None:
    for messages in (TALK, TALK[1:], TALK[1:2], TALK * 30):
        judge = _compile_jinja_template(source).render(
            messages=messages,
            tools=None,
            documents=None,
            add_generation_prompt=answers,
            **TOKENS,
        )
        assert render(source, messages, answers=answers) == judge


@pytest.mark.parametrize("name", BOMBS)
def test_a_template_that_explodes_is_refused_in_time(name: str) -> None:
    began = time.thread_time()
    with pytest.raises(BadRequest) as refused:
        render(BOMBS[name])
    assert refused.value.code == "chat_template_too_long"
    assert time.thread_time() - began < 3 * MAX_SECONDS


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ messages.append({}) }}",
        "{{ raise_exception('roles must alternate') }}",
        "{% include 'secrets' %}",
        "{{ messages[99].content.strip() }}",
        "{{ 1 / 0 }}",
    ],
)
def test_a_template_that_fails_or_reaches_out_is_a_400(source: str) -> None:
    with pytest.raises(BadRequest) as refused:
        render(source)
    assert refused.value.param == "messages" and refused.value.code == "chat_template_error"


def test_the_time_of_a_request_does_not_move_while_it_is_served() -> None:
    assert render("{{ strftime_now('%Y') }}") == "2023"


def test_developers_speak_as_the_system_where_the_template_does_not_know_them() -> None:
    talk = [{"role": "developer", "content": "x"}]
    assert render("{{ messages[0].role }}", talk) == "system"
    known = "{% if messages[0].role == 'developer' %}yes{% endif %}"
    assert render(known, talk) == "yes"


@pytest.mark.parametrize("source", ["{% for %}", "{{", "{% nothing %}", "x" * 300_000])
def test_what_is_no_template_is_told_when_the_archive_is_loaded(source: str) -> None:
    with pytest.raises(ModelError, match="chat template"):
        ChatTemplate(source, TOKENS)


def test_a_chats_own_unknown_field_is_named_as_it_was_sent(archives: dict[str, Path]) -> None:
    service = Service.load(
        archives["int8"],
        name="gpt2",
        version="1",
        config={"engine": {"slots": 2, "threads": 2}},
        max_tokens=5,
        strict_fields=True,
    )
    body = {"messages": [{"role": "user", "content": "Hello"}], "prompt": "Hello"}
    try:
        with pytest.raises(BadRequest, match="`prompt`") as refused:
            service.chat("a", body)
    finally:
        service.engine.stop()
    assert refused.value.param == "prompt"
