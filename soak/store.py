"""The archives that a soak serves: the embedded model with a chat template, in two versions."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "models" / "gpt2-tales"
ARCHIVE, SECOND, OTHER = "gpt2.mar", "gpt2-second.mar", "other.mar"
MANIFEST = "MAR-INF/MANIFEST.json"
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def make(folder: Path) -> None:
    """Pack the model, and write the same model as a second version and under another name."""
    folder.mkdir(parents=True, exist_ok=True)
    template = folder / "template.jinja"
    template.write_text(TEMPLATE, encoding="utf-8")
    command = [sys.executable, "-m", "archive", "--model", str(MODEL), "--name", "gpt2"]
    command += ["--output", str(folder), "--chat-template", str(template)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    _renamed(folder / ARCHIVE, folder / SECOND, modelVersion="2.0")
    _renamed(folder / ARCHIVE, folder / OTHER, modelName="other")


def _renamed(source: Path, target: Path, **fields: str) -> None:
    with zipfile.ZipFile(source) as given, zipfile.ZipFile(target, "w") as made:
        for entry in given.infolist():
            content = given.read(entry)
            if entry.filename == MANIFEST:
                manifest = json.loads(content)
                manifest["model"].update(fields)
                content = json.dumps(manifest).encode()
            made.writestr(entry, content)
