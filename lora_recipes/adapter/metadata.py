"""What an adapter's header says: the recipe behind it, and the fields that other tools read.

All of it follows from the recipe, the base model, the data's manifest and the tensors themselves:
no time, host, path of this machine or version. So equal tensors of an equal recipe give equal
bytes. (modelspec asks for a date; it is left out for that reason.) Keys of the recipe that are not
there (`recipe/identity.py`) are left out.

Sources: kohya-ss/sd-scripts, train_network.py (`ss_*`); Stability-AI/ModelSpec 1.0.1
(`modelspec.*`).
"""

from __future__ import annotations

from collections.abc import Mapping

from lora_recipes.hashing import canonical_json, digest
from lora_recipes.pipeline import TRAINED_SECTIONS
from lora_recipes.recipe.identity import header_fields, present
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.section import Section
from lora_recipes.recipe.sections.train import Train
from lora_recipes.recipe.size import Size, size_of

# Two modules that SDXL's UNet has and no smaller one: (module, inputs of its down matrix).
_SDXL_MODULES = (
    ("lora_unet_middle_block_1_transformer_blocks_9_attn2_to_k", 2048),
    ("lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q", 640),
)


def build(  # noqa: PLR0917
    sections: Mapping[str, Section],
    base_identity: str,
    manifest: str,
    images: int,
    steps: int,
    step: int | None = None,
    prediction: str = "epsilon",
    buckets: Mapping[Size, int] | None = None,
    regularization: int = 0,
) -> dict[str, str]:
    """The header's fields, but for those that the tensors give (`of_shapes`, the data's hash).

    Args:
        sections: at least those that training depends on, complete; others are left out.
        base_identity: `sha256:…` of the base model.
        manifest: `sha256:…` of the training data.
        images: how many images were trained on; one that its folder repeats n times counts n.
        steps: optimizer steps of the whole training.
        step: the steps behind a snapshot; None for the adapter at the end.
        prediction: `epsilon` or `v_prediction`, what the base predicts.
        buckets: samples of an epoch by the size of their picture; none where buckets are off.
        regularization: how many regularization images were trained on, counted likewise.
    """
    trained = {name: sections[name] for name in TRAINED_SECTIONS}
    recipe = _said(present(trained))
    fields = {f"lora_recipes.{name}": canonical_json(values) for name, values in recipe.items()}
    fields |= {
        "lora_recipes.base_identity": base_identity,
        "lora_recipes.manifest": manifest,
        "lora_recipes.hash": recipe_hash(recipe, base_identity, manifest),
    }
    fields |= {name: str(value) for name, value in header_fields(trained)}
    if step is not None:
        fields["lora_recipes.step"] = str(step)
    fields |= _kohya(sections, images, steps, steps if step is None else step)
    fields["ss_num_reg_images"] = str(regularization)
    fields |= _modelspec(sections, prediction)
    if buckets:
        fields["ss_bucket_info"] = _bucket_info(buckets)
    return dict(sorted(fields.items()))


def recipe_hash(
    recipe: Mapping[str, Mapping[str, object]], base_identity: str, manifest: str
) -> str:
    """`sha256:…` by which a recipe with its base model and data is known.

    Args:
        recipe: the `present` values of the sections that training depends on.
        base_identity: `sha256:…` of the base model.
        manifest: `sha256:…` of the training data.
    """
    return digest({**_said(recipe), "base_identity": base_identity, "manifest": manifest})


def _said(recipe: Mapping[str, Mapping[str, object]]) -> dict[str, Mapping[str, object]]:
    """Without sections none of whose keys is there."""
    return {name: values for name, values in recipe.items() if values}


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


def _kohya(sections: Mapping[str, Section], images: int, steps: int, step: int) -> dict[str, str]:
    """kohya's fields that follow from more than one key, or hold no key's own value."""
    train, compute = sections["train"], sections["compute"]
    assert isinstance(train, Train)
    assert isinstance(compute, Compute)
    fields = {
        "ss_max_train_steps": steps,
        "ss_mixed_precision": "no" if compute.precision == "fp32" else compute.precision,
        "ss_network_module": "networks.lora",
        "ss_num_train_images": images * train.repeats,
        "ss_steps": step,
        "ss_total_batch_size": train.batch_size * train.gradient_accumulation,
        "ss_v2": False,
    }
    if train.epochs != "auto":
        fields["ss_num_epochs"] = train.epochs
    return {name: str(value) for name, value in fields.items()}


def _bucket_info(buckets: Mapping[Size, int]) -> str:
    """kohya's list of buckets: numbered by their size, each with how many samples it has."""
    found = {
        str(number): {"resolution": list(size), "count": count}
        for number, (size, count) in enumerate(sorted(buckets.items()))
    }
    return canonical_json({"buckets": found})


def _modelspec(sections: Mapping[str, Section], prediction: str) -> dict[str, str]:
    dataset, prepare = sections["dataset"], sections["prepare"]
    assert isinstance(dataset, Dataset)
    assert isinstance(prepare, Prepare)
    width, height = size_of(prepare.resolution)
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
