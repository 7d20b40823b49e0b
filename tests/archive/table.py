"""The table of docs/packaging.md: `python -m tests.archive.table` writes it anew."""

from __future__ import annotations

from tests.archive.checkpoints import ROOT
from tests.archive.refused import REFUSED
from tests.archive.same import SAME
from tests.archive.served import MADE, SHAPES

PAGE = ROOT / "docs" / "packaging.md"
BEGIN, END = "<!-- layouts: made by tests/archive/table.py -->\n", "<!-- /layouts -->\n"
READ = "the same model, bit for bit"
COMPUTES = "logits equal to those of the library that wrote it"
SERVED = "served: greedy tokens equal those of `transformers`"


def table() -> str:
    """The rows: what it is, where people have it from, what comes."""
    rows = [(name, layout.source, _with(READ, layout.remark)) for name, layout in SAME.items()]
    rows += [(title, source, COMPUTES) for title, source in MADE.values()]
    rows += [(name, shape.source, _with(SERVED, shape.remark)) for name, shape in SHAPES.items()]
    rows += [(name, case.source, f"refused: `{case.words}`") for name, case in REFUSED.items()]
    lines = [f"| {name} | [there]({source}) | {comes} |" for name, source, comes in rows]
    return "\n".join(["| what | people have it from | what comes |", "|---|---|---|", *lines, ""])


def _with(comes: str, remark: str) -> str:
    return f"{comes}; remark: `{remark.strip()}`" if remark else comes


def page_with(table: str) -> str:
    """The page with this table in the place of its own."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{table}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page_with(table()), encoding="utf-8")
