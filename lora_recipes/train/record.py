"""What happened at each step, kept on the device so that no step waits for the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from lora_recipes.errors import UserError
from lora_recipes.train.data.batches import Batch, Pictures
from lora_recipes.train.data.prior_stream import AnyStream, PriorStream
from lora_recipes.train.data.stream import TrainingSample

NEVER = -1

LONGEST_OVERFLOW = 20
"""Steps in a row. A sound run in fp16 skips a few while its scale is sought, then hardly any."""


class StepRecord(torch.nn.Module):
    """Each step's loss, the first batch or step whose numbers were not finite, and skipped steps.

    S: optimizer steps of the whole training, N: batches of one step.
    """

    losses_S: Tensor
    prior_losses_S: Tensor
    parts_N: Tensor
    bad_loss: Tensor
    bad_gradient: Tensor
    skipped: Tensor
    skipped_in_a_row: Tensor
    stuck: Tensor

    def __init__(
        self,
        pictures: Pictures,
        stream: AnyStream,
        add_up: Callable[[Tensor], None] = lambda tensor: None,
    ) -> None:
        """Begin with nothing.

        Args:
            pictures: to name the images behind a number that is not finite.
            stream: what is trained on.
            add_up: sums a tensor over all processes, in place.
        """
        super().__init__()
        self.pictures = pictures
        self.stream = stream
        self._add_up = add_up
        self.register_buffer("losses_S", torch.zeros(stream.steps))
        if isinstance(stream, PriorStream):
            self.register_buffer("prior_losses_S", torch.zeros(stream.steps))
        self.register_buffer("parts_N", torch.zeros(stream.accumulation))
        self.register_buffer("bad_loss", torch.tensor(NEVER))
        self.register_buffer("bad_gradient", torch.tensor(NEVER))
        self.register_buffer("skipped", torch.tensor(0))
        self.register_buffer("skipped_in_a_row", torch.tensor(0))
        self.register_buffer("stuck", torch.tensor(NEVER))

    def forward(self, batch: Batch, loss: Tensor) -> None:
        """Note a batch's part of its step's loss. One that fills a round up has none."""
        if batch.number < self.stream.batches:
            accumulation = self.stream.accumulation
            part = loss.detach() * (batch.weight / accumulation)
            self.parts_N[batch.number % accumulation] = part

    def end_step(self, step: int) -> None:
        """Add up a step's loss, the mean over its samples, in the order of the stream.

        Regularization pictures, where there are any, have a loss of their own.
        """
        self._add_up(self.parts_N)
        own_N = self.parts_N
        if isinstance(self.stream, PriorStream):
            own_N, prior_N = self.parts_N.tensor_split([self.stream.own_batches(step)])
            self.prior_losses_S[step] = _sum(prior_N) / self.stream.loss_weight
        self.losses_S[step] = _sum(own_N)
        bad_N = ~self.parts_N.isfinite()
        batch = bad_N.to(torch.int8).argmax() + step * self.stream.accumulation
        self.bad_loss = _first(self.bad_loss, bad_N.any(), batch)
        self.parts_N.zero_()

    def add_gradients(self, step: int, gradients: Iterable[Tensor]) -> None:
        """Note whether a step's gradients are finite numbers."""
        norms = torch.stack(torch._foreach_norm(list(gradients)))
        self.bad_gradient = _first(self.bad_gradient, ~norms.isfinite().all(), step)

    def add_overflow(self, step: int, overflowed: Tensor) -> None:
        """Note whether fp16's gradients overflowed, so that the step was skipped."""
        self.skipped = self.skipped + overflowed
        self.skipped_in_a_row = torch.where(overflowed, self.skipped_in_a_row + 1, 0)
        self.stuck = _first(self.stuck, self.skipped_in_a_row >= self._longest_overflow, step)

    def check(self) -> None:
        """Wait for the device and stop the training if it cannot come to anything.

        Raises:
            UserError: a loss or a gradient was not finite, or too many steps in a row, or all to
                the end, were skipped; names the step and the images.
        """
        batch, step, stuck = torch.stack([self.bad_loss, self.bad_gradient, self.stuck]).tolist()
        if batch != NEVER:
            raise self._stop("loss", self.stream.step_of(batch), self.stream.batch(batch))
        if step != NEVER:
            raise self._stop("gradient", step, self.stream.step_samples(step))
        if stuck != NEVER:
            raise self._overflows(stuck)

    def losses(self) -> list[float]:
        """The loss of every step so far; 0 for the steps to come."""
        return [float(loss) for loss in self.losses_S.tolist()]

    def prior_losses(self) -> list[float]:
        """The same of the regularization pictures; empty where there are none."""
        if not isinstance(self.stream, PriorStream):
            return []
        return [float(loss) for loss in self.prior_losses_S.tolist()]

    @property
    def _longest_overflow(self) -> int:
        return min(LONGEST_OVERFLOW, self.stream.steps)

    def _overflows(self, step: int) -> UserError:
        images = ", ".join(self.pictures.names(self.stream.step_samples(step)))
        return UserError.of(
            what=f"the gradients overflowed in {self._longest_overflow} steps in a row, "
            f"the last of them step {step + 1} of {self.stream.steps}; images: {images}",
            fix="set compute.precision to bf16 or fp32, or look at the base model's weights",
        )

    def _stop(self, what: str, step: int, samples: list[TrainingSample]) -> UserError:
        images = ", ".join(self.pictures.names(samples))
        return UserError.of(
            what=f"the {what} is not a finite number at step {step + 1} of "
            f"{self.stream.steps}; images: {images}",
            fix="look at these images and at the base model's weights; if both are sound, "
            "lower train.learning_rate or set compute.precision to fp32",
        )


def check_finite(weights: Mapping[str, Tensor], step: int) -> None:
    """Stop before weights that are not finite numbers are written.

    Raises:
        UserError: naming the first such weight.
    """
    for name, weight in weights.items():
        if not bool(weight.isfinite().all()):
            raise UserError.of(
                what=f"{name} is not finite after step {step}",
                fix="lower train.learning_rate or set compute.precision to fp32",
            )


def _sum(parts_N: Tensor) -> Tensor:
    """One by one: the same for any number of processes and on any device."""
    total = torch.zeros_like(parts_N[0])
    for part in parts_N:
        total += part
    return total


def _first(known: Tensor, happened: Tensor, number: int | Tensor) -> Tensor:
    return torch.where((known == NEVER) & happened, number, known)
