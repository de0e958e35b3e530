"""Settings of params.yaml that change no byte of any output."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lora_recipes.recipe.sections.section import Section


class Runtime(Section):
    """How a run behaves on this machine. Changes no byte of any output; only in params.yaml."""

    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Processes that prepare data beside the training. 0: none.

    Higher: helps where reading is slow. Lower: less memory.
    With: nothing; the bytes are the same.
    Source: torch.utils.data.DataLoader.
    """

    checkpoint_every: Annotated[int, Field(ge=1, le=10_000_000)] = 50
    """Optimizer steps between two checkpoints.

    Higher: less writing. Lower: less is lost when the run is cut off.
    With: nothing; the bytes are the same.
    Source: this project.
    """

    log_every: Annotated[int, Field(ge=1, le=10_000_000)] = 10
    """Optimizer steps between two lines or updates of progress.

    Higher: calmer, a little quicker on a GPU. Lower: news sooner.
    With: `runtime.progress`; the bytes are the same.
    Source: this project.
    """

    progress: Literal["auto", "bar", "plain", "off"] = "auto"
    """How progress is shown: a bar in a terminal and plain lines elsewhere (`auto`), or fixed.

    With: `runtime.log_every`; the bytes are the same.
    Source: this project.
    """
