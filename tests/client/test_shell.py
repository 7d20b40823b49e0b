"""What shells and `man` get from the command line's grammar, by the programs that read it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gpt2_client.cli import grammar
from gpt2_client.cli.arguments import SHELLS, parser
from gpt2_client.cli.completion import script
from gpt2_client.cli.manual import manual
from tests.patience import PATIENCE

TOP = parser({})
COMMANDS = [command.name for command in grammar.read(TOP)[1:]]
# Prints what is offered for a line that is typed so far, one word a line.
BASH = """
{script}
COMP_WORDS=({words}); COMP_CWORD={place}
_gpt2
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
FISH = "{script}\ncomplete --do-complete '{line}'"


def program(name: str) -> str:
    return shutil.which(name) or pytest.skip(f"{name} is not installed")


def offered(shell: str, line: str) -> list[str]:
    """What a shell offers for a line, of which the last word is being typed."""
    words = line.split(" ")
    if shell == "fish":
        text = FISH.format(script=script("fish", TOP), line=line)
    else:
        quoted = " ".join(f"'{word}'" for word in words)
        text = BASH.format(script=script("bash", TOP), words=quoted, place=len(words) - 1)
    done = subprocess.run(
        [program(shell)], input=text, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stderr == ""
    return sorted(filter(None, (each.split("\t")[0] for each in done.stdout.split("\n"))))


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_a_shell_offers_commands_options_and_choices(shell: str) -> None:
    assert offered(shell, "gpt2 ") == sorted(COMMANDS)
    assert offered(shell, "gpt2 un") == ["unregister"]
    assert offered(shell, "gpt2 generate Hello --max") == ["--max-tokens"]
    assert "--max-tokens" not in offered(shell, "gpt2 scale --m")
    assert offered(shell, "gpt2 --url http://x stat") == ["status"]
    assert offered(shell, "gpt2 completion ") == sorted(SHELLS)


@pytest.mark.parametrize("shell", SHELLS)
def test_its_own_shell_reads_a_script(shell: str) -> None:
    text = script(shell, TOP)
    done = subprocess.run(
        [program(shell), "-n"], input=text, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_zsh_takes_the_function() -> None:
    text = script("zsh", TOP) + '\nprint -r -- "${_comps[gpt2]}"\n'
    done = subprocess.run([program("zsh"), "-f"], input=text, capture_output=True, text=True)
    assert "_gpt2" in done.stdout and done.stderr == ""


def test_the_manual_is_built_without_a_warning_and_holds_all_that_help_does() -> None:
    groff = [program("groff"), "-man", "-Tutf8", "-ww", "-rLL=200n", "-P-cbou"]
    done = subprocess.run(groff, input=manual(TOP).encode(), capture_output=True, timeout=PATIENCE)
    assert done.stderr == b""
    page = re.sub(r"\s+", " ", done.stdout.decode())
    for command in grammar.read(TOP):
        assert f"gpt2 {command.name}" in page
        for option in command.options:
            assert all(flag in page for flag in option.flags)
            assert re.sub(r"\s+", " ", option.help) in page


def test_the_page_that_is_installed_is_the_one_of_this_grammar() -> None:
    page = Path(__file__).parents[2] / "client" / "data" / "share" / "man" / "man1" / "gpt2.1"
    assert page.read_text() == manual(TOP), f"run: ./scripts/gpt2 manual >{page}"
