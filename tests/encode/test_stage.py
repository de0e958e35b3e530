from __future__ import annotations

import gc
import json
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lora_recipes.encode import build
from lora_recipes.encode.reuse import Reuse
from lora_recipes.encode.store import (
    EncodedIndex,
    Example,
    load_moments,
    load_text,
    read_index,
    write_file,
    write_index,
)
from lora_recipes.errors import UserError
from lora_recipes.hashing import sha256_bytes
from lora_recipes.tensors import read_tensors, write_tensors
from tests.encode.conftest import Project


def test_the_index_tells_all_that_training_needs(project: Project) -> None:
    report = project.run()
    index = read_index(project.out)
    assert [image.path for image in index.images] == ["sub/b.png", "a.jpg", "c.webp"]
    two, one, three = index.images
    assert (two.role, two.repeats, two.mask) == ("heldout", 3, "")
    assert one.time_ids == (480, 640, 3, 5, 24, 32)  # heights before widths, as diffusers has it
    assert one.size == (32, 24)
    assert one.texts == three.texts != two.texts
    assert len({image.moments for image in index.images}) == 3
    assert (index.manifest, index.latent_scale, index.prediction) == (
        project.manifest.hash, 0.13025, "epsilon",
    )  # fmt: skip
    assert sorted(index.components) == [
        "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "vae",
    ]  # fmt: skip
    mean, std = load_moments(project.out / one.moments)
    assert mean.shape == std.shape == (4, 3, 4)
    tokens, pooled = load_text(project.out / one.texts[0])
    assert (tokens.shape, pooled.shape) == ((77, 64), (40,))
    assert report.said == ["pictures: 3 encoded, 0 known", "texts: 3 encoded, 0 known"]
    assert report.warned == []


def test_the_output_holds_nothing_but_what_the_index_names(project: Project) -> None:
    (project.out / "moments").mkdir(parents=True)
    (project.out / "moments/of-last-year.safetensors").write_bytes(b"stale")
    project.run()
    index = read_index(project.out)
    named = {name for image in index.images for name in image.files} | {index.empty_text}
    assert set(project.written()) == named | {"index.json"}


def test_a_file_is_named_by_its_own_bytes_so_the_index_stands_for_all(project: Project) -> None:
    project.run()
    files = {Path(name): content for name, content in project.written().items()}
    named = [name for name in files if name.suffix == ".safetensors"]
    assert len(named) == 6
    for name in named:
        assert sha256_bytes(files[name])[7:39] == name.stem


def test_what_an_example_has_not_takes_no_byte_and_what_it_has_comes_back(tmp_path: Path) -> None:
    plain = Example("a.png", "train", 1, "moments/a", ("text/a",), (8, 8, 0, 0, 8, 8))
    rich = replace(plain, path="b.png", texts=("text/b", "text/c"), mask="masks/b")
    index = EncodedIndex((plain, rich), "sha256:0", 1.0, "epsilon", {})
    write_index(tmp_path, index)
    first, second = json.loads((tmp_path / "index.json").read_text())["images"]
    assert "mask" not in first
    assert second["mask"] == "masks/b"
    assert read_index(tmp_path) == index


def forbid_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "load_vae", None)
    monkeypatch.setattr(build, "load_text_encoders", None)


def test_cold_equals_warm_and_no_model_is_loaded_where_all_is_known(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.run()
    cold = project.written()
    forbid_models(monkeypatch)
    report = project.run()
    assert project.written() == cold
    assert report.said == ["pictures: 0 encoded, 3 known", "texts: 0 encoded, 3 known"]


def test_cold_equals_warm_after_edits_and_back(project: Project, tmp_path: Path) -> None:
    project.run()
    first = project.written()
    project.add("a.jpg", 9, "a blue ring")
    project.add("d.png", 2, "a photo of zorp")
    assert project.run().said == ["pictures: 1 encoded, 2 known", "texts: 1 encoded, 3 known"]
    edited = project.written()
    (tmp_path / ".lora").rename(tmp_path / "away")
    project.run()
    assert project.written() == edited
    project.pictures = []
    project.add("a.jpg", 1, "a photo of zorp")
    project.add("sub/b.png", 2, "a red star", role="heldout", repeats=3)
    project.add("c.webp", 3, "a photo of zorp")
    project.run()
    assert project.written() == first


def test_pictures_with_the_same_pixels_are_encoded_once(project: Project) -> None:
    project.add("copy.jpg", 1, "a photo of zorp", original_size=[800, 600])
    report = project.run()
    assert report.said[0] == "pictures: 3 encoded, 0 known"
    images = {image.path: image for image in read_index(project.out).images}
    assert images["copy.jpg"].moments == images["a.jpg"].moments
    assert images["copy.jpg"].time_ids[:2] == (600, 800)


def entries(project: Project, kind: str) -> list[Path]:
    found = sorted((project.root / ".lora/encoded" / kind).glob("*.safetensors"))
    assert found
    return found


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def swap_content(path: Path) -> None:
    other = next(p for p in path.parent.iterdir() if p != path)
    tensors = read_tensors(other)
    write_tensors(path, tensors, {"tokens": "3", "cut": "", "content": "sha256:0"})


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("kind", ["moments", "text"])
@pytest.mark.parametrize("damage", [cut_off, flip_a_bit, swap_content, empty])
def test_a_damaged_entry_is_made_again_and_not_used(
    project: Project, kind: str, damage: Any
) -> None:
    project.run()
    first = project.written()
    entry = entries(project, kind)[0]
    before = entry.read_bytes()
    damage(entry)
    report = project.run()
    assert project.written() == first
    assert entry.read_bytes() == before
    assert [text.split()[1] for text in report.said] == (
        ["1", "0"] if kind == "moments" else ["0", "1"]
    )


def change_vae(project: Project) -> None:
    path = project.root / "model/vae/diffusion_pytorch_model.safetensors"
    tensors = read_tensors(path)
    write_tensors(path, tensors | {"quant_conv.bias": tensors["quant_conv.bias"] + 1}, {})


def change_text_encoder(project: Project) -> None:
    path = project.root / "model/text_encoder_2/model.safetensors"
    tensors = {name: tensor * 1.5 for name, tensor in read_tensors(path).items()}
    write_tensors(path, tensors, {})


def change_unet(project: Project) -> None:
    path = project.root / "model/unet/diffusion_pytorch_model.safetensors"
    tensors = {name: tensor * 2 for name, tensor in read_tensors(path).items()}
    write_tensors(path, tensors, {})


def change_code(project: Project) -> None:
    project.code = "sha256:2"


def change_precision(project: Project) -> None:
    project.settings = {"encode": {"vae_precision": "fp16"}}


def change_threads(project: Project) -> None:
    project.settings = {"compute": {"threads": 2}}


def change_the_unets_precision(project: Project) -> None:
    project.settings = {"compute": {"precision": "fp32", "gradient_checkpointing": True}}


@pytest.mark.parametrize(
    ("change", "encoded"),
    [
        (change_vae, ["3", "0"]),
        (change_text_encoder, ["0", "3"]),
        (change_unet, ["0", "0"]),
        (change_precision, ["3", "0"]),
        (change_code, ["3", "3"]),
        (change_threads, ["3", "3"]),
        (change_the_unets_precision, ["0", "0"]),
    ],
)
def test_what_is_known_is_used_only_with_the_same_cache_key(
    project: Project, change: Any, encoded: list[str]
) -> None:
    project.run()
    first = project.written()
    change(project)
    assert [text.split()[1] for text in project.run().said] == encoded
    if change in (change_vae, change_text_encoder, change_precision):
        assert project.written() != first
    else:
        assert project.written() == first


def test_a_caption_beyond_the_window_is_told_with_its_picture_cold_and_warm(
    project: Project,
) -> None:
    project.add("c.webp", 3, "star " * 75 + "Zorp on a ring")
    told = (
        "c.webp: its caption has 81 tokens, of which encode.max_tokens = 77 reads 77; cut off: "
        "Zorp on a ring"
    )
    assert project.run().warned == [told]
    assert project.run().warned == [told]


def test_a_longer_caption_is_read_in_several_windows_and_what_is_beyond_them_told(
    project: Project,
) -> None:
    project.add("c.webp", 3, "star " * 76)
    project.run()
    short = {image.path: image.texts[0] for image in read_index(project.out).images}
    project.settings = {"encode": {"max_tokens": 150}}
    assert project.run().warned == []
    long = {image.path: image.texts[0] for image in read_index(project.out).images}
    for path in short:
        tokens, pooled = load_text(project.out / long[path])
        assert (tokens.shape, pooled.shape) == ((152, 64), (40,))
    project.add("c.webp", 3, "star " * 150 + "Zorp")
    assert project.run().warned == [
        "c.webp: its caption has 153 tokens, of which encode.max_tokens = 150 reads 152; cut off: "
        "Zorp"
    ]
    project.settings = {}
    project.add("c.webp", 3, "star " * 76)
    report = project.run()
    assert {image.path: image.texts[0] for image in read_index(project.out).images} == short
    assert report.said[1] == "texts: 0 encoded, 4 known"


def test_each_of_a_pictures_texts_is_encoded_once(project: Project) -> None:
    project.add("a.jpg", 1, "red, star", variants=("red, star", "star, red", "star, red", ""))
    report = project.run()
    assert report.said[1] == "texts: 5 encoded, 0 known"
    index = read_index(project.out)
    own = next(image for image in index.images if image.path == "a.jpg")
    assert len(own.texts) == 4
    assert own.texts[1] == own.texts[2]
    assert own.texts[3] == index.empty_text
    assert len({*own.texts}) == 3
    project.add("a.jpg", 1, "red, star")
    assert project.run().said[1] == "texts: 0 encoded, 4 known"


def test_one_model_is_freed_before_the_next_is_loaded_and_no_picture_is_kept(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[weakref.ref[Any]] = []
    pictures: list[weakref.ref[Any]] = []
    load_vae, load_text, encode_file = (
        build.load_vae, build.load_text_encoders, build.encode_file,
    )  # fmt: skip

    def watched_vae(*arguments: Any) -> Any:
        vae = load_vae(*arguments)
        models.append(weakref.ref(vae))
        return vae

    def watched_text(*arguments: Any) -> Any:
        assert [ref() for ref in models] == [None]
        return load_text(*arguments)

    def watched_file(*arguments: Any) -> Any:
        gc.collect()
        assert sum(ref() is not None for ref in pictures) <= 1
        encoded = encode_file(*arguments)
        pictures.append(weakref.ref(encoded.tensors["mean"]))
        return encoded

    monkeypatch.setattr(build, "load_vae", watched_vae)
    monkeypatch.setattr(build, "load_text_encoders", watched_text)
    monkeypatch.setattr(build, "encode_file", watched_file)
    for number in range(5):
        project.add(f"more-{number}.png", 100 + number, "a red star")
    project.run()
    assert len(pictures) == 8


def test_what_is_known_is_not_kept_in_memory_either(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        project.add(f"more-{number}.png", 100 + number, f"star {number}")
    project.run()
    known: list[weakref.ref[Any]] = []
    get = Reuse.get

    def watched(reuse: Reuse, source: str) -> Any:
        gc.collect()
        assert sum(ref() is not None for ref in known) <= 2  # a caption has two tensors
        encoded = get(reuse, source)
        assert encoded is not None
        known.extend(weakref.ref(tensor) for tensor in encoded.tensors.values())
        return encoded

    monkeypatch.setattr(Reuse, "get", watched)
    project.run()
    assert len(known) == 2 * 8 + 2 * 8  # the empty text is one


def test_a_failure_leaves_no_output_behind(project: Project) -> None:
    project.run()
    Image.new("RGB", (32, 24)).save(project.root / "build/images/c.webp.png")
    project.add("c.webp", 77, "a new caption")
    path = project.root / "model/text_encoder/model.safetensors"
    tensors = {k: torch.full_like(v, float("nan")) for k, v in read_tensors(path).items()}
    write_tensors(path, tensors, {})
    with pytest.raises(UserError, match=r"^sub/b\.png: the text encoders give NaN"):
        project.run()
    assert not project.out.exists()


def test_experiments_in_throw_away_copies_share_what_is_known(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "users project"))
    project.run()
    assert not (project.root / ".lora").exists()
    assert (tmp_path / "users project/.lora/encoded/moments").is_dir()


@pytest.mark.parametrize(
    ("file", "values", "told", "allowed"),
    [
        ("vae/config.json", {"shift_factor": 0.1}, "shift_factor = 0.1", "null or 0"),
        ("vae/config.json", {"latents_mean": [1, 2, 3, 4]}, "latents_mean = [1, 2, 3, 4]", "null"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"},
         'prediction_type = "sample"', '"epsilon" or "v_prediction"'),
        ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True},
         "rescale_betas_zero_snr = true", "null or false"),
    ],
)  # fmt: skip
def test_a_model_that_needs_other_maths_is_refused_before_any_work(  # noqa: PLR0917
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    values: dict[str, Any],
    told: str,
    allowed: str,
) -> None:
    forbid_models(monkeypatch)
    path = project.root / "model" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(UserError) as error:
        project.run()
    assert str(error.value) == (
        f"{path}: {told}: this version cannot train such a model\n  allowed: {allowed}\n"
        "  fix:     choose another base.model, for example SDXL base 1.0"
    )


def test_missing_inputs_are_named(project: Project) -> None:
    project.run()
    (project.root / "build/images/index.json").unlink()
    from lora_recipes.encode.pictures import read_pictures

    with pytest.raises(UserError) as error:
        read_pictures(project.root / "build/images", project.manifest)
    assert str(error.value) == (
        f"{project.root}/build/images/index.json: is missing\n"
        "  fix:     run `dvc repro prepare`, which writes it anew"
    )


def test_pictures_of_other_data_than_the_manifests_are_refused(project: Project) -> None:
    project.run()
    project.add("new.png", 7, "a new one")
    from lora_recipes.encode.pictures import read_pictures

    with pytest.raises(UserError, match=r"is of other pictures than the manifest: new\.png"):
        read_pictures(project.root / "build/images", project.manifest)


def test_a_store_that_is_not_there_or_not_ours_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read_index(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}/index.json: is missing\n"
        "  fix:     run `dvc repro encode`, which writes it anew"
    )
    both = {"mean": torch.zeros(1), "tokens": torch.zeros(1)}
    path = tmp_path / write_file(tmp_path, "moments", both)
    with pytest.raises(UserError) as error:
        load_moments(path)
    assert str(error.value) == (
        f"{path}: holds mean, tokens instead of mean and std\n"
        "  fix:     run `dvc repro encode`, which writes it anew"
    )
