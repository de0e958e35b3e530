"""The train stage: encoded pictures → the adapter, its snapshots, figures and the loss curve."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_recipes.errors import UserError
from lora_recipes.files import own_folder
from lora_recipes.imports import large_libraries
from lora_recipes.plan.work import shape_of
from lora_recipes.recipe.length import problems_for_images
from lora_recipes.recipe.params import FILE as PARAMS
from lora_recipes.recipe.params import runtime
from lora_recipes.recipe.processes import place_of_processes, problem_of_processes
from lora_recipes.recipe.resolved import read_section, read_value
from lora_recipes.recipe.schedule import samples, snapshot_steps
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.encode import Encode
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.section import Section
from lora_recipes.recipe.sections.train import Train
from lora_recipes.recipe.yamlfile import read
from lora_recipes.reporting import Quiet, Reporter

if TYPE_CHECKING:
    from lora_recipes.base.compute import Setup
    from lora_recipes.encode.store import EncodedImage, EncodedIndex
    from lora_recipes.train.checkpoints import Checkpoints
    from lora_recipes.train.data.stream import Stream
    from lora_recipes.train.distributed.world import World
    from lora_recipes.train.run import Job, Outcome

ROLES = ("heldout", "others")
"""Pictures that are never trained on, but looked at in the end."""


@dataclass(frozen=True)
class Recipe:
    """What a training depends on besides the encoded pictures."""

    base: Base
    dataset: Dataset
    prepare: Prepare
    encode: Encode
    lora: Lora
    train: Train
    compute: Compute
    base_identity: str
    code: str

    def sections(self) -> dict[str, Section]:
        """The sections by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Section)}

    def settings(self) -> dict[str, Any]:
        """All of it as plain values, for the fingerprint."""
        plain = {name: value.model_dump(mode="json") for name, value in self.sections().items()}
        return {**plain, "base_identity": self.base_identity, "code": self.code}


def run(root: Path, report: Reporter) -> None:
    """Train, or go on with the very same training, and write all outputs at the end.

    Of several processes, the leading one does so, and the others only train along.

    Raises:
        UserError: the training would have no step, another process runs it already, a number
            was not finite, or the disk is full. No output is left then.
    """
    recipe = read_recipe(root)
    encoded = root / "build" / "encoded"
    index, stream = _plan(encoded, recipe.train)
    world = _world(root, recipe.train)

    with large_libraries():
        from lora_recipes.base.compute import set_up
        from lora_recipes.train.checkpoints import Checkpoints, checkpoints_folder
        from lora_recipes.train.distributed.group import LostProcess, own_device
        from lora_recipes.train.identity import environment, fingerprint
        from lora_recipes.train.results import all_or_nothing, write_outputs, write_run

    setup = set_up(recipe.compute)
    setup = replace(setup, device=own_device(world, setup.device))
    around = environment(setup.device)
    identity = fingerprint(recipe.settings(), encoded, around)
    checkpoints = Checkpoints(checkpoints_folder(root), identity, report)
    if not world.leads:
        try:
            _train(root, recipe, index, stream, setup, checkpoints, world, Quiet())
        except LostProcess as error:
            raise SystemExit(1) from error  # the leading process says what there is to say
        return
    with checkpoints.locked(), all_or_nothing(root / "out"):
        job, outcome = _train(root, recipe, index, stream, setup, checkpoints, world, report)
        others = {role: _of_role(index, role) for role in ROLES}
        write_outputs(root / "out", job, outcome, others, around)
        checkpoints.clear()
    run_record = own_folder(root) / "runs" / f"{checkpoints.folder.name}.json"
    shape = shape_of(
        recipe.base,
        recipe.prepare,
        recipe.lora,
        recipe.train,
        recipe.compute,
        around["device"],
        root,
        world.size,
    )
    write_run(run_record, job, outcome, shape, report)


def _train(  # noqa: PLR0917
    root: Path,
    recipe: Recipe,
    index: EncodedIndex,
    stream: Stream,
    setup: Setup,
    checkpoints: Checkpoints,
    world: World,
    report: Reporter,
) -> tuple[Job, Outcome]:
    """What each process of a training does; the base is loaded by all at the same time."""
    from lora_recipes.train.distributed.group import agree, join
    from lora_recipes.train.run import fit

    join(world, setup.device)
    agree(world, checkpoints.fingerprint)
    job = prepare_job(root, recipe, index, stream, setup, checkpoints, world)
    return job, fit(job, report)


def _world(root: Path, train: Train) -> World:
    """The processes of this training; fails before any model is loaded."""
    from lora_recipes.train.distributed.world import find_world

    chosen = runtime(root)
    place = place_of_processes(read(root / PARAMS, PARAMS), chosen)
    world = find_world(chosen, os.environ, place)
    problem = problem_of_processes(
        train.gradient_accumulation,
        world.processes,
        world.nodes,
        where="" if world.launcher else place,
        launcher=world.launcher,
    )
    if problem:
        raise UserError(problem)
    return world


def read_recipe(root: Path) -> Recipe:
    """The recipe from resolved.yaml."""
    return Recipe(
        base=read_section(root, "base", Base),
        dataset=read_section(root, "dataset", Dataset),
        prepare=read_section(root, "prepare", Prepare),
        encode=read_section(root, "encode", Encode),
        lora=read_section(root, "lora", Lora),
        train=read_section(root, "train", Train),
        compute=read_section(root, "compute", Compute),
        base_identity=str(read_value(root, "base_identity")),
        code=str(read_value(root, "code.train")),
    )


def _plan(encoded: Path, train: Train) -> tuple[EncodedIndex, Stream]:
    """What is trained on, in which order; fails before any model is loaded."""
    from lora_recipes.encode.store import read_index
    from lora_recipes.train.data.stream import Stream

    index = read_index(encoded)
    repeats = [image.repeats for image in _of_role(index, "train")]
    if problems := problems_for_images(train, sum(repeats)):
        raise UserError(problems)
    stream = Stream(
        repeats=tuple(count * train.repeats for count in repeats),
        samples=samples(sum(repeats), train),
        batch_size=train.batch_size,
        accumulation=train.gradient_accumulation,
        seed=train.seed,
    )
    return index, stream


def prepare_job(  # noqa: PLR0917
    root: Path,
    recipe: Recipe,
    index: EncodedIndex,
    stream: Stream,
    setup: Setup,
    checkpoints: Checkpoints,
    world: World,
) -> Job:
    """Load the base, put a fresh adapter in, and lay everything out for the training."""
    from lora_recipes.adapter import inject
    from lora_recipes.adapter.file import write
    from lora_recipes.adapter.metadata import build
    from lora_recipes.base.facts import read_facts
    from lora_recipes.base.load import load_unet
    from lora_recipes.base.locate import locate
    from lora_recipes.diffusion.noise import alphas_cumprod
    from lora_recipes.train.data.batches import Pictures
    from lora_recipes.train.fast.recompute import enable_checkpointing
    from lora_recipes.train.module import Denoiser, Diffusion
    from lora_recipes.train.run import Job

    schedule = read_facts(locate(recipe.base, root)).schedule
    unet = load_unet(recipe.base, root, setup.dtype, setup.device)
    inject.inject(unet, recipe.lora, recipe.train.seed)
    enable_checkpointing(unet, recipe.compute.gradient_checkpointing)
    images = sum(stream.repeats) // recipe.train.repeats

    def write_adapter(path: Path, step: int | None) -> None:
        header = build(
            recipe.sections(),
            recipe.base_identity,
            index.manifest,
            images=images,
            steps=stream.steps,
            step=step,
            prediction=index.prediction,
        )
        write(path, inject.adapter_tensors(unet, recipe.lora.alpha), header)

    return Job(
        denoiser=Denoiser(unet, setup.dtype),
        diffusion=Diffusion(
            alphas_cumprod_T=alphas_cumprod(
                schedule.beta_start,
                schedule.beta_end,
                schedule.num_train_timesteps,
                schedule.beta_schedule,
            ),
            latent_scale=index.latent_scale,
            prediction=index.prediction,
            noise_offset=recipe.train.noise_offset,
            seed=recipe.train.seed,
        ),
        pictures=Pictures(root / "build" / "encoded", _of_role(index, "train")),
        stream=stream,
        train=recipe.train,
        runtime=runtime(root),
        adapter_dtype=setup.adapter_dtype,
        device=setup.device,
        world=world,
        checkpoints=checkpoints,
        snapshots=frozenset(snapshot_steps(stream.steps, recipe.train)),
        write_adapter=write_adapter,
    )


def _of_role(index: EncodedIndex, role: str) -> list[EncodedImage]:
    return [image for image in index.images if image.role == role]
