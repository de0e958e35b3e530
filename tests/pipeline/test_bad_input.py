"""Bad input gets one clear error and exit code 1; no model is loaded, nothing half-written stays.

Each case runs the real stage in a process in which torch cannot be imported.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.test_floors import BLOCK_TORCH

from .project import REPOSITORY

Spoil = Callable[[Path], None]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    for name in ("recipes", "data/demo"):
        shutil.copytree(REPOSITORY / name, root / name)
    for name in ("params.yaml", "requirements.lock", "resolved.yaml"):
        shutil.copy(REPOSITORY / name, root / name)
    return root


def stage(root: Path, name: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", BLOCK_TORCH, "stage", name],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "", "HF_HUB_OFFLINE": "1", "HOME": str(root)},
    )


def override(old: str, new: str) -> Spoil:
    def spoil(root: Path) -> None:
        file = root / "params.yaml"
        text = file.read_text()
        assert old in text, old
        file.write_text(text.replace(old, new, 1))

    return spoil


def extends_loop(root: Path) -> None:
    for name, parent in (("one", "two"), ("two", "one")):
        (root / f"recipes/{name}.yaml").write_text(
            f"schema: 1\nname: {name}\nversion: 1\ndescription: loops\nextends: {parent}\n"
        )
    override("recipe: pocket-demo", "recipe: one")(root)


def incomplete_base(root: Path) -> None:
    (root / "models/half/unet").mkdir(parents=True)
    (root / "models/half/model_index.json").write_text("{}")
    override("model: null", "model: models/half")(root)


def pickled_base(root: Path) -> None:
    (root / "model.ckpt").write_bytes(b"\x80\x02.")
    override("model: null", "model: model.ckpt")(root)


def absent_base(root: Path) -> None:
    override("model: null", "model: nobody/model")(root)
    override("revision: null", "revision: " + "a1" * 20)(root)


def foreign_base(root: Path) -> None:
    """A folder whose scheduler trains on what nobody here knows."""
    shutil.copytree(REPOSITORY / "lora_recipes/pocket/model", root / "models/odd")
    file = root / "models/odd/scheduler/scheduler_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"prediction_type": "flow"}))
    override("model: null", "model: models/odd")(root)


IN_RECIPE = [
    (override("  rank: null", "  rnak: 3"), "did you mean rank?"),
    (override("  rank: null", "  rank: wide"), "lora.rank = wide"),
    (override("  rank: null", "  rank: 0"), "lora.rank = 0"),
    (override("  rank: null", "  rank: 1000000"), "lora.rank = 1000000"),
    (override("  learning_rate: null", "  learning_rate: -0.001"), "train.learning_rate = -0.001"),
    (override("  learning_rate: null", "  learning_rate: 0"), "train.learning_rate = 0"),
    (override("  learning_rate: null", "  learning_rate: 1.0e+6"), "train.learning_rate = 1000000"),
    (override("  optimizer: null", "  optimizer: adamv"), "did you mean adamw?"),
    (override("recipe: pocket-demo", "recipe: pocket-dmeo"), "did you mean pocket-demo?"),
    (extends_loop, "closes a ring: one → two → one"),
    (incomplete_base, "models/half"),
    (pickled_base, "model.ckpt"),
    (foreign_base, 'prediction_type = "flow"'),
    (absent_base, "not on this machine (HF_HUB_OFFLINE is set); missing at revision a1a1"),
    (override("data: data/demo", "data: data/dmeo"), "did you mean data/demo?"),
]


@pytest.mark.parametrize(("spoil", "named"), IN_RECIPE, ids=[row[1] for row in IN_RECIPE])
def test_a_mistake_in_the_recipe_stops_resolve(project: Path, spoil: Spoil, named: str):
    before = (project / "resolved.yaml").read_bytes()
    spoil(project)
    done = stage(project, "resolve")
    assert done.returncode == 1, done.stderr
    assert named in done.stderr
    assert "  fix:     " in done.stderr
    assert "Traceback" not in done.stderr
    assert (project / "resolved.yaml").read_bytes() == before


def no_images(root: Path) -> None:
    shutil.rmtree(root / "data/demo")
    (root / "data/demo").mkdir()


def text_as_jpg(root: Path) -> None:
    (root / "data/demo/notes.jpg").write_text("not a picture")


def truncated_jpeg(root: Path) -> None:
    Image.effect_noise((128, 128), 90).convert("RGB").save(root / "data/demo/cut.jpg")
    file = root / "data/demo/cut.jpg"
    file.write_bytes(file.read_bytes()[:3000])
    file.with_suffix(".txt").write_text("a cut picture")


def zero_byte_png(root: Path) -> None:
    (root / "data/demo/empty.png").touch()


def bomb(root: Path) -> None:
    """30,000 × 30,000 pixels in a small file: one row of zeros, said to be many."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    header = (30000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes(3751) * 100)
    (root / "data/demo/bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def caption_not_utf8(root: Path) -> None:
    (root / "data/demo/01.txt").write_bytes("a café".encode("latin-1"))


def both_captions(root: Path) -> None:
    (root / "data/demo/01.caption").write_text("another caption")


def image_changed_after_pin(root: Path) -> None:
    Image.new("RGB", (128, 128), "red").save(root / "data/demo/01.png")


def another_pin(root: Path) -> None:
    text = (root / "resolved.yaml").read_text().splitlines()
    pinned = [
        f"  manifest: sha256:{'0' * 64}" if line.startswith("  manifest:") else line
        for line in text
    ]
    assert pinned != text
    (root / "resolved.yaml").write_text("\n".join(pinned) + "\n")


IN_DATA = [
    (no_images, "data/demo"),
    (text_as_jpg, "notes.jpg"),
    (truncated_jpeg, "cut.jpg"),
    (zero_byte_png, "empty.png"),
    (bomb, "bomb.png"),
    (caption_not_utf8, "01.txt"),
    (both_captions, "01.caption"),
    (image_changed_after_pin, "changed:  01.png"),
    (another_pin, "but dataset.manifest pins sha256:0000"),
]


@pytest.mark.parametrize(("spoil", "named"), IN_DATA, ids=[row[0].__name__ for row in IN_DATA])
def test_a_mistake_in_the_data_stops_dataset(project: Path, spoil: Spoil, named: str):
    spoil(project)
    done = stage(project, "dataset")
    assert done.returncode == 1, done.stderr
    assert named in done.stderr
    assert "  fix:     " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "build").exists()


def test_a_base_that_changed_since_resolve_stops_the_stage_before_it_is_loaded(project: Path):
    resolved = project / "resolved.yaml"
    lines = [
        f"base_identity: sha256:{'0' * 64}" if line.startswith("base_identity:") else line
        for line in resolved.read_text().splitlines()
    ]
    resolved.write_text("\n".join(lines) + "\n")
    done = stage(project, "encode")
    assert done.returncode == 1, done.stderr
    assert "base.model = pocket: its files are sha256:" in done.stderr
    assert "dvc repro --force --single-item resolve" in done.stderr


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(project: Path):
    """A file-size limit of one block stands for the disk: the manifest does not fit."""
    for name in ("resolve", "prior"):
        assert stage(project, name).returncode == 0
    code = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))\n" + BLOCK_TORCH
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, "stage", "dataset"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "", "HOME": str(project)},
    )
    assert done.returncode == 1, done.stderr
    assert "cannot be written: File too large" in done.stderr
    assert "  fix:     free some space" in done.stderr
    assert [path.name for path in project.glob("build/*")] == ["prior"]


def test_the_project_as_it_is_passes_the_first_stages(project: Path):
    for name in ("resolve", "prior", "dataset"):
        done = stage(project, name)
        assert done.returncode == 0, done.stderr
    assert (project / "build/manifest.json").is_file()
