"""The house: quick commands answer without torch, and every listed floor exists."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from lora_recipes.cli import main

REPOSITORY = Path(__file__).resolve().parents[1]
BLOCK_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "diffusers", "transformers", "peft", "lightning"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
sys.argv[0] = "lora-recipes"
from lora_recipes.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--help"], "validate"),
        (["--version"], "0.1.0"),
        (["validate"], "pocket-demo"),
        (["explain", "train.noise_offset"], "noise_offset"),
        (["explain"], "lora.rank"),
        (["caption", "--help"], "<DETAILED_CAPTION>"),
    ],
)
def test_quick_commands_answer_with_torch_blocked(arguments: list[str], expected: str):
    done = subprocess.run(
        [sys.executable, "-c", BLOCK_TORCH, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_an_unknown_command_is_a_usage_error():
    done = subprocess.run(
        [sys.executable, "-m", "lora_recipes", "trian"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "python -m lora_recipes trian: there is no such command\n"
        "  fix:     `dvc repro` runs all stages, training too\n"
    )


def test_the_wrong_interpreter_is_named_with_the_way_out():
    """A Python without the project's packages (here: isolated, without site-packages)."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "lora_recipes", "stage", "resolve"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("wrong interpreter: ")
    assert "source .venv/bin/activate" in done.stderr
    assert "Traceback" not in done.stderr


def test_validate_and_trace_outside_a_project_say_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["validate"]) == 1
    assert capsys.readouterr().err == (
        f"{tmp_path}: holds neither recipes/ nor params.yaml: there is nothing to validate\n"
        "  fix:     run this in the project's folder\n"
    )
    assert main(["trace", "x.safetensors"]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path}: is not a project's folder")


def test_no_two_classes_of_the_package_have_one_name():
    """A private one too: a reader who looks a name up finds one thing."""
    found: dict[str, list[str]] = {}
    for file in sorted((REPOSITORY / "lora_recipes").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(str(file.relative_to(REPOSITORY)))
    assert len(found) > 100
    assert {name: files for name, files in found.items() if len(files) > 1} == {}
