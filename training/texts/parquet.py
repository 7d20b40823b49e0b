"""Parquet, by pyarrow: a row is a record."""

import io
import os
import shlex
import sys
from collections.abc import Iterator

from training.errors import TrainingError
from training.texts.document import Document, Reading
from training.texts.records import choose_fields, read_record

MAGIC = b"PAR1"


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
    """How to install what is missing, with the Python that runs."""
    here = os.path.relpath(sys.executable)
    python = sys.executable if here.startswith("..") else here
    return f"{shlex.quote(python)} -m pip install -c requirements.lock pyarrow"
