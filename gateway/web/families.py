"""Metric families of several sources as one exposition, in Prometheus' text or in OpenMetrics.

OpenMetrics alone has exemplars, and wants names of counters that end with `_total`: what TorchServe
calls otherwise keeps its name there, without a type.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

TYPED = re.compile(r"^# TYPE (\S+) counter$", re.MULTILINE)
TOTAL = "_total"
OPENMETRICS = "application/openmetrics-text"
CONTENT_TYPE = f"{OPENMETRICS}; version=1.0.0; charset=utf-8"


class Families(Collector):
    """Families that were collected already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """Return them as Prometheus wants them."""
        return self._families


def torchserves(exposition: str) -> Iterator[Metric]:
    """Read TorchServe's own exposition; every sample keeps the name that TorchServe gave it."""
    counters = set(TYPED.findall(exposition))
    for family in text_string_to_metric_families(exposition):
        if family.type == "counter" and family.name in counters:  # the parser has added `_total`
            family.type = "unknown"
            family.samples = [_renamed(each) for each in family.samples]
        if family.samples:
            yield family


def _renamed(sample: Sample) -> Sample:
    return sample._replace(name=sample.name.removesuffix(TOTAL))


def together(first: Iterable[Metric], others: Iterable[Metric]) -> Iterator[Metric]:
    """Return all families; of those with one name the first."""
    taken = set()
    for family in (*first, *others):
        if family.name not in taken:
            taken.add(family.name)
            yield family


def only(families: Iterable[Metric], wanted: Collection[str]) -> Iterator[Metric]:
    """Return the families that are wanted, or their series that are; all where nothing is named."""
    for family in families:
        if wanted and family.name not in wanted:
            family.samples = [each for each in family.samples if each.name in wanted]
            if not family.samples:
                continue
        yield family


def encoded(families: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """Write families as who asks can read them: the text, and its content type."""
    source = Families(families)
    encode, content_type = choose_encoder(accept)
    if content_type.startswith(OPENMETRICS):
        # The encoder that is chosen writes `:` as `_` in names of samples, and not of families.
        text: bytes = openmetrics.generate_latest(  # type: ignore[no-untyped-call]
            source, escaping=openmetrics.ALLOWUTF8
        )
        return text, CONTENT_TYPE
    return encode(source), content_type
