"""Text as people have it: each form gives the same training tokens as its plain twin."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pyarrow import Table, parquet

from tests.training.conftest import ROOT
from tests.training.text import tales
from training.corpus import CHUNK_CHARACTERS, split
from training.errors import TrainingError
from training.reading import parquet as parquet_reader
from training.reading.document import Documents, Reading
from training.reading.read import read_documents
from training.vocabulary import encode_chunks, load_tokenizer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

END = 0  # <|endoftext|> of the embedded model
# Everything that trips a reader: quotes, commas, tabs, line ends, blank lines, other scripts.
BODIES = [
    f"{part} No. {k}, of \u201c\u201d\u00e9\u4e16\U0001f600: a\tb; 'c'"
    for k, part in enumerate(tales(60, seed=3).split("\n\n"))
]
STORIES = [f"{one}\n\n{two}\nand on." for one, two in zip(BODIES[::2], BODIES[1::2], strict=True)]
LINES = [re.sub(r"\s+", " ", body) for body in BODIES]


@pytest.fixture(scope="module")
def tokens() -> Callable[[Documents], list[int]]:
    tokenizer = load_tokenizer(str(ROOT / "models" / "gpt2-tales"))

    def encode(texts: Documents) -> list[int]:
        corpus = split(texts)
        chunks = encode_chunks(tokenizer, (*corpus.train, *corpus.held_out), END)
        return np.concatenate(chunks).tolist()

    return encode


@pytest.fixture
def plain_twin(tmp_path: Path, tokens) -> Callable[[Sequence[str]], list[int]]:
    """The tokens of a folder with one file for each text."""

    def of(texts: Sequence[str]) -> list[int]:
        folder = tmp_path / "plain"
        folder.mkdir()
        for number, text in enumerate(texts):
            (folder / f"{number:03}.txt").write_text(text, encoding="utf-8")
        return tokens(read_documents([str(folder)], Reading()))

    return of


def table(rows: Sequence[Sequence[str]], **options: str) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, **options).writerows(rows)
    return file.getvalue().encode()


def json_lines(records: Sequence[object]) -> bytes:
    return "\n".join(map(json.dumps, records)).encode() + b"\n"


def as_parquet(columns: dict[str, list[str]]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(Table.from_pydict(columns), file)
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def marked(texts: Sequence[str], before: str = "", after: str = "<|endoftext|>") -> str:
    return "\n".join(f"{before}{text}{after}" for text in texts)


_SEMICOLONS = table([("n", "text"), *((s, s) for s in STORIES)], delimiter=";")
NUMBERS = [str(k) for k in range(len(STORIES))]
FORMS: dict[str, tuple[str, bytes, Reading]] = {
    "marks": ("a.txt", marked(STORIES).encode(), Reading()),
    "gpt-2-simple": ("a.txt", marked(STORIES, "<|startoftext|>").encode(), Reading()),
    "its own mark": ("a.txt", "\n***\n".join(STORIES).encode(), Reading(separator="\n***\n")),
    "DOS": ("BOOK.TXT", marked(STORIES).replace("\n", "\r\n").encode("utf-8-sig"), Reading()),
    "UTF-16": ("a.txt", marked(STORIES).encode("utf-16"), Reading()),
    "UTF-32": ("a.txt", marked(STORIES).encode("utf-32"), Reading()),
    "JSON Lines": ("a.jsonl", json_lines([{"text": s, "id": 1} for s in STORIES]), Reading()),
    "JSON Lines by look": ("data", json_lines([{"text": s} for s in STORIES]), Reading()),
    "a JSON list": ("a.json", json.dumps([{"text": s} for s in STORIES]).encode(), Reading()),
    "a field": ("a.jsonl", json_lines([{"a": 1, "b": s} for s in STORIES]), Reading(column="b")),
    "prompts": (
        "a.ndjson",
        json_lines([{"prompt": s[:9], "completion": s[9:] + "<|endoftext|>"} for s in STORIES]),
        Reading(),
    ),
    "CSV": (
        "a.csv",
        table([("id", "text"), *zip(NUMBERS, STORIES, strict=True)]),
        Reading(),
    ),
    "Excel's CSV": ("a.csv", _SEMICOLONS, Reading()),
    "one column": ("a.csv", table([["tweets"], *([s] for s in STORIES)]), Reading()),
    "no header": ("a.csv", table([[s] for s in STORIES]), Reading(header=False)),
    "TSV": (
        "a.tsv",
        table([("x", "text"), *((s, s) for s in STORIES)], dialect="excel-tab"),
        Reading(),
    ),
    "Parquet": ("a.parquet", as_parquet({"n": NUMBERS, "text": STORIES}), Reading()),
    "gzip": ("a.csv.gz", gzip.compress(table([["text"], *([s] for s in STORIES)])), Reading()),
    "zstd": ("a.txt.zst", zstd.compress(marked(STORIES).encode()), Reading()),
    "bzip2": ("a.txt.bz2", bz2.compress(marked(STORIES).encode()), Reading()),
    "xz": ("a.txt.xz", lzma.compress(marked(STORIES).encode()), Reading()),
    "zip": (
        "a.zip",
        zipped(
            {f"in/{number}.txt": STORIES[number].encode() for number in range(10)}
            | {"in/x.jsonl": json_lines([{"text": s} for s in STORIES[10:]])}
            | {"__MACOSX/in/._1.txt": b"\x00\x05\x16\x07", "cover.jpg": b"\xff\xd8\xff"}
        ),
        Reading(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_tokens_of_its_plain_twin(
    form: str, tmp_path: Path, tokens, plain_twin
) -> None:
    name, data, how = FORMS[form]
    (tmp_path / name).write_bytes(data)
    found = tokens(read_documents([str(tmp_path / name)], how))
    assert found == plain_twin(STORIES)
    assert found.count(END) >= len(STORIES)


@pytest.mark.parametrize(
    ("name", "data", "how"),
    [
        ("a.txt", "\n".join(LINES).encode(), Reading(format="lines")),
        ("a.tsv", ("text\n" + "\n".join('"A," he said, ' + x for x in LINES)).encode(), Reading()),
    ],
)
def test_one_text_a_line(name: str, data: bytes, how: Reading, tmp_path: Path, plain_twin, tokens):
    # Tables without quotes of their own are one text a line as well, but for tabs.
    lines = [x.replace("\t", " ") for x in LINES]
    data = data.replace(b"a\tb", b"a b")
    plain = lines if how.format == "lines" else ['"A," he said, ' + x for x in lines]
    (tmp_path / name).write_bytes(data)
    assert tokens(read_documents([str(tmp_path / name)], how)) == plain_twin(plain)


def test_messages_are_written_by_the_chat_template(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}]
    file = tmp_path / "a.jsonl"
    file.write_bytes(json_lines([{"messages": turns}] * 2))
    with pytest.raises(TrainingError, match="--chat-template"):
        read_documents([str(file)], Reading())
    how = Reading(render=lambda turns: "/".join(turn["content"] for turn in turns))
    assert [d.text for d in read_documents([str(file)], how).documents] == ["Hello?/Yes."] * 2


def test_sharegpts_conversations_are_messages(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Hello?"}, {"from": "gpt", "value": "Yes."}]
    (tmp_path / "a.json").write_text(json.dumps([{"id": "x", "conversations": turns}]))
    how = Reading(render=lambda turns: "/".join(f"{t['role']}:{t['content']}" for t in turns))
    [found] = read_documents([str(tmp_path / "a.json")], how).documents
    assert found.text == "user:Hello?/assistant:Yes."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!DOCTYPE html>\n<html><p>Hello</p></html>", "looks like HTML"),
        ("  <?xml version='1.0'?>\n<html>", "looks like HTML"),
        ("<?xml version='1.0'?>\n<TEI><p>Hello</p></TEI>", "looks like HTML or XML"),
        ("<mediawiki xml:lang='en'><page>Hello</page>", "looks like HTML or XML"),
        ("One</s>\nTwo</s>\n", "2 </s>, another model's end of a text"),
        ("One<|im_end|>Two", "--separator '<|im_end|>' parts it there"),
        ("".join(f"A tweet, number {i}.\n" for i in range(99)), "as if each line were a text"),
        ("".join(f"Is it number {i}?\n" for i in range(99)), "as if each line were a text"),
        ("caf\u00e9 cr\u00e8me br\u00fbl\u00e9e".encode().decode("cp1252"), "saved so"),
        ("\u201cOh\u2019s\u201c \u2013".encode().decode("cp1252"), "saved so"),
    ],
)
def test_what_is_hardly_meant_is_said(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    assert said in "\n".join(read_documents([str(tmp_path / "a.txt")], Reading()).notes)


def test_plain_texts_are_said_nothing_of(tmp_path: Path) -> None:
    plain = "\u00c0 la carte: \u00c2ge, S\u00c3O, \u00e2\u20ac; a < b, <html> in the midst"
    (tmp_path / "a.txt").write_text(f"{plain}\n\n{FRENCH[:60]}", encoding="utf-8")
    assert read_documents([str(tmp_path / "a.txt")], Reading()).notes == ()


def test_folders_patterns_pipes_and_standard_input(tmp_path: Path, tokens, plain_twin) -> None:
    plain = plain_twin(STORIES)
    folder = tmp_path / "deep"
    (folder / "sub").mkdir(parents=True)
    for number, text in enumerate(STORIES):
        (folder / "sub" / f"{number:03}.Txt").write_text(text, encoding="utf-8")
    (folder / "sub" / "._a.txt").write_bytes(b"\x00\x05\x16\x07\x00")
    (folder / "cover.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "SOURCES.tsv").write_text("file\tauthor\ttitle\n")
    texts = read_documents([str(folder)], Reading())
    assert tokens(texts) == plain
    said = "\n".join(texts.notes)
    assert "._a.txt) left out" in said and "cover.jpg) left out" in said
    assert tokens(read_documents([str(tmp_path / "d*" / "**" / "*.Txt")], Reading())) == plain

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(marked(STORIES).encode(),))
    writer.start()
    assert tokens(read_documents([str(pipe)], Reading())) == plain
    writer.join()
    done = subprocess.run(
        [sys.executable, "-c", _DIGEST],
        input=marked(STORIES).encode(),
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().strip() == split(texts).digest


_DIGEST = """
from training.corpus import split
from training.reading.document import Reading
from training.reading.read import read_documents
print(split(read_documents(["-"], Reading())).digest)
"""


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("once")
    texts = read_documents([str(tmp_path / "a.txt"), str(tmp_path)], Reading())
    assert [d.text for d in texts.documents] == ["once"]


def test_a_document_knows_its_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo<|endoftext|>\n\nthree")
    (tmp_path / "b.csv").write_text('text\n"x\ny"\nz\n')
    found = read_documents([str(tmp_path)], Reading()).documents
    assert [(d.source, d.line) for d in found] == [
        ("a.txt", 1), ("a.txt", 4), ("b.csv", 2), ("b.csv", 4),
    ]  # fmt: skip


def test_it_is_said_when_each_line_seems_to_be_a_text(tmp_path: Path) -> None:
    def notes(text: str) -> str:
        (tmp_path / "a.txt").write_text(text)
        return "\n".join(read_documents([str(tmp_path / "a.txt")], Reading()).notes)

    assert "--lines" in notes("\n".join(LINES))
    wrapped = re.sub(r"(.{60,70}) ", r"\1\n", " ".join(LINES))
    assert "--lines" not in notes(wrapped)
    assert "--lines" not in notes("\n\n".join(LINES))


FRENCH = "Il était une fois une forêt où vivait un loup. Ça, c'est sûr.\n" * 30
RUSSIAN = "Жил-был старик со старухой у самого синего моря.\n" * 30
JAPANESE = "昔々、あるところにおじいさんとおばあさんがいました。\n" * 30
CHINESE = "从前有座山，山上有座庙。\n" * 30


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        (FRENCH, "windows-1252", "windows-1252"),
        (
            "\u201cI say,\u201d he said. It\u2019s a caf\u00e9.\n" * 30,
            "windows-1252",
            "windows-1252",
        ),
        (JAPANESE, "shift_jis", "shift_jis"),
        (RUSSIAN, "windows-1251", "windows-1251"),
        (FRENCH, "utf-16-le", "utf-16-le"),
        (RUSSIAN, "utf-16-le", "utf-16-le"),  # without a mark it is well-formed UTF-8
        (JAPANESE, "utf-16-be", "utf-16-be"),
        ("Once upon a time.\n" * 30, "utf-32-le", "utf-32-le"),
        (JAPANESE, "iso2022_jp", "iso2022_jp"),
        (FRENCH, "utf-7", "utf-7"),
        (RUSSIAN, "utf-7", "utf-7"),
        (JAPANESE, "utf-7", "utf-7"),
        (CHINESE, "utf-7", "utf-7"),
        ("Un caf\u00e9, s'il vous pla\u00eet.\n" * 30, "utf-7", "utf-7"),
        (CHINESE, "hz", "hz"),
    ],
)
def test_an_encoding_in_doubt_is_refused_until_it_is_named(
    text: str, encoding: str, named: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(text.encode(encoding))
    with pytest.raises(TrainingError) as refused:
        read_documents([str(file)], Reading())
    said = str(refused.value)
    row = next(row for row in said.splitlines() if re.search(named, row) and "  " in row)
    assert "--encoding" in said and text.split("\n")[0][:20] in row
    [document] = read_documents([str(file)], Reading(encoding=encoding)).documents
    assert document.text == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "She got an A+ in C++, a B+-ish mark in maths, and 1+1 was 2+-0.",
        "Call +49301234567, +100 or +800; +1-202-555-0100 and +44 are others.",
        "a+b+c and x+-y, +-, +-3, Google+Drive, 18+big, 18+add, 18+cow",
        "diff\n+import os\n+import sys\n+def main():\n-    pass\n+    return 0\n",
        "+AOk- is how UTF-7 has it; ~{ and ~} are HZ's, ~~ is a tilde: x = ~{1}",
        "home~{user}/~ and ~{", "\x1b[1mbold\x1b[0m of a terminal",
    ],
)  # fmt: skip
def test_plain_ascii_is_no_other_encoding(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text + "\nmore of it\n" * 30)
    [document] = read_documents([str(tmp_path / "a.txt")], Reading()).documents
    assert document.text.startswith(text)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.7 \xe2\xe3", "a PDF"),
        (zipped({"word/document.xml": b"x"}), "a Word document"),
        (zipped({"META-INF/container.xml": b"x"}), "EPUB"),
        (b"\x89PNG\r\n\x1a\n\x00", "an image"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "an old Word"),
        (bytes(range(256)) * 20, "binary data"),
        (gzip.compress(b"x" * 1000, mtime=0)[:-9], "damaged"),
        (zstd.compress(b"x" * 1000)[:-3], "damaged"),
        (b"", "nothing but white space"),
        (b" \n\n", "nothing but white space"),
    ],
)
def test_what_is_no_text_is_told_by_what_it_is(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(TrainingError, match=re.escape(words)):
        read_documents([str(tmp_path / "a.txt")], Reading())


@pytest.mark.parametrize(
    ("name", "data", "how", "words"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"text": ', Reading(), "a.jsonl line 2 is not JSON"),
        ("a.jsonl", b'{"title": "x", "body": "y"}', Reading(), "it has title, body"),
        ("a.jsonl", b'{"text": 3}', Reading(), "text is not text but int"),
        ("a.jsonl", b"3", Reading(), "not a JSON object"),
        ("a.jsonl", b'{"messages": ["hello"]}', Reading(), "role and content"),
        ("a.json", b'{"data": [{"text": "x"}]}', Reading(), "data is not text but a list"),
        ("a.csv", b"a,b\n1,2\n", Reading(), "it has a, b: choose one with --column"),
        ("a.csv", b"a,b\n1,2\n", Reading(column="c"), "--column"),
        ("a.csv", b"text\nHello, you\n", Reading(), "line 2 has 2 fields"),
        ("a.csv", b'text\n"Hello" you\n', Reading(), "line 2"),
        ("a.parquet", b"PAR1 and no more", Reading(), "damaged"),
        ("a.txt", b"no mark", Reading(separator="***"), "does not occur"),
    ],
)
def test_a_fault_is_named_with_its_line(
    name: str, data: bytes, how: Reading, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TrainingError, match=re.escape(words)):
        read_documents([str(tmp_path / name)], how)


def test_without_pyarrow_the_line_that_installs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.parquet").write_bytes(FORMS["Parquet"][1])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TrainingError, match=re.escape(parquet_reader.install_line())):
        read_documents([str(tmp_path / "a.parquet")], Reading())
    assert parquet_reader.install_line().endswith("requirements.lock pyarrow")


def test_odd_characters_are_counted_and_named(tmp_path: Path) -> None:
    odd = b"good\nbad \x00\x00\x1b\n" + "\ufffd".encode()
    (tmp_path / "a.txt").write_bytes(odd + b"\n" + b"good words\n" * 99)
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "half \\ud800"}')
    texts = read_documents([str(tmp_path)], Reading())
    [note] = texts.notes
    assert "5 odd characters" in note and "the first in a.txt line 2" in note
    for named in ("U+0000 (NUL) 2", "U+001B (escape) 1", "U+D800 (half", "U+FFFD"):
        assert named in note
    "".join(document.text for document in texts.documents).encode()  # what is left can be held


@pytest.mark.parametrize(
    "text",
    [
        tales(60),
        tales(60).replace("\n\n", "\n"),
        tales(60).replace("\n\n", " "),
        "word " * 3000,
        "x" * 9000,
        "。".join(["昔々あるところに"] * 500),
        (ROOT / "LICENSE").read_text(),
    ],
)
def test_something_is_held_out_whatever_parts_there_are(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    corpus = split(read_documents([str(tmp_path / "a.txt")], Reading()))
    assert 0.04 < corpus.held_out_characters / len(text) < 0.2
    joined = "".join([*corpus.train, *corpus.held_out])
    assert sorted(re.sub(r"\s", "", joined)) == sorted(re.sub(r"\s", "", text))
    # Fine cuts are for holding out alone: a short text is learnt in as few chunks as can be.
    assert len(corpus.train) <= len(corpus.held_out) + 1


def test_a_chunk_lies_in_one_document_and_is_no_longer_than_a_chapter(tmp_path: Path) -> None:
    stories = [tales(200, seed=k) for k in range(25)]
    (tmp_path / "a.txt").write_text("<|endoftext|>".join(stories))
    corpus = split(read_documents([str(tmp_path / "a.txt")], Reading()))
    for chunk in (*corpus.train, *corpus.held_out):
        assert len(chunk) < 1.5 * CHUNK_CHARACTERS
        assert any(chunk in story for story in stories)
