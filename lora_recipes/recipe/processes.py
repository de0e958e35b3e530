"""Whether so many processes can share a training without changing it."""

from __future__ import annotations

from lora_recipes.errors import Problem
from lora_recipes.recipe.sections.runtime import Runtime
from lora_recipes.recipe.yamlfile import Source


def problem_of_processes(
    accumulation: int, processes: int, nodes: int = 1, *, where: str, launcher: str = ""
) -> Problem | None:
    """What is wrong with a number of processes, if anything: they share a step unequally.

    Args:
        accumulation: `train.gradient_accumulation`, the micro-batches of an optimizer step.
        processes: on each machine.
        nodes: machines.
        where: `file:line` of the number.
        launcher: who started them, where it is not `runtime.processes`.
    """
    size = processes * nodes
    if accumulation % size == 0:
        return None
    told = f"{launcher} started {processes}" if launcher else f"runtime.processes = {processes}"
    machines = f" on {nodes} machines" if nodes > 1 else ""
    *first, last = [str(n) for n in range(1, accumulation + 1) if accumulation % n == 0]
    return Problem(
        where=where,
        what=f"{told}{machines} beside train.gradient_accumulation = {accumulation}",
        allowed=(f"{', '.join(first)} or {last}" if first else last)
        + " in all, so that each takes an equal part of a step's micro-batches",
        fix=f"choose one of these, or a train.gradient_accumulation that {size} divides "
        "(which changes the adapter)",
    )


def place_of_processes(params: Source, runtime: Runtime) -> str:
    """`params.yaml:line` of what makes several processes."""
    return str(params.where(("runtime", "processes" if runtime.processes > 1 else "nodes")))
