"""Reads the settings: the environment, over `.env` files, over the defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from gateway.paths import ROOT
from gateway.settings import keys
from gateway.settings.checks import named_faults
from gateway.settings.settings import Settings
from gateway.settings.sources import Report, SettingsError, gather
from gateway.settings.values import parse


def load(
    environment: Mapping[str, str] | None = None,
    *,
    folder: Path = ROOT,
    report: Report = lambda line: None,
) -> Settings:
    """Read the settings: the environment, the files of the folder, the defaults.

    What is ignored on the way is reported, a line each.

    Raises:
        SettingsError: A value is not allowed.
    """
    specs = {spec.name.upper(): spec for spec in fields(Settings)}
    given = gather(specs, os.environ if environment is None else environment, folder, report)
    values: dict[str, Any] = {}
    for name, text in given.items():
        spec, text = specs[name], text.strip(keys.BLANKS)
        if text:
            values[spec.name] = parse(name, text, spec.default, spec.metadata)
    for name in ("route_generate", "aip_predict_route", "aip_health_route"):
        if name in values:
            values[name] = "/" + values[name].lstrip("/")
    if values.get("aip_http_port"):
        values.setdefault("port", values["aip_http_port"])
    _add_keys(values)
    return Settings(**values)


def given(environment: Mapping[str, str] | None = None, *, folder: Path = ROOT) -> frozenset[str]:
    """Names of the settings that the environment or a file of the folder gives a value."""
    specs = {spec.name.upper(): spec for spec in fields(Settings)}
    found = gather(specs, os.environ if environment is None else environment, folder, _say_nothing)
    return frozenset(name for name, text in found.items() if text.strip(keys.BLANKS))


def _say_nothing(_: str) -> None:
    pass


def _add_keys(values: dict[str, Any]) -> None:
    """Read the files of keys. Keys that are given and come to none are a mistake.

    It must not open what was to be closed.
    """
    if values.get("api_keys") == ():
        raise SettingsError("API_KEYS must be `name:key`, separated by commas; it has no key")
    if values.get("api_keys_file"):
        content = _read_secret("API_KEYS_FILE", values["api_keys_file"])
        with named_faults():
            found = tuple(keys.lines_of("API_KEYS_FILE", content))
        if not found:
            raise SettingsError(
                "API_KEYS_FILE must contain `name:key`, one per line; it has no key"
            )
        values["api_keys"] = values.get("api_keys", ()) + found
    if values.get("management_key_file"):
        content = _read_secret("MANAGEMENT_KEY_FILE", values["management_key_file"])
        with named_faults():
            secret = keys.text_of("MANAGEMENT_KEY_FILE", content).strip(keys.BLANKS)
        if not secret:
            raise SettingsError("MANAGEMENT_KEY_FILE: the file is empty")
        values["management_key"] = secret


def _read_secret(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{name}: {error.strerror}") from None
