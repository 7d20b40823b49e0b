"""Kubernetes' own types, as the newest version that `kubernetes-validate` has publishes them.

The package is imported where it is used: it builds grammars as it is imported, which every process
that collects tests would spend most of a second on.
"""

from __future__ import annotations

from typing import Any


def newest_version() -> str:
    """The version of Kubernetes that documents are held to."""
    import kubernetes_validate

    return str(kubernetes_validate.latest_version())


def fault_of(document: dict[str, Any]) -> str | None:
    """What is wrong with a document, unknown fields included; None if it is right."""
    import kubernetes_validate

    try:
        kubernetes_validate.validate(document, newest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return None
