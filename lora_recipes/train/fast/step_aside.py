"""The one place where a layer takes its fast path, or steps aside and stays what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from lora_recipes.reporting import Reporter
from lora_recipes.train.fast.known import unknown


def reclass(
    model: nn.Module,
    fast: type[nn.Module],
    is_plain: Callable[[Any], bool],
    replaced: Sequence[str],
    report: Reporter,
) -> list[Any]:
    """Make every plain layer of a library's class one of ours, which derives from that class.

    A layer stays as it is where it is more than plain (dropout, another kind of adapter), where
    somebody gave it a `forward` of its own, and where the library's source is not one that ours
    was checked against; the last is said, once for all layers.

    Args:
        model: whose modules are looked at; they stay the same objects.
        fast: our class; its only base is the library's.
        is_plain: whether the library would do no more for a layer than ours does.
        replaced: the library's functions that ours stands for, as in `known.KNOWN`.
        report: is told which layers could be faster.

    Returns:
        The layers that are of our class now.
    """
    (library,) = fast.__bases__
    layers = [
        module
        for module in model.modules()
        if type(module) is library and "forward" not in vars(module) and is_plain(module)
    ]
    reasons = unknown(replaced) if layers else []
    if reasons:
        report.warn(
            f"{len(layers)} layers ({library.__name__}) do without their fast path: "
            + "; ".join(reasons)
        )
        return []
    for layer in layers:
        layer.__class__ = fast
    return layers
