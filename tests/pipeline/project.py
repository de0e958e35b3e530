"""A throw-away project of its own git and DVC repository, made from this one's files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from . import warm_dvc

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("lora_recipes", "recipes", "data", "dvc.yaml", "params.yaml", "requirements.lock",
          ".dvcignore", ".gitignore", ".gitattributes")  # fmt: skip
STAND_IN = Path(__file__).with_name("stand_in.py")
RAN = re.compile(r"^Running stage '(\w+)'", re.MULTILINE)


@dataclass
class Project:
    """A folder with params.yaml, under git and DVC."""

    root: Path

    def environment(self, **more: str) -> dict[str, str]:
        """This process's environment, with this test's Python first on the PATH."""
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "PYTHONPATH": "",
            "OMP_NUM_THREADS": "1",
            **more,
        }

    def run(self, *command: str, check: bool = True, **more: str) -> subprocess.CompletedProcess:
        """Run a command in the project."""
        around = self.environment(**more)
        if command[0] == "dvc":
            done = warm_dvc.run(command[1:], self.root, around)
        else:
            done = subprocess.run(
                command, cwd=self.root, env=around, capture_output=True, text=True, check=False
            )
        if check and done.returncode:
            raise AssertionError(f"{command} exited {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def repro(self, *options: str) -> list[str]:
        """`dvc repro`; the names of the stages that ran."""
        return RAN.findall(self.run("dvc", "repro", *options).stdout)

    def commit(self, message: str) -> str:
        """Commit everything; the commit's id."""
        self.run("git", "add", "-A")
        self.run("git", "-c", "core.hooksPath=", "commit", "-qm", message)
        return self.run("git", "rev-parse", "HEAD").stdout.strip()

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text that must be there."""
        path = self.root / file
        text = path.read_text("utf-8")
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new, 1), "utf-8")

    def set(self, key: str, value: object) -> None:
        """Set a dotted key of params.yaml, keeping everything else as it is."""
        yaml = YAML()
        yaml.preserve_quotes = True
        yaml.representer.add_representer(
            type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
        )
        path = self.root / "params.yaml"
        document = yaml.load(path.read_text("utf-8"))
        *sections, last = key.split(".")
        place = document
        for section in sections:
            place = place[section]
        assert last in place, f"params.yaml does not list {key}"
        place[last] = value
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(document, file)

    def lock(self) -> dict:
        """The stages of dvc.lock."""
        return YAML(typ="safe", pure=True).load((self.root / "dvc.lock").read_text())["stages"]

    def json(self, file: str) -> dict:
        """A JSON file of the project."""
        return json.loads((self.root / file).read_text("utf-8"))


def make_project(root: Path, overrides: dict[str, object], stand_ins: bool = False) -> Project:
    """Copy the repository's files into `root`, commit them, and apply overrides to params.yaml.

    With `stand_ins` every stage after `resolve` is a quick script that writes the hash of what the
    stage depends on, so that what reruns can be seen without training.
    """
    root.mkdir(parents=True)
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=skip)
        else:
            shutil.copy(source, root / name)
    project = Project(root)
    project.run("git", "init", "-q")
    project.run("git", "config", "user.name", "tester")
    project.run("git", "config", "user.email", "tester@example.org")
    project.run("dvc", "init", "-q")
    project.run("dvc", "config", "core.analytics", "false")
    if stand_ins:
        shutil.copy(STAND_IN, root / "stand_in.py")
        text = (root / "dvc.yaml").read_text()
        text = re.sub(
            r"cmd: python -m lora_recipes stage (?!resolve|dataset)(\w+)",
            r"cmd: python stand_in.py \1",
            text,
        )
        (root / "dvc.yaml").write_text(text)
    for key, value in overrides.items():
        project.set(key, value)
    return project
