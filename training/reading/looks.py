"""What a text has in it that hardly anybody means to train on: counted, and told in a line each."""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterator

# How often it occurs, and an example; None where it does not, or by accident.
Seen = tuple[int, str] | None
Finder = Callable[[str], Seen]

# Of a file; what is in a text is in its first millions of characters as well.
_LOOKED_AT = 10_000_000
_SHOWN = 50
# Of a file's lines, from which on they are no lines of a text.
_OFTEN = 0.5
_FEW_LINES = 5
_FEW = 3
# As often as these a line stands in a text of people, too: `* * *` between scenes, a refrain.
_FEW_REPEATED, _RARE = 10, 0.01
# Shorter ones are repeated in any program.
_LONG_LINE = 20
_SIGNS_OF_A_MARK = re.compile(r"[^\w`]{3,}")
_NUMBER = re.compile(r"\d+")
_DIGITS_AND_SIGNS = str.maketrans("", "", string.digits + string.punctuation)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{60,}={0,2}")
_FEW_OF_BASE64 = 500
_MARKUP = re.compile(r"\s*<(\?xml|!doctype|!--|[a-z][\w:.-]*(\s[^<>]*)?/?>)", re.I)
_CLOSED_TAG = re.compile(r"</[a-z]|<html", re.I)
_TAG = re.compile(r"</?[a-z][^<>\n]*>", re.I)
_SURE_TAG = re.compile(r"</(?!s>)[a-z][\w:.-]*>|<br ?/?>|&(?:amp|quot|nbsp|lt|gt|apos|#\w+);", re.I)
_TIME = (
    r"^[\[(<\u200e]{0,2}(?:\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d)?|\d{1,2}[/.]\d{1,2}[/.]\d{2,4},? +\d|"
    r"\d\d:\d\d|[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d)"
)


def _signs(pattern: str, few: int = _FEW, of_lines: float = 0.0) -> Finder:
    """Finds what occurs `few` times, and in so great a part of the lines."""
    sign = re.compile(pattern, re.M)

    def find(text: str) -> Seen:
        found = sign.findall(text)
        if len(found) < few or len(found) < of_lines * sum(map(bool, text.split("\n"))):
            return None
        return len(found), found[0]

    return find


def _markup(text: str) -> Seen:
    tags = _SURE_TAG.findall(text)
    if len(tags) < _FEW and _MARKUP.match(text) and _CLOSED_TAG.search(text):
        tags = _TAG.findall(text)
        return (len(tags), tags[0]) if tags else None
    return (len(tags), tags[0]) if len(tags) >= _FEW else None


def _base64(text: str) -> Seen:
    runs = [run for run in _BASE64.findall(text) if all(re.search(c, run) for c in _MIXED)]
    length = sum(map(len, runs))
    return (length, runs[0]) if length >= _FEW_OF_BASE64 else None


_MIXED = ("[a-z]", "[A-Z]", "[0-9]")


def _hardly_letters(text: str) -> Seen:
    whole = "".join(text.split())
    signs = len(whole) - len(whole.translate(_DIGITS_AND_SIGNS))
    return (signs, text.split("\n", 1)[0]) if signs > 0.5 * len(whole) else None


def _repeated_line(text: str) -> Seen:
    """The line that occurs most, whatever the numbers in it, as in headers of pages."""
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    counts = Counter(_NUMBER.sub("0", line) for line in lines)
    for line, count in counts.most_common(_FEW_REPEATED):
        if count < max(_FEW_REPEATED, _RARE * len(lines)):
            return None
        if len(line) >= _LONG_LINE or "0" in line or _SIGNS_OF_A_MARK.fullmatch(line):
            return count, next(each for each in lines if _NUMBER.sub("0", each) == line)
    return None


# Of these the first alone is told: they explain each other.
_LINES: tuple[tuple[Finder, str], ...] = (
    (
        _signs(r"^(?:\d+:)?\d\d:\d\d[.,]\d{3} --> .*"),
        "{count:,} times of subtitles, such as {example!r}, and their numbers are read as text "
        "(grep -vE '^[0-9]+.?$|-->|^WEBVTT' FILE leaves them out)",
    ),
    (
        _signs(r"^Dialogue: (?:[^,\n]*,){3}"),
        "{count:,} times and styles of subtitles, such as {example!r}, are read as text "
        "(sed -nE 's/^Dialogue:([^,]*,){{9}}//p' FILE leaves them out)",
    ),
    (
        _signs(r"^\{\d+\}\{\d+\}"),
        "{count:,} times of subtitles, such as {example!r}, are read as text "
        "(sed -E 's/^(\\{{[0-9]+\\}})+//' FILE leaves them out)",
    ),
    (
        _signs(r"^\[\d+:\d\d(?:[.:]\d+)?\](?=[^\n])", _FEW_LINES, _OFTEN),
        "{count:,} lines begin with a time, such as {example!r}, as lyrics and chats have them, "
        "which is read as text (sed -E 's/^(\\[[0-9:.]+\\])+ *//' FILE leaves it out)",
    ),
    (
        _signs(_TIME, _FEW_LINES, _OFTEN),
        "{count:,} lines begin with a time or a date, such as {example!r}, as chats and logs have "
        "them, which is read as text (take them out, unless they are to be written, too)",
    ),
    (
        _hardly_letters,
        "{count:,} characters, more than half of it, are digits and signs, such as {example!r}, "
        "and are read as text (of a table, --column names the column with the text)",
    ),
    (
        _repeated_line,
        "lines such as {example!r} stand in it {count:,} times, and are read as text (take them "
        "out, if they head pages; if they part texts, --separator says so)",
    ),
)
# Two bytes of UTF-8 as letters of Windows-1252 or Latin-1, and quotes and dashes of three.
_TWICE = "[\u00c2\u00c3][\u0080-\u00bf\u0152-\u2122]|\u00e2\u20ac[\u0080-\u2122]"
_OTHERS_MARKS = r"</s>|<eos>|<\|(?:im_end|eot_id|end|eot)\|>|\[(?:SEP|EOS)\]"
_LOOKS: tuple[tuple[Finder, str], ...] = (
    (
        _markup,
        "it looks like HTML or XML: {count:,} tags and names of characters, such as {example!r}, "
        "are read as text (of HTML, pandoc -f html -t plain takes them out)",
    ),
    (
        _signs(_TWICE),
        "{count:,} signs such as {example!r}: it looks like UTF-8 that a program has taken for "
        "Windows-1252 and saved so; it is read as it is (ftfy of PyPI mends it)",
    ),
    (
        _signs(_OTHERS_MARKS, 1),
        "{count:,} {example}, another model's end of a text, and they are read as text "
        "(--separator '{example}' parts it there)",
    ),
    (
        _signs(
            "^(?:Received|Return-Path|Message-I[Dd]|MIME-Version|Content-Type|DKIM-Signature|"
            "Content-Transfer-Encoding|X-[A-Z][\\w-]*): "
        ),
        "{count:,} headers of e-mail, such as {example!r}, are read as text (Python's modules "
        "mailbox and email take the messages out)",
    ),
    (
        _signs("(?:=[89A-F][0-9A-F]){2,}|=3D|=20$"),
        "{count:,} signs such as {example!r}, as quoted-printable has them, are read as they are "
        "(python3 -m quopri -d FILE takes them out)",
    ),
    (
        _signs(r"\\u[0-9a-fA-F]{4}|\\n\\n|\\r\\n", of_lines=_OFTEN),
        "{count:,} escapes such as {example!r} are read as they are, not as what they stand for "
        "(--format jsonl reads those of JSON)",
    ),
    (
        _base64,
        "{count:,} characters of base64 (files, pictures, keys), such as {example!r}, are read as "
        "text (take them out)",
    ),
    (
        _signs(r"\A---\n(\w[^\n:]*:[^\n]*)\n(?:[^\n]*\n)*?---[ \t]*$", 1),
        "front matter, such as {example!r}, is read as text (sed '1,/^---$/d' FILE leaves it out)",
    ),
    (
        _signs(r"^\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG", 1),
        "Project Gutenberg's own words before and behind a book are read as text "
        "(sed '1,/^\\*\\*\\* *START OF/d;/^\\*\\*\\* *END OF/,$d' FILE leaves them out)",
    ),
    (
        _signs(
            r"\\(?:documentclass|usepackage|begin|end|(?:sub)*section|chapter|emph|text(?:bf|it)|"
            r"cite|ref|label|footnote)\*?[\[{]"
        ),
        "{count:,} of LaTeX's commands, such as {example!r}, are read as text (pandoc -f latex -t "
        "plain takes them out)",
    ),
    (
        _signs(r"\[\[[^\[\]\n]+\]\]|\{\{[^{}\n]+\}\}", 10),
        "{count:,} marks of a wiki, such as {example!r}, are read as text (pandoc -f mediawiki -t "
        "plain takes them out)",
    ),
    (
        _signs(r"[^\W\d_]{1,20}-\n[a-z]+", _FEW_REPEATED, 0.02),
        "{count:,} words are parted at the end of a line, such as {example!r}, and are read so",
    ),
    (
        _signs("[A-Za-z][\u0300-\u0304\u0306-\u030c\u0327\u0328]"),
        "{count:,} letters such as {example!r} are two characters, a letter and its accent, where "
        "people type one, and are read so (uconv -x nfc puts them together)",
    ),
)


class Looks:
    """Collects what is seen in files, so that a thousand of a kind are told in one line."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[str, int, str]]] = {}

    def add(self, name: str, what: str, count: int = 1, example: str = "") -> None:
        """Note that a file has `count` of `what`, a line with places for both."""
        self._seen.setdefault(what, []).append((name, count, example))

    def look_at(self, name: str, text: str) -> None:
        """Note what there is in the text of a file."""
        text = text[:_LOOKED_AT]
        for find, what in _LOOKS:
            if seen := find(text):
                self.add(name, what, *seen)
        for find, what in _LINES:
            if seen := find(text):
                self.add(name, what, *seen)
                return

    def notes(self) -> Iterator[str]:
        """A line for each kind."""
        for what, files in self._seen.items():
            name, _, example = files[0]
            more = f" and {len(files) - 1:,} more" if len(files) > 1 else ""
            example = " ".join(example.split())
            shown = example if len(example) <= _SHOWN else f"{example[:_SHOWN]}..."
            count = sum(count for _, count, _ in files)
            yield f"{name}{more}: {what.format(count=count, example=shown)}"
