"""The training loop: micro-batches, update, tell, keep; from the first step or a checkpoint on."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lora_recipes.reporting import Bar, Reporter
from lora_recipes.stopping import Asked, Stopped, when_asked
from lora_recipes.train.data.batches import Batch, load
from lora_recipes.train.data.rank_schedule import RankSchedule
from lora_recipes.train.distributed.group import add_up, from_first, largest, or_lost
from lora_recipes.train.distributed.ordered_sum import OrderedSum
from lora_recipes.train.fast.speed_up import speed_up
from lora_recipes.train.fast.stack_views import StackViews
from lora_recipes.train.job import Job, Outcome
from lora_recipes.train.module import Denoising
from lora_recipes.train.optim.loss_scaling import LossScaling
from lora_recipes.train.optim.optimizers import build_optimizer, build_schedule
from lora_recipes.train.record import StepRecord, check_finite
from lora_recipes.train.same_form import difference
from lora_recipes.train.telling import peak_memory


def fit(job: Job, report: Reporter) -> Outcome:
    """Train the adapter inside the job's denoiser.

    Raises:
        UserError: a loss, a gradient or a weight is not finite, or the disk is full.
        Stopped: somebody asked for it; what was trained is in a checkpoint.
    """
    stream, schedule = job.stream, RankSchedule(job.stream, job.world.size, job.world.rank)
    if job.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.device)
    start = time.monotonic()
    speed_up(job.denoiser.unet, report)
    training = Training(job, schedule)
    resumed_at = training.resume()
    if resumed_at:
        report.say(f"resuming after step {resumed_at} of {stream.steps}")

    with when_asked() as asked, report.bar("train", stream.steps, resumed_at) as bar:
        progress = Progress(job, bar, report, resumed_at)
        first = resumed_at * stream.accumulation
        for batch in load(job.pictures, schedule, first, job.runtime.workers):
            training.micro_batch(batch)
            progress.answer(asked)
            step = schedule.ended_step(batch.number)
            if step is None:
                continue
            training.update(step)
            stops = training.stops(step + 1, asked)
            if job.world.is_main_process:
                training.tell(step + 1, progress)
                training.keep(step + 1, stops)
            if stops:
                raise Stopped(stops, step + 1, stream.steps)

    training.views.release()
    return Outcome(
        losses=training.record.losses(),
        prior_losses=training.record.prior_losses(),
        skipped=int(training.record.skipped),
        resumed_at=resumed_at,
        seconds=time.monotonic() - start,
        peak_bytes=peak_memory(job.device),
    )


class Training:
    """What changes while a job is trained. Steps count from 0, `done` is how many are."""

    def __init__(self, job: Job, schedule: RankSchedule) -> None:
        """Lay everything out as it is before the first step.

        Args:
            job: what is trained.
            schedule: which micro-batches are this process's.
        """
        self.job = job
        self.schedule = schedule
        self.views = StackViews(job.denoiser, job.adapter_dtype)
        self.record = StepRecord(job.pictures, job.stream, add_up)
        self.module = Denoising(job.denoiser, job.objective, self.record, self._optimizer)
        self.module.to(job.device)
        (self.optimizer,), self.rates = self.module.configure_optimizers()
        self.precision = job.fabric.strategy.precision
        trained = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        self.weights = {name: parameter.detach() for name, parameter in trained}
        """What is trained, by name; of the frozen base nothing."""
        several = job.world.size > 1
        self.sum = OrderedSum([p for _, p in trained], job.world.size) if several else None
        self.agree_every = from_first(lambda: job.runtime.log_every)  # machines may differ in it

    def micro_batch(self, batch: Batch) -> None:
        """Add one batch's gradient, and with it those of the other processes' batches."""
        loss = self.module.training_step(self.job.fabric.to_device(batch), batch.number)
        self.job.fabric.backward(loss / self.job.stream.accumulation)
        if self.sum is None:
            return
        with or_lost():
            number = batch.number
            self.sum.add(len(self.schedule.round_of(number)), self.schedule.starts_step(number))
            if self.schedule.ended_step(number) is not None:
                self.sum.hand_out()
                return
        # The sum lies elsewhere. That a -0 comes out as 0, added to a fresh 0, changes no sum.
        self.optimizer.zero_grad()

    def update(self, step: int) -> None:
        """Move the weights by the gradients of the step's micro-batches."""
        stacks = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        self.precision.unscale_gradients(self.optimizer)
        self.record.end_step(step)
        if not isinstance(self.precision, LossScaling):  # which skips bad gradients by itself
            self.record.add_gradients(step, [stack.grad for stack in stacks])
        if self.job.train.max_grad_norm:  # 0 is off, never "clip to zero"
            torch.nn.utils.clip_grad_norm_(stacks, self.job.train.max_grad_norm)
        self.precision.optimizer_step(self.optimizer)
        if isinstance(self.precision, LossScaling):
            self.record.add_overflow(step, self.precision.overflowed)
        self.optimizer.zero_grad()
        for rate in self.rates:
            rate["scheduler"].step()

    def stops(self, done: int, asked: Asked) -> int:
        """The signal that asks to stop after this step, or 0; the same on all processes.

        Several have to wait for each other to know: they look only where the figures are due.
        """
        if self.job.world.size == 1:
            return asked.number
        due = done % self.agree_every == 0
        return largest(asked.number, self.job.device) if due else 0

    def tell(self, done: int, progress: Progress) -> None:
        """Count the step; if it is time, look at the device and tell how the run is."""
        steps = self.job.stream.steps
        if done % self.job.runtime.log_every == 0 or done == steps:
            self.record.check()
            progress.tell(done, float(self.record.losses_S[done - 1]))
        else:
            progress.count()

    def keep(self, done: int, stops: int = 0) -> None:
        """Write a snapshot and a checkpoint, if it is time, after a look at what is written.

        Args:
            done: how many steps are.
            stops: not 0 where this is the last step of this process.
        """
        job, checkpoints = self.job, self.job.checkpoints
        is_snapshot = done in job.snapshots
        is_due = done % job.runtime.checkpoint_every == 0 and done < job.stream.steps
        is_checkpoint = is_due or bool(stops)
        if is_snapshot or is_checkpoint:
            self.record.check()
        if is_snapshot:  # first: a checkpoint vouches for the snapshots before it
            job.write_adapter(checkpoints.snapshot_path(done), done)
        if is_checkpoint:
            check_finite(self.weights, done)
            checkpoints.write(self.state(), checkpoints.state_path(done))

    def state(self) -> dict[str, Any]:
        """All that the next steps depend on, the same for any number of processes."""
        return {
            "weights": self.weights,
            "optimizer": self.optimizer.state_dict(),
            "rates": [rate["scheduler"].state_dict() for rate in self.rates],
            "precision": self.precision.state_dict(),
            "record": self.record.state_dict(),
        }

    def resume(self) -> int:
        """Take over the newest checkpoint's state; the steps that are done, 0 without one.

        Process 0 reads it and sends it: the others need not see its folder.
        """
        done, state = from_first(lambda: self.job.checkpoints.newest(self._misfit))
        if done:
            for name, weight in self.weights.items():
                weight.copy_(state["weights"][name])
            self.optimizer.load_state_dict(state["optimizer"])
            for rate, known in zip(self.rates, state["rates"], strict=True):
                rate["scheduler"].load_state_dict(known)
            self.precision.load_state_dict(state["precision"])
            self.record.load_state_dict(state["record"])
        return done

    def _misfit(self, done: int, state: Any) -> str:
        """Why a state after so many steps cannot be this training's; empty if it can."""
        if not done <= self.job.stream.steps:
            return f"the training has {self.job.stream.steps} steps"
        return difference(state, self.state() | {"optimizer": self.optimizer.form()})

    def _optimizer(self) -> tuple[Optimizer, LambdaLR | None]:
        job = self.job
        groups = [group.for_optimizer() for group in job.adapted.groups()]
        optimizer = build_optimizer(groups, job.train)
        self.views.bind(optimizer.stacks)
        return optimizer, build_schedule(optimizer, job.stream.steps, job.train)


class Progress:
    """Tells how far the run is, and how fast it was since the last time."""

    def __init__(self, job: Job, bar: Bar, report: Reporter, done: int) -> None:
        """Count from here: a resumed run starts in the middle."""
        self.bar, self.report = bar, report
        self._job = job
        self._told, self._since = done, time.monotonic()
        self._answered = False

    def answer(self, asked: Asked) -> None:
        """Say once that the wish to stop was heard."""
        if asked.number and not self._answered:
            self._answered = True
            with suppress(OSError):  # the terminal may be what has gone
                self.report.say("stopping soon, with a checkpoint; Ctrl-C again stops at once")

    def count(self) -> None:
        """One more step is done, as far as this process knows without a look at the device."""
        self.bar.advance()

    def tell(self, done: int, loss: float) -> None:
        """So many steps are done; `loss` is the last one's."""
        stream, now = self._job.stream, time.monotonic()
        samples = sum(len(stream.step_samples(step)) for step in range(self._told, done))
        epochs = stream.epoch_of(stream.steps - 1) + 1
        self.bar.advance(
            epoch=f"{stream.epoch_of(done - 1) + 1}/{epochs}",
            loss=loss,
            learning_rate=self._job.rate(done - 1),
            speed=samples / max(now - self._since, 1e-9),
        )
        self._told, self._since = done, now
