"""An edit reruns the fewest stages that can change."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from lora_recipes import pipeline
from lora_recipes.pipeline import HASHED as STAGES
from lora_recipes.provenance.code import PACKAGE
from tests.test_floors import BLOCK_TORCH

from .project import REPOSITORY, Project, make_project

ALL = ["resolve", "prior", "dataset", "prepare", "encode", "train", "sample", "report"]
LATER = {stage: ALL[ALL.index(stage) :] for stage in ALL}


def nothing(project: Project) -> None:
    pass


def another_recipe(project: Project) -> None:
    project.edit("recipes/quick-cog.yaml", "name: quick-cog", "# a remark\nname: quick-cog")


def comment_in_params(project: Project) -> None:
    project.edit("params.yaml", "recipe:", "# a remark\nrecipe:")


def runtime(project: Project) -> None:
    project.set("runtime.workers", 2)


def same_number_spelt_otherwise(project: Project) -> None:
    text = (project.root / "params.yaml").read_text()
    rate = YAML(typ="safe", pure=True).load((project.root / "resolved.yaml").read_text())["train"][
        "learning_rate"
    ]
    assert "\n  learning_rate: null" in text
    text = text.replace("\n  learning_rate: null", f"\n  learning_rate: {rate:e}")
    (project.root / "params.yaml").write_text(text)


def learning_rate(project: Project) -> None:
    project.set("train.learning_rate", 0.00077)


def rank(project: Project) -> None:
    project.set("lora.rank", 3)


def resolution(project: Project) -> None:
    project.set("prepare.resolution", 64)


def prior_images(project: Project) -> None:
    project.set("prior.images", 24)


def prior_loss_weight(project: Project) -> None:
    """Refused without regularization pictures."""
    prior_images(project)
    project.repro()
    project.set("train.prior_loss_weight", 0.5)


def sample_seeds(project: Project) -> None:
    project.set("sample.seeds", [5])


def threads(project: Project) -> None:
    project.set("compute.threads", 2)


def precision(project: Project) -> None:
    project.set("compute.precision", "bf16")


def checkpointing(project: Project) -> None:
    project.set("compute.gradient_checkpointing", True)


def class_word(project: Project) -> None:
    """No caption of the demo is made by the template, so the manifest stays as it is."""
    project.set("dataset.class_word", "figure")


def shuffle(project: Project) -> None:
    project.set("dataset.caption.shuffle", True)
    project.set("dataset.caption.separator", " on ")


def shuffle_of_what_are_no_tags(project: Project) -> None:
    project.set("dataset.caption.shuffle", True)
    project.set("dataset.caption.separator", "|")


def caption_dropout(project: Project) -> None:
    project.set("train.caption_dropout", 0.1)


def max_tokens(project: Project) -> None:
    project.set("encode.max_tokens", 150)


def flip(project: Project) -> None:
    """The data and what is prepared stay as they are; mirrored pictures are encoded as well."""
    project.set("dataset.flip", True)


def description(project: Project) -> None:
    project.edit("recipes/pocket-demo.yaml", "description:", "description: Changed.\nold:")
    text = (project.root / "recipes/pocket-demo.yaml").read_text().splitlines()
    start = next(i for i, line in enumerate(text) if line.startswith("old:"))
    end = start + 1
    while end < len(text) and (text[end].startswith("  ") or not text[end].strip()):
        end += 1
    (project.root / "recipes/pocket-demo.yaml").write_text(
        "\n".join(text[:start] + text[end:]) + "\n"
    )


def comment_in_code(project: Project) -> None:
    path = project.root / "lora_recipes/diffusion/noise.py"
    path.write_text(path.read_text() + "\n# a remark\n")


def code_of_train(project: Project) -> None:
    path = project.root / "lora_recipes/diffusion/noise.py"
    path.write_text(path.read_text() + "\nCHANGED = 1\n")


def upgrade_of_peft(project: Project) -> None:
    project.edit("requirements.lock", "peft==", "peft==9")


def upgrade_of_pytest(project: Project) -> None:
    project.edit("requirements.lock", "pytest==", "pytest==9")


ROWS = [
    (nothing, []),
    (another_recipe, ["resolve"]),
    (comment_in_params, ["resolve"]),
    (runtime, ["resolve"]),
    (same_number_spelt_otherwise, ["resolve"]),
    (comment_in_code, ["resolve"]),
    (upgrade_of_pytest, ["resolve"]),
    (description, ["resolve", "report"]),
    (sample_seeds, ["resolve", "sample", "report"]),
    (learning_rate, ["resolve", "train", "sample", "report"]),
    (rank, ["resolve", "train", "sample", "report"]),
    (threads, ["resolve", "prior", *LATER["encode"]]),
    (precision, ["resolve", "prior", "train", "sample", "report"]),
    (checkpointing, ["resolve", "train", "sample", "report"]),
    (class_word, ["resolve", "dataset", "train", "sample", "report"]),
    (shuffle, ["resolve", "dataset", *LATER["encode"]]),
    (shuffle_of_what_are_no_tags, ["resolve", "dataset", "train", "sample", "report"]),
    (caption_dropout, ["resolve", "train", "sample", "report"]),
    (max_tokens, ["resolve", *LATER["encode"]]),
    (flip, ["resolve", "dataset", *LATER["encode"]]),
    (resolution, ["resolve", "prior", *LATER["prepare"]]),
    (prior_images, ["resolve", *LATER["prior"]]),
    (prior_loss_weight, ["resolve", "train", "sample", "report"]),
    (code_of_train, ["resolve", "train", "sample", "report"]),
    (upgrade_of_peft, ["resolve", "train", "sample", "report"]),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = make_project(tmp_path_factory.mktemp("edits") / "a project", {}, stand_ins=True)
    assert made.repro() == ALL
    made.commit("first")
    return made


@pytest.mark.parametrize(("edit", "stages"), ROWS, ids=[row[0].__name__ for row in ROWS])
def test_an_edit_reruns_only_what_it_can_change(project: Project, edit, stages: list[str]):
    edit(project)
    try:
        assert project.repro() == stages
    finally:
        project.run("git", "checkout", "-q", "--", ".")
        project.run("dvc", "checkout", "-q")


def test_plan_tells_before_the_run_what_it_will_do_without_torch(project: Project):
    project.set("train.learning_rate", 0.0055)
    project.set("sample.seeds", [5])
    try:
        shown = project.run("python", "-c", BLOCK_TORCH, "plan").stdout
        lines = [line.split() for line in shown.splitlines()[1:9]]
        assert [
            line[0] for line in lines if line[1] in ("prior", "dataset", "prepare", "encode")
        ] == ["keep"] * 4
        assert ["run", "train", "train.learning_rate"] in lines
        assert ["run", "sample", "sample.seeds"] in lines
        assert "optimizer steps" in shown
        assert project.run("git", "status", "--porcelain").stdout == " M params.yaml\n"
    finally:
        project.run("git", "checkout", "-q", "--", ".")


def test_plan_knows_what_the_cache_brings_back_and_what_it_cannot(project: Project):
    (project.root / "build/manifest.json").unlink()
    shown = project.run("python", "-m", "lora_recipes", "plan").stdout.splitlines()
    assert [line.split()[0] for line in shown[1:9]] == ["keep"] * 8
    cache = project.root / ".dvc/cache"
    cache.rename(cache.with_name("away"))
    try:
        shown = project.run("python", "-m", "lora_recipes", "plan").stdout.splitlines()
        assert shown[3].split()[:2] == ["run", "dataset"]
        assert "build/manifest.json (not in the cache), build/pictures.json" in shown[3]
    finally:
        cache.with_name("away").rename(cache)
        project.run("dvc", "checkout", "-q")


def test_a_deleted_or_tampered_adapter_is_restored_from_the_cache(project: Project):
    adapter = project.root / "out/adapter.safetensors"
    whole = adapter.read_bytes()
    adapter.unlink()
    assert project.repro() == []
    assert adapter.read_bytes() == whole
    adapter.chmod(0o644)
    adapter.unlink()
    adapter.write_bytes(b"tampered")
    assert project.repro() == []
    assert adapter.read_bytes() == whole


def test_a_changed_caption_stops_dataset_by_name_until_it_is_pinned_and_prepares_nothing(
    project: Project,
):
    caption = project.root / "data/demo/01.txt"
    old = caption.read_text("utf-8").strip()
    caption.write_text("a zwk toy in the rain\n", "utf-8")
    try:
        done = project.run("dvc", "repro", check=False)
        assert done.returncode != 0
        assert f'caption:  01.png: "{old}" -> "a zwk toy in the rain"' in done.stdout + done.stderr
        project.run("python", "-m", "lora_recipes", "pin")
        assert project.repro() == [stage for stage in ALL if stage not in ("prior", "prepare")]
    finally:
        project.run("git", "checkout", "-q", "--", ".")
        project.run("git", "clean", "-qfd")
        project.run("dvc", "checkout", "-q")


def test_a_typo_stops_at_resolve_and_leaves_every_output_as_it_was(project: Project):
    before = (project.root / "resolved.yaml").read_bytes()
    project.edit("params.yaml", "  rank:", "  rnak: 3\n  rank:")
    try:
        done = project.run("dvc", "repro", check=False)
        assert done.returncode != 0
        assert "did you mean rank?" in done.stderr + done.stdout
        assert (project.root / "resolved.yaml").read_bytes() == before
    finally:
        project.run("git", "checkout", "-q", "--", ".")


def test_every_key_that_a_later_stage_tracks_stands_in_the_resolved_recipe(project: Project):
    yaml = YAML(typ="safe", pure=True)
    stages = yaml.load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    resolved = yaml.load((project.root / "resolved.yaml").read_text())
    tracked = [
        key
        for stage in stages.values()
        for entry in stage.get("params", [])
        for key in entry["resolved.yaml"]
    ]
    assert len(tracked) > 30
    for key in tracked:
        value = resolved
        for part in key.split("."):
            assert part in value, f"resolved.yaml has no {key}"
            value = value[part]


def test_a_stage_reads_only_the_sections_that_it_tracks():
    """Every `read_section(root, "x", …)` and `read_value(root, "x")` is among its params.

    `read_keys` reads what the table lists one by one.
    """
    reads = {stage: keys_read(PACKAGE / "stages" / f"{stage}.py") for stage in STAGES}
    assert {"base", "lora", "train", "base_identity"} <= reads["train"]
    for name, keys in reads.items():
        row = pipeline.stage(name)
        if "resolved.yaml" not in row.deps:
            tracked = set(row.params)
            assert keys <= tracked, f"{name} reads {keys - tracked} without tracking it"


def test_the_adapters_header_holds_nothing_that_train_does_not_track():
    row = pipeline.stage("train")
    assert {*pipeline.TRAINED_SECTIONS, "base_identity"} <= set(row.params)
    assert row.deps == ("build/encoded",)  # its index holds the manifest's hash


def keys_read(file: Path) -> set[str]:
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return {
        call.args[1].value
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id in ("read_section", "read_value")
        and isinstance(call.args[1], ast.Constant)
    }


def test_a_clone_with_two_datasets_of_which_one_is_fetched_runs(tmp_path: Path):
    project = make_project(tmp_path / "two", {}, stand_ins=True)
    (project.root / "data/other.dvc").write_text(
        "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e.dir\n  path: other\n  hash: md5\n"
    )
    project.commit("with other data, not fetched")
    assert project.repro() == ALL


def test_own_pictures_go_to_a_remote_and_come_back_in_a_clone(tmp_path: Path):
    project = make_project(tmp_path / "first", {}, stand_ins=True)
    own = project.root / "data/rex"
    own.mkdir()
    for name in ("01", "02"):
        for suffix in (".png", ".txt"):
            (own / f"{name}{suffix}").write_bytes(
                (project.root / f"data/demo/{name}{suffix}").read_bytes()
            )
    project.set("recipe", "segmind-dreambooth")
    for key, value in {"data": "data/rex", "base.model": "pocket", "prepare.resolution": 128,
                       "dataset.trigger": "rex"}.items():  # fmt: skip
        project.set(key, value)
    project.run("dvc", "add", "data/rex")
    project.run("python", "-m", "lora_recipes", "pin")
    assert project.repro() == ALL
    project.run("dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    project.commit("rex")
    assert "data/rex/01.png" not in project.run("git", "ls-files").stdout
    project.run("dvc", "push")

    project.run("git", "clone", "-q", ".", str(tmp_path / "second"))
    clone = Project(tmp_path / "second")
    clone.run("dvc", "pull", "data/rex")
    assert (clone.root / "data/rex/01.png").read_bytes() == (own / "01.png").read_bytes()
    clone.run("dvc", "pull")
    assert clone.repro() == []

    (clone.root / "data/rex/01.txt").write_text("another caption\n", "utf-8")
    done = clone.run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "git checkout data/rex.dvc && dvc checkout data/rex.dvc" in done.stdout + done.stderr
    clone.run("git", "checkout", "-q", "data/rex.dvc")
    clone.run("dvc", "checkout", "-q", "data/rex.dvc")
    assert clone.repro() == []


def test_with_the_settings_that_ship_a_run_stages_the_lock_and_one_command_goes_back(
    project: Project,
):
    """Else DVC ends each run with advice to add dvc.lock alone, which is half of the truth."""
    shutil.copy(REPOSITORY / ".dvc/config", project.root / ".dvc/config")
    project.commit("the settings that ship")
    project.set("train.learning_rate", 0.0011)
    assert "git" not in project.run("dvc", "repro").stdout
    changes = project.run("git", "status", "--porcelain").stdout.splitlines()
    assert {" M params.yaml", " M resolved.yaml", " M out/train.json"} < {*changes}
    assert [line for line in changes if not line.startswith(" ")] == ["M  dvc.lock"]
    project.run("git", "checkout", "-q", "HEAD", "--", ".")
    project.run("dvc", "checkout", "-q")
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert project.repro() == []
