"""From a folder of pictures to their captions: look, load, describe, write. Importing needs no
torch."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from lora_recipes.caption.families import checked_prompt
from lora_recipes.caption.gaps import Gap, Survey, survey, worded
from lora_recipes.caption.locate import CaptionModel, locate_captioner, peek
from lora_recipes.caption.target import Target
from lora_recipes.command import as_called
from lora_recipes.dataset.decode import Unreadable, decode
from lora_recipes.dataset.place import shown
from lora_recipes.errors import Problem, UserError
from lora_recipes.files import write_text
from lora_recipes.imports import large_libraries
from lora_recipes.printable import line as brief
from lora_recipes.recipe.kept import unkept
from lora_recipes.reporting import Reporter
from lora_recipes.text import counted, first_few

FEWEST_TOKENS, MOST_TOKENS = 1, 256
SHOWN = 5
"""Captions that are printed as examples."""

Describe = Callable[[Image.Image], str]


@dataclass(frozen=True)
class Ask:
    """How they are to be captioned: what the command line says."""

    model: str
    revision: str = "none"
    prompt: str | None = None
    max_tokens: int = 60
    trigger: str | None = None
    overwrite: bool = False
    device: str = "auto"
    dry_run: bool = False


@dataclass
class Captioned:
    """What came of it."""

    target: Target
    looked: Survey
    dry_run: bool
    model: str = ""
    captions: list[tuple[Gap, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """Pictures that have none still."""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "folder": shown(self.target.folder),
            "model": self.model,
            "written": not self.dry_run,
            "captions": [
                {"picture": gap.picture.path, "file": shown(gap.file), "caption": text}
                for gap, text in self.captions
            ],
            "kept": self.looked.kept,
            "without": [{"picture": p.where, "what": p.what} for p in self.problems],
        }

    def text(self, root: Path) -> str:
        """For people."""
        folder = shown(self.target.folder)
        kept = counted(self.looked.kept, "picture has a caption", "pictures have a caption")
        if not self.captions:
            none = "" if self.problems else f"; {kept} already, --overwrite makes them anew"
            return f"{folder}: no caption was written{none}"
        lines = [f"{shown(gap.file)}: {text}" for gap, text in self.captions]
        if self.dry_run:
            return "\n".join([*lines, "nothing was written: --dry-run"])
        written = counted(len(lines), "caption")
        also = f"; {kept} already" if self.looked.kept else ""
        head = f"{folder}: {written} written{also}"
        rest = len(lines) - SHOWN
        more = [f"and {rest:,} more"] if rest > 0 else []
        return "\n".join([head, *lines[:SHOWN], *more, _next(root, self.target)])


def run(root: Path, target: Target, ask: Ask, report: Reporter) -> Captioned:
    """Caption the pictures that have no caption of their own; nothing else is touched.

    All that can be known to be wrong is said before a model is fetched or loaded. Each caption is
    written as soon as it is there, whole or not at all; stopped in between, the next run does the
    rest.

    Raises:
        UserError: as `survey`, `peek`, `locate_captioner` and `load_captioner`; a number or a
            prompt that makes no sense.
    """
    if not FEWEST_TOKENS <= ask.max_tokens <= MOST_TOKENS:
        raise UserError.of(
            what=f"--max-tokens = {ask.max_tokens}",
            allowed=f"a whole number from {FEWEST_TOKENS} to {MOST_TOKENS}",
            fix="SDXL reads 75 tokens of a caption: 60 leave room for the trigger",
        )
    looked = survey(
        target.folder, target.dataset, ask.trigger, overwrite=ask.overwrite, below=target.below
    )
    done = Captioned(target, looked, ask.dry_run)
    if not looked.gaps:
        _tell(looked, target, ask, report)
        return done
    family = peek(ask.model, ask.revision, root)
    prompt = checked_prompt(family, ask.prompt)
    located = locate_captioner(ask.model, ask.revision, root, family)
    done.model = located.name
    _tell(looked, target, ask, report)
    describe = _load(located, prompt, ask, report)
    try:
        with report.bar("caption pictures", len(looked.gaps)) as bar:
            for gap in looked.gaps:
                _caption(gap, describe, done, overwrite=ask.overwrite)
                bar.advance()
    except KeyboardInterrupt:
        if not ask.dry_run:
            report.say(_stopped(done, ask))
        raise
    return done


def _load(located: CaptionModel, prompt: str, ask: Ask, report: Reporter) -> Describe:
    with report.loading(f"{located.family.name}, {located.name}"):
        with large_libraries():
            from lora_recipes.caption.describe import load_captioner
        captioner = load_captioner(located, prompt, ask.max_tokens, ask.device)
    describe: Describe = captioner.describe
    return describe


def _caption(gap: Gap, describe: Describe, done: Captioned, *, overwrite: bool) -> None:
    """Describe one picture and write what is said; what stands against it is noted."""
    where = f"{shown(done.target.folder)}/{gap.picture.path}"
    try:
        data = gap.picture.file.read_bytes()
        image = decode(data, gap.picture.suffix).image
    except OSError as error:
        what, fix = f"cannot be read: {error.strerror or error}", "make the file readable"
        done.problems.append(Problem(where=where, what=what, fix=fix))
        return
    except Unreadable as why:
        done.problems.append(Problem(where=where, what=why.reason, fix=why.fix))
        return
    try:
        said = describe(image)
    except (RuntimeError, ValueError, IndexError) as error:  # whatever a library says of a model
        raise UserError.of(
            where=where,
            what=f"the model stopped at it: {brief(str(error).strip().splitlines()[0])}",
            fix="try --device cpu, or another --model",
        ) from error
    if not worded("", said):
        what = "the model says nothing of it, so no caption was written"
        fix = f"write {brief(shown(gap.file))} yourself, or try another --prompt or --model"
        done.problems.append(Problem(where=where, what=what, fix=fix))
        return
    text = worded(gap.front, said)
    if not done.dry_run:
        if gap.file.exists() and not overwrite:
            what = f"{brief(shown(gap.file))} has come meanwhile, and was left as it is"
            done.problems.append(Problem(where=where, what=what, fix="read it; delete it, or not"))
            return
        write_text(gap.file, f"{text}\n")
    done.captions.append((gap, text))


def _tell(looked: Survey, target: Target, ask: Ask, report: Reporter) -> None:
    """What happens that might not be expected."""
    if not target.is_data and ask.trigger is None and not any(gap.front for gap in looked.gaps):
        folder = brief(shown(target.folder))
        report.say(
            f"no trigger: {folder} is not params.yaml's data; --trigger puts a word in front"
        )
    if looked.empty and not ask.overwrite:
        names = first_few([brief(path) for path in looked.empty], SHOWN)
        report.say(f"captions without a word are kept too: {names}")
    if looked.listed and ask.overwrite:
        names = first_few([brief(path) for path in looked.listed], SHOWN)
        report.say(f"captions in metadata.jsonl are kept, --overwrite or not: {names}")


def _stopped(done: Captioned, ask: Ask) -> str:
    count, total = len(done.captions), len(done.looked.gaps)
    again = "another run does the rest" if not ask.overwrite else "another run begins anew"
    return f"{count:,} of {counted(total, 'caption')} written, each of them whole; {again}"


def _next(root: Path, target: Target) -> str:
    """What is left to do: captions are data, so DVC and the pin have to hear of them."""
    folder, lost = target.folder, unkept(root, target.folder)
    steps = []
    if folder.with_name(f"{folder.name}.dvc").is_file() or (
        lost is not None and lost.fix.startswith("dvc add")
    ):
        steps.append(f"`dvc add {shlex.quote(shown(folder))}`")
    if target.is_data:
        steps.append(f"`{as_called('pin')}`, since captions are part of the data's hash")
    then = f"; then {', '.join(steps)}" if steps else ""
    return f"next: read them and correct what is wrong{then}"
