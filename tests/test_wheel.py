"""What is installed: the package, whole, and nothing of the repository around it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[1]
LOCK = REPOSITORY / "requirements.lock"
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


def test_setup_installs_the_command_with_what_is_locked_and_without_a_network():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["scripts"] == {"lora-recipes": "lora_recipes.__main__:main"}
    pins = [line.partition("==") for line in LOCK.read_text("utf-8").splitlines()]
    locked = {name: version.strip() for name, _, version in pins}
    for text in project["build-system"]["requires"]:
        needed = Requirement(text)
        assert needed.specifier.contains(locked[needed.name]), f"{text} is not locked"
    wanted = {"--no-deps", "--no-build-isolation"}
    for page in ("Makefile", "README.md"):
        lines = (REPOSITORY / page).read_text("utf-8").splitlines()
        (install,) = (line.split() for line in lines if {"-e", "--editable"} & set(line.split()))
        assert {"install", "."} | wanted <= set(install), page


def test_the_wheel_holds_the_pages_templates(built: set[str]):
    from lora_recipes.report.page import FOLDER, TEMPLATES

    names = [*TEMPLATES, "page.css", "page.js"]
    assert {f"lora_recipes/{FOLDER.name}/{name}" for name in names} <= built
