from __future__ import annotations

import io

from gpt2_client.cli.terminal import Terminal


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_model_cannot_send_escape_codes_to_a_screen() -> None:
    screen = Screen()
    Terminal(False, screen).text("a\x1b]0;title\x07\x9b31m\tb\n")
    assert screen.getvalue() == "a]0;title31m\tb\n"


def test_a_pipe_gets_every_byte_of_the_text() -> None:
    pipe = io.StringIO()
    Terminal(False, pipe).text("a\x1bb")
    assert pipe.getvalue() == "a\x1bb"
