from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora_recipes.base.check import problems_of_base
from lora_recipes.base.components import CONFIGS
from lora_recipes.base.facts import read_facts
from lora_recipes.base.folder import read_json
from lora_recipes.base.locate import locate
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.base import Base
from lora_recipes.tensors import header_bytes, write_tensors
from tests.models import original_names


@pytest.fixture(scope="session")
def sdxl() -> dict[str, Tensor]:
    """Every weight of SDXL base 1.0 under Stability's names, without content."""
    configs = {path.parent.name: read_json(path) for path in CONFIGS.glob("*/config.json")}
    with torch.device("meta"):
        parts = [
            UNet2DConditionModel.from_config(configs["unet"]),
            AutoencoderKL.from_config(configs["vae"]),
            CLIPTextModel(CLIPTextConfig.from_dict(configs["text_encoder"])),
            CLIPTextModelWithProjection(CLIPTextConfig.from_dict(configs["text_encoder_2"])),
        ]
    return original_names(*(dict(part.state_dict()) for part in parts))


def hollow(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    """A file with a true header and a hole for data: no byte of the disk is used for it."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    start = 0
    for name, tensor in tensors.items():
        end = start + 2 * tensor.numel()
        header[name] = {
            "dtype": "F16",
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    head = header_bytes(header)
    path.write_bytes(head)
    os.truncate(path, len(head) + start)
    return path


def error_of(path: Path, key: str = "model") -> str:
    with pytest.raises(UserError) as error:
        locate(Base(**{"tokenizer": str(path.parent), key: path.name}), path.parent)
    return str(error.value)


def test_the_packaged_configuration_has_sdxls_own_number_of_weights(
    sdxl: dict[str, Tensor],
) -> None:
    def numbers(prefix: str) -> tuple[int, int]:
        found = [tensor for name, tensor in sdxl.items() if name.startswith(prefix)]
        return len(found), sum(tensor.numel() for tensor in found)

    assert len(sdxl) == 2515
    assert numbers("model.diffusion_model.") == (1680, 2_567_463_684)
    assert numbers("first_stage_model.") == (248, 83_653_863)
    assert numbers("conditioner.embedders.0.") == (197, 123_060_480 + 77)
    assert numbers("conditioner.embedders.1.") == (390, 694_659_840 + 1)


def test_a_checkpoint_of_sdxls_true_names_and_shapes_is_accepted(
    sdxl: dict[str, Tensor], shared_model: Path, tmp_path: Path
) -> None:
    path = hollow(tmp_path / "sdxl.safetensors", sdxl)
    located = locate(Base(model=path.name, tokenizer=str(shared_model)), tmp_path)
    assert located.kind == "file"
    assert located.components["unet"].weights == (path,)
    assert located.components["unet"].layout == "original"
    assert located.components["text_encoder_2"].config == CONFIGS / "text_encoder_2"
    assert located.components["scheduler"].config == CONFIGS / "scheduler"
    assert located.components["tokenizer"].config == shared_model / "tokenizer"


UNET = "model.diffusion_model."
CONV_IN = f"{UNET}input_blocks.0.0.weight"
ADDED = f"{UNET}label_emb.0.0.weight"
CROSS = f"{UNET}output_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.mark.parametrize(
    ("changed", "meaning"),
    [
        ({CONV_IN: (320, 9, 3, 3)}, "is an SDXL for inpainting or editing (9 input channels)"),
        ({ADDED: (1536, 2560)}, "is the SDXL refiner, not the base model"),
        ({ADDED: None}, "is Stable Diffusion 1 or 2, not SDXL"),
        ({CONV_IN: None}, "is not a Stable Diffusion checkpoint"),
        ({CONV_IN: None, "conv_in.weight": (320, 4, 3, 3)},
         "is a part of a diffusers folder, not a whole checkpoint"),
        ({"lora_unet_x.lora_up.weight": (1,)}, "is a LoRA adapter, not a base model"),
        ({"v_pred": (1,)}, "is a v-prediction SDXL, which this version cannot train"),
        ({"ztsnr": (1,)}, "is an SDXL with zero terminal SNR, which this version cannot train"),
        ({"edm_mean": (4,), "edm_std": (4,)},
         "is an SDXL trained as EDM (Playground), which this version cannot train"),
        ({"edm_std": ()},
         "is an SDXL trained as EDM (Playground), which this version cannot train"),
        ({"edm_vpred.sigma_max": (), "edm_vpred.sigma_min": ()},
         "is an SDXL trained as EDM with v-prediction (CosXL), which this version cannot train"),
        ({"flow_shift": ()},
         "holds flow_shift, a mark whose meaning for the training is not known"),
        ({CONV_IN: ()}, f"is not an SDXL checkpoint: {CONV_IN} has shape [] instead of "
         f"[320, 4, 3, 3]"),
        ({ADDED: (1280,)}, f"is not an SDXL checkpoint: {ADDED} has shape [1280] instead of "
         f"[1280, 2816]"),
        ({CROSS: (640, 768)},
         f"is not an SDXL checkpoint: {CROSS} has shape [640, 768] instead of [640, 2048]"),
    ],
)  # fmt: skip
def test_another_kind_of_file_is_refused_by_its_header(
    sdxl: dict[str, Tensor],
    tmp_path: Path,
    changed: dict[str, tuple[int, ...] | None],
    meaning: str,
) -> None:
    tensors = dict(sdxl)
    for name, shape in changed.items():
        if shape is None:
            del tensors[name]
        else:
            tensors[name] = torch.empty(shape, device="meta")
    path = hollow(tmp_path / "x.safetensors", tensors)
    assert error_of(path) == (
        f"{path}: {meaning}\n  fix:     set base.model to a text-to-image SDXL checkpoint"
    )


@pytest.mark.parametrize(
    "metadata",
    [
        {"modelspec.prediction_type": "v"},
        {"modelspec.predict_key": "v"},
        {"prediction_type": "v_prediction"},
        {"ss_v_parameterization": "True"},
    ],
)
def test_a_checkpoint_that_says_v_contradicts_what_a_single_file_is_trained_as(
    sdxl: dict[str, Tensor], shared_model: Path, tmp_path: Path, metadata: dict[str, str]
) -> None:
    path = hollow(tmp_path / "x.safetensors", sdxl, metadata)
    located = locate(Base(model=path.name, tokenizer=str(shared_model)), tmp_path)
    with pytest.raises(UserError) as error:
        read_facts(located)
    [(key, value)] = metadata.items()
    assert str(error.value) == (
        f'{path}: {key} = "{value}", but the scheduler of SDXL 1.0, which a single file is '
        'trained with, says prediction_type = "epsilon"\n'
        "  fix:     find out what the model predicts and correct the other place, or choose "
        "another base.model: trained towards the wrong target, an adapter makes noise"
    )
    assert problems_of_base(path) == list(error.value.problems)


@pytest.mark.parametrize(
    "metadata", [{}, {"modelspec.prediction_type": "epsilon", "modelspec.title": "x"}]
)
def test_a_checkpoint_that_says_epsilon_or_nothing_is_known_to_be_right(
    sdxl: dict[str, Tensor], tmp_path: Path, metadata: dict[str, str]
) -> None:
    extra = {
        "model_ema.decay": torch.empty((), device="meta"),
        "denoiser.sigmas": torch.empty(1000, device="meta"),
        "alphas_cumprod": torch.empty(1000, device="meta"),
        "conditioner.embedders.0.transformer.text_projection.weight": torch.empty(
            (768, 768), device="meta"
        ),
    }
    assert problems_of_base(hollow(tmp_path / "x.safetensors", sdxl | extra, metadata)) == []


def test_each_weight_of_a_checkpoint_is_looked_at_before_anything_is_encoded(
    sdxl: dict[str, Tensor], tmp_path: Path
) -> None:
    changed = dict(sdxl)
    del changed["model.diffusion_model.out.2.bias"]
    changed["first_stage_model.encoder.conv_in.bias"] = torch.empty(7, device="meta")
    changed["conditioner.embedders.1.model.text_projection"] = torch.empty((9, 9), device="meta")
    path = hollow(tmp_path / "x.safetensors", changed)
    assert [str(problem).splitlines()[:3] for problem in problems_of_base(path)] == [
        [f"{path}: does not fit the {name} of its configuration", f"  1 {fault}:", f"    {weight}"]
        for name, fault, weight in (
            ("unet", "missing", "out.2.bias"),
            ("vae", "of another shape", "encoder.conv_in.bias ([7] instead of [128])"),
            ("text_encoder_2", "of another shape",
             "text_projection ([9, 9] instead of [1280, 1280])"),
        )
    ]  # fmt: skip


def test_a_checkpoint_without_a_vae_needs_another_vae(
    sdxl: dict[str, Tensor], shared_model: Path, tmp_path: Path
) -> None:
    rest = {name: tensor for name, tensor in sdxl.items() if "first_stage" not in name}
    path = hollow(tmp_path / "x.safetensors", rest)
    assert error_of(path) == (
        f"{path}: is an SDXL checkpoint without its vae\n"
        "  fix:     choose a complete checkpoint, or name a VAE in base.vae"
    )
    vae = str(shared_model / "vae")
    base = Base(model=path.name, vae=vae, tokenizer=str(shared_model))
    assert locate(base, tmp_path).components["vae"].config == shared_model / "vae"


def test_a_checkpoint_without_text_encoders_is_refused(
    sdxl: dict[str, Tensor], tmp_path: Path
) -> None:
    rest = {name: tensor for name, tensor in sdxl.items() if "conditioner" not in name}
    path = hollow(tmp_path / "x.safetensors", rest)
    assert error_of(path) == (
        f"{path}: is an SDXL checkpoint without its text_encoder, text_encoder_2\n"
        "  fix:     choose a complete checkpoint"
    )


def test_a_truncated_checkpoint_is_named(sdxl: dict[str, Tensor], tmp_path: Path) -> None:
    path = hollow(tmp_path / "x.safetensors", sdxl)
    size = path.stat().st_size
    os.truncate(path, size // 2)
    assert error_of(path) == (
        f"{path}: is cut off: {size // 2:,} of {size:,} bytes\n"
        "  fix:     fetch or make the file again"
    )


def test_a_file_that_holds_no_vae_is_refused_as_one(tmp_path: Path, shared_model: Path) -> None:
    path = tmp_path / "vae.safetensors"
    write_tensors(path, {"w": torch.ones(1)}, {})
    with pytest.raises(UserError) as error:
        locate(Base(model=str(shared_model), vae="vae.safetensors"), tmp_path)
    assert str(error.value) == (
        f"{path}: holds no VAE of Stable Diffusion\n"
        "  fix:     set base.vae to a VAE's .safetensors file or folder, or to base"
    )


def test_the_tokenizers_of_a_checkpoint_default_to_sdxls_own_at_a_pinned_commit(
    sdxl: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    path = hollow(tmp_path / "x.safetensors", sdxl)
    with pytest.raises(UserError) as error:
        locate(Base(model=path.name), tmp_path)
    assert str(error.value).splitlines()[:5] == [
        "base.tokenizer = stabilityai/stable-diffusion-xl-base-1.0: not on this machine "
        "(HF_HUB_OFFLINE is set); missing at revision 462165984030d82259a11f4367a4eed129e94a7b:",
        "    tokenizer/vocab.json",
        "    tokenizer/merges.txt",
        "    tokenizer_2/vocab.json",
        "    tokenizer_2/merges.txt",
    ]
