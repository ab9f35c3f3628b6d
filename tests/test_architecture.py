"""The rules of the house that a newcomer could break without noticing."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import models
from models import Base

pytestmark = pytest.mark.xdist_group("architecture")  # on one of xdist's workers: every module is parsed once

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for layer in ("models", "comms", "handlers") for path in (ROOT / layer).rglob("*.py"))
LONGEST = 400
ALLOWED = {
    "models": {"models"},
    "comms": {"comms", "models"},
    "handlers": {"handlers", "comms", "models"},
}
FORBIDDEN_NAMES = {"utils.py", "helpers.py", "common.py", "util.py", "misc.py"}
FORBIDDEN_SUFFIXES = ("Manager", "Helper", "Service", "Util", "Utils", "Processor", "Handler")
# The service is the process itself, as `comms serve` and every operator call it: not a layer in front of something.
EXCEPTED = {("comms/service.py", "Service")}


@cache
def _nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def _imports(path: Path) -> Iterator[str]:
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


# Every breach is named, not the first alone; one test for all modules, because a thousand tests take their time.
def _breaches(paths: Iterable[Path], found: Callable[[Path], Iterable[object]]) -> list[str]:
    return [f"{_name(path)}: {breach}" for path in paths for breach in found(path)]


def test_there_are_modules_in_every_layer() -> None:
    assert {_layer(path) for path in MODULES} == set(ALLOWED)
    assert len(MODULES) > 150
    assert all(path in MODULES for path in [*DIALECTS, *DOMAINS])


def test_a_layer_imports_only_what_is_below_it() -> None:
    def above(path: Path) -> set[str]:
        return {name.split(".")[0] for name in _imports(path)} & set(ALLOWED) - ALLOWED[_layer(path)]

    assert not _breaches(MODULES, above)


DIALECTS = sorted((ROOT / "comms" / "providers").glob("*.py"))


def test_a_dialect_knows_neither_tables_nor_the_database() -> None:
    def unknown(path: Path) -> list[str]:
        return [
            name
            for name in _imports(path)
            if name.split(".")[0] in ("models", "sqlalchemy", "asyncpg", "litestar", "httpx")
            or (name.startswith("comms.") and not name.startswith("comms.providers"))
        ]

    assert not _breaches(DIALECTS, unknown)


def test_only_the_database_module_and_the_groups_commit() -> None:
    def commits(path: Path) -> list[str]:
        return [
            f"line {node.lineno}"
            for node in _nodes(path)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("commit", "transaction")
        ]

    others = [path for path in MODULES if _name(path) not in ("comms/database.py", "comms/groups.py")]
    assert not _breaches(others, commits)


HANDLERS = ROOT / "handlers"
# What all domains are made of; whatever else is in the folder is a domain, and new ones are without being named.
MACHINERY = {
    "app",
    "batches",
    "conflicts",
    "forms",
    "given",
    "guards",
    "idempotency",
    "listing",
    "methods",
    "openapi",
    "preconditions",
    "problems",
    "resource",
    "shapes",
    "signatures",
    "websockets",
}


def _domain(path: Path) -> str:
    return path.relative_to(HANDLERS).parts[0].removesuffix(".py")


DOMAINS = [path for path in MODULES if HANDLERS in path.parents and _domain(path) not in MACHINERY | {"__init__"}]


def test_handlers_of_a_domain_do_not_know_those_of_another() -> None:
    domains = {_domain(path) for path in DOMAINS}
    assert {"agents", "communications", "crm", "live", "marketing", "orchestration", "search", "webhooks"} <= domains
    assert all((HANDLERS / f"{name}.py").is_file() or (HANDLERS / name).is_dir() for name in MACHINERY)

    def others(path: Path) -> set[str]:
        ours = [name.split(".")[1] for name in _imports(path) if name.startswith("handlers.")]
        return set(ours) & domains - {_domain(path)}

    machinery = [path for path in MODULES if HANDLERS in path.parents and _domain(path) in MACHINERY - {"app"}]
    assert not _breaches([*DOMAINS, *machinery], others)


def test_nothing_in_models_awaits() -> None:
    waiting = (ast.Await, ast.AsyncFunctionDef, ast.AsyncWith, ast.AsyncFor)

    def waits(path: Path) -> list[str]:
        return [f"line {node.lineno}" for node in _nodes(path) if isinstance(node, waiting)]

    assert not _breaches([path for path in MODULES if _layer(path) == "models"], waits)


def test_every_relationship_refuses_to_load_by_itself() -> None:
    assert models.Base.registry.mappers
    for mapper in Base.registry.mappers:
        for relationship in mapper.relationships:
            assert relationship.lazy == "raise", relationship


def test_a_module_is_a_screenful_or_a_few() -> None:
    def too_long(path: Path) -> list[str]:
        lines = len(path.read_text().splitlines())
        return [f"{lines} lines"] if lines > LONGEST else []

    assert not _breaches([path for path in MODULES if "migrations/versions" not in _name(path)], too_long)


def test_names_say_what_a_thing_is() -> None:
    def named_badly(path: Path) -> list[str]:
        classes = [node.name for node in _nodes(path) if isinstance(node, ast.ClassDef)]
        badly = [name for name in classes if name.endswith(FORBIDDEN_SUFFIXES) and (_name(path), name) not in EXCEPTED]
        return [path.name] * (path.name in FORBIDDEN_NAMES) + badly

    assert not _breaches(MODULES, named_badly)


def test_handlers_keep_their_annotations() -> None:
    forbidden = "from __future__ import annotations"
    handlers = [path for path in MODULES if _layer(path) == "handlers"]
    assert not _breaches(handlers, lambda path: [forbidden] * (forbidden in path.read_text()))


def test_no_registry_address_and_no_path_of_this_machine_is_in_the_tree() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    registries = [f"{host}.org" for host in ("pypi", "files.pythonhosted", "registry.npmjs")]
    for name in tracked:
        path = ROOT / name
        if not path.is_file() or path.suffix in (".json",) or path == Path(__file__):
            continue
        text = path.read_text(errors="replace")
        for registry in registries:
            assert registry not in text, name
        assert f"{Path('/work')}/main" not in text, name


def test_importing_the_webhook_path_is_quick() -> None:
    heavy = "import sys, comms.arrivals; sys.exit(any(m in sys.modules for m in ('litestar', 'signalwire')))"
    assert subprocess.run([sys.executable, "-c", heavy], cwd=ROOT, check=False).returncode == 0


def test_the_readme_has_a_place_for_every_module_of_the_trade() -> None:
    table = (ROOT / "README.md").read_text().partition("## Map of the code")[2].partition("\n## ")[0]
    table = "\n".join(line for line in table.splitlines() if line.startswith("|"))
    named = {part.removeprefix("comms/").rstrip("/") for part in re.findall(r"`([a-z_/]+(?:\.py|/))`", table)}
    there = {
        path.name for path in (ROOT / "comms").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    there -= {"__init__.py"}
    assert not there - named, "README's map of the code does not say what these are for"
    assert (
        not {name for name in named if name.endswith(".py")}
        - there
        - {path.name for path in MODULES if _layer(path) != "comms"}
    ), "README's map of the code names what is not there"
