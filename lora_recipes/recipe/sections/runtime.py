"""Settings of params.yaml that change no byte of any output."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lora_recipes.recipe.sections.kinds import Short
from lora_recipes.recipe.sections.section import Section


class Runtime(Section):
    """How a run behaves on this machine. Changes no byte of any output; only in params.yaml."""

    workers: Annotated[int, Field(ge=0, le=256), Short("processes that prepare data")] = 0
    """Processes that prepare data beside the training. 0: none.

    Higher: helps where reading is slow. Lower: less memory.
    With: nothing; the bytes are the same.
    Source: torch.utils.data.DataLoader.
    """

    processes: Annotated[
        int,
        Field(ge=1, le=1024),
        Short("that train together here; together they divide gradient_accumulation"),
    ] = 1
    """Processes that train together on each machine; each takes a GPU of its own, if it uses one.

    Higher: a step's micro-batches are worked on side by side. Lower: less memory.
    With: `train.gradient_accumulation`, which all processes together must divide, because they
    share its micro-batches; `runtime.nodes`. The bytes are the same. Under torchrun or srun leave
    it at 1: they say how many there are.
    Source: this project, docs/multi-process.md; torch.distributed.
    """

    nodes: Annotated[int, Field(ge=1, le=1024), Short("machines")] = 1
    """Machines that train together, each with `runtime.processes`.

    Higher: a step's micro-batches are worked on side by side. Lower: nothing goes over a network.
    With: `runtime.processes`; the environment's NODE_RANK, MASTER_ADDR and MASTER_PORT. The bytes
    are the same, on machines of one kind.
    Source: this project, docs/multi-process.md; torch.distributed.
    """

    checkpoint_every: Annotated[int, Field(ge=1, le=10_000_000), Short("optimizer steps")] = 50
    """Optimizer steps between two checkpoints.

    Higher: less writing. Lower: less is lost when the run is cut off.
    With: nothing; the bytes are the same.
    Source: this project.
    """

    log_every: Annotated[int, Field(ge=1, le=10_000_000), Short("optimizer steps")] = 10
    """Optimizer steps between two lines or updates of progress.

    Higher: calmer, a little quicker on a GPU. Lower: news sooner.
    With: `runtime.progress`; the bytes are the same.
    Source: this project.
    """

    progress: Annotated[
        Literal["auto", "bar", "plain", "off"], Short("auto, bar, plain or off")
    ] = "auto"
    """How progress is shown: a bar in a terminal and plain lines elsewhere (`auto`), or fixed.

    With: `runtime.log_every`; the bytes are the same.
    Source: this project.
    """
