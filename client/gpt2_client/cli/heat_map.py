"""A scored text as a page: the redder a word, the more it surprised. Loads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from gpt2_client.score import Score

# A word of so many bits is as red as can be: one in 65,536.
HOT_BITS = 16.0

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.1rem/1.7 Georgia, serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }}
header, .scale {{ font: .9rem/1.5 system-ui, sans-serif; }}
.text {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
i {{ font-style: normal; border-radius: .2em; background: rgb(230 60 30 / calc(var(--h) * 1%)); }}
.scale i {{ padding: 0 .6em; }}
</style>
<header>
<h1>{title}</h1>
<p>{figures}</p>
<p class="scale">bits: {scale}</p>
</header>
<div class="text">{text}</div>
</html>"""


def page(found: Score, text: str, title: str) -> str:
    """Draw a text as it stands, each word with its surprisal behind it and in its tooltip."""
    figures = (
        f"{found.bits_per_character:.3f} bits per character, perplexity {found.perplexity:.1f}, "
        f"{found.characters} characters, {found.tokens} tokens, model {found.model}"
    )
    scale = " ".join(f'<i style="--h:{_heat(bits)}">{bits}</i>' for bits in (0, 2, 4, 8, 12, 16))
    return PAGE.format(
        title=escape(title),
        figures=escape(figures),
        scale=scale,
        text="".join(_marked(found, text)),
    )


def _marked(found: Score, text: str) -> Iterator[str]:
    done = 0
    for word in found.words:
        yield escape(text[done : word.start])
        tip = f"{word.bits:.2f} bits, {word.tokens} tokens"
        yield f'<i style="--h:{_heat(word.bits)}" title="{tip}">{escape(word.text)}</i>'
        done = word.start + len(word.text)
    yield escape(text[done:])


def _heat(bits: float) -> int:
    """Percent of the colour; never all of it, so that the letters stay readable."""
    return round(70 * min(1.0, bits / HOT_BITS))
