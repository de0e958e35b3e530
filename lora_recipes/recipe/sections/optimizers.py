"""The settings that belong to one optimizer alone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lora_recipes.recipe.sections.kinds import Allowed
from lora_recipes.recipe.sections.section import BelongsTo, Off, Section

Beta = Annotated[float, Field(ge=0, lt=1)]
Tiny = Annotated[float, Field(gt=0, le=1)]


class AdafactorSettings(Section):
    """The settings of Adafactor, with the meaning that transformers gives them."""

    relative_step: Annotated[bool, Off(False)] = False
    """Whether the optimizer finds its own step size, falling with 1 / √step.

    With: `true` needs `train.learning_rate: auto` and `train.scheduler: constant`.
    Source: Shazeer & Stern 2018, arXiv:1804.04235, section 8; default: Segmind.
    """

    scale_parameter: Annotated[bool, Off(False)] = False
    """Whether a step is scaled by the size of the weights that it moves.

    With: the adapter's up matrices start at zero, so `true` moves them about 1000 times slower.
    Source: Shazeer & Stern 2018, arXiv:1804.04235, section 8; default: Segmind.
    """

    warmup_init: Annotated[
        bool,
        Off(False),
        BelongsTo(
            "train.adafactor.relative_step",
            (True,),
            fix="write `relative_step: true` and `learning_rate: auto`",
        ),
    ] = False
    """Whether the optimizer's own step size starts near 0 and rises.

    With: needs `train.adafactor.relative_step: true`.
    Source: transformers, optimization.py; default: Segmind.
    """

    clip_threshold: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """An update whose root mean square is larger is scaled down to it.

    Higher: bolder steps. Lower: smaller, safer ones.
    With: this clips the update; `train.max_grad_norm` clips the gradient before it.
    Source: Shazeer & Stern 2018, arXiv:1804.04235, section 6.
    """

    eps: Annotated[
        tuple[Tiny, Tiny],
        Field(strict=False),
        Allowed("two numbers above 0 up to 1"),
        BelongsTo("train.adafactor.scale_parameter", (True,), position=1),
    ] = (
        1e-30,
        1e-3,
    )
    """What keeps Adafactor from dividing by zero: for squared gradients, and for weights' sizes.

    Higher: damps small gradients; the second sets the least step under `scale_parameter`.
    Lower: damps nothing.
    With: the second one matters under `train.adafactor.scale_parameter` only.
    Source: transformers, optimization.py.
    """

    decay_rate: Annotated[float, Field(ge=-1, lt=0)] = -0.8
    """How the memory of squared gradients grows: it forgets with step^decay_rate.

    Higher (towards 0): forgets quickly. Lower (towards -1): remembers longer.
    With: nothing else.
    Source: Shazeer & Stern 2018, arXiv:1804.04235, section 7.2.
    """

    beta1: Annotated[Beta | Literal["none"], Off("none")] = "none"
    """The memory of past updates (momentum), or `none`.

    Higher: smoother steps. Lower: livelier ones; `none` is off and saves a copy of the adapter.
    With: costs as much memory as the adapter itself.
    Source: transformers, optimization.py.
    """


class AdamwSettings(Section):
    """The settings of AdamW."""

    beta1: Beta = 0.9
    """The memory of past gradients (momentum).

    Higher: smoother steps. Lower: livelier ones.
    With: nothing else.
    Source: Kingma & Ba 2015, arXiv:1412.6980.
    """

    beta2: Beta = 0.999
    """The memory of squared gradients.

    Higher: steadier step sizes. Lower: adapts quickly; 0.99 suits short trainings.
    With: `train.adamw.beta1`.
    Source: Kingma & Ba 2015, arXiv:1412.6980.
    """

    eps: Tiny = 1e-8
    """What keeps AdamW from dividing by zero.

    Higher: damps steps where gradients are small. Lower: damps nothing.
    With: nothing else.
    Source: Kingma & Ba 2015, arXiv:1412.6980.
    """
