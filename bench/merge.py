"""`--only`: what the file of results held before and was not measured anew stays in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.environments import SetUpError
from bench.gateway import GatewayFigures
from bench.limits import Limits
from bench.rows import Row


@dataclass(frozen=True)
class Earlier:
    """What an earlier run left; empty without one."""

    rows: list[Row] = field(default_factory=list)
    quality: list[dict[str, Any]] = field(default_factory=list)
    gateway: GatewayFigures | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def with_rows(self, rows: Sequence[Row]) -> list[Row]:
        """Join with rows of a later run: of what both measured, the later ones."""
        anew = {_key(row) for row in rows}
        joined = [row for row in self.rows if _key(row) not in anew] + list(rows)
        models = list(dict.fromkeys(row.model for row in [*self.rows, *rows]))
        return sorted(joined, key=lambda row: models.index(row.model))

    def with_about(
        self, run: dict[str, Any], machine: Limits, rows: Sequence[Row]
    ) -> dict[str, Any]:
        """Say where everything comes from: a run whose rows stand, and under `later` the others.

        `run` describes the run now ending, with its `sections`; `rows` are what it measured.
        """
        if not self.about:
            return run
        others = [self.about, *self.about.get("later", [])]
        base, *others = [_summary(other) for other in others]
        others = [other for other in others if not _replaced(other, run)]
        anew = {_key(row) for row in rows}
        if all(_key(row) in anew for row in self.rows):
            others = others if _replaced(base, run) else [base, *others]
            return run | {"later": others} if others else run
        return self.about | {"later": [*others, _summary(run | {"machine": machine.as_json()})]}


def read(path: Path, machine: Limits, quick: bool) -> Earlier:
    """Read the results that are there, if any.

    Raises:
        SetUpError: They do not go together with this run's.
    """
    if not path.exists():
        return Earlier()
    try:
        return _parse(json.loads(path.read_text(encoding="utf-8")), machine, quick)
    except SetUpError as error:
        raise SetUpError(f"{path.name} {error}; give --output another name") from None
    except (ValueError, KeyError, TypeError):
        raise SetUpError(
            f"{path.name} was written by another version; give --output another name"
        ) from None


def _parse(content: dict[str, Any], machine: Limits, quick: bool) -> Earlier:
    here = machine.as_json()
    if any(content["machine"][key] != here[key] for key in ("cpu", "instructions", "cores")):
        raise SetUpError("is from another machine or kind of processor")
    if content["plan"]["quick"] != quick:
        raise SetUpError("was measured with other sizes (--quick)")
    figures: Mapping[str, Any] | None = content.pop("gateway", None)
    rows = [Row(**row) for row in content.pop("rows")]
    quality = content.pop("quality")
    del content["ratios"]  # made anew from the rows
    return Earlier(rows, quality, GatewayFigures(**figures) if figures else None, content)


def _key(row: Row) -> tuple[str, str, str]:
    return row.section, row.model, row.path


def _summary(run: Mapping[str, Any]) -> dict[str, Any]:
    named = ("sections", "commit", "date", "seconds", "plan", "machine")
    return {name: run[name] for name in named if name in run}


def _replaced(other: Mapping[str, Any], run: Mapping[str, Any]) -> bool:
    return set(other.get("sections", ())) <= set(run["sections"])
