"""What hardly anybody means to train on is told, with its place and what to do."""

import base64
import json
import random
import re
import subprocess
from pathlib import Path

import pytest
from pyarrow import Table, parquet

from tests.training.conftest import ROOT
from tests.training.text import tales
from training.reading.document import Reading
from training.reading.read import read_documents

TALE = tales(60, seed=3).replace('"', "")
SENTENCES = [f"{each.strip()}." for each in TALE.replace("\n", " ").split(".") if each.strip()]
BYTES = base64.encodebytes(random.Random(1).randbytes(900)).decode()


def each(line: str, between: str = "\n") -> str:
    """A line for each sentence, with its number as an hour's minute."""
    numbered = enumerate(SENTENCES)
    return between.join(line.format(k % 60, k % 60 + 1, text, n=k) for k, text in numbered)


def notes_of(path: Path, how: Reading = Reading()) -> str:  # noqa: B008
    return "\n".join(read_documents([str(path)], how).notes)


SUBTITLES = {
    "a.srt": each("{n}\n00:{0:02}:00,000 --> 00:{1:02}:00,500\n{2}", "\n\n"),
    "a.vtt": "WEBVTT\n\n" + each("{0:02}:00.000 --> {1:02}:00.500 align:start\n{2}", "\n\n"),
    "a.ass": "[Script Info]\nTitle: x\n\n[Events]\nFormat: Layer, Start, End, Text\n"
    + each("Dialogue: 0,0:{0:02}:00.00,0:{1:02}:00.50,Default,,0,0,0,,{2}"),
    "a.sub": each("{{{0}}}{{{1}}}{2}"),
    "a.lrc": each("[{0:02}:00.50]{2}"),
}


@pytest.mark.parametrize("name", SUBTITLES)
def test_times_of_subtitles_are_told_and_what_is_told_to_do_takes_them_out(
    name: str, tmp_path: Path
) -> None:
    for file, end in ((name, "\n"), (f"dos-{name}", "\r\n")):
        (tmp_path / file).write_bytes(SUBTITLES[name].replace("\n", end).encode())
    said = notes_of(tmp_path / "*")
    assert f"{name} and 1 more: {2 * len(SENTENCES)} " in said
    told = re.search(r"\(((?:grep|sed) .*) FILE leaves", said)
    assert told is not None, said
    for path in list(tmp_path.iterdir()):
        done = subprocess.run(
            ["bash", "-c", f"{told[1]} {path}"], capture_output=True, check=True, text=True
        )
        (tmp_path / "plain.txt").write_text(done.stdout)
        assert done.stdout.split() == " ".join(SENTENCES).split()
        assert "time" not in notes_of(tmp_path / "plain.txt")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (each("12/03/2023, 21:{0:02} - Ann: {2}"), "begin with a time or a date, such as '12/03/"),
        (each("\u200e[12.03.23, 21:{0:02}:11] Ann: {2}"), "begin with a time or a date"),
        (each("3/12/23, 9:{0:02} PM - Ann: {2}"), "begin with a time or a date"),
        (each("[21:{0:02}] <Ann> {2}"), "begin with a time, such as '[21:00]'"),
        (each("2023-03-12T21:{0:02}:11.123Z INFO app {2}"), "begin with a time or a date"),
        (each("Mar 12 21:{0:02}:11 host app[12]: {2}"), "such as 'Mar 12 21:00'"),
        (each("Date: Mon, 13 Mar\nMIME-Version: 1.0\n\n{2}", "\n\n"), "headers of e-mail"),
        (each("{2}").replace("The ", "The=E2=80=99"), "as quoted-printable has them"),
        (f"---\ntitle: A post\ntags: [a]\n---\n\n{TALE}", "front matter, such as 'title: A post'"),
        (each("\\section{{One}} {2}"), "of LaTeX's commands, such as '\\\\section{'"),
        (each("[[a|link]] {2}"), "marks of a wiki, such as '[[a|link]]'"),
        (each("{2}<br />"), "tags and names of characters, such as '<br />'"),
        (TALE.replace(" the ", "&nbsp;the "), "such as '&nbsp;'"),
        (TALE.replace("\n", "\\n"), "escapes such as '\\\\n\\\\n'"),
        (f"{TALE}\n\n{BYTES}", "characters of base64"),
        (f"![](data:image/png;base64,{BYTES.replace(chr(10), '')})\n{TALE}", "of base64"),
        (f"*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\n{TALE}", "Project Gutenberg's own"),
        (each("A FOX'S TRAVELS     {n}\n\n{2}\f", "\n\n"), "lines such as 'A FOX'S TRAVELS"),
        (each("{2}\n===="), "lines such as '====' stand in it"),
        (each("# Copyright the authors of it\n{2}"), "lines such as '# Copyright"),
        ("\n".join(map(str, range(3000))), "are digits and signs, such as '0'"),
        (each("under-\nstanding {2}"), "words are parted at the end of a line"),
        ("cafe\u0301 " * 30, "two characters, a letter and its accent"),
        ("id,text\n" + each('{n},"{2}"'), "it looks like a table, and is read as text (--format c"),
        ("id\ttext\n" + each("{n}\t{2}"), "(--format tsv: as texts)"),
        ('{"data": [\n' + TALE, "it begins as JSON does"),
        (f"{TALE}\n\ufeff{TALE}", "byte order marks within it (1)"),
        (TALE.replace("in", "\u00adi\u200bn"), "U+00AD (soft hyphen)"),
        (TALE.replace("e", "\ufb01"), "U+FB01 (latin small ligature fi)"),
    ],
)
def test_what_is_no_words_of_a_text_is_told(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode())
    found = notes_of(tmp_path / "a.txt")
    assert said.replace("'A FOX'S", "\"A FOX'S") in found or said in found, found


def test_it_is_told_of_records_too_and_once_for_all_files(tmp_path: Path) -> None:
    for k in range(12):
        record = json.dumps({"text": f"<p>A caf\u00c3\u00a9, number {k}</p><br/>"})
        (tmp_path / f"{k:02}.jsonl").write_text(f"{record}\n" * 3)
    [markup, twice] = notes_of(tmp_path).splitlines()
    assert markup.startswith("00.jsonl and 11 more: it looks like HTML or XML: 72 tags")
    assert twice.startswith("00.jsonl and 11 more: 36 signs such as")


@pytest.mark.parametrize("name", ["LICENSE", "README.md", "docs/index.md", "training/corpus.py"])
def test_of_a_text_nothing_is_told(name: str) -> None:
    assert notes_of(ROOT / name) == ""


def test_verses_dialogues_and_numbers_in_a_text_are_its_own(tmp_path: Path) -> None:
    verses = [f"{k // 30 + 1}:{k % 30 + 1} {text}" for k, text in enumerate(SENTENCES)]
    scenes = "\n\n* * *\n\n".join(tales(240, seed=seed) for seed in range(12))
    for text in (
        "\n\n".join(verses),
        scenes,
        "Everybody knows that 3 < 4 & 5 > 2, in [[1], [3]]. " * 40,
    ):
        (tmp_path / "a.txt").write_text(text)
        assert notes_of(tmp_path / "a.txt") == ""


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
def test_records_without_a_text_are_counted(name: str, tmp_path: Path) -> None:
    texts = [None if k % 3 == 1 else SENTENCES[k] for k in range(30)]
    path = tmp_path / name
    if name == "a.jsonl":
        other: list[dict[str, str | None]] = [{"title": "No text"}, {}, {"text": " "}]
        records = [{"text": text} if text else other[k % 3] for k, text in enumerate(texts)]
        path.write_text("\n".join(map(json.dumps, records)))
    elif name == "a.json":
        path.write_text(json.dumps([{"text": text} for text in texts], indent=1))
    elif name == "a.csv":
        path.write_text("id,text\n" + "".join(f'{k},"{t or ""}"\n' for k, t in enumerate(texts)))
    else:
        parquet.write_table(Table.from_pydict({"text": texts}), path)
    found = read_documents([str(path)], Reading())
    assert [document.text for document in found.documents] == [text for text in texts if text]
    line = 3 if name == "a.csv" else 2
    [note] = found.notes
    assert note.startswith("10 records have no text") and note.endswith(f"{name} line {line}")


def test_a_list_in_json_is_read_whatever_its_file_is_called(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(json.dumps([{"text": text} for text in SENTENCES], indent=2))
    (tmp_path / "b.txt").write_text(json.dumps(SENTENCES))
    (tmp_path / "c.json").write_text(json.dumps({"title": "x", "text": SENTENCES[0]}, indent=2))
    found = read_documents([str(tmp_path)], Reading())
    assert [document.text for document in found.documents] == [*SENTENCES * 2, SENTENCES[0]]


def test_files_that_were_joined_are_read_as_each_of_them(tmp_path: Path) -> None:
    table = "\ufefftext\n" + "".join(f'"{text}"\n' for text in SENTENCES[:5])
    records = "\ufeff" + "".join(json.dumps({"text": text}) + "\n" for text in SENTENCES[:5])
    (tmp_path / "a.csv").write_text(table * 2)
    (tmp_path / "b.jsonl").write_text(records * 2)
    found = read_documents([str(tmp_path)], Reading())
    assert [document.text for document in found.documents] == SENTENCES[:5] * 4
    said = "\n".join(found.notes)
    assert "a.csv: the names of the columns stand in it 2 times, again in line 7" in said
    assert "a.csv and 1 more: byte order marks within it (2)" in said
