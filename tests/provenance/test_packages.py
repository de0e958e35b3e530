"""Installed libraries are compared with the lock by name."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from lora_recipes.provenance.packages import LIBRARIES, differing, locked

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_library_that_moves_bytes_is_locked():
    assert set(LIBRARIES) <= set(locked(REPOSITORY / "requirements.lock"))


def test_names_are_normalised_and_comments_left_out(tmp_path: Path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("# all pinned\nRuamel.YAML_x==0.19  # yaml\nPillow==13.0.0 ; os_name\n")
    assert locked(lock) == {"ruamel-yaml-x": "0.19", "pillow": "13.0.0"}


def test_another_version_and_a_missing_library_are_said(tmp_path: Path):
    def installed(name: str) -> str:
        return metadata.version(name).partition("+")[0]

    lock = tmp_path / "requirements.lock"
    lines = {name: f"{name}=={installed(name)}" for name in LIBRARIES}
    lock.write_text("\n".join(lines.values()))
    assert differing(lock) == []
    lines["peft"] = "peft==0.0.1"
    lock.write_text("\n".join(lines.values()))
    assert differing(lock) == [f"peft: installed {installed('peft')}, locked 0.0.1"]
