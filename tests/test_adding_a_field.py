"""What docs/adding-a-field.md promises, done to a copy of the tree: two files are touched, and everything follows."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import asyncpg

from comms import migrations
from comms.embedded import Embedded
from tests.grounds import TEMPLATE

ROOT = Path(__file__).parents[1]
ASK = Path(__file__).with_name("preferred_channel.py")
PAGE = (ROOT / "docs" / "adding-a-field.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


def edited(text: str, difference: str) -> str:
    """The text with every added line of the difference behind the first line that is as the one before it there."""
    lines, before = text.splitlines(), ""
    for line in difference.splitlines():
        if line.startswith("+"):
            lines.insert(lines.index(before) + 1, line[1:])
        before = line[1:]
    return "\n".join(lines) + "\n"


async def execute(server: Embedded, statement: str) -> None:
    admin = await asyncpg.connect(server.dsn("postgres", "postgres"))
    await admin.execute(statement)
    await admin.close()


def test_a_field_takes_two_files_and_everything_follows(postgres: Embedded, tmp_path: Path, folder: Path) -> None:
    for layer in ("models", "comms", "handlers"):
        shutil.copytree(ROOT / layer, tmp_path / layer)  # with what is compiled of it, which takes seconds
    (module,) = [path for path in (tmp_path / "models").rglob("*.py") if "class Contact(" in path.read_text()]
    module.write_text(edited(module.read_text(), blocks("diff")[0]))
    migration = blocks("python")[0].replace("<the newest>", migrations.head())
    (tmp_path / "models" / "migrations" / "versions" / "0100_preferred_channel.py").write_text(migration)

    name = f"test_{uuid.uuid4().hex}"
    asyncio.run(execute(postgres, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))
    environment = {
        "SCRATCH_URL": postgres.dsn("postgres", name),
        "SCRATCH_FOLDER": str(folder / "media"),
        "SCRATCH_HEAD": migrations.head(),
        "PYTHONPATH": str(tmp_path),
    }
    asked = subprocess.run(
        [sys.executable, "-c", f"import gc; gc.disable()\n{ASK.read_text()}"],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    asyncio.run(execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))
    assert asked.returncode == 0, asked.stderr[-3000:]
    assert asked.stdout.endswith("everything follows\n")
