"""All settings as a Markdown table, for the documentation."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

from gateway.paths import ROOT
from gateway.settings.settings import Settings


def table() -> str:
    """Return all settings as a Markdown table, for the documentation."""
    rows = ["| setting | default | what it is |", "|---|---|---|"]
    for spec in fields(Settings):
        assert spec.default is not MISSING
        default, declared = spec.default, spec.metadata
        if isinstance(default, Path):
            default = default.relative_to(ROOT)
        shown = "" if default in ("", (), None) else f"`{default}`"
        about = declared["about"]
        if declared["choices"]:
            about += " One of " + ", ".join(f"`{choice}`" for choice in declared["choices"]) + "."
        rows.append(f"| `{spec.name.upper()}` | {shown} | {about} |")
    return "\n".join(rows)
