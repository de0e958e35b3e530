from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
from torch import nn

from lora_recipes.base import components
from lora_recipes.base.check import problems_of
from lora_recipes.base.facts import read_facts
from lora_recipes.base.known import SCHEDULERS
from lora_recipes.base.load import (
    load_scheduler,
    load_text_encoders,
    load_unet,
    load_vae,
    random_unet,
)
from lora_recipes.base.locate import locate
from lora_recipes.diffusion.noise import alphas_cumprod
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.base import Base
from lora_recipes.tensors import read_tensors, write_tensors
from tests.models import single_file

from .hostile import edit

CPU = torch.device("cpu")
FP32 = torch.float32
CAPTIONS = ["", "a photo of a Red  star!", "zorp ✓ ring"]


@pytest.fixture(scope="session")
def pipeline(shared_model: Path) -> StableDiffusionXLPipeline:
    """diffusers' own idea of the folder."""
    return StableDiffusionXLPipeline.from_pretrained(shared_model, local_files_only=True)


@pytest.fixture
def checkpoint(
    shared_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Base]:
    """The tiny model as a single file; its configuration stands in for SDXL's packaged one."""
    monkeypatch.setattr(components, "CONFIGS", shared_model)
    path = single_file(shared_model, tmp_path / "tiny.safetensors")
    return Base(model=str(path), tokenizer=str(shared_model))


def same(one: nn.Module, two: nn.Module) -> bool:
    """Whether two models have the same weights, to the bit."""
    first, second = one.state_dict(), two.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def tell_apart(base: Base, root: Path, pipeline: StableDiffusionXLPipeline) -> dict[str, bool]:
    """For each part, whether we load what diffusers loads."""
    text = load_text_encoders(base, root, FP32, CPU)
    return {
        "unet": same(load_unet(base, root, FP32, CPU), pipeline.unet),
        "vae": same(load_vae(base, root, FP32, CPU), pipeline.vae),
        "text_encoder": same(text.text_encoder, pipeline.text_encoder),
        "text_encoder_2": same(text.text_encoder_2, pipeline.text_encoder_2),
        "tokenizer": all(
            text.tokenizer(c).input_ids == pipeline.tokenizer(c).input_ids for c in CAPTIONS
        ),
        "tokenizer_2": text.tokenizer_2("a", padding="max_length").input_ids
        == pipeline.tokenizer_2("a", padding="max_length").input_ids,
    }


ALL = dict.fromkeys(
    ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"), True
)


def test_a_folder_is_loaded_as_diffusers_loads_it(
    shared_model: Path, pipeline: StableDiffusionXLPipeline
) -> None:
    assert tell_apart(Base(model=str(shared_model)), Path(), pipeline) == ALL


def test_a_single_file_gives_the_same_weights_as_the_folder(
    checkpoint: Base, pipeline: StableDiffusionXLPipeline
) -> None:
    assert tell_apart(checkpoint, Path(), pipeline) == ALL


def test_parts_come_frozen_in_evaluation_mode_and_in_the_asked_precision(
    shared_model: Path,
) -> None:
    base = Base(model=str(shared_model))
    text = load_text_encoders(base, Path(), torch.bfloat16, CPU)
    for part in (
        load_unet(base, Path(), torch.bfloat16, CPU),
        load_vae(base, Path(), torch.bfloat16, CPU),
        text.text_encoder,
        text.text_encoder_2,
    ):
        assert not part.training
        assert {p.dtype for p in part.parameters()} == {torch.bfloat16}
        assert not any(p.requires_grad for p in part.parameters())


def test_weights_lie_in_memory_of_their_own(model: Path) -> None:
    unet = load_unet(Base(model="model"), model.parent, FP32, CPU)
    before = unet.conv_in.weight.clone()
    (model / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"overwritten in place")
    assert torch.equal(unet.conv_in.weight, before)


def test_fp16_files_alone_are_loaded(model: Path) -> None:
    path = model / "unet/diffusion_pytorch_model.safetensors"
    tensors = read_tensors(path)
    half = {name: tensor.half() for name, tensor in tensors.items()}
    write_tensors(path.with_name("diffusion_pytorch_model.fp16.safetensors"), half, {})
    path.unlink()
    unet = load_unet(Base(model="model"), model.parent, FP32, CPU)
    assert torch.equal(unet.conv_in.weight, half["conv_in.weight"].float())


def test_shards_are_put_together(model: Path, pipeline: StableDiffusionXLPipeline) -> None:
    path = model / "unet/diffusion_pytorch_model.safetensors"
    tensors = read_tensors(path)
    names = sorted(tensors)
    for shard, part in (("a.safetensors", names[::2]), ("b.safetensors", names[1::2])):
        write_tensors(path.with_name(shard), {name: tensors[name] for name in part}, {})
    shards = {name: "ab"[index % 2] + ".safetensors" for index, name in enumerate(names)}
    index = path.with_name(f"{path.name}.index.json")
    index.write_text(json.dumps({"weight_map": shards}))
    path.unlink()
    assert same(load_unet(Base(model="model"), model.parent, FP32, CPU), pipeline.unet)


def test_missing_unexpected_and_misshapen_weights_are_errors(model: Path) -> None:
    path = model / "unet/diffusion_pytorch_model.safetensors"
    tensors = read_tensors(path)
    del tensors["conv_in.bias"]
    tensors["conv_out.bias"] = torch.zeros(9)
    tensors |= {f"extra.{number}": torch.zeros(1) for number in range(7)}
    write_tensors(path, tensors, {})
    with pytest.raises(UserError) as error:
        load_unet(Base(model="model"), model.parent, FP32, CPU)
    assert str(error.value) == (
        f"{path}: does not fit the unet of its configuration\n"
        "  1 missing:\n"
        "    conv_in.bias\n"
        "  7 unexpected:\n"
        "    extra.0\n"
        "    extra.1\n"
        "    extra.2\n"
        "    extra.3\n"
        "    extra.4 and 2 more\n"
        "  1 of another shape:\n"
        "    conv_out.bias ([9] instead of [4])\n"
        "  fix:     fetch the model again, or choose another base.model"
    )


@pytest.mark.parametrize(
    ("key", "load", "told"),
    [
        ("model.diffusion_model.out.2.bias", load_unet, "1 missing:\n    conv_out.bias"),
        (
            "first_stage_model.decoder.conv_in.bias",
            load_vae,
            "1 missing:\n    decoder.conv_in.bias",
        ),
        (
            "conditioner.embedders.1.model.text_projection",
            load_text_encoders,
            "1 missing:\n    text_projection.weight",
        ),
    ],
)
def test_a_weight_that_a_single_file_lacks_is_named(
    checkpoint: Base, key: str, load: object, told: str
) -> None:
    path = Path(checkpoint.model)
    tensors = read_tensors(path)
    del tensors[key]
    write_tensors(path, tensors, {})
    with pytest.raises(UserError) as error:
        load(checkpoint, Path(), FP32, CPU)  # type: ignore[operator]
    assert told in str(error.value)


def test_a_weight_that_the_conversion_does_not_know_is_named(checkpoint: Base) -> None:
    path = Path(checkpoint.model)
    extra = {"model.diffusion_model.novelty.weight": torch.ones(3)}
    write_tensors(path, read_tensors(path) | extra, {})
    with pytest.raises(UserError) as error:
        load_unet(checkpoint, Path(), FP32, CPU)
    assert "1 unexpected:\n    model.diffusion_model.novelty.weight\n" in str(error.value)


def test_a_vae_with_the_attention_names_of_old_diffusers_is_loaded(
    model: Path, pipeline: StableDiffusionXLPipeline
) -> None:
    path = model / "vae/diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in read_tensors(path).items():
        new = name
        for today, before in old.items():
            new = new.replace(f".{today}.", f".{before}.")
        renamed[new] = tensor
    assert any(".query." in name for name in renamed)
    write_tensors(path, renamed, {})
    assert same(load_vae(Base(model="model"), model.parent, FP32, CPU), pipeline.vae)


@pytest.mark.parametrize("source", ["vae", "vae/diffusion_pytorch_model.safetensors", "one file"])
def test_another_vae_replaces_the_models_own(
    shared_model: Path, checkpoint: Base, model: Path, source: str
) -> None:
    path = model / "vae/diffusion_pytorch_model.safetensors"
    other = read_tensors(path) | {"decoder.conv_in.bias": torch.full((16,), 0.25)}
    write_tensors(path, other, {})
    if source == "one file":
        vae = single_file(model, model / "whole.safetensors")
    else:
        vae = model / source
    loaded = load_vae(Base(model=str(shared_model), vae=str(vae)), Path(), FP32, CPU)
    assert set(loaded.decoder.conv_in.bias.tolist()) == {0.25}


def test_tokenizers_without_their_config_keep_sdxls_window_and_padding(
    model: Path, pipeline: StableDiffusionXLPipeline
) -> None:
    for name in ("tokenizer", "tokenizer_2"):
        (model / name / "tokenizer_config.json").unlink()
    text = load_text_encoders(Base(model="model"), model.parent, FP32, CPU)
    for name in ("tokenizer", "tokenizer_2"):
        ours, theirs = getattr(text, name), getattr(pipeline, name)
        assert ours.model_max_length == 77
        for caption in [*CAPTIONS, "red star " * 50]:
            settings = {"padding": "max_length", "truncation": True, "max_length": 77}
            assert ours(caption, **settings).input_ids == theirs(caption, **settings).input_ids


def test_a_window_that_the_config_does_not_state_is_77(model: Path) -> None:
    path = model / "tokenizer/tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["model_max_length"]
    path.write_text(json.dumps(config))
    text = load_text_encoders(Base(model="model"), model.parent, FP32, CPU)
    assert text.tokenizer.model_max_length == 77


def test_a_vocabulary_that_is_not_the_text_encoders_is_refused(model: Path) -> None:
    path = model / "tokenizer/vocab.json"
    symbols = json.loads(path.read_text())
    size = len(symbols)
    path.write_text(json.dumps(symbols | {"strange": size}))
    with pytest.raises(UserError) as error:
        load_text_encoders(Base(model="model"), model.parent, FP32, CPU)
    assert str(error.value) == (
        f"{model}/tokenizer: has {size + 1} tokens; the text encoder knows {size}\n"
        "  fix:     set base.tokenizer to the tokenizers that this model was trained with"
    )


def test_a_damaged_vocabulary_is_named(model: Path) -> None:
    (model / "tokenizer_2/vocab.json").write_text("{")
    with pytest.raises(UserError) as error:
        load_text_encoders(Base(model="model"), model.parent, FP32, CPU)
    first, fix = str(error.value).splitlines()
    assert first.startswith(f"{model}/tokenizer_2: cannot be read as a CLIP tokenizer: ")
    assert fix == "  fix:     fetch the tokenizer's files again"


def test_the_scheduler_is_of_the_class_that_the_model_names(model: Path) -> None:
    scheduler = load_scheduler(Base(model="model"), model.parent)
    assert isinstance(scheduler, EulerDiscreteScheduler)
    assert (scheduler.config.beta_start, scheduler.config.beta_end) == (0.00085, 0.012)
    path = model / "scheduler/scheduler_config.json"
    path.write_text('{"_class_name": "UNet2DConditionModel"}')
    with pytest.raises(UserError) as error:
        load_scheduler(Base(model="model"), model.parent)
    assert str(error.value) == (
        f"{path}: _class_name = UNet2DConditionModel: diffusers has no such scheduler\n"
        "  fix:     fetch the file again, or choose another base.model"
    )


@pytest.mark.parametrize("name", ["unet", "vae", "text_encoder", "text_encoder_2"])
def test_keys_that_make_a_library_fetch_or_run_something_never_reach_it(
    model: Path, pipeline: StableDiffusionXLPipeline, name: str
) -> None:
    edit(
        model / name / "config.json",
        {
            "_attn_implementation": "evil/kernel",
            "attn_implementation": "evil/kernel",
            "auto_map": {"AutoModel": "evil.Model"},
            "quantization_config": {"quant_method": "evil"},
            "_name_or_path": "evil/model",
            "torch_dtype": "evil",
        },
    )
    base = Base(model="model")
    if name.startswith("text"):
        part = getattr(load_text_encoders(base, model.parent, FP32, CPU), name)
    else:
        part = (load_unet if name == "unet" else load_vae)(base, model.parent, FP32, CPU)
    assert same(part, getattr(pipeline, name))
    assert "evil" not in str(part.config)


@pytest.mark.parametrize(
    ("file", "values", "told"),
    [
        ("unet/config.json", {"layers_per_block": "x"}, "cannot be built as the unet of SDXL: "),
        ("text_encoder/config.json", {"hidden_size": "x"},
         "cannot be built as the text_encoder of SDXL: "),
        ("scheduler/scheduler_config.json", {"beta_start": "x"},
         "cannot be used as a EulerDiscreteScheduler: "),
    ],
)  # fmt: skip
def test_a_librarys_error_is_told_with_the_file(
    model: Path, file: str, values: dict[str, object], told: str
) -> None:
    edit(model / file, values)
    base = Base(model="model")
    load = {
        "unet": lambda: load_unet(base, model.parent, FP32, CPU),
        "text_encoder": lambda: load_text_encoders(base, model.parent, FP32, CPU),
        "scheduler": lambda: load_scheduler(base, model.parent),
    }[Path(file).parent.name]
    with pytest.raises(UserError) as error:
        load()
    assert str(error.value).startswith(f"{model / file}: {told}")


def test_weights_that_are_whole_numbers_are_not_loaded(model: Path) -> None:
    path = model / "unet/diffusion_pytorch_model.safetensors"
    tensors = read_tensors(path)
    tensors["conv_in.bias"] = tensors["conv_in.bias"].to(torch.int32)
    write_tensors(path, tensors, {})
    with pytest.raises(UserError) as error:
        load_unet(Base(model="model"), model.parent, FP32, CPU)
    assert str(error.value) == (
        f"{path}: holds weights of the unet in numbers that cannot be trained on\n"
        "  1 of another kind:\n"
        "    conv_in.bias (int32)\n"
        "  allowed: F16, BF16, F32, F64\n"
        "  fix:     fetch the model in fp16, bf16 or fp32, or choose another base.model"
    )


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # of diffusers' KDPM2
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_that_is_let_through_draws_from_the_noise_that_is_trained(
    model: Path, name: str
) -> None:
    edit(model / "scheduler/scheduler_config.json", {"_class_name": name})
    located = locate(Base(model="model"), model.parent)
    assert problems_of(located) == []
    schedule = read_facts(located).schedule
    trained = alphas_cumprod(
        schedule.beta_start, schedule.beta_end, schedule.num_train_timesteps, schedule.beta_schedule
    )
    scheduler = load_scheduler(Base(model="model"), model.parent)
    assert type(scheduler).__name__ == name
    torch.testing.assert_close(scheduler.alphas_cumprod, trained)


def inputs(dtype: torch.dtype) -> dict[str, object]:
    return {
        "sample": torch.ones(1, 4, 8, 8, dtype=dtype),
        "timestep": 500,
        "encoder_hidden_states": torch.ones(1, 77, 64, dtype=dtype),
        "added_cond_kwargs": {
            "text_embeds": torch.ones(1, 40, dtype=dtype),
            "time_ids": torch.full((1, 6), 128.0),
        },
    }


@pytest.mark.parametrize("dtype", [FP32, torch.bfloat16, torch.float16])
def test_random_weights_give_finite_predictions_and_repeat(
    shared_model: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(components, "CONFIGS", shared_model)
    one, two = random_unet(3, dtype, CPU), random_unet(3, dtype, CPU)
    assert same(one, two)
    assert not same(one, random_unet(4, dtype, CPU))
    with torch.no_grad():
        predicted = one(**inputs(dtype)).sample
    assert predicted.dtype == dtype
    assert predicted.isfinite().all()
    assert 1e-3 < predicted.float().std() < 1e3


def test_random_sdxl_is_a_base_model_for_benchmarks_of_training_only(
    shared_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "CONFIGS", shared_model)
    base = Base(model="random-sdxl")
    assert same(load_unet(base, Path(), FP32, CPU), random_unet(0, FP32, CPU))
    assert isinstance(load_scheduler(base, Path()), EulerDiscreteScheduler)
    with pytest.raises(UserError) as error:
        load_vae(base, Path(), FP32, CPU)
    assert str(error.value) == (
        "base.model = random-sdxl: has a UNet only, for benchmarks of training\n"
        "  fix:     choose another base.model to encode pictures or to sample"
    )


@pytest.mark.slow
def test_random_sdxl_has_the_true_size() -> None:
    unet = load_unet(Base(model="random-sdxl"), Path(), torch.bfloat16, CPU)
    assert sum(p.numel() for p in unet.parameters()) == 2_567_463_684
