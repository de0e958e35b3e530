"""The shape of the adapter."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lora_recipes.recipe.sections.kinds import Advised, Short
from lora_recipes.recipe.sections.section import HeaderField, Section


class Lora(Section):
    """The shape of the adapter: W + alpha / rank · up · down, with W frozen."""

    rank: Annotated[
        int,
        Field(ge=1, le=1024),
        Advised(4, 128),
        HeaderField("ss_network_dim"),
        Short("the file grows with it"),
    ] = 128
    """The inner width of the two matrices beside each weight.

    Higher: can hold more detail; file size, memory and the risk of overfitting grow linearly.
    Lower: smaller and more general; 4 to 32 are enough for most subjects.
    With: the update is scaled by alpha / rank, so change `lora.alpha` along to keep its strength.
    Source: Hu et al. 2021, arXiv:2106.09685; default and range: Segmind.
    """

    alpha: Annotated[
        float,
        Field(gt=0, le=4096),
        HeaderField("ss_network_alpha"),
        Short("strength: alpha / rank"),
    ] = 128.0
    """The strength of the update: it is multiplied by alpha / rank.

    Higher: learns faster, like a higher learning rate. Lower: slower; dividing alpha by k wants
    a learning rate about √k higher. 0 would switch the adapter off.
    With: `lora.rank`, `train.learning_rate`.
    Source: Hu et al. 2021, arXiv:2106.09685, section 4.1; the default is assumed, not published.
    """

    targets: Annotated[Literal["attention", "transformer"], Short("attention or transformer")] = (
        "attention"
    )
    """Which weights of the UNet get an adapter.

    `attention`: the query, key, value and output matrices (560 modules in SDXL). `transformer`:
    also the feed-forward, projection-in and projection-out layers (722), as kohya has it.
    With: `transformer` learns more and makes a file about 1.8 times as large at the same rank.
    Source: diffusers train_dreambooth_lora_sdxl.py; kohya-ss/sd-scripts networks/lora.py.
    """
