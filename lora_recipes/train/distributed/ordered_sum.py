"""The sum of all processes' gradients, added in the order in which one process adds them.

One process with N micro-batches makes ((g0 + g1) + g2) + …; floating-point addition rounds, so any
other order gives other bytes. An all-reduce promises no order, and its bytes change with the
number of processes. Here every process receives its slice of each gradient, adds them up in the
stream's order, and the slices are put together when the step is whole.

G: elements of the gradient, W: processes, S: elements of a slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

CHUNK = 2**20
"""Elements exchanged at a time: bounds what is needed beside the sum itself to 2 × 4 MiB."""


@dataclass(frozen=True)
class _Piece:
    """A run of elements of one parameter, and where it lies in a chunk."""

    parameter: int
    start: int
    length: int
    place: int


class OrderedSum:
    """Sums gradients over processes and micro-batches, exactly as one process would.

    Needs G / W elements for the sum and two chunks; each micro-batch sends G (W - 1) / W elements,
    each step as many again.
    """

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], processes: int, chunk: int = CHUNK
    ) -> None:
        """Lay out the exchange.

        Args:
            parameters: what is trained, the same on all processes and in the same order.
            processes: W.
            chunk: elements exchanged at a time.
        """
        self.parameters = list(parameters)
        self.processes = processes
        self._chunks = list(_chunks([p.numel() for p in self.parameters], chunk))
        longest = max(_length(pieces) for pieces in self._chunks)
        slices = [-(-_length(pieces) // processes) for pieces in self._chunks]
        like = self.parameters[0]
        self._sums_S = [like.new_empty(length) for length in slices]
        whole = -(-longest // processes) * processes
        self._sent, self._received = like.new_zeros(whole), like.new_zeros(whole)

    @torch.no_grad()
    def add(self, real: int, starts: bool) -> None:
        """Add every process's gradient of one micro-batch, in the order of the processes.

        Args:
            real: how many processes have a micro-batch; the gradients of the others do not count.
            starts: whether the sum begins with this round.
        """
        for pieces, sum_S in zip(self._chunks, self._sums_S, strict=True):
            sent, received = self._buffers(sum_S)
            for piece, gradient in self._gradients(pieces):
                sent[piece.place : piece.place + piece.length] = gradient
            distributed.all_to_all_single(received, sent)
            for rank, part_S in enumerate(received.view(self.processes, -1)[:real]):
                if starts and rank == 0:
                    sum_S.copy_(part_S)  # not 0 + g: that would make -0 a 0
                else:
                    sum_S.add_(part_S)

    @torch.no_grad()
    def hand_out(self) -> None:
        """Give every process the whole sum, in place of its parameters' gradients."""
        for pieces, sum_S in zip(self._chunks, self._sums_S, strict=True):
            _, received = self._buffers(sum_S)
            distributed.all_gather(list(received.view(self.processes, -1)), sum_S)
            for piece, gradient in self._gradients(pieces):
                gradient.copy_(received[piece.place : piece.place + piece.length])

    def _buffers(self, sum_S: Tensor) -> tuple[Tensor, Tensor]:
        length = len(sum_S) * self.processes
        return self._sent[:length], self._received[:length]

    def _gradients(self, pieces: list[_Piece]) -> Iterator[tuple[_Piece, Tensor]]:
        for piece in pieces:
            gradient = self.parameters[piece.parameter].grad
            assert gradient is not None, "every trained weight takes part in every micro-batch"
            yield piece, gradient.view(-1)[piece.start : piece.start + piece.length]


def _chunks(sizes: Sequence[int], chunk: int) -> Iterator[list[_Piece]]:
    """Cut parameters laid end to end into chunks."""
    pieces: list[_Piece] = []
    for parameter, size in enumerate(sizes):
        start = 0
        while start < size:
            place = _length(pieces)
            length = min(size - start, chunk - place)
            pieces.append(_Piece(parameter, start, length, place))
            start += length
            if place + length == chunk:
                yield pieces
                pieces = []
    if pieces:
        yield pieces


def _length(pieces: list[_Piece]) -> int:
    return pieces[-1].place + pieces[-1].length if pieces else 0
