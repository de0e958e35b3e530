"""The committed tree is the house that CONTRIBUTING describes."""

from __future__ import annotations

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_no_source_file_is_longer_than_400_lines():
    files = sorted((REPOSITORY / "lora_recipes").rglob("*.py"))
    assert len(files) > 40
    long = {f.name: n for f in files if (n := len(f.read_text("utf-8").splitlines())) > 400}
    assert long == {}


def test_nothing_but_the_model_is_large():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    tracked = [REPOSITORY / name for name in listed if name and (REPOSITORY / name).is_file()]
    assert len(tracked) > 50
    assert max(path.stat().st_size for path in tracked) <= 16 * 2**20
    model = [p for p in tracked if "lora_recipes/pocket/model" in p.as_posix()]
    assert model
    assert sum(path.stat().st_size for path in model) <= 16 * 2**20
