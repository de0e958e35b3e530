"""The command line: arguments in, printed lines and exit codes out.

Exit codes: 0 done, 1 fix your recipe or data, 2 usage, or a question that cannot be answered; 130
and 143 stopped by Ctrl-C and SIGTERM, 141 nobody reads what is printed. A bug keeps its traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from inspect import getdoc
from pathlib import Path
from typing import Any

from lora_recipes import __version__
from lora_recipes.answers import how_it_stopped, no_such_command, not_printed
from lora_recipes.arguments import caption_options
from lora_recipes.command import as_called
from lora_recipes.errors import CannotTell, Problem, UserError, told
from lora_recipes.pipeline import NAMES as STAGES
from lora_recipes.printable import NotPrinted, json_text, streams
from lora_recipes.stopping import Stopped, at_once
from lora_recipes.text import aligned, counted

Command = Callable[[argparse.Namespace, Path], int]

NOBODY_READS = 141
"""The exit code of a program whose output's reader has gone: 128 + SIGPIPE."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Whatever it prints, a stranger's names too, is printable."""
    with streams(), at_once():
        try:
            try:
                return _run(arguments)
            finally:
                sys.stdout.flush()
        except (BrokenPipeError, NotPrinted) as error:
            if isinstance(error, NotPrinted):
                with contextlib.suppress(OSError):
                    print(not_printed(error), file=sys.stderr)
            # What is left in the buffers goes nowhere, instead of into a second error at the exit
            for descriptor in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
            return NOBODY_READS if isinstance(error, BrokenPipeError) else 1


def _run(arguments: Sequence[str] | None) -> int:
    # pydantic would search every installed package for plugins; it is most of a quick command
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    names = _names(parser)
    if given and not given[0].startswith("-") and given[0] not in names:
        print(no_such_command(given[0], names), file=sys.stderr)
        return 2
    options, unknown = parser.parse_known_args(given)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        return int(options.command(options, Path.cwd()))
    except UserError as error:
        if _prints():
            print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stopped:
        if _prints():
            name = options.name if options.command is stage else ""
            with contextlib.suppress(OSError):  # the terminal may be what has gone
                print(how_it_stopped(stopped, name, Path.cwd()), file=sys.stderr)
        return 128 + (stopped.number if isinstance(stopped, Stopped) else signal.SIGINT)


def validate(options: argparse.Namespace, root: Path) -> int:
    """Check recipes and params.yaml: every mistake at once, with file, line and fix."""
    from lora_recipes.recipe.layers import recipe_names
    from lora_recipes.recipe.load import validate_recipe

    names = [Path(name).name.removesuffix(".yaml") for name in options.recipe]
    names = names or recipe_names(root)
    errors: list[Problem] = []
    warnings: list[Problem] = []
    checks: list[tuple[str, Callable[[], list[Problem]]]] = [
        (f"recipes/{name}.yaml", partial(validate_recipe, root, name)) for name in names
    ]
    if not names and not (root / "params.yaml").is_file():
        raise UserError.of(
            where=str(root),
            what="holds neither recipes/ nor params.yaml: there is nothing to validate",
            fix="run this in the project's folder",
        )
    if not options.recipe and (root / "params.yaml").is_file():
        checks.append(("params.yaml", partial(_validate_params, root)))
    for title, check in checks:
        try:
            found = check()
        except UserError as error:
            errors += [p for p in error.problems if p not in errors]
            print(f"{title}: not valid")
            continue
        warnings += [p for p in found if p not in warnings]
        print(f"{title}: valid" + (f", {counted(len(found), 'warning')}" if found else ""))
    for text in told(warnings):
        print(text if options.strict else f"warning: {text}", file=sys.stderr)
    for text in told(errors):
        print(text, file=sys.stderr)
    return 1 if errors or (options.strict and warnings) else 0


def _validate_params(root: Path) -> list[Problem]:
    from lora_recipes.recipe.kept import no_git
    from lora_recipes.recipe.load import resolve
    from lora_recipes.recipe.missing_folder import missing_folder

    found = list(resolve(root).warnings)
    if problem := missing_folder(root):
        raise UserError(problem)
    return [*found, *filter(None, [no_git(root)])]


def explain(options: argparse.Namespace, root: Path) -> int:
    """Print what a recipe key means, allows and does; without a key, all of them."""
    from lora_recipes.recipe.explain import explain as text

    print(text(options.key))
    return 0


def plan(options: argparse.Namespace, root: Path) -> int:
    """Print what `dvc repro` would do: stages, steps, file size, memory, time, learning rate."""
    from lora_recipes.base.fetch import yet_to_fetch
    from lora_recipes.machine import absent_device
    from lora_recipes.plan.preflight import MIRRORED, preflight
    from lora_recipes.plan.training import make_plan
    from lora_recipes.provenance.pipeline import stage_plans, table
    from lora_recipes.recipe.data_folder import data_folder
    from lora_recipes.recipe.judging import no_likeness, unless_held_out
    from lora_recipes.recipe.kept import no_git, unkept
    from lora_recipes.recipe.load import resolve
    from lora_recipes.stages.resolve import resolved_document

    resolved = resolve(root)
    for warning in resolved.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    data = preflight(root, resolved.recipe.dataset, resolved.recipe.prepare)
    for text in data.warnings:
        print(f"warning: {text}", file=sys.stderr)
    if without_git := no_git(root):
        raise UserError([*data.problems, without_git])
    if lost := unkept(root, data_folder(root)):
        print(f"warning: {lost}", file=sys.stderr)
    if data.repeats == []:
        raise UserError(data.problems)
    made = make_plan(
        resolved,
        data.repeats,
        root,
        sizes=data.sizes,
        given=data.kept,
        sure=data.sure,
        number_of_texts=data.texts,
    )
    for text in made.warnings:
        print(f"warning: {text}", file=sys.stderr)
    document = resolved_document(root, resolved)
    fetch = yet_to_fetch(resolved.recipe.base, root)
    print("\n".join(["stages", *table(stage_plans(root, document))]))
    rows = [
        ("base model", fetch.text if fetch else ""),
        ("device", absent_device(resolved.recipe.compute.device)),
        ("verdict", unless_held_out(resolved.recipe.dataset, resolved.params.data)),
        ("pocket", no_likeness(resolved.recipe.base.model, resolved.params.data)),
        ("masks", data.masks),
        ("mirrored", MIRRORED if resolved.recipe.dataset.flip else ""),
        *made.rows(),
    ]
    print("\n".join(aligned((name, text) for name, text in rows if text)))
    if problems := [*(fetch.problems if fetch else []), *made.problems, *data.problems]:
        print("`dvc repro` would stop at this:", file=sys.stderr)
        raise UserError(problems)
    return 0


def pin(options: argparse.Namespace, root: Path) -> int:
    """Accept the data folder as it is: write its hash into params.yaml, or into a recipe."""
    from lora_recipes.console import PlainReporter
    from lora_recipes.dataset.pin import drop_listing, write_listing
    from lora_recipes.plan.preflight import full_check
    from lora_recipes.recipe.data_folder import data_folder
    from lora_recipes.recipe.kept import no_git, to_add, unkept
    from lora_recipes.recipe.load import resolve
    from lora_recipes.recipe.pin import pin as write_pin

    recipe, report = resolve(root).recipe, PlainReporter()
    manifest, problems = full_check(root, recipe.dataset, recipe.prepare, report)
    for problem in problems:
        report.warn(f"`dvc repro` would stop at this: {problem}")
    file, listing = write_pin(root, options.recipe, manifest.hash), write_listing(root, manifest)
    drop_listing(root, recipe.dataset.manifest)
    if lost := no_git(root) or unkept(root, data_folder(root)):
        report.warn(str(lost))
    written = file.relative_to(root).as_posix()
    names = [to_add(root, data_folder(root)), written, listing.relative_to(root).as_posix()]
    print(f"{written}: dataset.manifest = {manifest.hash}")
    print(
        f"{counted(len(manifest.images), 'image')} accepted; next: `{as_called('plan')}`, "
        f"`dvc repro`, and for the commit `git add {' '.join(names)}`"
    )
    return 0


def caption(options: argparse.Namespace, root: Path) -> int:
    """Write a caption beside every picture that has none, as a captioning model sees it.

    The model is BLIP or Florence-2, from Hugging Face at a pinned commit or from a folder; its
    weights are safetensors, and code that comes with it is never run. The trigger is put in front.
    A picture that has a caption file or a line of metadata.jsonl keeps it; the words of a N_name
    folder are no caption of a picture's own. Exit code 1: some pictures have none still.
    """
    from lora_recipes.caption.run import Ask, run
    from lora_recipes.caption.target import target_of
    from lora_recipes.console import reporter

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    gc.enable()
    names = ("model", "revision", "prompt", "max_tokens", "trigger", "overwrite", "device",
             "dry_run")  # fmt: skip
    ask = Ask(**{name: getattr(options, name) for name in names})
    done = run(root, target_of(root, options.folder), ask, reporter(_progress(root)))
    print(json_text(done.as_dict()) if options.json else done.text(root))
    for text in told(done.problems):
        print(text, file=sys.stderr)
    return 1 if done.problems else 0


def stage(options: argparse.Namespace, root: Path) -> int:
    """Run one stage of the pipeline; `dvc repro` calls this."""
    from lora_recipes.console import reporter
    from lora_recipes.reporting import Quiet
    from lora_recipes.stages.check import before

    # transformers says at each start that it does without torchvision
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # most of what a stage makes stays, or is counted down: rarely look for garbage
    gc.enable()
    gc.set_threshold(50_000)
    report = reporter(_progress(root)) if _prints() else Quiet()
    before(options.name, root, report)
    module: Any = importlib.import_module(f"lora_recipes.stages.{options.name}")
    module.run(root, report)
    return 0


def verify(options: argparse.Namespace, root: Path) -> int:
    """Run a commit again in a folder of its own, and compare every byte that comes out.

    It runs the commit's own code, and with --env installs its packages: verify only commits that
    you trust. Nothing of yours is touched: not the working tree, the cache, checkpoints or git's
    index. Exit codes: 0 reproduced, 1 not reproduced (with how far the adapter is off, and the
    environment then and now), 2 cannot tell (with what is missing).
    """
    from lora_recipes.console import follower
    from lora_recipes.provenance.verdict import cannot_tell
    from lora_recipes.provenance.verify import Wanted, verify

    wanted = Wanted(
        name=options.revision,
        every_stage=options.all,
        pull=options.pull,
        own_environment=options.env,
        keep=options.keep,
    )
    try:
        with follower(_progress(root)) as report:
            verdict = verify(root, wanted, report)
    except CannotTell as error:
        if options.json:
            print(json_text(cannot_tell(options.revision, error)))
        raise
    print(json_text(verdict.as_dict()) if options.json else verdict.text())
    return 1 if verdict.differing else 0


def _prints() -> bool:
    """Of several processes that train together, only the first of each machine prints."""
    from lora_recipes.train.distributed.ranks import local_rank

    return local_rank(os.environ) == 0


def inspect(options: argparse.Namespace, root: Path) -> int:
    """Show what an adapter file is: recipe, base, ranks, modules, norms, hashes.

    For this project's files and for anybody's: kohya, diffusers, peft, OneTrainer, ai-toolkit,
    LyCORIS. What the file does not say is called not stated.
    """
    from lora_recipes.formats.inspection import inspect_adapter
    from lora_recipes.formats.table import table

    facts = inspect_adapter(Path(options.file))
    print(json_text(facts.as_dict()) if options.json else table(facts))
    return 0


def trace(options: argparse.Namespace, root: Path) -> int:
    """Name the commits, branches, tags and experiments that made an adapter file.

    By its bytes; by its tensors, where a program has written it anew; by its recipe, where the
    numbers were changed too. Exit code 2: nothing here made it, and what was looked at.
    """
    from lora_recipes.provenance.trace import trace
    from lora_recipes.provenance.trace_text import text
    from lora_recipes.provenance.verify import check_folder

    check_folder(root)
    print(text(trace(root, Path(options.file))))
    return 0


def diff(options: argparse.Namespace, root: Path) -> int:
    """Compare two commits, tags, branches, experiments or adapter files.

    Which recipe keys, images, captions, code, packages, environment and metrics differ, and how far
    the tensors lie apart: the adapters of commits are read from DVC's cache.
    """
    from lora_recipes.provenance.difference import compare

    found = compare(root, options.before, options.after)
    print(json_text(found.as_dict()) if options.json else found.text())
    return 0


def _progress(root: Path) -> str:
    from lora_recipes.recipe.params import runtime

    try:
        return str(runtime(root).progress)
    except UserError:
        return "auto"  # resolve is about to name the mistake properly


def _names(parser: argparse.ArgumentParser) -> list[str]:
    """Every command there is."""
    (commands,) = (a.choices for a in parser._actions if a.dest == "command_name")
    return list(commands or ())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=as_called(),
        description="Reproducible training recipes for SDXL LoRA adapters.",
        epilog="The pipeline itself is run by `dvc repro`. Exit codes: 0 done, 1 fix your recipe "
        "or data, 2 usage or cannot tell.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command_name", required=True, metavar="COMMAND")

    def add(command: Command) -> argparse.ArgumentParser:
        text = getdoc(command) or ""
        sub = commands.add_parser(command.__name__, help=text.partition("\n")[0], description=text)
        sub.set_defaults(command=command, parser=sub)
        return sub

    sub = add(validate)
    sub.add_argument("recipe", nargs="*", help="recipes by name; all of them and params.yaml")
    sub.add_argument("--strict", action="store_true", help="warnings are errors")
    add(explain).add_argument(
        "key", nargs="?", help="a dotted key, such as lora.rank, or a section"
    )
    add(plan)
    add(pin).add_argument(
        "recipe", nargs="?", help="the recipe to write into, instead of params.yaml"
    )
    caption_options(add(caption))
    add(stage).add_argument("name", choices=STAGES, metavar="NAME", help=", ".join(STAGES))
    sub = add(verify)
    sub.add_argument("revision", help="a commit, tag, branch or DVC experiment")
    sub.add_argument("--all", action="store_true", help="every stage, not training alone")
    sub.add_argument("--pull", action="store_true", help="fetch data and base model if missing")
    sub.add_argument("--env", action="store_true", help="with the commit's own requirements.lock")
    sub.add_argument("--json", action="store_true", help="one JSON document instead of text")
    sub.add_argument("--keep", action="store_true", help="leave the folder in which it was run")
    sub = add(inspect)
    sub.add_argument("file", help="an adapter, .safetensors")
    sub.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    add(trace).add_argument("file", help="an adapter, .safetensors, under any name")
    sub = add(diff)
    for name in ("before", "after"):
        sub.add_argument(name, help="a commit, tag, branch, DVC experiment or adapter file")
    sub.add_argument("--json", action="store_true", help="one JSON document instead of text")
    return parser
