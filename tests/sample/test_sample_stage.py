"""The stage generates what diffusers' own pipeline does, twice the same, or nothing at all."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image

from lora_recipes.adapter.parts import Adapted
from lora_recipes.base import load
from lora_recipes.encode.text import embed as embed_text
from lora_recipes.errors import UserError
from lora_recipes.generate import generation as generating
from lora_recipes.generate import one_model_at_a_time
from lora_recipes.generate.base_config import latent_shape
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.sample import Sample
from lora_recipes.reporting import Quiet
from lora_recipes.sample import samples
from lora_recipes.stages.sample import run
from lora_recipes.tensors import read_header, read_tensors, write_tensors
from tests.sample.conftest import LORA, SAMPLE, SIZE, write_resolved

BASE = Base(model="model")
CPU = torch.device("cpu")


def pixels(root: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(root / "out/samples" / name)).astype(int)


def whole_pipeline(root: Path) -> StableDiffusionXLPipeline:
    """diffusers' pipeline with all of its parts, as a user would have it."""
    encoders = load.load_text_encoders(BASE, root, torch.float32, CPU)
    pipe = StableDiffusionXLPipeline(
        vae=load.load_vae(BASE, root, torch.float32, CPU),
        unet=load.load_unet(BASE, root, torch.float32, CPU),
        scheduler=load.load_scheduler(BASE, root),
        add_watermarker=False,
        **vars(encoders),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generated_by(
    pipe: StableDiffusionXLPipeline, prompt: str, seed: int, **more: Any
) -> np.ndarray:
    width, height = SIZE
    image = pipe(
        prompt,
        width=width,
        height=height,
        num_inference_steps=SAMPLE.steps,
        guidance_scale=SAMPLE.guidance,
        latents=generating.initial_noise((4, height // 8, width // 8), seed),
        **more,
    ).images[0]
    return np.asarray(image).astype(int)


def generation(root: Path, **changed: Any) -> generating.Generation:
    known = {
        "base": BASE, "root": root, "size": SIZE, "steps": SAMPLE.steps, "device": CPU,
        "guidance": SAMPLE.guidance, "negative_prompt": "", "dtype": torch.float32,
    }  # fmt: skip
    return generating.Generation(**(known | changed))


def test_the_pictures_are_those_of_the_whole_pipeline_with_the_adapters_file(drawn: Path):
    pipe = whole_pipeline(drawn)

    base = generated_by(pipe, "a zorp circle", 0)
    pipe.load_lora_weights(drawn / "out", weight_name="adapter.safetensors", adapter_name="mine")
    pipe.set_adapters("mine", SAMPLE.strength)
    adapted = generated_by(pipe, "a zorp circle", 0)

    assert np.array_equal(pixels(drawn, "p00-s0-base.png"), base)
    assert np.abs(pixels(drawn, "p00-s0-adapter.png") - adapted).max() <= 1
    assert np.abs(base - adapted).mean() > 3


def test_a_second_run_gives_the_same_bytes_and_a_fresh_folder(drawn: Path):
    report = Quiet()
    first = {path.name: path.read_bytes() for path in (drawn / "out/samples").iterdir()}
    (drawn / "out/samples/of-another-run.png").touch()

    run(drawn, report)

    second = {path.name: path.read_bytes() for path in (drawn / "out/samples").iterdir()}
    assert second == first
    index = json.loads(first["index.json"])
    assert [one["file"] for one in index["pictures"]] == [
        f"p{row:02}-s0-{kind}.png" for row in (0, 1) for kind in ("base", "step-000010", "adapter")
    ]
    assert first.keys() == {"index.json", *(one["file"] for one in index["pictures"])}
    assert [one["prompt"] for one in index["pictures"]][::3] == ["a zorp circle", "a red star"]
    assert report.said == ["6 images in out/samples"]


def test_a_snapshot_of_half_the_adapter_is_the_adapter_at_half_its_strength(drawn: Path):
    snapshot = pixels(drawn, "p00-s0-step-000010.png")
    write_resolved(drawn, sample=SAMPLE.model_copy(update={"strength": 0.25}))

    run(drawn, Quiet())

    assert np.abs(pixels(drawn, "p00-s0-adapter.png") - snapshot).max() <= 1


def test_at_strength_0_the_adapter_gives_what_the_base_gives(project: Path):
    write_resolved(project, sample=SAMPLE.model_copy(update={"strength": 0.0}))

    run(project, Quiet())

    base, adapter = pixels(project, "p01-s0-base.png"), pixels(project, "p01-s0-adapter.png")
    assert np.array_equal(base, adapter)


def test_noise_depends_on_the_seed_alone(drawn: Path):
    sample = SAMPLE.model_copy(update={"seeds": (5, 0), "prompts": ("a red star",)})
    alone = pixels(drawn, "p01-s0-base.png")

    write_resolved(drawn, sample=sample)
    run(drawn, Quiet())

    assert np.array_equal(pixels(drawn, "p00-s0-base.png"), alone)
    assert not np.array_equal(pixels(drawn, "p00-s5-base.png"), alone)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_base_in_half_precision_gives_nearly_the_same(drawn: Path, precision: str):
    full = pixels(drawn, "p00-s0-adapter.png")
    write_resolved(drawn, compute=Compute(device="cpu", precision=precision))

    run(drawn, Quiet())

    assert np.abs(pixels(drawn, "p00-s0-adapter.png") - full).mean() < 3


@pytest.mark.parametrize(("negative", "zeros"), [("", True), ("a blue ring", False)])
def test_an_empty_negative_prompt_is_zeros_where_the_base_says_so(
    project: Path, negative: str, zeros: bool
):
    embedded = generating.embed(
        generation(project, negative_prompt=negative), ["a red star"], Quiet()
    )

    embeddings = embedded["a red star"]
    assert bool((embeddings["negative_prompt_embeds"] == 0).all()) == zeros
    assert bool((embeddings["negative_pooled_prompt_embeds"] == 0).all()) == zeros


def test_a_base_without_that_rule_embeds_the_empty_text(project: Path):
    index = project / "model/model_index.json"
    index.write_text(index.read_text().replace("true", "false"))

    embedded = generating.embed(generation(project), ["", "a red star"], Quiet())

    assert torch.equal(
        embedded["a red star"]["negative_prompt_embeds"], embedded[""]["prompt_embeds"]
    )


def test_a_prompt_that_is_too_long_is_told(project: Path):
    report = Quiet()

    generating.embed(generation(project), ["a " * 80 + "star"], report)

    assert report.warned == [f'a prompt has 83 tokens; SDXL reads the first 77: "{"a " * 80}star"']


def test_prompts_are_read_as_far_as_captions_were(project: Path):
    header = read_header(project / "out/adapter.safetensors").metadata
    longer = header | {"lora_recipes.encode": '{"max_tokens":150,"vae_precision":"fp32"}'}
    for path in (project / "out").rglob("*.safetensors"):
        write_tensors(path, read_tensors(path), longer)
    prompt = "a " * 80 + "star"
    write_resolved(project, sample=SAMPLE.model_copy(update={"prompts": (prompt,)}))
    report = Quiet()

    run(project, report)

    assert report.warned == []
    assert {path.name for path in (project / "out/samples").glob("*.png")} >= {"p00-s0-base.png"}
    long = generating.embed(generation(project, max_tokens=150), [prompt], Quiet())[prompt]
    encoders = load.load_text_encoders(BASE, project, torch.float32, CPU)
    tokens, pooled = embed_text(encoders, prompt, 150)
    assert torch.equal(long["prompt_embeds"], tokens[None])
    assert torch.equal(long["pooled_prompt_embeds"], pooled[None])
    assert long["negative_prompt_embeds"].shape == (1, 152, 64)
    assert not long["negative_prompt_embeds"].any()


@pytest.mark.parametrize("negative", ["", "blur"])
def test_several_windows_agree_with_one_on_what_is_negative(project: Path, negative: str):
    prompt = "a red star"
    found = [
        generating.embed(
            generation(project, max_tokens=most, negative_prompt=negative), [prompt], Quiet()
        )[prompt]
        for most in (77, 150)
    ]
    for name, tensor in found[0].items():
        assert torch.equal(tensor[:, :76], found[1][name][:, :76]), name  # pooled ones whole


def test_no_two_big_models_are_in_memory_at_once(project: Path, monkeypatch: pytest.MonkeyPatch):
    alive: dict[str, list[weakref.ref[Any]]] = {}

    def watch(module: Any, name: str, parts: tuple[str, ...], *gone: str) -> None:
        original = getattr(module, name)

        def load_one(*arguments: Any) -> Any:
            assert all(ref() is None for other in gone for ref in alive[other])
            loaded = original(*arguments)
            models = [getattr(loaded, part) for part in parts] or [loaded]
            alive[name] = [weakref.ref(model) for model in models]
            return loaded

        monkeypatch.setattr(module, name, load_one)

    watch(generating, "load_text_encoders", ("text_encoder", "text_encoder_2"))
    watch(samples, "load_unet", (), "load_text_encoders")
    watch(one_model_at_a_time, "load_vae", (), "load_text_encoders", "load_unet")
    run(project, Quiet())

    assert alive.keys() == {"load_text_encoders", "load_unet", "load_vae"}


def test_without_prompts_no_model_is_looked_for(project: Path):
    write_resolved(project, base=Base(model="not/there"), sample=Sample())

    run(project, Quiet())

    assert [path.name for path in (project / "out/samples").iterdir()] == ["index.json"]
    assert json.loads((project / "out/samples/index.json").read_text()) == {"pictures": []}


def spoil(path: Path, change: Any) -> str:
    """Change an adapter's tensors behind the writer's back; the name of the first up matrix."""
    from lora_recipes.tensors import read_header

    tensors, metadata = read_tensors(path), read_header(path).metadata
    name = min(name for name in tensors if name.endswith("lora_up.weight"))
    change(tensors, name)
    write_tensors(path, tensors, metadata)
    return name


def test_an_image_that_is_not_finite_is_an_error_and_the_old_ones_stay(drawn: Path):
    before = sorted((drawn / "out/samples").iterdir())
    spoil(drawn / "out/adapter.safetensors", lambda tensors, name: tensors[name].fill_(torch.nan))

    with pytest.raises(UserError) as caught:
        run(drawn, Quiet())

    assert str(caught.value) == (
        'image p00-s0-adapter.png ("a zorp circle") holds values that are not finite\n'
        "  fix:     lower sample.strength, or train with a lower train.learning_rate"
    )
    assert sorted((drawn / "out/samples").iterdir()) == before
    assert sorted(path.name for path in (drawn / "out").iterdir()) == [
        "adapter.safetensors", "samples", "snapshots",
    ]  # fmt: skip


def test_a_base_that_is_not_finite_is_blamed_itself(project: Path):
    path = project / "model/unet/diffusion_pytorch_model.safetensors"
    tensors = read_tensors(path)
    tensors["conv_in.weight"][0, 0, 0, 0] = torch.nan
    write_tensors(path, tensors, {})

    with pytest.raises(UserError) as caught:
        run(project, Quiet())

    assert "holds values that are not finite" in str(caught.value)
    assert caught.value.problems[0].fix == (
        "check the base model's files, or set compute.precision: fp32"
    )


def test_an_adapter_with_a_tensor_missing_is_named(project: Path):
    path = project / "out/snapshots/step-000010.safetensors"
    missing = spoil(path, lambda tensors, name: tensors.pop(name))

    with pytest.raises(UserError) as caught:
        run(project, Quiet())

    assert str(caught.value).startswith(f"{path}: missing keys in the adapter: {missing}\n")
    assert not (project / "out/samples").exists()


def test_an_adapter_without_a_recipe_in_its_header_is_named(project: Path):
    path = project / "out/adapter.safetensors"
    write_tensors(path, read_tensors(path), {"format": "pt"})

    with pytest.raises(UserError) as caught:
        run(project, Quiet())

    assert str(caught.value) == (
        "out/adapter.safetensors: its header does not hold the recipe's dataset section\n"
        "  fix:     run `dvc repro train`, which writes it"
    )


def test_a_model_that_is_in_memory_and_embeddings_made_before_give_the_stages_images(
    drawn: Path,
):
    """What previews will do: no text encoder and no second UNet is loaded for them."""
    unet = load.load_unet(BASE, drawn, torch.float32, CPU)
    adapted = Adapted({"unet": unet})
    adapted.inject(LORA, seed=3)
    adapted.load(read_tensors(drawn / "out/adapter.safetensors"))
    adapted.set_strength(SAMPLE.strength)
    embedded = generating.embed(generation(drawn), ["a zorp circle"], Quiet())

    steps: list[int] = []
    latents = generating.denoise(
        generation(drawn), unet, embedded["a zorp circle"], 0, lambda: steps.append(1)
    )
    image = generating.decode(load.load_vae(BASE, drawn, torch.float32, CPU), latents)

    assert len(steps) == SAMPLE.steps
    assert np.array_equal(np.asarray(image), pixels(drawn, "p00-s0-adapter.png"))


def test_the_latents_shape_is_that_of_the_bases_own_vae(project: Path):
    vae = load.load_vae(BASE, project, torch.float32, CPU)
    encoded = vae.encode(torch.zeros(1, 3, SIZE[1], SIZE[0])).latent_dist.mean
    assert latent_shape(BASE, project, SIZE) == tuple(encoded.shape[1:])
