"""CycloneDX's own judge of a bill of materials."""

from __future__ import annotations

import json
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def read_bill(text: str) -> dict[str, Any]:
    """Return a bill of materials that CycloneDX's strict schema lets pass."""
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert fault is None, fault
    bill: dict[str, Any] = json.loads(text)
    return bill
