"""Where the numbers are computed. These settings change bytes, so they are part of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lora_recipes.recipe.sections.kinds import Advised, Short
from lora_recipes.recipe.sections.section import HeaderField, Off, Section

Checkpointing = bool | Literal["feed_forward"]


class Compute(Section):
    """Where and how precisely numbers are computed. Changes bytes, so it is part of a run."""

    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Short("auto, cpu, cuda or mps")] = (
        "auto"
    )
    """Where to compute: `auto` takes an NVIDIA GPU, then Apple's, then the CPU.

    An NVIDIA GPU that is there but that torch cannot use stops a run with `auto`.
    With: `compute.precision`; bytes repeat on the same model of device only.
    Source: this project.
    """

    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], Short("fp32, bf16 or fp16: of the frozen base")
    ] = "bf16"
    """The precision of the frozen base model. The adapter's weights are always fp32.

    `fp32`: twice the memory, the reference. `bf16`: the usual choice on a GPU. `fp16`: for GPUs
    without bf16; needs loss scaling, which is done for you; not on a CPU.
    With: `compute.device`.
    Source: Micikevicius et al. 2018, arXiv:1710.03740; the default is assumed, not published.
    """

    adapter_precision: Annotated[
        Literal["fp32", "base"], Off("fp32"), Short("fp32 or base: the dtype of the LoRA matmuls")
    ] = "fp32"
    """The dtype of the LoRA matmuls: fp32, or that of the base.

    `fp32`: the reference. `base`: what autocast does; with a bf16 base it moves half the bytes and
    takes a tenth fewer operations, which counts on a GPU. The adapter's weights, the sums of their
    gradients and the optimizer are fp32 in any case. With an fp32 base both are the same.
    With: `compute.precision`.
    Source: Micikevicius et al. 2018, arXiv:1710.03740; the default is this project's.
    """

    threads: Annotated[
        int,
        Field(ge=1, le=1024),
        Advised(1, 64),
        Short("changes bytes, so it is never taken from your machine"),
    ] = 1
    """CPU threads. Never taken from the number of cores: 1 and 2 threads give different bits.

    Higher: faster on a CPU. Lower: leaves cores to others; on a GPU 1 is enough.
    With: `compute.device`.
    Source: this project, measured (oneDNN convolutions in fp32).
    """

    attention: Literal["sdpa", "math"] = "sdpa"
    """How attention is computed: torch's fused kernels (`sdpa`) or its plain formula (`math`).

    `math` is slower and needs more memory; the reference to compare with.
    With: `compute.deterministic`.
    Source: torch.nn.functional.scaled_dot_product_attention.
    """

    gradient_checkpointing: Annotated[
        Checkpointing, Off(False), HeaderField("ss_gradient_checkpointing")
    ] = False
    """Which activations are recomputed in the backward pass instead of stored.

    `true`: those of every block, which saves most of their memory (SDXL at 1024: 5.3 → 0.5 GiB)
    and costs about a third more time. `feed_forward`: those of the feed-forward layers, the best
    trade where only a little memory is missing (5.3 → 3.2 GiB, an eighth more time).
    With: `train.batch_size`, `prepare.resolution`.
    Source: Chen et al. 2016, arXiv:1604.06174; figures counted by this project.
    """

    deterministic: bool = True
    """Whether only algorithms that repeat to the bit are used.

    `false` may be a little quicker, and two runs differ.
    With: `compute.attention`.
    Source: torch.use_deterministic_algorithms.
    """
