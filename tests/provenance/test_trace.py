"""trace: from an adapter file back to the commits that made it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_recipes.cli import main
from lora_recipes.errors import CannotTell
from lora_recipes.formats.hashes import identity
from lora_recipes.provenance.history import LockFacts, read_history, says_of
from lora_recipes.provenance.objects import file_md5
from lora_recipes.provenance.trace import Trace, trace
from lora_recipes.provenance.trace_text import text
from lora_recipes.tensors import read_header, write_tensors
from tests.provenance.adapters import MODULE, Trained, adapter, header
from tests.provenance.git import git

REPOSITORY = Path(__file__).resolve().parents[2]
TRACE = "lora_recipes.provenance.trace"


@pytest.fixture(autouse=True)
def cache_as_dvc_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking DVC takes a second; the pipeline's test does ask."""
    monkeypatch.setattr(f"{TRACE}.cache_folder", lambda root: root / ".dvc/cache")


@pytest.fixture
def project(tmp_path: Path) -> Trained:
    return Trained(tmp_path / "project")


def keep(project: Trained, name: str) -> Path:
    """The adapter of now, somewhere else under another name."""
    copy = project.root.parent / name
    copy.write_bytes(project.adapter.read_bytes())
    return copy


def commits(found: Trace) -> list[str]:
    return [origin.commit.id for origin in found.origins]


def names(found: Trace) -> list[str]:
    return [f"{ref.kind} {ref.short}" for ref in found.standing]


def test_a_renamed_file_names_every_commit_that_made_it_newest_first(project: Trained):
    project.train(1.0)
    first = project.commit("first")
    file = keep(project, "downloaded (1).safetensors")
    project.train(1.0, note="only the rest of the lock changed")
    project.commit("same adapter")
    project.train(2.0)
    project.commit("other")
    project.train(1.0)
    again = project.commit("again")
    found = trace(project.root, file)
    assert (found.how, commits(found)) == ("bytes", [again, first])
    assert names(found) == ["branch main"]


def test_branches_tags_and_experiments_are_named_with_the_command_to_go_there(project: Trained):
    project.train(1.0)
    first = project.commit("rex, first try")
    git(project.root, "tag", "-a", "v1", "-m", "v1")
    file = keep(project, "x.safetensors")
    project.train(2.0)
    second = project.commit("rex, second try")
    third = keep(project, "y.safetensors")
    git(project.root, "checkout", "-q", "--detach")
    project.train(3.0)
    experiment = project.commit("dvc: commit experiment")
    fourth = keep(project, "z.safetensors")
    git(project.root, "update-ref", f"refs/exps/{second[:2]}/{second[2:]}/gentler", experiment)
    git(project.root, "update-ref", "refs/exps/exec/EXEC_BRANCH", experiment)
    git(project.root, "checkout", "-q", "main")
    day = git(project.root, "log", "-1", "--format=%cs")
    assert text(trace(project.root, file)) == (
        f"{file} is out/adapter.safetensors, byte for byte\n"
        "\n"
        f"{first[:10]}  {day}  rex, first try  (tag v1)\n"
        "  git checkout v1 && dvc checkout\n"
        "\n"
        "it stands so at: tag v1"
    )
    assert text(trace(project.root, third)).splitlines()[2:] == [
        f"{second[:10]}  {day}  rex, second try  (branch main)",
        "  git checkout main && dvc checkout",
        "",
        "it stands so at: branch main",
    ]
    assert text(trace(project.root, fourth)).splitlines()[2:] == [
        f"{experiment[:10]}  {day}  dvc: commit experiment  (experiment gentler)",
        "  dvc exp apply gentler    (or: dvc exp branch gentler NEW-BRANCH)",
        "",
        "it stands so at: experiment gentler",
    ]


def test_a_replaced_adapter_stands_at_no_tip(project: Trained):
    project.train(1.0)
    first = project.commit("first")
    file = keep(project, "x.safetensors")
    project.train(2.0)
    project.commit("second")
    assert text(trace(project.root, file)).endswith(
        f"  git checkout {first[:10]} && dvc checkout\n"
        "\n"
        "it stands so at no branch, tag or experiment: a later commit replaced it"
    )


def side_branch(project: Trained) -> tuple[str, Path]:
    """Train once on main and once more on a branch, and go back: that commit and its adapter."""
    project.train(1.0)
    project.commit("first")
    git(project.root, "checkout", "-qb", "side")
    project.train(2.0)
    side = project.commit("side")
    file = keep(project, "x.safetensors")
    git(project.root, "checkout", "-q", "main")
    return side, file


def test_a_merge_that_keeps_a_parents_adapter_has_not_made_it(project: Trained):
    side, file = side_branch(project)
    (project.root / "other.txt").write_text("x")
    project.commit("unrelated")
    git(project.root, "merge", "-q", "--no-ff", "-m", "merge", "side")
    found = trace(project.root, file)
    assert commits(found) == [side]
    assert names(found) == ["branch main", "branch side"]


def test_a_side_branch_that_a_merge_threw_away_is_found_still(project: Trained):
    side, file = side_branch(project)
    git(project.root, "merge", "-q", "-s", "ours", "-m", "merge", "side")
    git(project.root, "branch", "-D", "side")
    assert commits(trace(project.root, file)) == [side]


def test_a_merge_that_trained_anew_has_made_its_adapter(project: Trained):
    side_branch(project)
    (project.root / "other.txt").write_text("x")
    project.commit("unrelated")
    git(project.root, "merge", "-q", "--no-ff", "--no-commit", "side")
    project.train(3.0)
    merge = project.commit("merge")
    assert commits(trace(project.root, project.adapter)) == [merge]


def test_a_snapshot_is_found_through_its_listing_in_the_cache(project: Trained):
    project.train(1.0)
    first = project.commit("first")
    snapshot = project.root / "out/snapshots/step-000003.safetensors"
    found = trace(project.root, snapshot)
    assert (found.how, found.output) == ("snapshot", "out/snapshots/step-000003.safetensors")
    assert commits(found) == [first]


def test_a_snapshot_whose_listing_is_gone_is_found_by_its_recipe(project: Trained):
    project.train(1.0)
    first = project.commit("first")
    for file in project.root.glob(".dvc/cache/files/md5/*/*.dir"):
        file.unlink()
    found = trace(project.root, project.root / "out/snapshots/step-000003.safetensors")
    assert (found.how, found.output) == ("recipe", "out/snapshots/step-000003.safetensors")
    assert (commits(found), found.drift) == ([first], None)
    assert "cannot be told: DVC's cache does not hold the original" in text(found)


def test_a_file_that_another_tool_saved_again_is_found_by_its_tensors(project: Trained):
    project.train(1.0)
    first = project.commit("first")
    file = project.root.parent / "resaved.safetensors"
    save_file(load_file(project.adapter), file, {"note": "from a friend"})
    found = trace(project.root, file)
    assert (found.how, commits(found)) == ("tensors", [first])
    assert text(found).startswith(
        f"{file} holds the tensors of out/adapter.safetensors, number by number, "
        "under another header\n"
        "  header: gone: lora_recipes.hash, gone: lora_recipes.train, new: note\n"
    )


def test_a_snapshot_with_another_header_has_the_tensors_of_its_origin(project: Trained):
    project.train(1.0)
    project.commit("first")
    file = project.root.parent / "resaved.safetensors"
    write_tensors(file, adapter(0.5), {**header(1.0, step=3), "note": "x"})
    found = trace(project.root, file)
    assert (found.how, found.output) == ("tensors", "out/snapshots/step-000003.safetensors")
    assert found.header_changes == ("new: note",)


def test_a_converted_file_is_found_by_its_recipe_with_how_far_it_is_off(project: Trained):
    project.train(1.0)
    first = project.commit("first")
    file = project.root.parent / "half.safetensors"
    half = {name: value.half() for name, value in load_file(project.adapter).items()}
    save_file(half, file, read_header(project.adapter).metadata)
    found = trace(project.root, file)
    assert (found.how, commits(found)) == ("recipe", [first])
    assert found.drift is not None
    assert 0 < found.drift.max_abs < 1e-3
    lines = text(found).splitlines()
    assert (
        lines[0]
        == f"{file} was made with the recipe of out/adapter.safetensors, but the file differs"
    )
    assert "numbers differ, by " in lines[1]
    project.object(file_md5(project.adapter)).unlink()
    assert trace(project.root, file).drift is None


def test_a_damaged_object_of_the_cache_is_never_taken_for_the_original(project: Trained):
    project.train(1.0)
    project.commit("first")
    file = project.root.parent / "half.safetensors"
    write_tensors(file, adapter(1.001), header(1.0))
    write_tensors(project.object(file_md5(project.adapter)), adapter(1.001), header(1.0))
    found = trace(project.root, file)
    assert (found.how, found.drift) == ("recipe", None)


def test_what_was_trained_and_not_committed_is_the_working_trees(project: Trained):
    project.train(1.0)
    project.commit("first")
    project.train(2.0)
    found = trace(project.root, project.adapter)
    assert (found.origins, found.standing) == ((), ())
    assert text(found) == (
        f"{project.adapter} is out/adapter.safetensors, byte for byte\n"
        "\n"
        "made in this working tree and in no commit yet\n"
        "  git add -A && git commit"
    )


def test_nothing_found_says_what_was_looked_at(project: Trained):
    project.train(1.0)
    project.commit("first")
    git(project.root, "tag", "v1")
    file = project.root.parent / "foreign.safetensors"
    write_tensors(file, {f"{MODULE}.alpha": torch.tensor(1.0)}, {})
    with pytest.raises(CannotTell) as caught:
        trace(project.root, file)
    assert caught.value.exit_code == 2
    assert str(caught.value) == (
        f"{file}: no commit here made this file\n"
        "looked at 1 commit that changed dvc.lock, out/environment.json or out/train.json, in "
        "1 branch, 1 tag, 0 experiments\n"
        f"  by its bytes (md5 {file_md5(file)}), as adapter or snapshot\n"
        f"  by its tensors ({identity(file)['tensors_sha256']})\n"
        "  its header names no recipe of lora-recipes\n"
        "  fix:     `git fetch --all --tags` and `dvc exp pull` bring commits and experiments that "
        "were made elsewhere"
    )


def test_what_could_not_be_looked_at_is_said(tmp_path: Path):
    project = Trained(tmp_path / "project", record=False)
    for value in (1.0, 2.0):
        project.train(value)
        project.commit(f"{value}")
    git(project.root, "clone", "-q", "--depth=1", f"file://{project.root}", str(tmp_path / "clone"))
    file = tmp_path / "foreign.safetensors"
    write_tensors(file, adapter(9.0), header(9.0))
    with pytest.raises(CannotTell) as caught:
        trace(tmp_path / "clone", file)
    for gap in (
        "this clone holds a part of the history: `git fetch --unshallow --tags`\n",
        "the lists of snapshots of 1 training are not in DVC's cache: `dvc fetch --all-commits`\n",
        "1 record of training kept no hash of the tensors: compared by bytes alone\n",
    ):
        assert f"\n  {gap}" in str(caught.value)


def test_hashes_that_moved_from_one_record_to_the_other_were_made_where_they_first_stood(
    project: Trained,
):
    """Earlier releases kept them in out/train.json."""
    project.train(1.0)
    (project.root / "out/environment.json").unlink()
    project.say("out/train.json", {**identity(project.adapter), "environment": {}})
    first = project.commit("an earlier release")
    file = keep(project, "saved-again.safetensors")
    save_file(load_file(file), file)
    assert commits(trace(project.root, file)) == [first]
    project.train(1.0)
    project.commit("trained again by this release: the same tensors")
    found = trace(project.root, file)
    assert (found.how, commits(found), names(found)) == ("tensors", [first], ["branch main"])


def test_a_project_in_a_sub_folder_looks_at_its_own_lock(tmp_path: Path):
    outer = Trained(tmp_path / "outer")
    outer.train(1.0)
    outer.commit("outer")
    inner = outer.root / "ünner"
    inner.mkdir()
    git(outer.root, "mv", "dvc.lock", "out", ".dvc", "ünner/")
    moved = outer.commit("moved")
    found = trace(inner, inner / "out/adapter.safetensors")
    assert (commits(found), names(found)) == ([moved], ["branch main"])


def test_an_empty_repository_and_a_folder_without_git_cannot_tell(tmp_path: Path):
    project = Trained(tmp_path / "project")
    write_tensors(project.adapter, adapter(1.0), {})
    with pytest.raises(CannotTell, match="looked at 0 commits"):
        trace(project.root, project.adapter)
    (tmp_path / "bare").mkdir()
    with pytest.raises(CannotTell, match="not a git repository"):
        trace(tmp_path / "bare", project.adapter)


def test_this_projects_own_lock_is_read_as_a_yaml_parser_reads_it():
    from ruamel.yaml import YAML

    content = (REPOSITORY / "dvc.lock").read_bytes()
    outs = YAML(typ="safe", pure=True).load(content)["stages"]["train"]["outs"]
    md5 = {entry["path"]: entry["md5"] for entry in outs}
    assert says_of(content) == LockFacts(
        adapter=md5["out/adapter.safetensors"], snapshots=md5["out/snapshots"]
    )


@pytest.mark.parametrize(
    "content", [b"", b"{", b"{}", b"[]", b"stages: {}\n", b'{"a": 1}', b"\xff"]
)
def test_a_lock_or_record_of_another_form_says_nothing(content: bytes):
    assert says_of(content) == LockFacts()


def test_an_older_lock_without_the_hashs_kind_is_read(project: Trained):
    project.train(1.0)
    content = (project.root / "dvc.lock").read_text().replace("      hash: md5\n", "")
    assert says_of(content.encode()).adapter == file_md5(project.adapter)


def test_many_commits_are_read_with_few_processes(project: Trained, monkeypatch):
    import subprocess

    for value in range(1, 8):
        project.train(float(value))
        project.commit(str(value))
    started = []
    popen = subprocess.Popen.__init__

    def counted(self, *arguments, **more):
        started.append(arguments)
        popen(self, *arguments, **more)

    monkeypatch.setattr(subprocess.Popen, "__init__", counted)
    assert len(read_history(project.root).commits) == 7
    assert len(started) <= 8


def test_the_command_prints_the_commit_and_exits_by_the_answer(
    project: Trained, capsys, monkeypatch
):
    project.train(1.0)
    first = project.commit("first")
    monkeypatch.chdir(project.root)
    assert main(["trace", "out/adapter.safetensors"]) == 0
    assert first[:10] in capsys.readouterr().out
    write_tensors(project.adapter, adapter(5.0), {})
    assert main(["trace", "out/adapter.safetensors"]) == 2
    project.adapter.write_bytes(b"\x80\x04}.")
    assert main(["trace", "out/adapter.safetensors"]) == 1
    assert capsys.readouterr().err.endswith(
        "out/adapter.safetensors: is a pickle (or a zip of one), which can run code when it is "
        "opened\n"
        "  fix:     get the file as safetensors, or convert it with the program that wrote it\n"
    )
