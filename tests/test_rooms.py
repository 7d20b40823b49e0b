"""Imports run from higher rooms to lower ones, and never in a circle (docs/architecture.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What imports nothing of the project, and what each of the others may import.
MAY_IMPORT = {
    "handler": set(),
    "archive": {"handler"},
    "gateway": {"handler"},
    "training": {"archive", "handler"},
    "deploy": {"gateway", "handler"},
    "bench": {"archive", "deploy", "gateway", "handler", "gpt2_client", "training"},
    "soak": {"gateway"},
    "strangers": {"bench", "soak"},
    "gpt2_client": set(),
}
# The rooms of the gateway from the lowest to the highest.
GATEWAY = [
    *("errors", "paths", "archives", "settings", "web", "http", "launch", "torchserve"),
    *("replicas", "proxy", "routes", "openapi", "app", "assembly", "keeper", "supervisor"),
    "__main__",
]
# The rooms of the handler likewise; a tuple's are one floor.
HANDLER = [
    *("errors", "model_name", "older_pythons", "workshop", "engine", "content"),
    ("archive_metadata", "requests"),
    *(
        "replies",
        "chat",
        "tokens",
        "token_routes",
        "start_checks",
        "loaded_archive",
        "card",
        "service",
    ),
    *("torchserve", "gpt2_handler"),
]
# Parts of the handler that the gateway must not know: it never looks at tokens.
NOT_FOR_THE_GATEWAY = ("handler.engine", "handler.gpt2_handler", "handler.service")


def source(top: str) -> Path:
    return ROOT / ("client" if top == "gpt2_client" else "") / top


@cache
def modules() -> dict[str, Path]:
    """Every module of the project, by its dotted name."""
    found = {}
    for top in MAY_IMPORT:
        base = source(top).parent
        for path in source(top).rglob("*.py"):
            name = ".".join(path.relative_to(base).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All that is in it, but for imports that only a type checker follows."""
    for child in ast.iter_child_nodes(node):
        if not is_for_types(child):
            yield child
            yield from statements(child)


@cache
def imports(module: str) -> frozenset[str]:
    """The project's modules that a module imports, at its start or later."""
    found: set[str] = set()
    for node in statements(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{module}: imports name their module in full"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in modules() else node.module)
    return frozenset(name for name in found if name in modules() and name != module)


def room(module: str) -> int:
    """How high a module of the gateway stands."""
    parts = module.split(".")
    return GATEWAY.index(parts[1]) if len(parts) > 1 else 0


@pytest.mark.parametrize("top", sorted(MAY_IMPORT))
def test_a_room_imports_only_rooms_below_it(top: str) -> None:
    allowed = MAY_IMPORT[top] | {top}
    own = [module for module in modules() if module.split(".")[0] == top]
    wrong = [
        f"{module} imports {name}"
        for module in own
        for name in imports(module)
        if name.split(".")[0] not in allowed
    ]
    assert own and not wrong


def test_the_gateways_rooms_import_only_those_below_them() -> None:
    own = [module for module in modules() if module.split(".")[0] == "gateway"]
    wrong = [
        f"{module} imports {name}"
        for module in own
        for name in imports(module)
        if (name.split(".")[0] == "gateway" and room(name) > room(module))
        or name.startswith(NOT_FOR_THE_GATEWAY)
    ]
    assert own and not wrong


def floor(module: str) -> int:
    """How high a module of the handler stands."""
    name = module.split(".")[1]
    floors = [rooms if isinstance(rooms, tuple) else (rooms,) for rooms in HANDLER]
    return next(index for index, rooms in enumerate(floors) if name in rooms)


def test_the_handlers_rooms_import_only_those_below_them() -> None:
    own = [module for module in modules() if module.startswith("handler.")]
    wrong = [
        f"{module} imports {name}"
        for module in own
        for name in imports(module)
        if name.startswith("handler.") and floor(name) > floor(module)
    ]
    assert own and not wrong


def test_the_engine_knows_nothing_of_the_handler_around_it() -> None:
    own = [module for module in modules() if module.startswith("handler.engine")]
    assert own
    assert not [
        f"{module} imports {name}"
        for module in own
        for name in imports(module)
        if not name.startswith("handler.engine") and name != "handler.older_pythons"
    ]


def test_only_one_room_of_the_handler_names_torchserves_modules() -> None:
    own = {name: path for name, path in modules().items() if name.startswith("handler")}
    naming = [
        name
        for name, path in own.items()
        if re.search(r"""(import|from) ts\b|["']ts\.""", path.read_text(encoding="utf-8"))
    ]
    assert naming and all(name.startswith("handler.torchserve.") for name in naming)


def test_no_modules_import_each_other_in_a_circle() -> None:
    done: set[str] = set()

    def follow(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " imports ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for name in sorted(imports(module)):
            # A package and what it gathers from its own modules are one.
            if not name.startswith(f"{module}.") and not module.startswith(f"{name}."):
                follow(name, (*path, module))
        done.add(module)

    for module in sorted(modules()):
        follow(module, ())
