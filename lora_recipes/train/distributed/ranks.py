"""How many processes train together, and which of them this one is.

`runtime.processes` starts them; torchrun and SLURM's srun, which start processes themselves, are
recognised by what they put into the environment. No torch here: the command line asks too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.runtime import Runtime

MAIN_PID = "LORA_RECIPES_MAIN_PID"
"""The process id of who started this one to train together; absent in all others."""

OF_TORCHRUN = "TORCHELASTIC_RUN_ID"
OF_SRUN = "SLURM_STEP_NUM_TASKS"


@dataclass(frozen=True)
class World:
    """The processes of one training, all machines together, and this one's place among them."""

    processes: int = 1
    """On each machine."""
    nodes: int = 1
    """Machines."""
    rank: int = 0
    local_rank: int = 0
    """The place among this machine's processes."""
    launcher: Literal["", "torchrun", "srun"] = ""
    """Who started all processes, if not the first of each machine."""

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.processes * self.nodes

    @property
    def is_main_process(self) -> bool:
        """Whether this is the one process that writes and tells."""
        return self.rank == 0


def local_rank(around: Mapping[str, str]) -> int:
    """This process's place among those of its machine; 0 for one that nobody started so."""
    if OF_TORCHRUN in around or MAIN_PID in around:
        return int(around.get("LOCAL_RANK", 0))
    return int(around.get("SLURM_LOCALID", 0)) if _srun(around) else 0


def find_world(runtime: Runtime, around: Mapping[str, str], where: str = "params.yaml") -> World:
    """The processes that train together.

    Args:
        runtime: the section of params.yaml. At its defaults it leaves the choice to a launcher.
        around: the environment.
        where: `file:line` of the section.

    Raises:
        UserError: the launcher started others than `runtime` says, or several machines and no
            word on which of them this is.
    """
    if OF_TORCHRUN in around:
        world = _of_torchrun(around)
    elif _srun(around):
        world = _of_srun(around)
    else:
        return _own(runtime, around, where)
    asked = (runtime.processes, runtime.nodes)
    if asked not in {(1, 1), (world.processes, world.nodes)}:
        raise UserError.of(
            where=where,
            what=f"runtime.processes = {asked[0]} on runtime.nodes = {asked[1]}, but "
            f"{world.launcher} started {world.processes} on {world.nodes}",
            allowed=f"what {world.launcher} starts, or 1 on 1, which leaves it to {world.launcher}",
            fix="remove both from runtime, or start as many with it",
        )
    return world


def _own(runtime: Runtime, around: Mapping[str, str], where: str) -> World:
    node = 0
    if runtime.nodes > 1:
        missing = [n for n in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT") if not around.get(n)]
        known = {str(number): number for number in range(runtime.nodes)}
        if missing or around["NODE_RANK"] not in known:
            told = f"NODE_RANK is {around['NODE_RANK']}" if not missing else ""
            raise UserError.of(
                where=where,
                what=f"runtime.nodes = {runtime.nodes}: "
                + (told or f"{', '.join(missing)} missing in the environment"),
                allowed=f"NODE_RANK from 0 to {runtime.nodes - 1}, another on each machine, "
                "and the MASTER_ADDR and MASTER_PORT of machine 0 on all",
                fix="set them on each machine (docs/multi-process.md shows how), or start "
                "with torchrun or srun",
            )
        node = known[around["NODE_RANK"]]
    local = local_rank(around)
    return World(runtime.processes, runtime.nodes, node * runtime.processes + local, local)


def _srun(around: Mapping[str, str]) -> bool:
    """One task is what an interactive shell of SLURM looks like too: it trains alone."""
    return int(around.get(OF_SRUN, 1)) > 1


def _of_torchrun(around: Mapping[str, str]) -> World:
    size, processes = int(around["WORLD_SIZE"]), int(around["LOCAL_WORLD_SIZE"])
    nodes = int(around["GROUP_WORLD_SIZE"])
    if processes * nodes != size:
        raise UserError.of(
            what=f"torchrun started {size} processes on {nodes} machines",
            allowed="as many on each machine",
            fix="give every torchrun the same --nproc-per-node",
        )
    return World(processes, nodes, int(around["RANK"]), int(around["LOCAL_RANK"]), "torchrun")


def _of_srun(around: Mapping[str, str]) -> World:
    size, nodes = int(around[OF_SRUN]), int(around.get("SLURM_NNODES", 1))
    each = around.get("SLURM_NTASKS_PER_NODE", "")
    if not each.isdecimal() or int(each) * nodes != size:
        raise UserError.of(
            what=f"srun started {size} tasks on {nodes} machines, "
            + (f"--ntasks-per-node {each}" if each else "without --ntasks-per-node"),
            allowed="as many on each machine",
            fix=f"start it with srun --nodes={nodes} --ntasks-per-node={max(size // nodes, 1)}",
        )
    rank, local = int(around["SLURM_PROCID"]), int(around["SLURM_LOCALID"])
    return World(int(each), nodes, rank, local, "srun")
