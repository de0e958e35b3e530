from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lora_recipes.base import locate as locate_module
from lora_recipes.base.locate import component_hashes, identity, locate
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.base import Base
from lora_recipes.tensors import read_tensors, write_tensors

PARTS = {
    "unet",
    "vae",
    "text_encoder",
    "text_encoder_2",
    "tokenizer",
    "tokenizer_2",
    "scheduler",
}


def error_of(base: Base, root: Path) -> str:
    with pytest.raises(UserError) as error:
        locate(base, root)
    return str(error.value)


def names(paths: tuple[Path, ...]) -> list[str]:
    return sorted(path.name for path in paths)


def test_a_diffusers_folder_is_found_from_the_projects_folder(model: Path) -> None:
    located = locate(Base(model="model"), model.parent)
    assert (located.kind, located.name) == ("folder", "model")
    assert set(located.components) == PARTS
    files = {name: names(part.files) for name, part in located.components.items()}
    assert files["unet"] == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert files["text_encoder_2"] == ["config.json", "model.safetensors"]
    assert files["tokenizer"] == ["merges.txt", "tokenizer_config.json", "vocab.json"]
    assert files["scheduler"] == ["scheduler_config.json"]


def test_locating_needs_no_torch(model: Path) -> None:
    code = (
        "import sys, pathlib; sys.modules['torch'] = None\n"
        "from lora_recipes.base.locate import identity, locate\n"
        "from lora_recipes.recipe.sections.base import Base\n"
        "found = locate(Base(model='model'), pathlib.Path(sys.argv[1]))\n"
        "print(identity(found, pathlib.Path(sys.argv[1], 'hashes.json')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model.parent)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = locate(Base(model="model"), model.parent)
    assert done.stdout.strip() == identity(found, model.parent / "other.json")


def test_an_incomplete_folder_is_refused_with_all_that_is_missing(model: Path) -> None:
    for name in (
        "model_index.json",
        "unet/config.json",
        "text_encoder/model.safetensors",
        "tokenizer_2/merges.txt",
        "scheduler/scheduler_config.json",
    ):
        (model / name).unlink()
    assert error_of(Base(model="model"), model.parent) == (
        f"{model}: is not complete; missing:\n"
        "    model_index.json\n"
        "    unet/config.json\n"
        "    text_encoder/model.safetensors\n"
        "    tokenizer_2/merges.txt\n"
        "    scheduler/scheduler_config.json\n"
        "  fix:     fetch the missing files into this folder, or choose another base.model"
    )


def test_a_folder_with_pickled_weights_only_is_refused(model: Path) -> None:
    weights = model / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    assert error_of(Base(model="model"), model.parent) == (
        f"{model}: holds weights only as pickles, which can run code: "
        "unet/diffusion_pytorch_model.bin\n"
        "  fix:     fetch the .safetensors files of this model, or choose another base.model"
    )


@pytest.mark.parametrize("suffix", ["ckpt", "pt", "bin", "CKPT"])
def test_a_pickle_is_refused_by_its_name(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"x.{suffix}").write_bytes(b"\x80\x02}q\x00.")
    assert error_of(Base(model=f"x.{suffix}"), tmp_path) == (
        f"base.model = x.{suffix}: a pickle, which can run code when it is opened\n"
        "  fix:     use the .safetensors file of this model; most authors offer one"
    )


def test_a_truncated_file_of_a_folder_is_named(model: Path) -> None:
    weights = model / "vae/diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-7])
    assert error_of(Base(model="model"), model.parent) == (
        f"{weights}: is cut off: {len(whole) - 7:,} of {len(whole):,} bytes\n"
        "  fix:     fetch or make the file again"
    )


def test_a_name_that_is_nothing_is_refused(tmp_path: Path) -> None:
    assert error_of(Base(model="models/x.safetensors"), tmp_path) == (
        f"base.model = models/x.safetensors: there is no {tmp_path}/models/x.safetensors\n"
        "  allowed: a Hugging Face id (owner/name), a diffusers folder, a .safetensors file, "
        "or pocket\n"
        "  fix:     correct the name or the path"
    )
    (tmp_path / "notes.txt").write_text("hello")
    assert error_of(Base(model="notes.txt"), tmp_path).splitlines()[0] == (
        "base.model = notes.txt: not a .safetensors file"
    )


def edit_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"addition_embed_type": None}, "a StableDiffusionPipeline, not SDXL"),
        ({"in_channels": 9}, "an SDXL for inpainting or editing (9 input channels)"),
    ],
)
def test_another_kind_of_model_is_refused(
    model: Path, values: dict[str, object], kind: str
) -> None:
    edit_json(model / "unet/config.json", **values)
    edit_json(model / "model_index.json", _class_name="StableDiffusionPipeline")
    assert error_of(Base(model="model"), model.parent) == (
        f"{model}: holds {kind}\n  fix:     set base.model to a text-to-image SDXL model"
    )


def test_a_sharded_model_is_found_and_a_lost_shard_named(model: Path) -> None:
    weights = model / "unet/diffusion_pytorch_model.safetensors"
    tensors = read_tensors(weights)
    half = {name: tensors[name] for name in sorted(tensors)[::2]}
    rest = {name: tensors[name] for name in sorted(tensors)[1::2]}
    shards = [f"diffusion_pytorch_model-0000{part}-of-00002.safetensors" for part in (1, 2)]
    index = {name: shards[name in rest] for name in tensors}
    write_tensors(model / "unet" / shards[0], half, {})
    write_tensors(model / "unet" / shards[1], rest, {})
    (model / f"unet/{weights.name}.index.json").write_text(json.dumps({"weight_map": index}))
    weights.unlink()
    found = locate(Base(model="model"), model.parent).components["unet"]
    assert [path.name for path in found.weights] == shards
    (model / "unet" / shards[1]).unlink()
    assert f"missing:\n    unet/{shards[1]}\n" in error_of(Base(model="model"), model.parent)


def test_whole_precision_is_taken_before_fp16_and_fp16_where_it_is_alone(model: Path) -> None:
    whole = model / "unet/diffusion_pytorch_model.safetensors"
    half = model / "unet/diffusion_pytorch_model.fp16.safetensors"
    half.write_bytes(whole.read_bytes())
    assert locate(Base(model="model"), model.parent).components["unet"].weights == (whole,)
    whole.unlink()
    assert locate(Base(model="model"), model.parent).components["unet"].weights == (half,)


def test_the_vae_and_the_tokenizers_can_come_from_elsewhere(model: Path, tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    for path in (model / "vae").iterdir():
        (tmp_path / "vae" / path.name).write_bytes(path.read_bytes())
    for vae in ("vae", ".", "vae/diffusion_pytorch_model.safetensors"):
        base = Base(model="model", vae=vae, tokenizer="model")
        found = locate(base, tmp_path).components
        assert (
            found["vae"].weights[0].samefile(tmp_path / "vae/diffusion_pytorch_model.safetensors")
        )
    assert set(found) == PARTS
    (tmp_path / "vae/config.json").unlink()
    assert error_of(Base(model="model", vae="vae"), tmp_path) == (
        f"{tmp_path}/vae: is not complete; missing:\n"
        "    config.json\n"
        "  fix:     fetch the missing files into this folder, or choose another base.vae"
    )


def test_the_identity_follows_the_bytes_and_not_the_place(model: Path, tmp_path: Path) -> None:
    def of(name: str) -> str:
        return identity(locate(Base(model=name), tmp_path), tmp_path / "hashes.json")

    before = of("model")
    model.rename(tmp_path / "elsewhere")
    assert of("elsewhere") == before
    config = tmp_path / "elsewhere/scheduler/scheduler_config.json"
    config.write_text(config.read_text() + "\n")
    assert of("elsewhere") != before


def test_each_part_has_its_own_hash(model: Path, tmp_path: Path) -> None:
    def hashes() -> dict[str, str]:
        return component_hashes(locate(Base(model="model"), tmp_path), tmp_path / "hashes.json")

    before = hashes()
    edit_json(model / "vae/config.json", scaling_factor=0.2)
    after = hashes()
    assert set(after) == PARTS
    assert {name for name in PARTS if after[name] != before[name]} == {"vae"}


def test_hashes_of_settled_files_are_remembered_and_of_fresh_ones_not(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    original = locate_module.sha256_file

    def counted(path: Path) -> str:
        read.append(path)
        return original(path)

    monkeypatch.setattr(locate_module, "sha256_file", counted)
    base, cache = Base(model="model"), tmp_path / ".lora/hashes.json"
    first = identity(locate(base, tmp_path), cache)
    fresh = len(read)
    assert fresh > 7
    assert identity(locate(base, tmp_path), cache) == first
    assert len(read) == 2 * fresh  # written a moment ago: they might change in the same tick
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 3_000_000_000)
    identity(locate(base, tmp_path), cache)
    read.clear()
    assert identity(locate(base, tmp_path), cache) == first
    assert read == []
    cache.write_text("{ damaged")
    assert identity(locate(base, tmp_path), cache) == first
    assert len(read) == fresh


def test_the_pocket_is_found_wherever_the_project_lies(tmp_path: Path) -> None:
    located = locate(Base(model="pocket"), tmp_path)
    assert located.kind == "pocket"
    assert set(located.components) == PARTS
