"""The train stage: encoded pictures → the adapter, its snapshots, figures and the loss curve."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_recipes.dataset.roles import NEVER_TRAINED, REGULARIZATION, TRAIN, TRAINED
from lora_recipes.errors import UserError
from lora_recipes.files import own_folder
from lora_recipes.imports import large_libraries
from lora_recipes.pipeline import ENCODED, PARAMS, RECORD
from lora_recipes.recipe.identity import present
from lora_recipes.recipe.length import problems_for_images
from lora_recipes.recipe.params import runtime
from lora_recipes.recipe.processes import place_of_processes, problem_of_processes
from lora_recipes.recipe.resolved import read_resolved, read_section, read_value
from lora_recipes.recipe.schedule import snapshot_steps
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.encode import Encode
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.prior import Prior
from lora_recipes.recipe.sections.section import Section
from lora_recipes.recipe.sections.train import Train
from lora_recipes.recipe.yamlfile import read
from lora_recipes.reporting import Quiet, Reporter
from lora_recipes.stopping import Stopped

if TYPE_CHECKING:
    from lightning import Fabric

    from lora_recipes.base.compute import Setup
    from lora_recipes.encode.store import EncodedIndex, Example
    from lora_recipes.train.checkpoints import Checkpoints
    from lora_recipes.train.data.prior_stream import AnyStream
    from lora_recipes.train.distributed.ranks import World
    from lora_recipes.train.job import Job, Outcome


@dataclass(frozen=True)
class TrainedRecipe:
    """What a training depends on besides the encoded pictures."""

    base: Base
    dataset: Dataset
    prior: Prior
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
        """All that is there of it as plain values, for the fingerprint."""
        return {**present(self.sections()), "base_identity": self.base_identity, "code": self.code}


def run(root: Path, report: Reporter) -> None:
    """Train, or resume the very same training, and write all outputs at the end.

    Of several processes, the main process does so, and the others only train along.

    Raises:
        UserError: the training would have no step, another process runs it already, a number
            was not finite, or the disk is full. No output is left then.
    """
    recipe = read_recipe(root)
    encoded = root / ENCODED
    index, stream = _plan(encoded, recipe.train)
    world = _world(root, recipe.train)

    with report.loading("torch and diffusers"), large_libraries():
        from lora_recipes.base.compute import set_up
        from lora_recipes.train.checkpoints import Checkpoints, checkpoints_folder
        from lora_recipes.train.distributed.group import LostProcess, own_device
        from lora_recipes.train.identity import environment, fingerprint
        from lora_recipes.train.results import all_or_nothing, write_outputs
        from lora_recipes.train.telling import write_run
        from lora_recipes.train.validation import change

    _try_sampler(root, recipe.base)
    setup = set_up(recipe.compute)
    setup = replace(setup, device=own_device(world, setup.device))
    around = environment(setup.device)
    identity = fingerprint(recipe.settings(), encoded, around)
    checkpoints = Checkpoints(checkpoints_folder(root), identity, report)
    if not world.is_main_process:
        try:
            _train(root, recipe, index, stream, setup, checkpoints, world, Quiet())
        except LostProcess as error:
            raise SystemExit(1) from error  # the main process says what there is to say
        except Stopped:
            pass  # no failure of this process: the main one, which may still write, would be killed
        return
    with checkpoints.locked(), all_or_nothing(root):
        job, outcome = _train(root, recipe, index, stream, setup, checkpoints, world, report)
        pictures = {role: _of_role(index, role) for role in NEVER_TRAINED}
        unseen = {role: images for role, images in pictures.items() if images}
        write_outputs(root, job, outcome, unseen, around)
        checkpoints.clear()
    if unseen:
        report.say(change(json.loads((root / RECORD).read_text("utf-8"))))
    run_record = own_folder(root) / "runs" / f"{checkpoints.folder.name}.json"
    about = {
        "settings": present(recipe.sections()),
        "device_name": around["device"],
        "shapes": sorted([*size, samples] for size, samples in stream.by_shape.items()),
    }
    write_run(run_record, job, outcome, about, report)


def _train(  # noqa: PLR0917
    root: Path,
    recipe: TrainedRecipe,
    index: EncodedIndex,
    stream: AnyStream,
    setup: Setup,
    checkpoints: Checkpoints,
    world: World,
    report: Reporter,
) -> tuple[Job, Outcome]:
    """What each process of a training does; the base is loaded by all at the same time."""
    from lora_recipes.train.distributed.group import agree, launch
    from lora_recipes.train.loop import fit
    from lora_recipes.train.optim.loss_scaling import precision_for

    fabric = launch(world, setup.device, precision_for(setup.dtype, setup.device))
    agree(world, checkpoints.fingerprint)
    job = prepare_job(root, recipe, index, stream, setup, checkpoints, world, fabric)
    return job, fit(job, report)


def _try_sampler(root: Path, base: Base) -> None:
    """Find out now what would fail only after the training. The adapter depends on none of it."""
    from lora_recipes.generate.try_sampler import try_sampler

    sample = read_resolved(root).get("sample")
    if isinstance(sample, dict) and sample.get("prompts"):
        try_sampler(base, root, sample["steps"])


def _world(root: Path, train: Train) -> World:
    """The processes of this training; fails before any model is loaded."""
    from lora_recipes.train.distributed.ranks import find_world

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


def read_recipe(root: Path) -> TrainedRecipe:
    """The recipe from resolved.yaml."""
    return TrainedRecipe(
        base=read_section(root, "base", Base),
        dataset=read_section(root, "dataset", Dataset),
        prior=read_section(root, "prior", Prior),
        prepare=read_section(root, "prepare", Prepare),
        encode=read_section(root, "encode", Encode),
        lora=read_section(root, "lora", Lora),
        train=read_section(root, "train", Train),
        compute=read_section(root, "compute", Compute),
        base_identity=str(read_value(root, "base_identity")),
        code=str(read_value(root, "code.train")),
    )


def _plan(encoded: Path, train: Train) -> tuple[EncodedIndex, AnyStream]:
    """What is trained on, in which order; fails before any model is loaded."""
    from lora_recipes.encode.store import read_index
    from lora_recipes.train.data.prior_stream import PriorStream
    from lora_recipes.train.data.stream import Stream

    index = read_index(encoded)
    images = _of_role(index, TRAIN)
    repeats, shapes = [image.repeats for image in images], [image.size for image in images]
    if problems := problems_for_images(train, repeats, shapes=shapes):
        raise UserError(problems)
    stream = Stream.of(repeats, train, shapes)
    if kept := _regularization(index, train):
        others = [image.repeats for image in kept], [image.size for image in kept]
        return index, PriorStream.of(stream, *others, train)
    return index, stream


def prepare_job(  # noqa: PLR0917
    root: Path,
    recipe: TrainedRecipe,
    index: EncodedIndex,
    stream: AnyStream,
    setup: Setup,
    checkpoints: Checkpoints,
    world: World,
    fabric: Fabric,
) -> Job:
    """Load the base, put a fresh adapter in, and lay everything out for the training."""
    from lora_recipes.adapter.file import write
    from lora_recipes.adapter.metadata import build
    from lora_recipes.adapter.parts import Adapted
    from lora_recipes.base.facts import read_facts
    from lora_recipes.base.load import load_unet
    from lora_recipes.base.locate import locate
    from lora_recipes.diffusion.noise import alphas_cumprod
    from lora_recipes.train.data.batches import Pictures
    from lora_recipes.train.data.choice import Choice
    from lora_recipes.train.fast.recompute import enable_recompute
    from lora_recipes.train.job import Job
    from lora_recipes.train.module import Denoiser
    from lora_recipes.train.objective import Objective, Pretraining

    schedule = read_facts(locate(recipe.base, root)).schedule
    with checkpoints.report.loading(f"the UNet of {recipe.base.model}"):
        unet = load_unet(recipe.base, root, setup.dtype, setup.device)
    adapted = Adapted({"unet": unet})
    adapted.inject(recipe.lora, recipe.train.seed)
    enable_recompute(unet, recipe.compute.gradient_checkpointing, checkpoints.report)
    images = sum(stream.repeats) // recipe.train.repeats
    kept = _regularization(index, recipe.train)

    def write_adapter(path: Path, step: int | None) -> None:
        header = build(
            recipe.sections(),
            recipe.base_identity,
            index.manifest,
            images=images,
            regularization=sum(image.repeats for image in kept),
            steps=stream.steps,
            step=step,
            prediction=index.prediction,
            buckets=stream.by_shape if recipe.prepare.buckets else {},
        )
        write(path, adapted.tensors(recipe.lora.alpha), header)

    base = Pretraining(
        alphas_cumprod_T=alphas_cumprod(
            schedule.beta_start,
            schedule.beta_end,
            schedule.num_train_timesteps,
            schedule.beta_schedule,
        ),
        latent_scale=index.latent_scale,
        prediction=index.prediction,
    )
    return Job(
        fabric=fabric,
        denoiser=Denoiser(unet, setup.dtype),
        adapted=adapted,
        objective=Objective.of(recipe.train, base),
        pictures=Pictures(
            root / ENCODED,
            [image for role in TRAINED for image in _of_role(index, role)],
            choice=Choice.of(recipe.train, index),
        ),
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


def _regularization(index: EncodedIndex, train: Train) -> list[Example]:
    """The regularization pictures that count for something."""
    return _of_role(index, REGULARIZATION) if train.prior_loss_weight else []


def _of_role(index: EncodedIndex, role: str) -> list[Example]:
    return [image for image in index.images if image.role == role]
