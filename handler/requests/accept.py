"""Chooses the media type of a reply from the header `Accept` (RFC 9110, section 12.5.1)."""

from __future__ import annotations

JSON = "application/json"
TEXT = "text/plain"
EVENTS = "text/event-stream"
RANGES = {JSON: JSON, TEXT: TEXT, EVENTS: EVENTS, "application/*": JSON, "text/*": TEXT}


def preferred(accept: str) -> str:
    """The one of the three that is wanted most; empty where anything will do, or none is named."""
    best, most = "", 0.0
    for part in accept.lower().split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        weight = _weight(parameters)
        if kind == "*/*" and weight:
            return ""
        if kind in RANGES and weight > most:
            best, most = RANGES[kind], weight
    return best


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
