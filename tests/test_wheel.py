"""What is installed: the package, whole, and nothing of the repository around it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
BUILD = """
import sys
from setuptools import Distribution
package = Distribution({"script_name": "setup.py"})
package.parse_config_files()
build = package.get_command_obj("build_py")
build.build_lib = sys.argv[1]
build.ensure_finalized()
build.run()
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files that setuptools puts into a wheel, by pyproject.toml's own words."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=REPOSITORY, check=True, capture_output=True
    )
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_the_wheel_holds_every_file_of_the_package_and_no_other(built: set[str]):
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "lora_recipes"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    assert built == {name for name in listed if name and (REPOSITORY / name).is_file()}


def test_the_wheel_holds_the_pockets_model_and_nothing_of_how_it_was_made(built: set[str]):
    pocket = {name for name in built if name.startswith("lora_recipes/pocket/")}
    assert [name for name in pocket if name.endswith(".py")] == ["lora_recipes/pocket/__init__.py"]
    assert "lora_recipes/pocket/model/unet/diffusion_pytorch_model.safetensors" in pocket


def test_the_wheel_holds_the_pages_templates(built: set[str]):
    from lora_recipes.report.page import FOLDER, TEMPLATES

    names = [*TEMPLATES, "page.css", "page.js"]
    assert {f"lora_recipes/{FOLDER.name}/{name}" for name in names} <= built
