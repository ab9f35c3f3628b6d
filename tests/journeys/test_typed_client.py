"""The API's description is good enough to generate a client from, in a language that checks what it says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "typescript-client"
NODE = 20
OFFLINE = 69
PATIENCE = {"npm_config_fetch_retries": "1", "npm_config_fetch_timeout": "20000"}


def _major_version_of_node() -> int:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return 0
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.removeprefix("v").partition(".")[0])


def test_a_client_in_typescript_is_generated_and_type_checked(tmp_path: Path) -> None:
    if _major_version_of_node() < NODE:
        pytest.skip(f"there is no node {NODE} with npm here")
    done = subprocess.run(
        [SCRIPT, tmp_path / "client"],
        capture_output=True,
        text=True,
        env={**os.environ, **PATIENCE, "PYTHON": sys.executable},
        timeout=600,
    )
    if done.returncode == OFFLINE:
        pytest.skip(f"the package registry does not answer: {done.stderr.strip()[:500]}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tsc --strict found nothing" in done.stdout
