"""Many small weights as a few big ones, so that an optimizer's step is a few operations.

SDXL's adapter is 1,120 matrices of a handful of shapes. All of one shape in one group of the
optimizer lie one after the other in one buffer, [N, *shape]; the layers keep their own weights
and gradients, which are views of it. The optimizer, the clipping, the loss scaling and the watch
over the gradients see buffers only. Nothing is copied in a step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Weights = Iterable[nn.Parameter] | Iterable[dict[str, Any]]
"""What torch's optimizers take: parameters, or groups `{"params": …, "name": …, "lr": …}`."""


class Stack:
    """Weights of one shape: `weight` [N, *shape] holds them, its `.grad` their gradients."""

    def __init__(self, members: Sequence[nn.Parameter]) -> None:
        """Move the members into a buffer; each stays the parameter that its layer knows.

        Args:
            members: [N] of one shape, dtype and device. What gradients they have is kept.
        """
        self.members = list(members)
        self.weight = nn.Parameter(torch.stack([member.detach() for member in members]))
        self.weight.grad = torch.zeros_like(self.weight)
        self._gradients = list(self.weight.grad.unbind())
        for member, view in zip(self.members, self.weight.detach().unbind(), strict=True):
            member.data = view
        self.gather()

    def gather(self) -> None:
        """Take in gradients that others have put beside the buffer; autograd adds to the buffer.

        A member whose gradient was taken away counts as one that has the gradient 0.
        """
        pairs = zip(self.members, self._gradients, strict=True)
        strays = [(member, view) for member, view in pairs if member.grad is not view]
        for member, view in strays:
            view.zero_() if member.grad is None else view.copy_(member.grad)
            member.grad = view

    def zero_grad(self) -> None:
        """Set the gradients to 0, in the buffer: they stay views of it."""
        for member, view in zip(self.members, self._gradients, strict=True):
            if member.grad is not view:
                member.grad = view
        assert self.weight.grad is not None
        self.weight.grad.zero_()


def stack(parameters: Iterable[nn.Parameter]) -> list[Stack]:
    """The parameters by shape, dtype and device, in the order in which these first occur."""
    alike: defaultdict[tuple[Any, ...], list[nn.Parameter]] = defaultdict(list)
    for parameter in parameters:
        alike[(parameter.shape, parameter.dtype, parameter.device)].append(parameter)
    return [Stack(members) for members in alike.values()]


class StackedOptimizer(Optimizer):
    """What every optimizer of stacks shares. Put it before torch's own class among the bases."""

    stacks: list[Stack]

    _step_supports_amp_scaling = True
    """torch's GradScaler then leaves `found_inf` with the optimizer instead of waiting for it."""

    def stacked(self, weights: Weights) -> list[dict[str, Any]]:
        """The groups with stacks' weights instead of parameters, for torch's class.

        No stack holds weights of two groups, so each group may have a rate of its own.
        """
        given: list[Any] = list(weights)
        groups = given if isinstance(given[0], dict) else [{"params": given}]
        stacks = [stack(group["params"]) for group in groups]
        self.stacks = [one for of_group in stacks for one in of_group]
        return [
            {**group, "params": [one.weight for one in of_group]}
            for group, of_group in zip(groups, stacks, strict=True)
        ]

    def fresh(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """What is kept of one stack before the first step, by name."""
        raise NotImplementedError

    def form(self) -> dict[str, Any]:
        """The form of `state_dict` after a step: its tensors are of the right shapes, and empty."""
        state = self.state_dict()
        pairs = [(weight, group) for group in self.param_groups for weight in group["params"]]
        state["state"] = {
            number: self.fresh(weight.detach().to("meta"), group)
            for number, (weight, group) in enumerate(pairs)
        }
        return state

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set all gradients to 0, never to None: the layers' gradients are views."""
        for one in self.stacks:
            one.zero_grad()

    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:
        """Compute the gradients if a closure does that, then update every stack."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.gather()
        self.update()
        return loss

    def gather(self) -> None:
        """Take in gradients that others have put in the place of the layers' own.

        `step` does it last; whoever replaces gradients does it before they are clipped.
        """
        for one in self.stacks:
            one.gather()

    def update(self) -> None:
        """Move the weights by their gradients."""
        super().step()  # the next of the bases: torch's own class
