"""Bytes to text: UTF-8, what a mark says, or what a person says. Nothing is taken on a guess.

Eight-bit encodings read the same bytes as different letters, all of them well formed: guessers take
French in Windows-1252 for Windows-1250. So the likely ones are shown, and a person decides.
"""

import codecs
import re
import unicodedata
from collections.abc import Iterable

from charset_normalizer.md import mess_ratio

from training.errors import TrainingError
from training.reading.document import Say

# UTF-32 before UTF-16, whose mark is the beginning of its own.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What has no mark at its beginning may be these, if it has many zeros and reads as text.
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
# ASCII that stands for other letters, and would pass as UTF-8: by what begins them.
_ESCAPED = re.compile(rb"\x1b(\$[@B]|\([IJ]|\$[()][A-D])")
_SHIFTED = re.compile(rb"\+([A-Za-z0-9+/]*)(-?)")
_TILDED = re.compile(rb"~\{[!-w][!-~]")
_SEVEN_BITS = {
    _ESCAPED: ("iso2022_jp", "iso2022_jp_2", "iso2022_kr"),
    _SHIFTED: ("utf-7",),
    _TILDED: ("hz",),
}
# From which on they are no accident: `+big` in a text reads as a letter, too. Different ones, or
# such as are hardly anything else: `+AOk-`, as accents and Cyrillic have them, and whole sentences.
_FEW_SHIFTS = 3
_SURE_SHIFT = re.compile(rb"[ABI][A-Za-z0-9+/]{2}-|[A-Za-z0-9+/]{8,}-?")
# Never left out of the likely ones; the others are those that people's files come in.
_ALWAYS = ("windows-1252", "latin-1")
_OTHERS = (
    *("windows-1250", "windows-1251", "windows-1253", "windows-1254", "windows-1255"),
    *("windows-1256", "windows-1257", "windows-1258", "cp874", "iso8859-2", "iso8859-15"),
    *("koi8-r", "mac-roman", "cp437", "cp850", "cp866"),
    *("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
)
_SAMPLE_BYTES = 200_000
_LIKELY = 6
_RANKED_CHARACTERS = 2_000
_SHOWN_CHARACTERS = 70
# Of the bytes, from which on it is no text in any encoding that people use.
_BINARY_SHARE = 0.05
# Of the characters, from which on a reading is no text.
_ODD_SHARE = 0.01
_ODD_CATEGORIES = frozenset({"Cc", "Cn", "Co", "Cs"})
_SPACE = frozenset("\t\n\r\x0c")
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\x0c\x1b"))


def decode(name: str, data: bytes, encoding: str | None, say: Say) -> str:
    """The text of a file.

    Raises:
        TrainingError: it is in no encoding that is beyond doubt; the message shows how it could
            be read.
    """
    for mark, marked in _MARKS:
        if data.startswith(mark):
            return _strictly(name, data[len(mark) :], marked, offset=len(mark))
    if encoding is not None:
        return _as_named(name, data, encoding, say)
    try:
        text = data.decode("utf-8")
        where = f"{name} has {data.count(0):,} NUL bytes"
    except UnicodeDecodeError as error:
        text = None
        where = f"{name} is not UTF-8 (byte 0x{data[error.start]:02x} at offset {error.start:,})"
    if b"\x00" in data and (text is None or data.count(0) > _BINARY_SHARE * len(data)):
        wide = [each for each in _WIDE if _reads_as_text(data, each)]
        if wide:
            raise TrainingError(
                _choices(f"{name} looks like UTF-16 or 32 without a mark", data, wide)
            )
        raise TrainingError(f"{where}: binary data of an unknown kind")
    if text is not None:
        escaping = _seven_bits(data)
        if escaping:
            what = "ISO 2022" if escaping[0].startswith("iso") else escaping[0].upper()
            raise TrainingError(
                _choices(f"{name} has escapes as {what} has them", data, [*escaping, "utf-8"])
            )
        return text
    if _is_binary(data):
        raise TrainingError(f"{where} but binary data of an unknown kind")
    raise TrainingError(_choices(where, data, _likely(data)))


def _strictly(name: str, data: bytes, encoding: str, offset: int = 0) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise TrainingError(
            f"{name} is not {encoding}: byte 0x{data[error.start]:02x} at offset "
            f"{error.start + offset:,} ({error.reason})"
        ) from error


def _as_named(name: str, data: bytes, encoding: str, say: Say) -> str:
    text = _strictly(name, data, encoding)
    if codecs.lookup(encoding).name != "utf-8" and not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            return text
        say(f"{name} is UTF-8 as well, but read as --encoding says ({encoding})")
    return text


def _likely(data: bytes) -> list[str]:
    """Encodings that can read all of it, those first whose text is the least of a mess."""
    part = _telling_part(data)
    mess = {}
    for name in (*_ALWAYS, *_OTHERS):
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        mess[name] = mess_ratio(part.decode(name, errors="replace")[:_RANKED_CHARACTERS])
    ranked = sorted(mess, key=lambda name: mess[name])
    return [name for k, name in enumerate(ranked) if k < _LIKELY or name in _ALWAYS]


def _choices(where: str, data: bytes, encodings: Iterable[str]) -> str:
    """The refusal: one line of the file as each encoding would read it."""
    readings: dict[str, list[str]] = {}
    line = _telling_line(data, encodings)
    for encoding in encodings:
        readings.setdefault(_shown(line, encoding), []).append(encoding)
    rows = [f"  {' or '.join(names):<24} {shown}" for shown, names in readings.items()]
    return "\n".join([f"{where}; choose how to read it with --encoding:", *rows])


def _telling_line(data: bytes, encodings: Iterable[str]) -> bytes:
    """The line that the encodings read in the most different ways."""
    if b"\x00" in data:  # lines do not end in one byte, and any will do
        return data[: 2 * _SHOWN_CHARACTERS]
    in_seven_bits = data.isascii()

    def is_telling(line: bytes) -> bool:
        if in_seven_bits:
            return any(begin.search(line) for begin in _SEVEN_BITS)
        return not line.isascii()

    lines = [line for line in data[:_SAMPLE_BYTES].splitlines() if is_telling(line)][:200]
    lines = lines or [next(line for line in data.splitlines() if is_telling(line))]
    return max(lines, key=lambda line: len({_shown(line, encoding) for encoding in encodings}))


def _shown(line: bytes, encoding: str) -> str:
    text = line.decode(encoding, errors="replace").strip()
    first = next((k for k, character in enumerate(text) if ord(character) > 127), 0)
    start = max(0, first - _SHOWN_CHARACTERS // 2)
    shown = text[start : start + _SHOWN_CHARACTERS]
    return "".join(character if character.isprintable() else "\ufffd" for character in shown)


def _telling_part(data: bytes) -> bytes:
    """Lines that are not ASCII, as many as a ranking needs."""
    part, size = [], 0
    for line in data.splitlines(keepends=True):
        if not line.isascii():
            part.append(line)
            size += len(line)
            if size > _SAMPLE_BYTES:
                break
    return b"".join(part)[:_SAMPLE_BYTES]


def _reads_as_text(data: bytes, encoding: str) -> bool:
    """Whether it is well formed in an encoding, and next to all of it letters and signs."""
    try:
        sample = data.decode(encoding)[:_RANKED_CHARACTERS]
    except UnicodeDecodeError:
        return False
    odd = sum(
        unicodedata.category(each) in _ODD_CATEGORIES for each in sample if each not in _SPACE
    )
    return odd <= _ODD_SHARE * len(sample)


def _seven_bits(data: bytes) -> list[str]:
    """The encodings in seven bits whose escapes it has, and as which it reads as a text."""
    if not data.isascii():
        return []
    return [
        encoding
        for begin, encodings in _SEVEN_BITS.items()
        if begin.search(data) and (begin is not _SHIFTED or _is_shifted(data))
        for encoding in encodings
        if _reads_as_text(data, encoding)
    ]


def _is_shifted(data: bytes) -> bool:
    """Whether every plus sign begins letters of UTF-7, as in hardly any other text."""
    shifts = [found[0][1:] for found in _SHIFTED.finditer(data)]
    words = [shift.rstrip(b"-") for shift in shifts]
    sure = sum(bool(_SURE_SHIFT.fullmatch(shift)) for shift in shifts)
    is_number = any(word.isdigit() for word in words)
    return max(len({*words} - {b""}), sure) >= _FEW_SHIFTS and not is_number and b"" not in shifts


def _is_binary(data: bytes) -> bool:
    sample = data[:65_536]
    return len(sample) - len(sample.translate(None, _CONTROL)) > _BINARY_SHARE * len(sample)
