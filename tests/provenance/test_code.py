"""A stage's code hash moves with what the code does, and with nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest

from lora_recipes.provenance.code import PACKAGE, STAGES, Files, closure, stage_hashes

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
    found = closure(Files(package), package / "stages/train.py")
    names = {file.relative_to(package).as_posix() for file in found}
    assert {"maths/core.py", "deep/helper.py", "deep/table.json"} <= names
    assert "unused/module.py" not in names


def test_the_real_stages_reach_their_own_floors_and_not_their_neighbours():
    def reach(stage: str) -> set[str]:
        found = closure(Files(PACKAGE), PACKAGE / "stages" / f"{stage}.py")
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
            for file in closure(Files(PACKAGE), PACKAGE / "stages" / f"{stage}.py")
            if file.parent.name == "sections"
        }
        for stage in STAGES
    }
    assert "train" in found["train"]
    assert "sample" not in found["train"]
    assert not {"train", "sample", "lora"} & found["encode"]
    assert not {"train", "sample", "lora", "encode", "compute"} & found["prepare"]


def test_remembered_hashes_are_those_of_a_fresh_look_after_any_edit(package, tmp_path):
    cache = tmp_path / "code.json"
    long_ago = 1_000_000_000
    for file in package.rglob("*.*"):
        os.utime(file, (long_ago, long_ago))
    with patch("lora_recipes.dataset.cache.SETTLED_NS", -1):
        fresh = stage_hashes(package)
        assert stage_hashes(package, cache) == stage_hashes(package, cache) == fresh
        for file, old, new in (
            ("maths/core.py", "+ 1", "- 1"),
            ("deep/table.json", "[1]", "[2]"),
            ("maths/core.py", "deep import helper", "unused import module as helper"),
        ):
            edit(package / file, old, new)
            os.utime(package / file, (long_ago, long_ago))  # ctime tells, even of equal sizes
            assert stage_hashes(package, cache) == stage_hashes(package) != fresh


def test_untouched_files_are_not_parsed_again(package, tmp_path):
    cache = tmp_path / "code.json"
    with patch("lora_recipes.dataset.cache.SETTLED_NS", -1):
        fresh = stage_hashes(package, cache)
        with patch("lora_recipes.provenance.code.ast.parse", side_effect=AssertionError):
            assert stage_hashes(package, cache) == fresh
