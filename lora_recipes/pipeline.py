"""The one table of the pipeline: its stages, what each depends on and what it writes.

dvc.yaml is written from it (`make docs`), and whoever needs a stage's name, sections, packages or
paths takes them from here. A further stage is a further row of `STAGES`, in the order of work.

No stage's code hash covers this module: what a stage takes from it stands in that stage's entry of
dvc.yaml too, and DVC compares that itself (`tests/provenance/test_code.py` holds it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PARAMS, RECIPES, REQUIREMENTS = "params.yaml", "recipes", "requirements.lock"
PACKAGE = "lora_recipes"
DATA = "${data}"
"""DVC fills in the folder that params.yaml names, so that other data may be absent."""

RESOLVED = "resolved.yaml"
PRIOR = "build/prior"
MANIFEST, PICTURES = "build/manifest.json", "build/pictures.json"
IMAGES, ENCODED = "build/images", "build/encoded"
ADAPTER, SNAPSHOTS = "out/adapter.safetensors", "out/snapshots"
RECORD, LOSSES = "out/train.json", "out/loss.tsv"
ENVIRONMENT = "out/environment.json"
SAMPLES = "out/samples"
PAGE, FIGURES = "out/report", "out/report.json"

WIDTH = 100
"""Columns of dvc.yaml."""


@dataclass(frozen=True)
class StageOutput:
    """A file or folder that a stage writes, and how DVC treats it."""

    path: str
    kind: str = "outs"
    """`outs`, `metrics` or `plots`."""

    flags: str = ""
    """As dvc.yaml has them: `cache: false`."""


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml: `python -m lora_recipes stage <name>`."""

    name: str
    sections: tuple[str, ...]
    """Of resolved.yaml: whole sections, or single keys (`compute.device`) that are always there."""

    deps: tuple[str, ...]
    outputs: tuple[StageOutput, ...]
    packages: tuple[str, ...] = ()
    """Those whose code stands between what goes in and the bytes that come out."""

    extra_params: tuple[str, ...] = ()
    """Further keys of resolved.yaml."""

    @property
    def params(self) -> tuple[str, ...]:
        """All keys of resolved.yaml that DVC tracks for the stage."""
        if RESOLVED in (output.path for output in self.outputs):
            return ()
        packages = (f"packages.{name}" for name in self.packages)
        return (*self.sections, *self.extra_params, f"code.{self.name}", *packages)

    def keys_of(self, section: str) -> tuple[str, ...]:
        """The keys of a section that are tracked one by one."""
        return tuple(
            key.removeprefix(f"{section}.")
            for key in self.sections
            if key.startswith(f"{section}.")
        )


STAGES: tuple[Stage, ...] = (
    Stage(
        name="resolve",
        sections=(),
        deps=(PARAMS, RECIPES, PACKAGE, REQUIREMENTS),
        # persist: a recipe with a mistake leaves it as it was
        outputs=(StageOutput(RESOLVED, flags="cache: false, persist: true"),),
    ),
    Stage(
        name="prior",
        sections=(
            "base",
            "prior",
            "prepare.resolution",
            "compute.device",
            "compute.precision",
            "compute.threads",
            "compute.attention",
            "compute.deterministic",
        ),
        # the prompts with the class word filled in: no other edit of words generates pictures anew
        extra_params=("base_identity", "prior_prompts"),
        deps=(),
        outputs=(StageOutput(PRIOR),),
        packages=("torch", "diffusers", "transformers", "tokenizers", "numpy"),
    ),
    Stage(
        name="dataset",
        sections=("dataset",),
        deps=(DATA, PRIOR),
        outputs=(StageOutput(MANIFEST), StageOutput(PICTURES)),
        packages=("pillow",),
    ),
    Stage(
        name="prepare",
        sections=("prepare",),
        deps=(PICTURES, PRIOR),  # not the data: each file's hash stands there and is checked
        outputs=(StageOutput(IMAGES),),
        packages=("pillow", "numpy"),
    ),
    Stage(
        name="encode",
        sections=(
            "base",
            "encode",
            "compute.device",
            "compute.threads",
            "compute.attention",
            "compute.deterministic",
        ),
        extra_params=("base_identity",),
        deps=(IMAGES, MANIFEST),
        outputs=(StageOutput(ENCODED),),
        packages=("torch", "diffusers", "transformers", "tokenizers", "numpy", "pillow"),
    ),
    Stage(
        name="train",
        sections=("base", "dataset", "prior", "prepare", "encode", "lora", "train", "compute"),
        extra_params=("base_identity",),
        deps=(ENCODED,),
        outputs=(
            StageOutput(ADAPTER),
            StageOutput(SNAPSHOTS),
            StageOutput(ENVIRONMENT, flags="cache: false"),  # no metric: nobody compares hashes
            StageOutput(RECORD, "metrics", "cache: false"),
            StageOutput(LOSSES, "plots", "cache: false, x: step, y: loss"),
        ),
        packages=("torch", "diffusers", "transformers", "peft", "lightning", "numpy"),
    ),
    Stage(
        name="sample",
        sections=("base", "sample", "compute"),
        extra_params=("base_identity",),
        deps=(ADAPTER, SNAPSHOTS),
        outputs=(StageOutput(SAMPLES),),
        packages=("torch", "diffusers", "transformers", "tokenizers", "peft", "numpy", "pillow"),
    ),
    Stage(
        name="report",
        sections=(),
        deps=(
            RESOLVED,
            MANIFEST,
            IMAGES,
            ADAPTER,
            SNAPSHOTS,
            ENVIRONMENT,
            RECORD,
            LOSSES,
            SAMPLES,
        ),
        outputs=(StageOutput(PAGE), StageOutput(FIGURES, "metrics", "cache: false")),
        packages=("jinja2", "pillow"),
    ),
)

NAMES = tuple(stage.name for stage in STAGES)
HASHED = tuple(stage.name for stage in STAGES if stage.params)
"""The stages whose code is tracked. `resolve` itself depends on the whole package as files."""

USE_THE_BASE = tuple(stage.name for stage in STAGES if "base_identity" in stage.extra_params)
"""The stages that load a part of the base model."""


def stage(name: str) -> Stage:
    """The stage of a name."""
    return next(row for row in STAGES if row.name == name)


TRAINED_SECTIONS = stage("train").sections
"""The recipe's sections that an adapter's bytes depend on."""


def packages() -> tuple[str, ...]:
    """The packages of all stages, sorted."""
    return tuple(sorted({name for row in STAGES for name in row.packages}))


def dvc_yaml(*, own_code: bool = True) -> str:
    """The content of dvc.yaml.

    Args:
        own_code: whether the project holds the package's code. In one that uses the installed
            package, what requirements.lock pins stands for it.
    """
    return "".join(line + "\n" for line in _dvc_yaml(own_code))


def _dvc_yaml(own_code: bool) -> Iterator[str]:
    yield "# Generated from lora_recipes/pipeline.py by `make docs`. Do not edit."
    yield "# `dvc repro` runs what an edit can change, and nothing else: `resolve` merges the"
    yield "# recipe and params.yaml into resolved.yaml; each later stage tracks only the keys of it"
    yield "# that it reads, the hash of its own code, and the packages that it uses."
    yield "stages:"
    for number, row in enumerate(STAGES):
        if number:
            yield ""
        yield f"  {row.name}:"
        yield f"    cmd: python -m {PACKAGE} stage {row.name}"
        deps = [dep for dep in row.deps if own_code or dep != PACKAGE]
        if deps:
            yield from _list("    deps:", [f'"{dep}"' if dep == DATA else dep for dep in deps])
        if row.params:
            yield "    params:"
            yield from _list(f"      - {RESOLVED}:", row.params)
        for kind in ("outs", "metrics", "plots"):
            yield from _outputs(kind, [output for output in row.outputs if output.kind == kind])


def _outputs(kind: str, outputs: list[StageOutput]) -> Iterator[str]:
    if any(output.flags for output in outputs):
        yield f"    {kind}:"
        for output in outputs:
            yield f"      - {output.path}" + (f": {{{output.flags}}}" if output.flags else "")
    elif outputs:
        yield from _list(f"    {kind}:", [output.path for output in outputs])


def _list(name: str, items: list[str] | tuple[str, ...]) -> Iterator[str]:
    """`name: [a, b]`, or a line for each item where that would be too long."""
    line = f"{name} [{', '.join(items)}]"
    if len(line) <= WIDTH:
        yield line
        return
    indent = " " * (len(name) - len(name.lstrip(" -")) + 2)
    yield name
    yield from (f"{indent}- {item}" for item in items)
