"""Training runs are watched from outside, and become figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from benchmarks import cpu_training, training_project
from benchmarks.cpu_training import AGAIN, BARE, OURS, THEIRS, Run
from benchmarks.machine import REPOSITORY
from benchmarks.pairs import Usage
from benchmarks.training_project import Settings
from lora_recipes.base.components import CONFIGS

THREE_STEPS = """
import sys
from torchvision import transforms
from torchvision.transforms.functional import crop
import torch
from PIL import Image
prepare = transforms.Compose([
    transforms.Resize(8, interpolation=transforms.InterpolationMode.LANCZOS),
    transforms.CenterCrop(8), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
picture = prepare(Image.new("RGB", (32, 16), (255, 0, 0)))
assert picture.shape == (3, 8, 8)
assert picture[:, 0, 0].tolist() == [1, -1, -1]
weight = torch.nn.Parameter(torch.zeros(1))
optimizer = torch.optim.AdamW([weight])
for _ in range(int(sys.argv[1])):
    weight.sum().backward()
    optimizer.step()
"""


def test_another_program_runs_unchanged_and_each_of_its_steps_is_noted(tmp_path: Path):
    script, marks = tmp_path / "trainer.py", tmp_path / "marks.json"
    script.write_text(THREE_STEPS)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.launch", str(marks), "script", str(script), "3"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    noted = json.loads(marks.read_text())
    assert len(noted["cpu"]) == len(noted["clock"]) == 3
    assert noted["cpu"] == sorted(noted["cpu"])


def test_steps_per_second_leave_start_up_and_the_first_steps_out():
    cpu = [7.0 + 0.25 * step for step in range(30)]
    marks = {"cpu": cpu, "clock": [100 + second for second in cpu]}
    found = cpu_training.measure_run(Usage(99.0, 99.0, 2**20, started=98.0), marks, 30)
    assert found == Run(4.0, 7.0, 9.0, 2**20)


def test_a_run_with_another_number_of_steps_is_a_mistake_of_the_harness():
    with pytest.raises(AssertionError, match="29 steps ran instead of 30"):
        cpu_training.measure_run(Usage(1, 1, 1, 0), {"cpu": [1.0] * 29, "clock": [1.0] * 29}, 30)


def test_all_train_alike_and_only_a_given_script_is_run():
    chosen = Settings("miniature", steps=60)
    every = cpu_training.commands(Path("m"), Path("p"), chosen, Path("script.py"))
    assert list(every) == [OURS, BARE, THEIRS, AGAIN]
    assert every[OURS] == every[AGAIN]
    words = " ".join(every[THEIRS])
    for part in ("--resolution 64", "--rank 4", "--max_train_steps 60", "--train_batch_size 1"):
        assert part in words
    assert THEIRS not in cpu_training.commands(Path("m"), Path("p"), chosen, None)


def test_the_table_says_how_much_faster_we_are_round_by_round():
    runs = {
        OURS: [Run(10.0, 3.0, 4.0, 2**20), Run(20.0, 3.0, 4.0, 2**20)],
        THEIRS: [Run(5.0, 9.0, 9.0, 2**21), Run(8.0, 9.0, 9.0, 2**21)],
    }
    first, second = cpu_training.rows(runs)
    assert first["ours is faster by"] is None
    assert second["ours is faster by"] == "2.25 (2.00 to 2.50, n = 2)"
    assert second["peak MiB"] == 2


def test_the_deep_model_has_every_layer_of_sdxl_and_hardly_a_weight(tmp_path: Path):
    config = json.loads((CONFIGS / "unet/config.json").read_text("utf-8"))
    with torch.device("meta"):
        true = UNet2DConditionModel.from_config(config)
    folder = training_project.model_folder(tmp_path, "deep")
    deep = UNet2DConditionModel.from_pretrained(folder / "unet")
    assert [type(m) for m in deep.modules()] == [type(m) for m in true.modules()]
    weights, of_true = (sum(p.numel() for p in one.parameters()) for one in (deep, true))
    assert weights < of_true / 50
