"""How many processes train together is read from params.yaml and from who started them."""

from __future__ import annotations

from typing import Any

import pytest

from lora_recipes.errors import UserError
from lora_recipes.recipe.processes import problem_of_processes
from lora_recipes.recipe.sections.runtime import Runtime
from lora_recipes.train.distributed.ranks import World, find_world, local_rank

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "1", "GROUP_WORLD_SIZE": "2",
}  # fmt: skip
SRUN = {
    "SLURM_STEP_NUM_TASKS": "4", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_PROCID": "2", "SLURM_LOCALID": "0",
}  # fmt: skip
BY_HAND = {"NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
STARTED = {"LORA_RECIPES_MAIN_PID": "77", "LOCAL_RANK": "1"}


@pytest.mark.parametrize(
    ("runtime", "around", "world", "local"),
    [
        ({}, {}, World(1, 1, 0, 0), 0),
        ({}, {"LOCAL_RANK": "5", "NODE_RANK": "2", "WORLD_SIZE": "8"}, World(1, 1, 0, 0), 0),
        ({"processes": 4}, {}, World(4, 1, 0, 0), 0),
        ({"processes": 4}, STARTED | {"LOCAL_RANK": "3"}, World(4, 1, 3, 3), 3),
        ({"processes": 2, "nodes": 2}, BY_HAND, World(2, 2, 2, 0), 0),
        ({"processes": 2, "nodes": 2}, BY_HAND | STARTED, World(2, 2, 3, 1), 1),
        ({}, TORCHRUN, World(2, 2, 3, 1, "torchrun"), 1),
        ({"processes": 2, "nodes": 2}, TORCHRUN, World(2, 2, 3, 1, "torchrun"), 1),
        ({}, SRUN, World(2, 2, 2, 0, "srun"), 0),
        ({}, SRUN | TORCHRUN, World(2, 2, 3, 1, "torchrun"), 1),
        ({}, SRUN | {"SLURM_STEP_NUM_TASKS": "1"}, World(1, 1, 0, 0), 0),
    ],
)
def test_each_process_knows_its_place(
    runtime: dict[str, int], around: dict[str, str], world: World, local: int
):
    assert find_world(Runtime(**runtime), around) == world
    assert local_rank(around) == local


def test_the_main_process_is_the_first_of_the_first_machine():
    worlds = [
        find_world(Runtime(processes=2, nodes=2), BY_HAND | {"NODE_RANK": node} | started)
        for node in "01"
        for started in ({}, STARTED)
    ]
    assert [world.rank for world in worlds] == [0, 1, 2, 3]
    assert [world.is_main_process for world in worlds] == [True, False, False, False]


@pytest.mark.parametrize(
    ("runtime", "around", "message"),
    [
        (
            {"processes": 4},
            TORCHRUN,
            "params.yaml:3: runtime.processes = 4 on runtime.nodes = 1, but torchrun started 2 on 2"
            "\n  allowed: what torchrun starts, or 1 on 1, which leaves it to torchrun\n"
            "  fix:     remove both from runtime, or start as many with it",
        ),
        (
            {"nodes": 2},
            {"NODE_RANK": "0"},
            "params.yaml:3: runtime.nodes = 2: MASTER_ADDR, MASTER_PORT missing in the environment"
            "\n  allowed: NODE_RANK from 0 to 1, another on each machine, and the MASTER_ADDR and "
            "MASTER_PORT of machine 0 on all\n"
            "  fix:     set them on each machine (docs/multi-process.md shows how), or start with "
            "torchrun or srun",
        ),
        (
            {"nodes": 2},
            BY_HAND | {"NODE_RANK": "2"},
            "params.yaml:3: runtime.nodes = 2: NODE_RANK is 2\n"
            "  allowed: NODE_RANK from 0 to 1, another on each machine, and the MASTER_ADDR and "
            "MASTER_PORT of machine 0 on all\n"
            "  fix:     set them on each machine (docs/multi-process.md shows how), or start with "
            "torchrun or srun",
        ),
        (
            {},
            TORCHRUN | {"WORLD_SIZE": "3"},
            "torchrun started 3 processes on 2 machines\n"
            "  allowed: as many on each machine\n"
            "  fix:     give every torchrun the same --nproc-per-node",
        ),
        (
            {},
            {k: v for k, v in SRUN.items() if k != "SLURM_NTASKS_PER_NODE"},
            "srun started 4 tasks on 2 machines, without --ntasks-per-node\n"
            "  allowed: as many on each machine\n"
            "  fix:     start it with srun --nodes=2 --ntasks-per-node=2",
        ),
        (
            {},
            SRUN | {"SLURM_NTASKS_PER_NODE": "3"},
            "srun started 4 tasks on 2 machines, --ntasks-per-node 3\n"
            "  allowed: as many on each machine\n"
            "  fix:     start it with srun --nodes=2 --ntasks-per-node=2",
        ),
    ],
)
def test_what_does_not_fit_is_one_clear_error(
    runtime: dict[str, int], around: dict[str, str], message: str
):
    with pytest.raises(UserError) as caught:
        find_world(Runtime(**runtime), around, "params.yaml:3")
    assert str(caught.value) == message


@pytest.mark.parametrize("accumulation", range(1, 13))
def test_processes_share_a_step_exactly_if_they_divide_it(accumulation: int):
    fits = {
        (processes, nodes)
        for processes in range(1, 14)
        for nodes in range(1, 14)
        if problem_of_processes(accumulation, processes, nodes, where="") is None
    }
    assert {p * n for p, n in fits} == {n for n in range(1, 13) if accumulation % n == 0}


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        (
            (4, 3, 2),
            {"where": "params.yaml:9"},
            "params.yaml:9: runtime.processes = 3 on 2 machines beside "
            "train.gradient_accumulation = 4\n"
            "  allowed: 1, 2 or 4 in all, so that each takes an equal part of a step's "
            "micro-batches\n"
            "  fix:     choose one of these, or a train.gradient_accumulation that 6 divides "
            "(which changes the adapter)",
        ),
        (
            (1, 2, 1),
            {"where": "", "launcher": "torchrun"},
            "torchrun started 2 beside train.gradient_accumulation = 1\n"
            "  allowed: 1 in all, so that each takes an equal part of a step's micro-batches\n"
            "  fix:     choose one of these, or a train.gradient_accumulation that 2 divides "
            "(which changes the adapter)",
        ),
    ],
)
def test_a_number_that_does_not_divide_is_named_with_those_that_do(
    arguments: tuple[int, ...], more: dict[str, Any], message: str
):
    assert str(problem_of_processes(*arguments, **more)) == message
