"""Every state of the page that has a look of its own."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

from tests.page import states, states_in_trouble

STATES: list[Callable[[Page], None]] = [
    states.empty,
    states.offered,
    states.alternatives,
    states.certainty,
    states.nothing_to_shade,
    states.keep_going,
    states.language,
    states.too_long,
    states.settings,
    states.guided,
    states.more,
    states.finding,
    states.first_visit,
    states.shared,
    states.linked,
    states.texts,
    states.story_map,
    states.compared,
    states.surveyed,
    states_in_trouble.starting,
    states_in_trouble.unreachable,
    states_in_trouble.failed,
    states_in_trouble.refused,
    states_in_trouble.full,
    states_in_trouble.key_wanted,
    states_in_trouble.key_dialog,
    states_in_trouble.cut,
]


def name_of(reach: Callable[[Page], None]) -> str:
    """What a state is called in a test's name and a picture's."""
    return reach.__name__.replace("_", "-")
