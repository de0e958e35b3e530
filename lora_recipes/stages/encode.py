"""The encode stage: prepared pictures and captions → the latents and embeddings to train on."""

from __future__ import annotations

from pathlib import Path

from lora_recipes.dataset.manifest import read
from lora_recipes.files import own_folder
from lora_recipes.imports import large_libraries
from lora_recipes.pipeline import ENCODED, IMAGES, MANIFEST, stage
from lora_recipes.recipe.resolved import read_keys, read_section, read_value
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.encode import Encode
from lora_recipes.reporting import Reporter


def run(root: Path, report: Reporter) -> None:
    """Encode `build/images/` into `build/encoded/`, using again what is known in `.lora/`.

    Raises:
        UserError: as `lora_recipes.encode.build.encode`; no output is left then.
    """
    with report.loading("torch and diffusers"), large_libraries():
        from lora_recipes.encode.build import Places, Settings, encode
        from lora_recipes.encode.pictures import read_pictures

    manifest = read(root / MANIFEST)
    settings = Settings(
        base=read_section(root, "base", Base),
        encode=read_section(root, "encode", Encode),
        compute=read_keys(root, "compute", Compute, stage("encode").keys_of("compute")),
        code=str(read_value(root, "code.encode")),
    )
    encode(
        read_pictures(root / IMAGES, manifest),
        settings,
        manifest.hash,
        Places(root=root, out=root / ENCODED, own=own_folder(root)),
        report,
    )
