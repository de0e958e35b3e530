"""What to do next, by what the numbers say: a sentence, and a command to copy."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from lora_recipes.dataset.roles import CONTROL, HELDOUT, TRAIN
from lora_recipes.recipe.judging import HELDOUT as FOLDER
from lora_recipes.report.figures import (
    CLEAR,
    FINAL,
    all_compared,
    best,
    prior_losses,
    step_of,
    unseen_losses,
)
from lora_recipes.report.inputs import Inputs, Photo
from lora_recipes.report.usage import subject
from lora_recipes.text import counted

MILDER = 0.7
KEPT = 40
FEWEST = 4
"""With fewer pictures to train on, none is moved away from them."""

NEW_RUN = "dvc exp run -n"
PIN = "python -m lora_recipes pin"


@dataclass(frozen=True)
class Advice:
    """One thing to do."""

    why: str
    command: str


def advice(inputs: Inputs) -> list[Advice]:
    """The next steps, the most useful first."""
    return [*_keep(inputs), *_judge(inputs), *_train(inputs), *_draw(inputs)]


def _keep(inputs: Inputs) -> Iterator[Advice]:
    said = f"{subject(inputs.resolved)}, {counted(len(inputs.steps), 'step')}"
    yield Advice(
        "Keep this run before you try another, so that it can come back on any machine",
        f"git add -A\ngit commit -m {shlex.quote(said)}\ndvc push",
    )


def _judge(inputs: Inputs) -> Iterator[Advice]:
    known = all_compared(inputs)
    data = inputs.resolved.get("data", "").rstrip("/") or "data/<name>"
    photos = [photo for photo in inputs.photos if photo.role == TRAIN]
    if HELDOUT not in known:
        folder = f"{data}/{FOLDER}"
        moved = _files(data, photos[-1]) if len(photos) >= FEWEST else "<one or two pictures>"
        yield Advice(
            f"Hold a picture out, and write “{FOLDER}: {FOLDER}” below “dataset:” in params.yaml; "
            "the next page then says whether it learned",
            f"mkdir {shlex.quote(folder)}\nmv {moved} {shlex.quote(folder)}/\n"
            f"dvc add {shlex.quote(data)}\n{PIN}\ndvc repro",
        )
    elif CONTROL not in known:
        yield Advice(
            f"To see what it forgot: put a few pictures of other things, with captions, into "
            f"{data}/others, and write “control: others” below “dataset:” in params.yaml",
            f"dvc add {shlex.quote(data)}\n{PIN}\ndvc repro",
        )


def _train(inputs: Inputs) -> Iterator[Advice]:
    steps, known, chosen = len(inputs.steps), all_compared(inputs), best(inputs)
    learned = known[HELDOUT].change if HELDOUT in known else -1.0
    forgot = known[CONTROL].change if CONTROL in known else 0.0
    if chosen not in ("", FINAL) and _is_clearly_better(inputs, chosen):
        yield _of_length(
            "shorter",
            step_of(chosen, steps),
            f"After step {step_of(chosen, steps):,} its held-out loss was least: stop there",
        )
    elif learned >= CLEAR or forgot >= CLEAR:
        why = "it learned by heart" if learned >= CLEAR else "it forgets less"
        yield _of_length("shorter", steps // 2, f"Train for half the steps: {why}")
    elif learned > -CLEAR:
        yield _of_length("longer", 2 * steps, "Train for twice the steps: little was learned")
    if forgot >= CLEAR:
        yield from _keep_in_mind(inputs)


def _keep_in_mind(inputs: Inputs) -> Iterator[Advice]:
    """Regularization pictures, where there are none, and a class word for their own prompt."""
    if prior_losses(inputs) or "class_word" not in inputs.resolved["dataset"]:
        return
    yield Advice(
        "It forgets much less beside pictures that the base draws first; name what it should keep "
        "in prior.prompts",
        f"{NEW_RUN} keeping -S prior.images={KEPT}",
    )


def _is_clearly_better(inputs: Inputs, snapshot: str) -> bool:
    losses = unseen_losses(inputs)
    return losses[FINAL][HELDOUT] >= (1 + CLEAR) * losses[snapshot][HELDOUT]


def _draw(inputs: Inputs) -> Iterator[Advice]:
    sample, known = inputs.resolved["sample"], all_compared(inputs)
    if CONTROL in known and known[CONTROL].change >= CLEAR:
        milder = f"{MILDER * sample['strength']:g}"
        yield Advice(
            f"Draw the pictures at strength {milder}, which forgets less; nothing is trained again",
            f"{NEW_RUN} milder -S sample.strength={milder}",
        )
    if sample["prompts"] and len(sample["seeds"]) == 1:
        seeds = ",".join(str(sample["seeds"][0] + more) for more in range(3))
        yield Advice(
            "One seed is too few to judge by: draw three; nothing is trained again",
            f"{NEW_RUN} seeds -S 'sample.seeds=[{seeds}]'",
        )


def _of_length(name: str, steps: int, why: str) -> Advice:
    return Advice(why, f"{NEW_RUN} {name} -S train.epochs=auto -S train.steps={max(1, steps)}")


def _files(data: str, photo: Photo) -> str:
    """A picture and its caption, as a shell takes them."""
    path = posixpath.join(data, photo.name)
    caption = f"{posixpath.splitext(path)[0]}.txt"
    return shlex.join([path, caption] if photo.caption_from == "file" else [path])
