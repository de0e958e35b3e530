"""Which process works on which batch, so that several make what one would have made.

W processes go through the stream in rounds: batch k is that of process k % W in round k // W.
W divides the batches of an optimizer step, so every full step is a whole number of rounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lora_recipes.train.data.prior_stream import AnyStream


@dataclass(frozen=True)
class RankSchedule:
    """One process's part of a stream. All counts start at 0."""

    stream: AnyStream
    processes: int = 1
    rank: int = 0

    @property
    def rounds(self) -> int:
        """How often every process runs a batch; the last time some have none left."""
        return math.ceil(self.stream.batches / self.processes)

    def numbers(self, first: int = 0) -> range:
        """This process's batches from the round on that holds batch `first`.

        Numbers that the stream does not have fill the last round up.
        """
        start = first // self.processes * self.processes
        return range(start + self.rank, self.rounds * self.processes, self.processes)

    def round_of(self, number: int) -> range:
        """All batches of the round that a batch, or one that fills a round up, belongs to."""
        start = number // self.processes * self.processes
        return range(start, min(start + self.processes, self.stream.batches))

    def starts_step(self, number: int) -> bool:
        """Whether the round of this batch is the first of its optimizer step."""
        return self.round_of(number).start % self.stream.accumulation == 0

    def ended_step(self, number: int) -> int | None:
        """The optimizer step that is whole after the round of this batch, if one is."""
        last = self.round_of(number)[-1]
        return self.stream.step_of(last) if self.stream.ends_step(last) else None
