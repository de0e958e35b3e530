"""This key changes this: a row (`keys.py`) for every key of every section, and for `runtime`.

Each row changes one key and looks at what comes out of the code that is meant to read it: the
files of a stage, the steps of an optimizer, what a run told. A key that nothing reads has no row
that passes.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lora_recipes.base.compute import set_up
from lora_recipes.base.locate import identity, locate
from lora_recipes.console import reporter
from lora_recipes.errors import UserError
from lora_recipes.hashing import sha256_bytes
from lora_recipes.recipe.fields import overridable_keys, recipe_keys, runtime_keys
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.params import runtime
from lora_recipes.recipe.rules import broken
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.runtime import Runtime
from lora_recipes.reporting import Quiet
from lora_recipes.stages import dataset as dataset_stage
from lora_recipes.stages import prepare as prepare_stage
from lora_recipes.stages import sample as sample_stage
from lora_recipes.tensors import read_tensors, write_tensors
from lora_recipes.train.distributed.ranks import find_world
from tests.dataset.pictures import files_under, photo, put
from tests.dataset.pictures import project as data_project
from tests.encode.conftest import Project as ToEncode
from tests.models import tiny_sdxl
from tests.recipe.keys import ROWS, SMALL, Row, Settings
from tests.sample.conftest import SAMPLE, adapter_tensors, write_resolved
from tests.sample.conftest import project as sample_project
from tests.train.project import make_project, run_stage, small_unet
from tests.train.test_optimizers import ours

__all__ = ["adapter_tensors", "sample_project"]


def section(settings: Settings, name: str) -> dict[str, Any]:
    """What settings say of a section, nested as in a recipe."""
    out: dict[str, Any] = {}
    for key, value in settings.items():
        first, *inner, leaf = key.split(".")
        place = out
        for part in inner if first == name else ():
            place = place.setdefault(part, {})
        if first == name:
            place[leaf] = value
    return out


# What can be looked at. Each takes settings and an empty folder.


def located(settings: Settings, root: Path) -> str:
    """The identity of the base model's files; offline, what was looked for."""
    for name in ("model", "other"):
        tiny_sdxl(root / name)
    weights = root / "other/vae/diffusion_pytorch_model.safetensors"
    write_tensors(weights, {k: v + 1 for k, v in read_tensors(weights).items()}, {})
    for file in (root / "other").glob("tokenizer*/tokenizer_config.json"):
        file.write_bytes(file.read_bytes() + b"\n")
    base = Base(**section(settings, "base"))
    try:
        return identity(locate(base, root, download=False), root / "hashes.json")
    except UserError as error:
        return str(error).replace(str(root), "")


def pictured(settings: Settings, root: Path) -> dict[str, str]:
    """The files of the stages dataset and prepare, by name."""
    data_project(root, section(settings, "dataset"), section(settings, "prepare"))
    put(root / "data/my", "wide.png", photo(160, 100, 1))
    put(root / "data/my", "wide.txt", "a wide; zwk toy, red ||| blue, big, old\nanother, line\n")
    clear = photo(100, 100, 2)
    clear.putalpha(100)
    put(root / "data/my", "clear.png", clear)
    for folder in ("held", "rest"):
        put(root / "data/my", f"{folder}/{folder}.png", photo(100, 100, len(folder)))
        put(root / "data/my", f"{folder}/{folder}.txt", f"a picture of the {folder}")
    dataset_stage.run(root, Quiet())
    prepare_stage.run(root, Quiet())
    build = root / "build"
    return {name: sha256_bytes((build / name).read_bytes()) for name in files_under(build)}


def encoded(settings: Settings, root: Path) -> dict[str, bytes]:
    """The files of the encode stage."""
    tiny_sdxl(root / "model")
    project = ToEncode(root, settings={"encode": section(settings, "encode")})
    project.add("a.jpg", 1, "a photo of zorp")
    project.run()
    return project.written()


def stepped(settings: Settings, root: Path) -> list[list[float]]:
    """Where the optimizer and its schedule take two matrices in eight steps."""
    weights = ours(**{"learning_rate": 1e-2, **section(settings, "train")})
    return [weight.flatten().tolist() for weight in weights]


class Watching(Quiet):
    """A reporter that keeps at which steps the bar got figures."""

    def __init__(self) -> None:
        super().__init__()
        self.news: list[int] = []

    def bar(self, title: str, total: int, done: int = 0) -> Any:
        outer = self

        class Noting:
            reached = done

            def advance(self, count: float = 1, **figures: float | str) -> None:
                self.reached += int(count)
                if figures:
                    outer.news.append(self.reached)

        return contextlib.nullcontext(Noting())


def trained(settings: Settings, root: Path) -> dict[str, Any]:
    """A training of three pictures, a picture a step, with the tiny SDXL."""
    train = {"repeats": 1, "gradient_accumulation": 1, "learning_rate": 1e-2}
    make_project(
        root,
        train | section(settings, "train"),
        section(settings, "runtime"),
        section(settings, "compute"),
        ["train"] * 3,
        lora=section(settings, "lora"),
    )
    calls, workers, kept, report = [], [], [], Watching()
    unet = small_unet()
    for module in unet.modules():
        if type(module).__name__ == "FeedForward":
            module.net[0].register_forward_hook(lambda *_: calls.append(1))
    with pytest.MonkeyPatch.context() as patch:
        _note_calls(patch, workers, kept)
        run_stage(root, report, unet)
    tensors = read_tensors(root / "out/adapter.safetensors")
    return {
        "weights": {k: v.numpy().tobytes() for k, v in tensors.items() if "alpha" not in k},
        "alpha": {k: v.item() for k, v in tensors.items() if "alpha" in k},
        "losses": (root / "out/loss.tsv").read_text(),
        "snapshots": files_under(root / "out/snapshots"),
        "times through a feed-forward layer": len(calls),
        "workers": workers,
        "checkpoints": kept,
        "news": report.news,
    }


def _note_calls(patch: pytest.MonkeyPatch, workers: list[int], kept: list[str]) -> None:
    from torch.utils.data import DataLoader

    from lora_recipes.train.checkpoints import Checkpoints

    made, written = DataLoader.__init__, Checkpoints.write

    def make(self: Any, *args: Any, **more: Any) -> None:
        workers.append(more.get("num_workers", 0))
        made(self, *args, **more)

    def write(self: Any, state: Any, path: Path) -> None:
        kept.append(path.name)
        written(self, state, path)

    patch.setattr(DataLoader, "__init__", make)
    patch.setattr(Checkpoints, "write", write)


def computed(settings: Settings, root: Path) -> dict[str, Any]:
    """How torch is set up for a stage."""
    setup = set_up(Compute(**({"device": "cpu"} | section(settings, "compute"))))
    return {
        "setup": setup,
        "threads": torch.get_num_threads(),
        "fused attention": torch.backends.cuda.flash_sdp_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def sampled(settings: Settings, root: Path) -> dict[str, bytes]:
    """The pixels of the sample stage; `root` is a trained project."""
    shutil.rmtree(root / "out/snapshots", ignore_errors=True)
    given = SAMPLE.model_dump() | {"prompts": ("a red star",)} | section(settings, "sample")
    write_resolved(root, sample=type(SAMPLE)(**given))
    sample_stage.run(root, Quiet())
    files = sorted((root / "out/samples").glob("*.png"))
    return {file.name: np.asarray(Image.open(file)).tobytes() for file in files}


def shared(settings: Settings, root: Path) -> tuple[int, int]:
    """On how many machines a training runs, with how many processes on each."""
    around = {"NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
    world = find_world(Runtime(**section(settings, "runtime")), around)
    return world.nodes, world.processes


def told(settings: Settings, root: Path) -> str:
    """The reporter that a command takes."""
    make_project(root, runtime=section(settings, "runtime"))
    return type(reporter(runtime(root).progress)).__name__


LOOKS: dict[str, Callable[[Settings, Path], Any]] = {
    look.__name__: look
    for look in (located, pictured, encoded, stepped, trained, computed, sampled, shared, told)
}

Observe = Callable[[str, Settings], Any]


_SEEN: dict[str, Any] = {}


class Refused(str):
    """What settings were refused with."""


@pytest.fixture
def observe(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterable[Observe]:
    """Look at what settings give; what they were refused with, where they were."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nowhere")

    def look(name: str, settings: Settings) -> Any:
        known = f"{name} {sorted(settings.items())}"
        if known not in _SEEN:
            ready = name == "sampled"
            root = request.getfixturevalue("sample_project") if ready else None
            root = root or tmp_path_factory.mktemp(name)
            with pytest.MonkeyPatch.context() as inside:
                inside.chdir(root)
                try:
                    _SEEN[known] = LOOKS[name](settings, root)
                except UserError as error:
                    _SEEN[known] = Refused(str(error))
        return _SEEN[known]

    threads = torch.get_num_threads()
    yield look
    set_up(Compute(device="cpu", threads=threads))


def changes(row: Row, observe: Observe) -> bool:
    """Whether what the row names is another thing after the key was changed."""
    before, after = (observe(row.look, settings) for settings in (row.before, row.after))
    refused = [text for text in (before, after) if isinstance(text, Refused)]
    assert len(refused) == bool(row.refused), refused
    if refused:  # that it was does not yet show that it was for this key
        return row.refused in refused[0]
    if row.what:
        assert isinstance(before, dict), before
        assert isinstance(after, dict), after
        before, after = before[row.what], after.get(row.what)
    return bool(before != after)


def without_a_row(keys: Iterable[str]) -> set[str]:
    """The keys that no row is about."""
    return set(keys) - {row.key for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_this_key_changes_this(row: Row, observe: Observe):
    assert changes(row, observe), f"{row.key} = {row.value} changes nothing"


def test_every_key_has_a_row():
    assert without_a_row(overridable_keys() | runtime_keys()) == set(), "no row says what it does"
    assert {row.key for row in ROWS} == {*overridable_keys(), *runtime_keys()}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_rows_values_are_allowed_and_break_no_rule(row: Row, tmp_path: Path):
    for settings in (row.beside, row.after):
        names = {key.partition(".")[0] for key in recipe_keys() if "." in key}
        head = {"schema": 1, "name": "x", "version": 1, "description": "x"}
        recipe = Recipe.model_validate(head | {name: section(settings, name) for name in names})
        found = broken(recipe, tmp_path, lambda key: None, level="error", moment="recipe")
        assert [str(problem) for problem in found] == []
        Runtime(**section(settings, "runtime"))


def test_a_key_that_nothing_reads_is_found(observe: Observe):
    assert without_a_row([*recipe_keys(), "train.brand_new"]) - set(recipe_keys()) == {
        "train.brand_new"
    }
    idle = Row("train.power", 2.0, "stepped")  # its schedule is not the polynomial one
    assert not changes(idle, observe)
    assert not changes(Row("train.power", 2.0, "trained", "weights", beside=SMALL), observe)
