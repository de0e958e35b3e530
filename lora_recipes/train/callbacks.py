"""What happens between steps: watching, telling, keeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor
from torch.optim import Optimizer

from lora_recipes.reporting import Bar
from lora_recipes.train.checkpoints import Checkpoints
from lora_recipes.train.data.batches import Batch
from lora_recipes.train.data.stream import Stream
from lora_recipes.train.optim.loss_scaling import LossScaling
from lora_recipes.train.record import Record, check_finite


class EndOfStep(Callback):
    """Completes the record of each step, on every process."""

    def __init__(self, record: Record, scaling: LossScaling | None) -> None:
        self.record = record
        self.scaling = scaling

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: Any, optimizer: Optimizer
    ) -> None:
        """The gradients are whole and unscaled now. A scaler skips the bad ones by itself."""
        self.record.end_step(trainer.global_step)
        if self.scaling is None:
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
            self.record.add_gradients(
                trainer.global_step, [grad for grad in gradients if grad is not None]
            )


class Guard(Callback):
    """Stops a run whose gradients always overflow."""

    def __init__(self, record: Record, scaling: LossScaling) -> None:
        self.record = record
        self.scaling = scaling

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Look at the scaler's count after each step."""
        stream = self.record.stream
        step = self.record.turns.ended_step(batch.number)
        if step is not None:
            self.scaling.check(
                step, stream.steps, self.record.pictures.names(stream.step_samples(step))
            )


class Progress(Callback):
    """Tells how far the run is, every so many steps."""

    def __init__(self, record: Record, bar: Bar, every: int, rate: Callable[[int], float]) -> None:
        self.record = record
        self.bar = bar
        self.every = every
        self.rate = rate
        self._told: int | None = None
        self._since = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Count from here: a resumed run starts in the middle."""
        self._told = trainer.global_step
        self._since = time.monotonic()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Look at the device and tell, if it is time."""
        stream = self.record.stream
        step = self.record.turns.ended_step(batch.number)
        if step is not None and ((step + 1) % self.every == 0 or step + 1 == stream.steps):
            self.record.check()
            self._tell(step + 1, stream)

    def _tell(self, done: int, stream: Stream) -> None:
        assert self._told is not None
        now = time.monotonic()
        samples = min(done * stream.window, stream.samples) - self._told * stream.window
        epochs = stream.epoch_of(stream.steps - 1) + 1
        epoch = stream.epoch_of(done - 1) + 1
        self.bar.advance(
            done - self._told,
            epoch=f"{epoch}/{epochs}",
            loss=f"{float(self.record.losses_S[done - 1]):.4f}",
            learning_rate=f"{self.rate(done - 1):.3g}",
            speed=f"{samples / max(now - self._since, 1e-9):.2f} samples/s",
        )
        self._told, self._since = done, now


class Keeping(Callback):
    """Writes snapshots and checkpoints, after a look at what is written."""

    def __init__(
        self,
        record: Record,
        checkpoints: Checkpoints,
        every: int,
        snapshots: frozenset[int],
        write_adapter: Callable[[Path, int | None], None],
    ) -> None:
        self.record = record
        self.checkpoints = checkpoints
        self.every = every
        self.snapshots = snapshots
        self.write_adapter = write_adapter

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Snapshots first: a checkpoint vouches for those before it."""
        step = self.record.turns.ended_step(batch.number)
        if step is None:
            return
        done = step + 1
        is_snapshot = done in self.snapshots
        is_checkpoint = done % self.every == 0 and done < self.record.stream.steps
        if not (is_snapshot or is_checkpoint):
            return
        self.record.check()
        if is_snapshot:
            self.write_adapter(self.checkpoints.snapshot_path(done), done)
        if is_checkpoint:
            trainer.save_checkpoint(self.checkpoints.state_path(done))


class AdapterState(Callback):
    """Makes Lightning's checkpoints hold the adapter and the losses instead of the whole base."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def on_save_checkpoint(
        self, trainer: Any, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep what is trained."""
        checkpoint["state_dict"] = weights = trained(pl_module)
        check_finite(weights, trainer.global_step)
        checkpoint["losses"] = self.record.losses_S

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Take back the losses; Lightning takes back the rest."""
        self.record.losses_S.copy_(checkpoint["losses"])


class FolderIO(CheckpointIO):
    """Lets Lightning write and read through `Checkpoints`."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write one state."""
        self.checkpoints.write(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read one state: tensors and plain values only, whatever Lightning asks for."""
        return self.checkpoints.read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Only `Checkpoints` removes anything."""


def trained(module: lightning.LightningModule) -> dict[str, Tensor]:
    """What of a module is trained, by name."""
    return {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
