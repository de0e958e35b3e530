"""Several processes train as one: Lightning starts and joins them, the bytes are those of one.

Lightning's DDP strategy gives the processes, their group and their devices. Its reducer is left
out: it adds in another order, and rebuilds its buckets after the first step. `OrderedSum` takes
its place, and everything that counts batches counts those of the whole stream, so that a
checkpoint belongs to the training and not to a number of processes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from lora_recipes.train.data.batches import Batch
from lora_recipes.train.data.turns import Turns
from lora_recipes.train.distributed.group import from_first, or_lost
from lora_recipes.train.distributed.ordered_sum import OrderedSum


class Together(DDPStrategy):
    """Lightning's DDP with the gradients of several processes added in the order of one."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self.turns = turns
        self._number = 0
        self._sum: OrderedSum | None = None

    def configure_ddp(self) -> None:
        """Leave the model unwrapped. Every process draws the same first adapter by itself."""
        weights = [p for p in self.lightning_module.parameters() if p.requires_grad]
        self._sum = OrderedSum(weights, self.turns.processes)

    def on_train_start(self) -> None:
        """Let SIGTERM end this process at once.

        Lightning would tell the others by a broadcast in the middle of another one, and hang.
        """
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        """The loss for Lightning to divide, and the number of its batch."""
        self._number = batch.number
        return scaled(super().training_step(batch, batch_idx), self.turns)

    def post_backward(self, closure_loss: Tensor) -> None:
        """Add the round's gradients, and after the step's last round put the sum into all.

        Between rounds gradients start anew where they lie, and so need no memory beside it. That
        a -0 then comes out as 0 changes no sum.
        """
        assert self._sum is not None
        turns, number = self.turns, self._number
        with or_lost():
            self._sum.add(len(turns.round_of(number)), turns.starts_step(number))
            if turns.ended_step(number) is not None:
                self._sum.hand_out()
                return
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None
    ) -> None:
        """Write a state that any number of processes can go on with."""
        _count(checkpoint, lambda rounds: rounds * self.turns.processes)
        super().save_checkpoint(checkpoint, filepath, storage_options)

    def load_checkpoint(
        self, checkpoint_path: Any, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The state that process 0 reads; the others need not see its folder."""
        state = from_first(lambda: super(Together, self).load_checkpoint(checkpoint_path))
        _count(state, lambda batches: batches // self.turns.processes)
        return state

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        """Wait for all, except for a checkpoint: process 0 alone writes it."""
        if args != ("Trainer.save_checkpoint",):
            with or_lost():
                super().barrier(*args, **kwargs)

    def reduce(self, *args: Any, **kwargs: Any) -> Any:
        """Lightning's own sums, such as that of the loaders' lengths."""
        with or_lost():
            return super().reduce(*args, **kwargs)


def scaled(loss: Tensor, turns: Turns) -> Tensor:
    """A loss whose gradient, after Lightning's division, is that of one process to the bit.

    One process divides by the N batches of a step, which multiplies the gradient by 1 / N, rounded
    to float32. With W processes Lightning divides by N / W. In float64 the product of the rounded
    1 / N and N / W is exact, and what is left after the division rounds back to the same float32.
    """
    part = float(torch.tensor(1.0) / turns.stream.accumulation)
    return loss.double() * (part * turns.rounds_of_step)


def _count(state: dict[str, Any], change: Callable[[int], int]) -> None:
    """Change what Lightning counts by rounds. The batch that writes the state is not complete."""
    for progress in state["loops"]["fit_loop"]["epoch_loop.batch_progress"].values():
        if isinstance(progress, dict):
            unfinished = progress["processed"] - progress["completed"]
            progress.update({name: change(value) for name, value in progress.items()})
            progress["completed"] = progress["processed"] - unfinished
