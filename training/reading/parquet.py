"""Parquet, by pyarrow: a row is a record."""

import io
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from training.errors import TrainingError
from training.reading.document import Document, Reading
from training.reading.records import choose_fields, read_record

MAGIC = b"PAR1"
ROOT = Path(__file__).resolve().parents[2]


def read_parquet(data: bytes, source: str, how: Reading) -> Iterator[Document]:
    """A document for each row; a document's line is its row.

    Raises:
        TrainingError: pyarrow is not there, the file is damaged, or no column is the text.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise TrainingError(
            f"{source} is Parquet, for which pyarrow is needed (55 MB to download, 170 MB on the "
            f"disk): {install_line()}"
        ) from error
    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        fields = choose_fields(file.schema_arrow.names, how, source)
        row = 0
        for batch in file.iter_batches(columns=list(fields)):
            for record in batch.to_pylist():
                row += 1
                yield from read_record(record, fields, how, source, row)
    except (arrow.ArrowException, OSError) as error:
        raise TrainingError(f"{source} is damaged: {error}") from error


def install_line() -> str:
    """How to install what is missing, for the Python that runs, from where the person stands."""
    python, lock = (_from_here(path) for path in (sys.executable, ROOT / "requirements.lock"))
    return f"{python} -m pip install -c {lock} pyarrow"


def _from_here(path: str | Path) -> str:
    here = os.path.relpath(path)
    return shlex.quote(str(path) if here.startswith("..") else here)
