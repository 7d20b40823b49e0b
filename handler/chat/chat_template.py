"""A checkpoint's chat template: messages in, the prompt that the model was trained on out.

Jinja's immutable sandbox, with the additions that `transformers` gives templates, and with bounds:
what is sent in messages must not make a template hold up everybody's next step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from handler.engine.errors import ModelError
from handler.errors import BadRequest

MAX_TEMPLATE_BYTES = 262_144
# Passes of all loops and calls of macros together; a long talk takes a few for each message.
MAX_TURNS = 200_000
MAX_SECONDS = 1.0
MAX_CHARS = 1 << 21  # of what comes out, and of any text on the way
MAX_POWER = 1_000_000  # of a number that `**` and `*` may give
TICK = "bounded_turn"
SHOWN = 300  # characters of a template's own words in an error


class TooMuch(Exception):
    """A template that does more than it may."""


class _Bounds:
    """What one rendering may still do."""

    def __init__(self) -> None:
        self._turns = 0
        self._until = time.thread_time() + MAX_SECONDS

    def turn(self) -> str:
        """Count a pass of a loop."""
        self._turns += 1
        if self._turns > MAX_TURNS or time.thread_time() > self._until:
            raise TooMuch
        return ""


def _checked(value: Any) -> Any:
    """A value that an operator gave, unless it is too large."""
    if isinstance(value, (int, float)) and abs(value) > MAX_POWER**2:
        raise TooMuch
    if isinstance(value, (str, list, tuple)) and len(value) > MAX_CHARS:
        raise TooMuch
    return value


class _Generator(CodeGenerator):
    """Checks the strings that `~` joins."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 (Jinja's name)
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}`: marks what an assistant said, for training."""

    tags = {"generation"}  # noqa: RUF012 (Jinja declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Keep what stands between."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "*", "**", "%", "<<"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Have each pass of a loop and each call of a macro counted."""
        template = super()._parse(source, name, filename)
        repeated: Any = (nodes.For, nodes.Macro, nodes.CallBlock)
        node: Any
        for node in template.find_all(repeated):
            call = nodes.Call(nodes.Name(TICK, "load"), [], [], None, None)
            node.body.insert(0, nodes.Output([call]))
        return template

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator whose result can be large, and look at that before it is made."""
        if operator in ("*", "**", "%") and _product(operator, left, right) > MAX_CHARS:
            raise TooMuch
        return _checked(super().call_binop(context, operator, left, right))

    @staticmethod
    def joined(parts: Iterable[Any]) -> str:
        """What `~` makes of its parts."""
        return str(_checked("".join(map(str, parts))))


def _product(operator: str, left: Any, right: Any) -> float:
    """About how large the result will be: a text's length, or for a power its digits."""
    if operator == "**":
        bits = max(1, int(abs(left)).bit_length()) if isinstance(left, (int, float)) else 0
        return bits * abs(right) if isinstance(right, (int, float)) else 0
    if operator == "%":  # `"%999999d" % 1`
        return 0 if not isinstance(left, str) else _widest(left)
    for text, times in ((left, right), (right, left)):
        if isinstance(text, (str, list, tuple)) and isinstance(times, int):
            return len(text) * times
    return 0


def _widest(template: str) -> int:
    """The largest number in a text: the width that a format may have."""
    words = "".join(c if c.isascii() and c.isdigit() else " " for c in template).split()
    return max((int(word[:9]) for word in words), default=0)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own `tojson` escapes characters of HTML; templates mean this one."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise(message: Any) -> NoReturn:
    raise jinja2.TemplateError(str(message))


class ChatTemplate:
    """A template that was compiled once; `tokens` are the names of special tokens in it."""

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        """Compile a template.

        Raises:
            ModelError: It is none.
        """
        if len(source.encode("utf-8", "replace")) > MAX_TEMPLATE_BYTES:
            raise ModelError(f"the chat template is longer than {MAX_TEMPLATE_BYTES} bytes")
        sandbox = _Sandbox(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, "jinja2.ext.loopcontrols"],
        )
        sandbox.filters["tojson"] = _to_json
        sandbox.globals["raise_exception"] = _raise
        try:
            self._template = sandbox.from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise ModelError(f"the chat template is not valid Jinja: {error}") from None
        self._tokens = dict(tokens)
        # A role that templates older than it do not know; what it says is what a system says.
        self._knows_developer = "developer" in source

    def render(self, messages: Sequence[Mapping[str, Any]], now: int, *, answers: bool) -> str:
        """The prompt that these messages make.

        Args:
            messages: Each with `role` and `content`.
            now: The time that the template may ask for, in seconds since 1970.
            answers: Whether the assistant's turn is begun at the end.

        Raises:
            BadRequest: The template refuses them, or they have it do more than it may.
        """
        bounds = _Bounds()
        given: dict[str, Any] = {
            **self._tokens,
            "messages": [self._known(message) for message in messages],
            "tools": None,
            "documents": None,
            "add_generation_prompt": answers,
            "strftime_now": _clock(now),
            TICK: bounds.turn,
        }
        written: list[str] = []
        size = 0
        try:
            for chunk in self._template.generate(given):
                bounds.turn()
                size += len(chunk)
                if size > MAX_CHARS:
                    raise TooMuch
                written.append(chunk)
        except (TooMuch, RecursionError, MemoryError):
            raise BadRequest(
                f"The chat template needs more than {MAX_CHARS} characters or {MAX_SECONDS:g} s "
                "for these `messages`; send fewer",
                param="messages",
                code="chat_template_too_long",
            ) from None
        except Exception as error:  # the template's own faults, of whatever kind
            reason = " ".join(str(error).split())[:SHOWN] or type(error).__name__
            raise BadRequest(
                f"The model's chat template rejects these `messages`: {reason}",
                param="messages",
                code="chat_template_error",
            ) from None
        return "".join(written)

    def _known(self, message: Mapping[str, Any]) -> dict[str, Any]:
        if message["role"] == "developer" and not self._knows_developer:
            return {**message, "role": "system"}
        return dict(message)


def _clock(now: int) -> Callable[[str], str]:
    """`strftime_now`, which gives one time for the whole of a request."""

    def formatted(layout: str) -> str:
        return datetime.fromtimestamp(now).strftime(layout)

    return formatted
