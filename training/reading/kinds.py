"""Recognises files that are not text by their first bytes, and says what to do."""

import io
import zipfile

_PLAIN = "save it as plain text"
# (where, these bytes, what it is)
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF-", "a PDF; pdftotext takes its text out"),
    (0, b"{\\rtf", f"a document in RTF; {_PLAIN}"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"an old Word or Excel document; {_PLAIN}"),
    (0, b"\x89PNG\r\n", "an image (PNG)"),
    (0, b"\xff\xd8\xff", "an image (JPEG)"),
    (0, b"GIF8", "an image (GIF)"),
    (0, b"II*\x00", "an image (TIFF)"),
    (0, b"MM\x00*", "an image (TIFF)"),
    (8, b"WEBP", "an image (WebP)"),
    (0, b"ID3", "sound (MP3)"),
    (0, b"OggS", "sound (Ogg)"),
    (0, b"fLaC", "sound (FLAC)"),
    (8, b"WAVE", "sound (WAV)"),
    (4, b"ftyp", "a video or sound (MP4)"),
    (0, b"\x1aE\xdf\xa3", "a video (Matroska)"),
    (0, b"7z\xbc\xaf\x27\x1c", "an archive (7z); unpack it"),
    (0, b"Rar!", "an archive (RAR); unpack it"),
    (257, b"ustar", "an archive (tar); unpack it"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ\x90\x00", "a program"),
    (0, b"SQLite format 3\x00", "a database (SQLite)"),
    (0, b"\x93NUMPY", "an array (NumPy)"),
    (0, b"GGUF", "a model (GGUF)"),
    (0, b"\x80\x04\x95", "a Python pickle"),
    (0, b"\x00\x05\x16\x07", "what a Mac keeps about another file (AppleDouble)"),
    (60, b"BOOKMOBI", f"a book (Mobipocket, Kindle); {_PLAIN}"),
)
# (a member of the zip, what it is)
_ZIPPED = (
    ("word/document.xml", f"a Word document; {_PLAIN}, or use pandoc -t plain"),
    ("xl/workbook.xml", "an Excel table; save it as CSV"),
    ("ppt/presentation.xml", f"a PowerPoint document; {_PLAIN}"),
    ("META-INF/container.xml", f"a book (EPUB); {_PLAIN}, or use pandoc -t plain"),
    ("content.xml", f"an OpenDocument; {_PLAIN}, or use pandoc -t plain"),
    ("META-INF/MANIFEST.MF", "a Java archive"),
)


def kind_of(data: bytes) -> str | None:
    """What these bytes are, and what to do; None for text or what nobody here knows."""
    for where, magic, kind in _MAGIC:
        if data.startswith(magic, where):
            return kind
    if data.startswith(b"PK\x03\x04"):
        return _kind_of_zip(data)
    return None


def _kind_of_zip(data: bytes) -> str | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            names = set(file.namelist())
    except zipfile.BadZipFile:
        return None
    return next((kind for member, kind in _ZIPPED if member in names), None)
