"""A name means one commit, or it is refused with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_recipes.errors import CannotTell
from lora_recipes.provenance.revision import Revision, resolve_revision
from tests.provenance.git import commit, git, make_repository


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Two commits; `old` and `v1` (annotated) name the first, an experiment the second."""
    root = make_repository(tmp_path_factory.mktemp("history") / "a project")
    first = commit(root, "first", a__txt="1")
    git(root, "branch", "old")
    git(root, "tag", "-a", "v1", "-m", "one")
    second = commit(root, "second", a__txt="2")
    git(root, "update-ref", f"refs/exps/{first[:2]}/{first[2:]}/gentler", second)
    git(root, "update-ref", "refs/exps/exec/EXEC_BASELINE", first)
    git(root, "update-ref", "refs/remotes/origin/theirs", first)
    git(root, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/theirs")
    return root, first, second


def test_commits_tags_branches_and_experiments_are_found_by_name(history):
    root, first, second = history
    expected = {
        first: (first, "commit"),
        first[:7]: (first, "commit"),
        "HEAD": (second, "commit"),
        "HEAD~1": (first, "commit"),
        "main": (second, "branch"),
        "refs/heads/old": (first, "branch"),
        "origin/theirs": (first, "branch"),
        "v1": (first, "tag"),
        "gentler": (second, "experiment"),
        f"refs/exps/{first[:2]}/{first[2:]}/gentler": (second, "experiment"),
    }
    for name, (found, kind) in expected.items():
        assert resolve_revision(root, name) == Revision(found, name, kind)


def test_an_unknown_name_is_refused_with_the_nearest_one(history):
    root, *_ = history
    with pytest.raises(CannotTell) as error:
        resolve_revision(root, "gentle")
    assert str(error.value) == (
        "nothing is called gentle\n"
        "  allowed: a commit, tag, branch or DVC experiment of this repository\n"
        "  fix:     did you mean gentler?"
    )
    with pytest.raises(CannotTell) as error:
        resolve_revision(root, "0123456789")
    assert error.value.problems[0].fix == (
        "`git log --oneline --all` and `dvc exp list --all-commits` show what there is"
    )


@pytest.mark.parametrize("name", ["--all", "-n", "main^{tree}", "", "EXEC_BASELINE", "a.txt"])
def test_what_is_no_name_of_a_commit_is_never_taken_for_one(history, name):
    root, *_ = history
    with pytest.raises(CannotTell, match="nothing is called"):
        resolve_revision(root, name)


def test_a_name_that_two_commits_have_is_refused_with_both(tmp_path: Path):
    root = make_repository(tmp_path / "twice")
    first = commit(root, "first")
    git(root, "tag", "same")
    git(root, "tag", "agreed")
    git(root, "branch", "agreed")
    commit(root, "second")
    git(root, "branch", "same")
    with pytest.raises(CannotTell) as error:
        resolve_revision(root, "same")
    assert str(error.value) == (
        "same means more than one commit\n"
        "  allowed: one of refs/heads/same, refs/tags/same\n"
        "  fix:     name it in full"
    )
    assert resolve_revision(root, "refs/tags/same").commit == first
    assert resolve_revision(root, "agreed").commit == first


def test_a_short_hash_that_two_commits_begin_with_is_refused_with_both(tmp_path: Path):
    root = make_repository(tmp_path / "many")
    tree = git(root, "write-tree")
    seen: dict[str, str] = {}
    for number in range(2000):  # a pair that shares 4 digits: after 300 commits, usually
        made = git(root, "commit-tree", tree, "-m", str(number))
        if made[:4] in seen:
            break
        seen[made[:4]] = made
    pair = sorted([made, seen[made[:4]]])
    with pytest.raises(CannotTell) as error:
        resolve_revision(root, made[:4])
    assert error.value.problems[0].what == f"{made[:4]} means more than one commit"
    assert error.value.problems[0].allowed == f"one of {pair[0]}, {pair[1]}"


def test_in_a_shallow_clone_an_unknown_commit_is_told_how_to_be_fetched(history, tmp_path: Path):
    root, first, second = history
    git(tmp_path, "clone", "-q", "--depth", "1", root.resolve().as_uri(), "shallow")
    assert resolve_revision(tmp_path / "shallow", "HEAD").commit == second
    with pytest.raises(CannotTell) as error:
        resolve_revision(tmp_path / "shallow", first)
    assert error.value.problems[0].fix == (
        "this clone holds a part of the history: `git fetch --unshallow --tags`"
    )


def test_outside_a_repository_git_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(CannotTell, match="git for-each-ref failed: not a git repository"):
        resolve_revision(tmp_path, "main")
