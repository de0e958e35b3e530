"""A stage's code hash moves with what the code does, and with nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_recipes.provenance.code import PACKAGE, STAGES, Sources, closure, stage_hashes

MATHS = '''"""A module."""

from lora_recipes.deep import helper


def train(x: float) -> float:
    """Add one."""
    return helper.twice(x) + 1  # plain
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "lora_recipes"
    for folder in ("stages", "maths", "deep", "unused"):
        (root / folder).mkdir(parents=True)
        (root / folder / "__init__.py").write_text("")
    (root / "__init__.py").write_text('__version__ = "1"\n')
    for stage in STAGES:
        (root / "stages" / f"{stage}.py").write_text(f"STAGE = {stage!r}\n")
    (root / "stages" / "train.py").write_text(
        "def run():\n    from lora_recipes.maths import core\n    return core.train(1)\n"
    )
    (root / "maths" / "core.py").write_text(MATHS)
    (root / "deep" / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    (root / "deep" / "table.json").write_text("[1]")
    (root / "unused" / "module.py").write_text("VALUE = 1\n")
    return root


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("maths/core.py", "# plain", "# explained at length"),
        ("maths/core.py", '"""Add one."""', '"""Add one to twice x."""'),
        ("maths/core.py", "twice(x) + 1", "twice(\n        x\n    ) + 1"),
        ("unused/module.py", "1", "2"),
        ("__init__.py", '"1"', '"2"'),
    ],
)
def test_comments_docstrings_layout_and_foreign_modules_move_no_hash(package, file, old, new):
    before = stage_hashes(package)
    edit(package / file, old, new)
    assert stage_hashes(package) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("stages/train.py", "train(1)", "train(2)"),
        ("maths/core.py", "+ 1", "- 1"),
        ("deep/helper.py", "2 * x", "3 * x"),
        ("deep/table.json", "[1]", "[2]"),
    ],
)
def test_whatever_the_stage_can_reach_moves_its_hash_and_only_its_own(package, file, old, new):
    before = stage_hashes(package)
    edit(package / file, old, new)
    after = stage_hashes(package)
    assert {stage for stage in STAGES if before[stage] != after[stage]} == {"train"}


def test_an_import_inside_a_function_and_a_relative_one_are_followed(package):
    edit(package / "maths/core.py", "from lora_recipes.deep import", "from ..deep import")
    found = closure(package, package / "stages/train.py", Sources(package))
    names = {file.relative_to(package).as_posix() for file in found}
    assert {"maths/core.py", "deep/helper.py", "deep/table.json"} <= names
    assert "unused/module.py" not in names


def test_the_real_stages_reach_their_own_floors_and_not_their_neighbours():
    def reach(stage: str) -> set[str]:
        found = closure(PACKAGE, PACKAGE / "stages" / f"{stage}.py", Sources(PACKAGE))
        return {file.relative_to(PACKAGE).parts[0] for file in found}

    assert "train" in reach("train")
    assert not {"sample", "report", "pocket"} & reach("train")
    assert not {"train", "report", "pocket"} & reach("sample")
    assert not {"train", "sample", "encode", "base"} & reach("prepare")


def test_no_stage_reads_a_section_of_the_recipe_that_another_stage_owns():
    """Adding a sample setting must not retrain: train never imports the sample section."""
    found = {
        stage: {
            file.stem
            for file in closure(PACKAGE, PACKAGE / "stages" / f"{stage}.py", Sources(PACKAGE))
            if file.parent.name == "sections"
        }
        for stage in STAGES
    }
    assert "train" in found["train"]
    assert "sample" not in found["train"]
    assert not {"train", "sample", "lora"} & found["encode"]
    assert not {"train", "sample", "lora", "encode", "compute"} & found["prepare"]


def test_what_is_remembered_gives_the_same_hashes_and_follows_every_edit(package, tmp_path):
    known = tmp_path / "code.json"
    first = stage_hashes(package, known)
    assert first == stage_hashes(package)
    assert stage_hashes(package, known) == first
    edit(package / "deep/helper.py", "2 * x", "3 * x")
    changed = stage_hashes(package, known)
    assert changed == stage_hashes(package) != first
    edit(package / "deep/helper.py", "3 * x", "2 * x")
    assert stage_hashes(package, known) == first


@pytest.mark.parametrize("damage", ["", "{", "[]", "7", "other hash", "other imports"])
def test_a_damaged_memory_changes_no_hash(package, tmp_path, damage):
    known = tmp_path / "code.json"
    expected = stage_hashes(package, known)
    if damage.startswith("other"):
        entries = json.loads(known.read_text())
        for entry in entries.values():
            entry.update({"statements": "sha256:0"} if damage == "other hash" else {"imports": []})
        damage = json.dumps(entries)
    known.write_text(damage)
    assert stage_hashes(package, known) == expected


def test_an_unchanged_module_is_not_parsed_again(package, tmp_path, monkeypatch):
    known = tmp_path / "code.json"
    expected = stage_hashes(package, known)
    parsed = []
    monkeypatch.setattr("ast.parse", lambda content, name: parsed.append(name))
    assert stage_hashes(package, known) == expected
    assert parsed == []
