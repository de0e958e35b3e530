"""Data that no commit will hold are told before anything is trained on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_recipes.recipe.kept import no_git, to_add, unkept
from tests.dataset.pictures import put
from tests.provenance.git import commit, make_repository


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository that ignores data/, as this one does."""
    root = make_repository(tmp_path / "project")
    put(root, "dvc.yaml", "stages: {}\n")
    put(root, ".gitignore", "/data/?*\n!/data/*.dvc\n.DS_Store\n")
    put(root, "data/clock/a.png", b"a")
    commit(root, "start")
    return root


def told(root: Path, name: str = "data/clock") -> str:
    return str(unkept(root, root / name) or "")


def test_ignored_pictures_are_kept_by_nobody_until_dvc_or_git_has_them(root):
    assert told(root) == (
        "data/clock is neither in git nor under DVC: nobody can train this commit again\n"
        "  fix:     dvc add data/clock"
    )
    assert to_add(root, root / "data/clock") == "data/clock.dvc"
    put(root, "data/clock.dvc", "outs: []\n")
    assert told(root) == ""
    assert to_add(root, root / "data/clock") == "data/clock.dvc"
    (root / "data/clock.dvc").rename(root / "data.dvc")
    assert told(root) == ""


def test_pictures_that_git_has_or_will_add_are_kept(root):
    put(root, "my photos/a.png", b"a")
    assert told(root, "my photos") == ""
    assert to_add(root, root / "my photos") == "'my photos'"
    put(root, "data/demo/a.png", b"a")
    put(root, ".gitignore", "/data/?*\n!/data/demo/\n.DS_Store\nb.png\n")
    put(root, "data/demo/.DS_Store", b"a")
    commit(root, "demo")
    assert told(root, "data/demo") == ""
    put(root, "data/demo/b.png", b"b")
    assert told(root, "data/demo") == (
        "data/demo: 1 file neither in git nor under DVC: data/demo/b.png: nobody can train this "
        "commit again\n"
        "  fix:     git add -f data/demo"
    )


def test_a_folder_elsewhere_is_kept_by_nobody(root, tmp_path):
    put(tmp_path, "photos/a.png", b"a")
    assert told(root, str(tmp_path / "photos")) == (
        f"{tmp_path}/photos lies outside this project, neither in git nor under DVC: nobody can "
        "train this commit again\n"
        "  fix:     copy it here, name it as `data:` in params.yaml, and `dvc add data/photos`"
    )


def test_a_project_without_git_is_told_so(root, tmp_path):
    assert no_git(root) is None
    (root / ".git").rename(tmp_path / "away")
    assert told(root) == ""
    assert str(no_git(root)) == (
        "this folder is in no git repository, as after the download of a ZIP: DVC does not run "
        "here, and no commit can hold what was trained\n"
        "  fix:     `git clone` the project instead; or make this one a repository: "
        "`git init && git add -A && git commit -m start`"
    )
