"""The tables of docs/scale.md, from the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
ROUTINGS = {"chance": "any", "least": "the least loaded", "prefix": "by prefix"}


def steady(rows: Sequence[Row]) -> str:
    """What routing is worth."""
    head = (
        "| instances | routing | requests | first token p50, ms | p99, ms | prompts known |"
        " tokens a second each | a million tokens |"
    )
    lines = [
        f"| {row['instances']:,} | {ROUTINGS[row['routing']]} | {row['requests']:,} |"
        f" {1000 * row['ttft_p50']:.0f} | {1000 * row['ttft_p99']:.0f} |"
        f" {100 * row['prefix_hits']:.0f} % | {row['tokens_per_instance_second']:.0f} |"
        f" ${row['dollars_per_million_by_instance']:.3f} |"
        for row in rows
        if row["section"] == "steady"
    ]
    return "\n".join([head, "|---" * 8 + "|", *lines])


def burst(rows: Sequence[Row]) -> str:
    """What a burst does."""
    head = (
        "| autoscaler | first token p50, ms | p99, ms | failed | most instances |"
        " instance hours | a million tokens |"
    )
    lines = [
        f"| {row['name'].partition(': ')[2]} | {1000 * row['ttft_p50']:.0f} |"
        f" {1000 * row['ttft_p99']:.0f} | {row['failed_percent']:.2f} % |"
        f" {row['most_instances']} | {row['instance_hours']:.1f} |"
        f" ${row['dollars_per_million_by_instance']:.3f} |"
        for row in rows
        if row["section"] == "burst"
    ]
    return "\n".join([head, "|---" * 7 + "|", *lines])


def day(rows: Sequence[Row], instances: int) -> str:
    """What a day costs, of a fleet whose mean load fills half of so many instances."""
    head = "| autoscaler | instance hours | most | by the request | by the instance | unserved |"
    lines = [
        f"| {row['name'].partition(': ')[2]} | {row['instance_hours']:,.0f} |"
        f" {row['most_instances']:,} | ${row['dollars_per_million_by_request']:.3f} |"
        f" ${row['dollars_per_million_by_instance']:.3f} | {row['unserved_percent']:.2f} % |"
        for row in rows
        if row["section"] == "day" and row["instances"] == instances
    ]
    return "\n".join([head, "|---" * 6 + "|", *lines])


def failures(rows: Sequence[Row]) -> str:
    """What it does that instances die."""
    head = "| a hundred instances | requests | died | asked again | lost | p99, ms |"
    lines = [
        f"| {row['name'].partition(', ')[2]} | {row['requests']:,} | {row['failures']} |"
        f" {row['ends'].get('asked again', 0):,} | {row['ends'].get('lost', 0)} |"
        f" {1000 * row['ttft_p99']:.0f} |"
        for row in rows
        if row["section"] == "failures"
    ]
    return "\n".join([head, "|---" * 6 + "|", *lines])


def trial(found: Mapping[str, Any]) -> str:
    """What the real run says of the simulated one."""
    head = "| load | requests | | real, ms | simulated, ms | error |"
    lines = []
    for load in found["loads"]:
        for name, words in (("first_token", "first token"), ("total", "whole text")):
            for quality in ("p50", "p90", "p99"):
                each = load[f"{name}_{quality}"]
                lines.append(
                    f"| {100 * load['load']:.0f} % | {load['answered']} | {words} {quality} |"
                    f" {1000 * each['real']:.0f} | {1000 * each['simulated']:.0f} |"
                    f" {each['error_percent']:+.0f} % |"
                )
    return "\n".join([head, "|---" * 6 + "|", *lines])
