"""What happened at each step, kept on the device so that no step waits for the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from lora_recipes.errors import Problem, UserError
from lora_recipes.train.batches import Batch, Pictures
from lora_recipes.train.stream import Sample, Stream

NEVER = -1


class Record(torch.nn.Module):
    """Each step's loss, and the first batch or step whose numbers were not finite.

    S: optimizer steps of the whole training.
    """

    losses_S: Tensor
    bad_loss: Tensor
    bad_gradient: Tensor

    def __init__(self, pictures: Pictures, stream: Stream) -> None:
        super().__init__()
        self.pictures = pictures
        self.stream = stream
        self.register_buffer("losses_S", torch.zeros(stream.steps), persistent=False)
        self.register_buffer("bad_loss", torch.tensor(NEVER), persistent=False)
        self.register_buffer("bad_gradient", torch.tensor(NEVER), persistent=False)

    def forward(self, batch: Batch, loss: Tensor) -> None:
        """Note a batch's loss; a step's loss is the mean over the samples of its window."""
        loss = loss.detach()
        part = batch.share / self.stream.accumulation
        self.losses_S[self.stream.step_of(batch.number)] += loss * part
        self.bad_loss = _first(self.bad_loss, ~loss.isfinite(), batch.number)

    def add_gradients(self, step: int, gradients: Iterable[Tensor]) -> None:
        """Note whether a step's gradients are finite numbers."""
        norms = torch.stack(torch._foreach_norm(list(gradients)))
        self.bad_gradient = _first(self.bad_gradient, ~norms.isfinite().all(), step)

    def check(self) -> None:
        """Wait for the device and stop the training if anything was not finite.

        Raises:
            UserError: a loss or a gradient was not finite; names the step and the images.
        """
        batch, step = int(self.bad_loss), int(self.bad_gradient)
        if batch != NEVER:
            raise self._stop("loss", self.stream.step_of(batch), self.stream.batch(batch))
        if step != NEVER:
            raise self._stop("gradient", step, self.stream.step_samples(step))

    def losses(self) -> list[float]:
        """The loss of every step so far; 0 for the steps to come."""
        return [float(loss) for loss in self.losses_S.tolist()]

    def _stop(self, what: str, step: int, samples: list[Sample]) -> UserError:
        images = ", ".join(self.pictures.names(samples))
        return UserError(
            Problem(
                what=f"the {what} is not a finite number at step {step + 1} of "
                f"{self.stream.steps}; images: {images}",
                fix="look at these images and at the base model's weights; if both are sound, "
                "lower train.learning_rate or set compute.precision to fp32",
            )
        )


def check_finite(weights: Mapping[str, Tensor], step: int) -> None:
    """Stop before weights that are not finite numbers are written.

    Raises:
        UserError: naming the first such weight.
    """
    for name, weight in weights.items():
        if not bool(weight.isfinite().all()):
            raise UserError(
                Problem(
                    what=f"{name} is not finite after step {step}",
                    fix="lower train.learning_rate or set compute.precision to fp32",
                )
            )


def _first(known: Tensor, happened: Tensor, number: int) -> Tensor:
    return torch.where((known == NEVER) & happened, number, known)
