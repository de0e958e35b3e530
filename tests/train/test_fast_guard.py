"""A layer takes a fast path only where the library's source is one that the path was made for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from peft.tuners.lora import Linear
from torch import nn

from lora_recipes.adapter.parts import Adapted
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.reporting import Quiet
from lora_recipes.train.fast import known
from lora_recipes.train.fast.attention import FastAttention
from lora_recipes.train.fast.linear import FastLinear
from lora_recipes.train.fast.recompute import RecomputedFeedForward, enable_recompute
from lora_recipes.train.fast.speed_up import speed_up
from tests.adapter.tiny import fill, predict, tiny_unet
from tests.train.project import contents, make_project, run_stage


def adapted() -> nn.Module:
    unet = tiny_unet()
    Adapted({"unet": unet}).inject(Lora(rank=2, alpha=3, targets="transformer"), seed=0)
    fill(unet)
    return unet


def quickened() -> tuple[nn.Module, list[str]]:
    """A UNet on all of its fast paths, and what was said of it."""
    unet, report = adapted(), Quiet()
    enable_recompute(unet, "feed_forward", report)
    speed_up(unet, report)
    return unet, report.warned


def count(unet: nn.Module, kind: type) -> int:
    return sum(type(module) is kind for module in unet.modules())


def upgraded(kind: type, method: str) -> Any:
    """The method as a later version could have it: the same numbers, in another source."""
    original = getattr(kind, method)

    def later(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self, *args, **kwargs)

    return later


def test_every_replaced_source_that_is_installed_is_known():
    """An upgrade that fails here: read what changed, then `python -m …train.fast.known`."""
    assert known.unknown(known.KNOWN) == []


@pytest.mark.parametrize(
    ("changed", "method", "plain", "fast"),
    [
        (Linear, "forward", Linear, FastLinear),
        (Attention, "forward", Attention, FastAttention),
        (AttnProcessor2_0, "__call__", Attention, FastAttention),
        (FeedForward, "forward", FeedForward, RecomputedFeedForward),
    ],
    ids=["peft's layer", "attention", "its processor", "feed-forward"],
)
def test_where_the_source_is_unknown_layers_stay_plain_which_is_said_once(
    changed, method, plain, fast, monkeypatch: pytest.MonkeyPatch
):
    expected = predict(adapted())
    monkeypatch.setattr(changed, method, upgraded(changed, method))

    unet, warned = quickened()

    layers = count(unet, plain)
    assert layers == count(adapted(), plain) > 0
    assert count(unet, fast) == 0
    (line,) = warned
    assert line.startswith(f"{layers} layers ({plain.__name__}) do without their fast path: ")
    assert f"has another {changed.__name__}.{method} than " in line
    others = {FastLinear, FastAttention, RecomputedFeedForward} - {fast}
    assert all(count(unet, other) for other in others), "the other paths stay open"
    torch.testing.assert_close(predict(unet), expected)


def test_without_any_known_source_the_numbers_are_the_libraries_own(
    monkeypatch: pytest.MonkeyPatch,
):
    expected = predict(adapted())
    monkeypatch.setattr(known, "KNOWN", {name: {"0" * 16: "9.9"} for name in known.KNOWN})

    unet, warned = quickened()

    assert len(warned) == 3
    assert torch.equal(predict(unet), expected)


def test_a_layer_with_a_forward_of_its_own_stays_plain_silently():
    unet, report = adapted(), Quiet()
    layer = next(module for module in unet.modules() if type(module) is Linear)
    layer.forward = layer.base_layer.forward
    speed_up(unet, report)
    assert type(layer) is Linear
    assert count(unet, FastLinear) == count(adapted(), Linear) - 1
    assert report.warned == []


def test_comments_docstrings_and_layout_do_not_count_and_an_operator_does():
    class Plain:
        def forward(self, x):
            return self.scale * x + 1

    class Explained:
        def forward(self, x):  # by whom
            """Say what it does."""
            return (
                self.scale
                * x + 1
            )  # fmt: skip

    class Changed:
        def forward(self, x):
            return self.scale * x - 1

    one, same, other = (known.source_hash(kind.forward) for kind in (Plain, Explained, Changed))
    assert one == same
    assert one != other


def test_the_stage_trains_on_plain_layers_too_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(known, "KNOWN", {name: {"0" * 16: "9.9"} for name in known.KNOWN})
    root = make_project(tmp_path, compute={"gradient_checkpointing": "feed_forward"})
    report = run_stage(root)
    assert "adapter.safetensors" in contents(root)
    assert len(report.warned) == 3


def test_a_maintainer_is_told_the_lines_to_add():
    done = subprocess.run(
        [sys.executable, "-m", "lora_recipes.train.fast.known"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == len(known.KNOWN)
    for (name, hashes), line in zip(known.KNOWN.items(), lines, strict=True):
        assert line.startswith(f"{name}: ")
        assert any(one in line for one in hashes)
