"""What an adapter's header says: the recipe behind it, and the fields that other tools read.

All of it follows from the recipe, the base model, the data's manifest and the tensors themselves:
no time, host, path of this machine or version. So equal tensors of an equal recipe give equal
bytes. (modelspec asks for a date; it is left out for that reason.)

Sources: kohya-ss/sd-scripts, train_network.py (`ss_*`); Stability-AI/ModelSpec 1.0.1
(`modelspec.*`).
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from lora_recipes.hashing import canonical_json, digest
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.train import Train

SECTIONS = ("base", "dataset", "prepare", "encode", "lora", "train", "compute")
"""The recipe's sections that an adapter's bytes depend on."""

# Two modules that SDXL's UNet has and no smaller one: (module, inputs of its down matrix).
_SDXL_MODULES = (
    ("lora_unet_middle_block_1_transformer_blocks_9_attn2_to_k", 2048),
    ("lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q", 640),
)


def build(  # noqa: PLR0917
    sections: Mapping[str, BaseModel],
    base_identity: str,
    manifest: str,
    images: int,
    steps: int,
    step: int | None = None,
    prediction: str = "epsilon",
) -> dict[str, str]:
    """The header's fields, but for those that the tensors give (`of_shapes`, the data's hash).

    Args:
        sections: at least those of `SECTIONS`, complete; others are left out.
        base_identity: `sha256:…` of the base model.
        manifest: `sha256:…` of the training data.
        images: how many images were trained on; one that its folder repeats n times counts n.
        steps: optimizer steps of the whole training.
        step: the steps behind a snapshot; None for the adapter at the end.
        prediction: `epsilon` or `v_prediction`, what the base predicts.
    """
    recipe = {name: sections[name].model_dump(mode="json") for name in SECTIONS}
    identity = {**recipe, "base_identity": base_identity, "manifest": manifest}
    fields = {f"lora_recipes.{name}": canonical_json(recipe[name]) for name in SECTIONS}
    fields |= {
        "lora_recipes.base_identity": base_identity,
        "lora_recipes.manifest": manifest,
        "lora_recipes.hash": digest(identity),
    }
    if step is not None:
        fields["lora_recipes.step"] = str(step)
    fields |= _kohya(sections, images, steps, steps if step is None else step)
    fields |= _modelspec(sections, prediction)
    return dict(sorted(fields.items()))


def of_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Which model the adapter is for, as told by its tensors' shapes and not by a model's name.

    Args:
        shapes: of all tensors in the file, by name.
    """
    inputs = {
        name.removesuffix(".lora_down.weight"): shape[1]
        for name, shape in shapes.items()
        if name.endswith(".lora_down.weight")
    }
    if all(inputs.get(module) == width for module, width in _SDXL_MODULES):
        return {
            "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
            "ss_base_model_version": "sdxl_base_v1-0",
        }
    return {"modelspec.architecture": "lora-recipes-pocket/lora"}


def _kohya(sections: Mapping[str, BaseModel], images: int, steps: int, step: int) -> dict[str, str]:
    lora, train, compute = sections["lora"], sections["train"], sections["compute"]
    assert isinstance(lora, Lora)
    assert isinstance(train, Train)
    assert isinstance(compute, Compute)
    fields = {
        "ss_gradient_accumulation_steps": train.gradient_accumulation,
        "ss_gradient_checkpointing": compute.gradient_checkpointing,
        "ss_learning_rate": train.learning_rate,
        "ss_lr_scheduler": train.scheduler,
        "ss_lr_warmup_steps": train.warmup_steps,
        "ss_max_grad_norm": train.max_grad_norm,
        "ss_max_train_steps": steps,
        "ss_mixed_precision": "no" if compute.precision == "fp32" else compute.precision,
        "ss_network_alpha": lora.alpha,
        "ss_network_dim": lora.rank,
        "ss_network_module": "networks.lora",
        "ss_noise_offset": train.noise_offset,
        "ss_num_reg_images": 0,
        "ss_num_train_images": images * train.repeats,
        "ss_optimizer": train.optimizer,
        "ss_seed": train.seed,
        "ss_steps": step,
        "ss_total_batch_size": train.batch_size * train.gradient_accumulation,
        "ss_unet_lr": train.learning_rate,
        "ss_v2": False,
    }
    if train.epochs != "auto":
        fields["ss_num_epochs"] = train.epochs
    return {name: str(value) for name, value in fields.items()}


def _modelspec(sections: Mapping[str, BaseModel], prediction: str) -> dict[str, str]:
    dataset, prepare = sections["dataset"], sections["prepare"]
    assert isinstance(dataset, Dataset)
    assert isinstance(prepare, Prepare)
    size = prepare.resolution
    width, height = (size, size) if isinstance(size, int) else size
    words = [word for word in (dataset.trigger, dataset.class_word) if word != "none"]
    fields = {
        "modelspec.description": "LoRA adapter made by lora-recipes",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.prediction_type": "v" if prediction == "v_prediction" else "epsilon",
        "modelspec.resolution": f"{width}x{height}",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": " ".join(words) or "LoRA adapter",
    }
    if words:
        fields["modelspec.trigger_phrase"] = " ".join(words)
    return fields
