"""The rules of the house that a newcomer could break without noticing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import models
from models import Base

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for layer in ("models", "comms", "handlers") for path in (ROOT / layer).rglob("*.py"))
LONGEST = 400
ALLOWED = {
    "models": {"models"},
    "comms": {"comms", "models"},
    "handlers": {"handlers", "comms", "models"},
}
FORBIDDEN_NAMES = {"utils.py", "helpers.py", "common.py", "util.py", "misc.py"}
FORBIDDEN_SUFFIXES = ("Manager", "Helper", "Util", "Utils", "Processor", "Handler")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_layer_imports_only_what_is_below_it(path: Path) -> None:
    ours = {name.split(".")[0] for name in _imports(path)} & set(ALLOWED)
    assert ours <= ALLOWED[_layer(path)]


@pytest.mark.parametrize("path", sorted((ROOT / "comms" / "providers").glob("*.py")), ids=_name)
def test_a_dialect_knows_neither_tables_nor_the_database(path: Path) -> None:
    for name in _imports(path):
        assert name.split(".")[0] not in ("models", "sqlalchemy", "asyncpg", "litestar", "httpx"), name
        assert not name.startswith("comms.") or name.startswith("comms.providers"), name


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_only_the_database_module_and_the_groups_commit(path: Path) -> None:
    if _name(path) in ("comms/database.py", "comms/groups.py"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in ("commit", "transaction"), f"{_name(path)}:{node.lineno}"


DOMAINS = [
    ROOT / "handlers" / f"{name}.py"
    for name in (
        "access",
        "business",
        "connections",
        "core",
        "events",
        "finance",
        "health",
        "live",
        "me",
        "members",
        "sessions",
    )
]


@pytest.mark.parametrize("path", DOMAINS, ids=_name)
def test_handlers_of_a_domain_do_not_know_those_of_another(path: Path) -> None:
    others = {f"handlers.{other.stem}" for other in DOMAINS} | {
        "handlers.communications",
        "handlers.crm",
        "handlers.marketing",
        "handlers.webhooks",
    }
    assert not others & set(_imports(path))


@pytest.mark.parametrize("path", [path for path in MODULES if _layer(path) == "models"], ids=_name)
def test_nothing_in_models_awaits(path: Path) -> None:
    waiting = (ast.Await, ast.AsyncFunctionDef, ast.AsyncWith, ast.AsyncFor)
    assert not [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, waiting)]


def test_every_relationship_refuses_to_load_by_itself() -> None:
    assert models.Base.registry.mappers
    for mapper in Base.registry.mappers:
        for relationship in mapper.relationships:
            assert relationship.lazy == "raise", relationship


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_is_a_screenful_or_a_few(path: Path) -> None:
    if "migrations/versions" in _name(path):
        return
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_names_say_what_a_thing_is(path: Path) -> None:
    assert path.name not in FORBIDDEN_NAMES
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            assert not node.name.endswith(FORBIDDEN_SUFFIXES), node.name


@pytest.mark.parametrize("path", [path for path in MODULES if _layer(path) == "handlers"], ids=_name)
def test_handlers_keep_their_annotations(path: Path) -> None:
    assert "from __future__ import annotations" not in path.read_text()


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
