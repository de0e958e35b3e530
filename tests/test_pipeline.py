"""The table of stages: what dvc.yaml says, and what the code takes from it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from dvc.dependency.param import read_param_file
from dvc_objects.fs.local import LocalFileSystem
from ruamel.yaml import YAML

from lora_recipes import pipeline
from lora_recipes.pipeline import STAGES, Stage, dvc_yaml
from lora_recipes.recipe.dump import dump
from lora_recipes.recipe.fields import overridable_keys
from lora_recipes.recipe.identity import present, section_of
from lora_recipes.recipe.model import SECTIONS, Recipe
from lora_recipes.recipe.sections.section import BelongsTo, Off, Section

REPOSITORY = Path(__file__).resolve().parents[1]


def test_dvc_yaml_is_the_table():
    assert (REPOSITORY / "dvc.yaml").read_text("utf-8") == dvc_yaml()


def test_a_project_of_the_installed_package_depends_on_what_its_lock_pins():
    stages = YAML(typ="safe", pure=True).load(dvc_yaml(own_code=False))["stages"]
    assert stages.pop("resolve")["deps"] == ["params.yaml", "recipes", "requirements.lock"]
    own = YAML(typ="safe", pure=True).load(dvc_yaml())["stages"]
    assert "lora_recipes" in own.pop("resolve")["deps"]
    assert stages == own


@pytest.mark.parametrize("row", STAGES, ids=lambda row: row.name)
def test_dvc_reads_back_what_the_table_says(row: Stage):
    found = YAML(typ="safe", pure=True).load(dvc_yaml())["stages"][row.name]
    assert found["cmd"] == f"python -m lora_recipes stage {row.name}"
    assert tuple(found.get("deps", [])) == row.deps
    assert found.get("params", []) == ([{"resolved.yaml": list(row.params)}] if row.params else [])
    written = [
        (kind, path if isinstance(path, str) else next(iter(path)))
        for kind in ("outs", "metrics", "plots")
        for path in found.get(kind, [])
    ]
    assert written == [(output.kind, output.path) for output in row.outputs]


def test_stages_stand_in_the_order_of_work_and_each_dep_is_made_before_or_given():
    made = {pipeline.PARAMS, pipeline.RECIPES, pipeline.PACKAGE, pipeline.REQUIREMENTS}
    made.add(pipeline.DATA)
    for row in STAGES:
        assert set(row.deps) <= made, row.name
        made |= {output.path for output in row.outputs}
        assert (REPOSITORY / "lora_recipes" / "stages" / f"{row.name}.py").is_file()


def test_every_section_that_is_tracked_is_there_even_if_no_key_of_it_is(tmp_path: Path):
    """DVC stops at a tracked section that is missing. One of which everything is off is empty."""
    tracked = {name.partition(".")[0] for row in STAGES for name in row.sections}
    assert tracked <= set(SECTIONS)
    defaults = {name: section_of(Recipe.model_fields[name]) for name in SECTIONS}
    written = present({name: kind() for name, kind in defaults.items() if kind})
    assert tracked <= set(written)
    assert written["prior"] == {}
    (tmp_path / "resolved.yaml").write_text(dump(written))
    found = read_param_file(LocalFileSystem(), str(tmp_path / "resolved.yaml"), ["prior"], True)
    assert found == {"prior": {}}


def test_keys_that_are_tracked_one_by_one_are_always_there():
    """DVC stops where a tracked key is missing, as one at `Off` is."""
    single = [key for row in STAGES for key in row.sections if "." in key]
    assert single
    for key in single:
        section, _, field = key.partition(".")
        assert key in overridable_keys()
        kind = section_of(Recipe.model_fields[section])
        assert kind is not None
        assert always_there(kind, field), key


def always_there(section: type[Section], field: str) -> bool:
    kinds = (Off, BelongsTo)
    return not any(isinstance(item, kinds) for item in section.model_fields[field].metadata)


def test_what_a_trained_key_belongs_to_is_trained_on_too():
    """Else the header could not tell whether the key is there."""
    owners = {
        item.key.partition(".")[0]
        for name in pipeline.TRAINED_SECTIONS
        for info in every_field(section_of(Recipe.model_fields[name]))
        for item in info.metadata
        if isinstance(item, BelongsTo)
    }
    assert owners
    assert owners <= set(pipeline.TRAINED_SECTIONS)


def every_field(section):
    for info in section.model_fields.values():
        yield info
        inner = section_of(info)
        if inner is not None:
            yield from every_field(inner)


def test_the_table_imports_nothing_of_the_package():
    tree = ast.parse((REPOSITORY / "lora_recipes" / "pipeline.py").read_text("utf-8"))
    names = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert names
    assert not [name for name in names if name.startswith("lora_recipes")]


def test_no_other_module_spells_out_a_path_that_the_table_holds():
    outputs = {output.path for row in STAGES for output in row.outputs}
    paths = outputs | {Path(path).name for path in outputs if Path(path).suffix} | {"build", "out"}
    folders = {"stages/check.py: build", "stages/check.py: out"}  # looked for temporaries
    package = REPOSITORY / "lora_recipes"
    files = [file for file in package.rglob("*.py") if file.name != "pipeline.py"]
    assert len(files) > 50
    spelled = {
        f"{file.relative_to(package).as_posix()}: {node.value}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and node.value in paths
    }
    assert spelled == folders
