"""A small git repository for tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lora_recipes.git import git_environment

IDENTITY = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")


def git(root: Path, *arguments: str) -> str:
    """Run git; what it says."""
    return subprocess.run(
        ["git", *IDENTITY, "-c", "core.hooksPath=", *arguments],
        cwd=root,
        env=git_environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def commit(root: Path, message: str, **files: str) -> str:
    """Write files (`name__txt` is name.txt) and commit everything; the commit's id."""
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text, "utf-8")
    git(root, "add", "-A")
    git(root, "commit", "-qm", message, "--allow-empty")
    return git(root, "rev-parse", "HEAD")


def make_repository(root: Path) -> Path:
    """An empty repository with a branch `main`."""
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "-q", "-b", "main")
    return root
