"""A commit gets a folder of its own with the user's remotes, and leaves no trace."""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from configobj import ConfigObj

from lora_recipes.errors import CannotTell
from lora_recipes.provenance.processes import DVC
from lora_recipes.provenance.worktree import PATHS, cache_folder, checked_out
from tests.provenance.git import commit, git, make_repository

HOLD = """
import signal, sys, time
from pathlib import Path
from lora_recipes.provenance.worktree import checked_out
from lora_recipes.stopping import Stopped
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which `nohup` lets the tests ignore
try:
    with checked_out(Path(sys.argv[1]), "HEAD") as there:
        print(there.root, flush=True)
        time.sleep(600)
except Stopped as stopped:
    sys.exit(128 + stopped.number)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project in a sub-folder of a git repository, with a remote and local credentials."""
    top = make_repository(tmp_path_factory.mktemp("worktree") / "a repository")
    root = top / "the project"
    root.mkdir()
    subprocess.run([*DVC, "init", "-q", "--subdir"], cwd=root, check=True)
    for name, text in {".gitignore": "/.lora/\n", "a.txt": "1"}.items():
        (root / name).write_text(text)
    commit(top, "first")
    (root / ".dvc/config").write_text(
        "[core]\n    remote = store\n    autostage = true\n"
        "['remote \"store\"']\n    url = ../../store\n    profile = a%b\n"
        "['remote \"cloud\"']\n    url = s3://bucket/place\n    credentialpath = keys\n"
    )
    (root / ".dvc/config.local").write_text(
        "[cache]\n    dir = ../own cache\n['remote \"store\"']\n    password = s3cret\n"
    )
    return root


@contextlib.contextmanager
def holding(root: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that has the commit checked out, and where."""
    command = [sys.executable, "-c", HOLD, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())


def leftovers(root: Path) -> list[str]:
    trees = git(root, "worktree", "list").splitlines()[1:]
    return trees + [path.name for path in (root / ".lora/verify").iterdir()]


def test_the_commits_files_are_there_with_the_remotes_of_today_and_a_cache_of_its_own(root: Path):
    assert cache_folder(root) == root / "own cache"
    with checked_out(root, "HEAD") as there:
        assert there.root.name == "the project"
        assert (there.root / "a.txt").read_text() == "1"
        assert there.root.is_relative_to(root / ".lora/verify")
        assert "remote" not in (there.root / ".dvc/config").read_text()
        local = there.root / ".dvc/config.local"
        assert ConfigObj(str(local), interpolation=False).dict() == {
            "core": {
                "remote": "store",
                "autostage": "false",
                "no_scm": "true",
                "site_cache_dir": str(there.folder / "dvc"),
                "analytics": "false",
                "check_update": "false",
            },
            'remote "store"': {
                "url": str(root.parent / "store"),
                "profile": "a%b",
                "password": "s3cret",
            },
            'remote "cloud"': {
                "url": "s3://bucket/place",
                "credentialpath": str(root / ".dvc/keys"),
            },
            "cache": {"dir": str(there.folder / "cache"), "type": "copy"},
        }
        assert local.stat().st_mode & 0o777 == 0o600
        assert there.caches == (cache_folder(there.root), root / "own cache")
    assert leftovers(root) == []


def test_every_setting_that_dvc_reads_as_a_path_is_made_absolute():
    from dvc.config import Config

    seen: set[str] = set()
    known = {"url": "x", **dict.fromkeys(PATHS, "x")}
    Config._map_dirs({"remote": {"store": known}}, seen.add)
    assert seen == {"x"}
    source = inspect.getsource(Config._map_dirs)
    remote = source[source.index('"remote"') : source.index('"machine"')]
    named = [line.split('"')[1] for line in remote.splitlines() if line.strip().endswith("func,")]
    assert sorted(named) == sorted(PATHS)


def test_whatever_happens_inside_nothing_stays(root: Path):
    with pytest.raises(FileNotFoundError), checked_out(root, "HEAD") as there:
        (there.root / "no such folder/big").write_text("made by a stage")
    assert leftovers(root) == []


def test_two_at_once_do_not_meet(root: Path):
    with checked_out(root, "HEAD") as one, checked_out(root, "HEAD") as two:
        (one.root / "a.txt").write_text("changed")
        assert (two.root / "a.txt").read_text() == "1"
        assert one.folder != two.folder
    assert leftovers(root) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_asked_to_end_leaves_nothing(root: Path, number: signal.Signals):
    with holding(root) as (process, _):
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert leftovers(root) == []


def test_what_a_killed_process_left_goes_when_the_next_one_comes(root: Path):
    with holding(root) as (process, place):
        with checked_out(root, "HEAD"):
            assert (place / "a.txt").is_file(), "it is in use"
        process.kill()
    assert (place / "a.txt").is_file()
    with checked_out(root, "HEAD"):
        assert not place.exists()
    assert leftovers(root) == []


def test_a_folder_that_is_kept_stays_through_later_ones(root: Path):
    with checked_out(root, "HEAD", keep=True) as there:
        pass
    with checked_out(root, "HEAD"):
        assert (there.root / "a.txt").is_file()
    git(root, "worktree", "remove", "--force", str(there.folder / "tree"))
    (there.folder / "kept").unlink()
    with checked_out(root, "HEAD"):
        pass
    assert leftovers(root) == []


def test_the_users_hooks_do_not_run(root: Path, tmp_path: Path):
    hook = root.parent / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    hook.chmod(0o755)
    with checked_out(root, "HEAD"):
        pass
    hook.unlink()
    assert not (tmp_path / "ran").exists()


def test_a_commit_from_before_the_project_is_refused(root: Path):
    tree = git(root, "hash-object", "-t", "tree", "-w", os.devnull)
    empty = git(root, "commit-tree", tree, "-m", "nothing yet")
    with pytest.raises(CannotTell) as error, checked_out(root, empty):
        pass
    assert str(error.value) == (
        f"commit {empty[:10]} holds no DVC project in this folder\n"
        "  fix:     name a commit that was made after `dvc init`"
    )
    assert leftovers(root) == []


def test_a_config_that_dvc_cannot_read_is_named(root: Path):
    file = root / ".dvc/config.local"
    text = file.read_text()
    file.write_text("[core\n")
    try:
        with pytest.raises(CannotTell) as error, checked_out(root, "HEAD"):
            pass
    finally:
        file.write_text(text)
    problem = error.value.problems[0]
    assert problem.what.startswith("dvc cache dir failed: configuration error - config file error")
    assert "at line 1" in problem.what
    assert problem.fix == "run this in the project's folder, where .dvc and dvc.yaml are"
