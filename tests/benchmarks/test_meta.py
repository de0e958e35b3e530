"""The counter of a step's cost counts, and its ceilings can fail."""

from __future__ import annotations

import json

import torch

from benchmarks.meta import CASES, CEILINGS, META, Counter, lowered, problems
from lora_recipes.train.fast.linear import WideLinear

CEILING = {"a case": {"operations": 1000, "waits": 0, "peak_GiB": 5.0}}


def test_figures_at_their_ceilings_pass_and_others_are_named():
    assert problems({"a case": {"operations": 990, "waits": 0, "peak_GiB": 5.0}}, CEILING) == []
    assert problems({"a case": {"operations": 1001, "waits": 1, "peak_GiB": 4.0}}, CEILING) == [
        "a case: operations = 1001 is above its ceiling, 1000",
        "a case: waits = 1 is above its ceiling, 0",
        "a case: peak_GiB = 4 is well below its ceiling, 5: run --renew to keep that",
    ]
    assert problems({"new": {"waits": 0}}, CEILING) == [
        "new: waits = 0 has no ceiling: run --renew"
    ]


def test_renewing_lowers_a_ceiling_and_never_raises_one():
    measured = {"a case": {"operations": 900, "waits": 3, "peak_GiB": 5.5}}
    assert lowered(measured, CEILING) == {
        "a case": {"operations": 900, "waits": 0, "peak_GiB": 5.0}
    }


def test_every_case_has_ceilings_and_no_step_may_wait_for_the_device():
    ceilings = json.loads(CEILINGS.read_text("utf-8"))
    assert list(ceilings) == list(CASES)
    for figures in ceilings.values():
        assert set(figures) == {"operations", "waits", "tflop", "peak_GiB"}
        assert figures["waits"] == 0


def test_operations_waits_and_bytes_alive_are_counted():
    weight = torch.zeros(256, 1024, device=META)
    with Counter(iter([weight])) as counter:
        for _ in range(3):
            made = weight + 1
            del made
        kept = torch.ones(1024, device=META)
        assert not bool(kept[0] > 2)  # a wait
    assert counter.waits == 1
    assert counter.operations >= 3 + 1 + 2 + 1
    assert 2**20 <= counter.most_alive < 2**20 + 2**14
    assert 4096 <= counter.alive < 2**13


def test_a_copy_out_of_the_hosts_memory_waits_unless_told_not_to():
    host, device = torch.zeros(8), torch.zeros(8, device=META)
    with Counter(iter(())) as counter:
        host.to(META)
        device.copy_(host)
    assert counter.waits == 2
    with Counter(iter(())) as counter:
        host.to(META, non_blocking=True)
        device.copy_(host, non_blocking=True)
        device.to(torch.bfloat16)
        host.to(torch.bfloat16)
        device.copy_(device + 1)
    assert counter.waits == 0


def test_a_narrow_input_is_kept_as_narrow_as_it_came():
    x = torch.zeros(1, 4096, 640, dtype=torch.bfloat16, device=META, requires_grad=True)
    weights = [torch.zeros(32, 640, device=META, requires_grad=True) for _ in range(3)]
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        for weight in weights:
            WideLinear.apply(x, weight)
    assert sum(kept.values()) == x.nbytes + sum(weight.nbytes for weight in weights)
