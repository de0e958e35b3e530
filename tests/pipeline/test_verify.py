"""`verify` proves a commit, says what is off, or says why it cannot tell; and touches nothing.

The tests share one small real project and run in the order of this file.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image

from lora_recipes.errors import CannotTell
from lora_recipes.provenance.objects import Objects
from lora_recipes.provenance.verify import Wanted, verify
from lora_recipes.reporting import Quiet

from .project import Project, make_project
from .test_edits import ALL
from .test_reproducible import SMALL

TINY = SMALL | {"train.repeats": 1, "base.model": "models/own"}
HALF_MADE = "check this commit out, run `dvc repro`, and commit what it changes; then verify that"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Trained on a base model that git does not track, at a relative path; pushed to a remote."""
    root = tmp_path_factory.mktemp("verify") / "a project"
    made = make_project(root, TINY)
    shutil.copytree(root / "lora_recipes/pocket/model", root / "models/own")
    made.repro("train")
    made.run("dvc", "remote", "add", "-d", "store", "../../store")
    made.commit("first")
    made.run("git", "tag", "-a", "v1", "-m", "the first")
    made.run("dvc", "push", "-q")
    return made


@pytest.fixture
def back(project: Project):
    """Go back to the first commit after a test that makes others."""
    yield
    project.run("git", "checkout", "-qf", "v1")
    project.run("git", "clean", "-qfd")
    project.run("dvc", "checkout", "-q", "-f", check=False)


def run_verify(project: Project, *arguments: str, **environment: str):
    return project.run(
        "python", "-m", "lora_recipes", "verify", *arguments, check=False, **environment
    )


def refusal(project: Project, name: str = "HEAD", **how: bool) -> list[tuple[str, str, str]]:
    """Where, what and fix of each reason why verify cannot tell."""
    report = Quiet()
    with pytest.raises(CannotTell) as error:
        verify(project.root, Wanted(name, **how), report)
    assert "running train again" not in report.said
    return [(problem.where, problem.what, problem.fix) for problem in error.value.problems]


def everything(root: Path) -> dict[str, str]:
    """A hash of every file of a project and its git repository, and of what is no file its kind."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if "__pycache__" not in name and name != ".lora/verify":
            is_file = path.is_file() and not path.is_symlink()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else ""
            found[name] = f"{path.lstat().st_mode} {content}"
    return found


def test_with_other_instructions_a_commit_is_not_reproduced_and_nothing_of_the_users_is_touched(
    project: Project,
):
    """The one place where the machine really is another: torch without its vector kernels."""
    if torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("this CPU has no vector kernels to switch off")
    project.edit("params.yaml", "recipe:", "# an edit that is not committed\nrecipe:")
    project.run("git", "add", "params.yaml")
    (project.root / "notes.txt").write_text("not under git")
    (project.root / ".lora/checkpoints/0123").mkdir(parents=True)
    (project.root / ".lora/checkpoints/0123/step-000001.ckpt").write_text("the user's")
    before = everything(project.root)
    done = run_verify(project, "v1", ATEN_CPU_CAPABILITY="default")
    assert everything(project.root) == before
    lines = done.stdout.splitlines()
    assert done.returncode == 1, done.stderr
    assert lines[0].startswith("not reproduced: tag v1 (")
    assert lines[0].endswith("): 5 of 5 outputs differ (train)")
    assert "drift of out/adapter.safetensors" in lines
    assert "numbers differ, by" in done.stdout
    marked = [line.split()[1] for line in lines if line.startswith("*")]
    assert marked == ["cpu_capability"]
    project.run("git", "checkout", "-qf", "v1")
    (project.root / "notes.txt").unlink()


def test_in_a_fresh_clone_with_pull_a_commit_is_reproduced(project: Project):
    project.run("git", "clone", "-q", ".", "../clone")
    clone = Project(project.root.parent / "clone")
    shutil.copytree(project.root / "models", clone.root / "models")
    (where, what, fix), *more = refusal(clone, "v1")
    assert (where, what, more) == ("build/encoded", "is not in DVC's cache", [])
    assert fix == "fetch it from the DVC remote: the same command with --pull"
    done = run_verify(clone, "v1", "--pull", "--json")
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["verdict"] == "reproduced"
    assert (verdict["name"], verdict["kind"]) == ("v1", "tag")
    assert [(output["path"], output["same"]) for output in verdict["outputs"]] == [
        ("out/adapter.safetensors", True),
        ("out/environment.json", True),
        ("out/loss.tsv", True),
        ("out/snapshots", True),
        ("out/train.json", True),
    ]
    assert verdict["environment"]["then"] == verdict["environment"]["now"]
    assert (verdict["environment"]["differs"], verdict["drift"]) == ([], {})
    assert not (clone.root / "out/adapter.safetensors").exists()
    assert list((clone.root / ".lora/verify").iterdir()) == []
    assert len(clone.run("git", "worktree", "list").stdout.splitlines()) == 1


@pytest.mark.slow
def test_an_adapter_that_was_tampered_with_together_with_its_lock_is_found(project, back):
    adapter = project.root / "out/adapter.safetensors"
    data = bytearray(adapter.read_bytes())
    data[-1] ^= 0x40  # one number of the file's last tensor becomes another
    adapter.unlink()
    adapter.write_bytes(data)
    project.run("dvc", "commit", "-q", "-f", "train")
    project.commit("a better adapter")
    verdict = verify(project.root, Wanted("HEAD"), Quiet())
    assert [output.path for output in verdict.differing] == ["out/adapter.safetensors"]
    assert verdict.drift["out/adapter.safetensors"].differs == 1
    assert verdict.environment()
    assert all(then == now for _, then, now in verdict.environment())


def test_a_commit_that_was_edited_and_not_run_is_refused_by_name(project: Project, back):
    project.set("train.learning_rate", 0.0007)
    project.edit("requirements.lock", "peft==", "peft==9")
    file = project.root / "lora_recipes/diffusion/noise.py"
    file.write_text(file.read_text() + "\nCHANGED = 1\n")
    project.commit("edited, and not run")
    assert sorted(refusal(project)) == [
        ("lora_recipes", "half-made commit: the code of train is not the code that train ran with",
         HALF_MADE),
        ("params.yaml", "half-made commit: train.learning_rate is 0.0007, "
         "but train ran with 0.003", HALF_MADE),
        ("requirements.lock", "half-made commit: peft is 90.21.2, but train ran with 0.21.2",
         HALF_MADE),
    ]  # fmt: skip


def test_a_commit_whose_files_and_lock_are_of_different_runs_is_refused_by_name(project, back):
    (project.root / "data/demo/01.txt").write_text("a zwk toy in the rain\n", "utf-8")
    project.edit("resolved.yaml", "learning_rate: 0.003", "learning_rate: 0.004")
    project.edit("out/loss.tsv", "step", "steps")
    encoded = project.lock()["train"]["deps"][0]["md5"]
    text = (project.root / "dvc.lock").read_text()
    (project.root / "dvc.lock").write_text(text.replace(encoded, "0" * 32 + ".dir", 1))
    project.commit("torn")
    assert refusal(project) == [
        ("dvc.lock", f"contradicts itself: train ran on build/encoded {encoded[:8]}, "
         "but encode made 00000000", HALF_MADE),
        ("resolved.yaml", "half-made commit: is not what resolve made", HALF_MADE),
        ("data/demo", "half-made commit: is not what dataset ran on (modified)", HALF_MADE),
        ("resolved.yaml", "half-made commit: train.learning_rate is not what train ran with",
         HALF_MADE),
        ("out/loss.tsv", "half-made commit: is not what train made", HALF_MADE),
    ]  # fmt: skip


def test_a_commit_without_training_is_refused(project: Project, back):
    (project.root / "dvc.lock").unlink()
    project.commit("no lock")
    assert [what for _, what, _ in refusal(project)] == [
        "is not in this commit: nothing was trained in it"
    ]


def test_a_damaged_object_of_the_cache_is_refused_by_name_and_left_alone(project: Project):
    objects = Objects(project.root / ".dvc/cache")
    encoded = project.lock()["train"]["deps"][0]["md5"]
    name, md5 = next(iter((objects.listing(encoded) or {}).items()))
    place = objects.path(md5)
    sound = place.read_bytes()
    place.chmod(0o644)
    place.write_bytes(sound[:-1] + b"?")
    place.chmod(0o444)
    try:
        assert refusal(project, "v1") == [
            (
                f"build/encoded/{name}",
                f"its object in DVC's cache is damaged: {place} does not hold what its name says",
                "delete that object, then `dvc fetch` it, or make it again with "
                "`dvc repro --force`",
            )
        ]
        assert place.read_bytes() == sound[:-1] + b"?"
    finally:
        place.chmod(0o644)
        place.write_bytes(sound)
        place.chmod(0o444)


def test_another_or_no_base_model_at_the_commits_path_is_refused_by_name(project: Project):
    config = project.root / "models/own/unet/config.json"
    text = config.read_text()
    config.write_text(text + "\n")
    (where, what, fix), *more = refusal(project, "v1")
    assert (where, fix, more) == (
        "base.model",
        "put the files of that time where the commit's params.yaml says",
        [],
    )
    assert what.startswith("the base model here is not the one of this commit: sha256:")
    config.write_text(text)
    (project.root / "models").rename(project.root / ".lora/away")
    try:
        ((_, what, _),) = refusal(project, "v1")
    finally:
        (project.root / ".lora/away").rename(project.root / "models")
    assert what.startswith("the commit's own resolve failed; its last lines:\n")
    assert re.search(r"params\.yaml(:\d+)?: base\.model = models/own\n", what), what
    assert "folder or .safetensors file that exists" in what


@pytest.mark.slow
def test_a_run_that_fails_is_no_answer_and_shows_its_last_lines(project: Project, back):
    file = project.root / "lora_recipes/stages/__init__.py"
    assert file.read_text() == ""
    run = project.root / "lora_recipes/train/loop.py"
    run.write_text(run.read_text().replace("def fit(", "def fitted(", 1))
    project.run("dvc", "repro", "-q", "resolve")
    project.run("dvc", "commit", "-q", "-f", "train")
    project.commit("cannot be trained")
    report = Quiet()
    with pytest.raises(CannotTell) as error:
        verify(project.root, Wanted("HEAD"), report)
    assert "running train again" in report.said
    what = error.value.problems[0].what
    assert what.startswith("the commit could not be run again; its last lines:\n")
    assert "ImportError: cannot import name 'fit'" in what


def test_json_says_why_it_cannot_tell_and_standard_output_holds_nothing_else(project: Project):
    done = run_verify(project, "v1x", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout) == {
        "verdict": "cannot tell",
        "name": "v1x",
        "problems": [
            {
                "where": "",
                "what": "nothing is called v1x",
                "allowed": "a commit, tag, branch or DVC experiment of this repository",
                "fix": "did you mean v1?",
            }
        ],
    }
    assert done.stderr.startswith("nothing is called v1x\n")


def test_outside_the_projects_folder_verify_says_where_it_is(project: Project, tmp_path: Path):
    for folder, fix in (
        (project.root / "data", f'cd "{project.root}"'),
        (tmp_path, "cd to the folder that holds params.yaml"),
    ):
        with pytest.raises(CannotTell) as error:
            verify(folder, Wanted("HEAD"), Quiet())
        assert str(error.value) == (
            f"{folder}: is not a project's folder: it holds no dvc.yaml and .dvc\n  fix:     {fix}"
        )


def caption(project: Project) -> None:
    (project.root / "data/demo/01.txt").write_text("a zwk toy in the rain\n", "utf-8")
    project.run("python", "-m", "lora_recipes", "pin")


def picture(project: Project) -> None:
    demo = project.root / "data/demo"
    shutil.copy(demo / "02.png", demo / "09.png")
    with Image.open(demo / "09.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(demo / "09.png")
    (demo / "09.txt").write_text("a zwk toy that looks the other way\n", "utf-8")
    project.run("python", "-m", "lora_recipes", "pin")


def code(project: Project) -> None:
    file = project.root / "lora_recipes/diffusion/timesteps.py"
    file.write_text(file.read_text() + "\nCHANGED = 1\n")


HISTORY = {
    "first": lambda project: None,
    "rate": lambda project: project.set("train.learning_rate", 0.0007),
    "caption": caption,
    "picture": picture,
    "resolution": lambda project: project.set("prepare.resolution", 72),
    "code": code,
}


@pytest.mark.slow
def test_every_commit_of_a_history_is_reproduced_by_commit_branch_and_tag(tmp_path: Path):
    """Six commits: the first, another rate, caption, picture, resolution, code; newest checked out.

    Each has an adapter of its own, the code of its own time, and gives it back.
    """
    project = make_project(tmp_path / "a history", SMALL | {"train.repeats": 1})
    for name, edit in HISTORY.items():
        edit(project)
        project.repro("train")
        project.commit(name)
        project.run("git", "tag", name)
    project.run("git", "branch", "elsewhere", "caption")
    adapters = {}
    for name in ("first", "rate", "elsewhere", "picture", "resolution", "code"):
        verdict = verify(project.root, Wanted(name), Quiet())
        assert verdict.word == "reproduced", verdict.text()
        adapters[name] = next(o.now for o in verdict.outputs if o.path.endswith(".safetensors"))
    assert len(set(adapters.values())) == len(HISTORY) - 1, "a constant moves no number"
    assert adapters["code"] == adapters["resolution"]
    assert project.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.slow
def test_an_experiment_and_the_whole_pipeline_are_reproduced_two_at_once(tmp_path: Path):
    project = make_project(tmp_path / "a project", SMALL | {"train.repeats": 1})
    project.repro()
    project.commit("all of it")
    project.run("dvc", "exp", "run", "-q", "-n", "gentler", "-S", "train.learning_rate=0.001")
    project.run("git", "checkout", "-q", "--", ".")
    wanted = (Wanted("HEAD", every_stage=True), Wanted("gentler"))
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(verify, project.root, one, Quiet()) for one in wanted]
        whole, experiment = (future.result() for future in running)
    assert whole.word == "reproduced", whole.text()
    assert {output.stage for output in whole.outputs} == set(ALL)
    assert all(output.same for output in whole.outputs)
    assert experiment.word == "reproduced", experiment.text()
    assert experiment.revision.kind == "experiment"
    assert list((project.root / ".lora/verify").iterdir()) == []


@pytest.mark.slow
def test_a_commit_is_reproduced_in_an_environment_made_from_its_own_lock(project: Project):
    """Needs a network: some gigabytes of packages."""
    verdict = verify(project.root, Wanted("v1", own_environment=True), Quiet())
    builds = (verdict.then["torch_build"], verdict.now["torch_build"])
    if builds[0] == builds[1]:
        assert verdict.word == "reproduced", verdict.text()
    else:
        assert "torch_build" in verdict.as_dict()["environment"]["differs"]
