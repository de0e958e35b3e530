"""What code a stage's result depends on, as a hash that nothing moves which cannot move a byte.

DVC knows files, not imports. `resolve` writes `code.<stage>` into resolved.yaml and each stage
tracks its own: a changed formula reruns the stages that can reach it; a comment, a docstring, the
wording of a message or a module of `BYTE_FREE` reruns none.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lora_recipes.errors import UserError
from lora_recipes.files import read_bytes, write_text
from lora_recipes.hashing import digest, sha256_bytes, sha256_file
from lora_recipes.pipeline import HASHED
from lora_recipes.provenance.messages import WORDS
from lora_recipes.provenance.statements import statements
from lora_recipes.provenance.wording import Words, words

BYTE_FREE = (
    "command.py",
    "console.py",
    "errors.py",
    "machine.py",
    "pipeline.py",
    "recipe/kept.py",
    "recipe/length.py",
    "recipe/missing_folder.py",
    "recipe/params.py",
    "recipe/processes.py",
    "recipe/sections",
    "recipe/yaml_hints.py",
    "reporting.py",
    "train/fast/sources.py",
    "train/telling.py",
)
"""Modules and folders that no stage's hash covers, nor what they alone import.

They speak to the user (command, console, errors, kept, reporting, yaml_hints), refuse or foretell
and change nothing (length, machine, missing_folder, processes), read `runtime`, whose settings
change no byte (params), declare keys whose values stand in resolved.yaml (sections), say what
dvc.yaml says (pipeline), name libraries whose versions are tracked by themselves (sources), or tell
how a run was (telling). Nor does a module of `messages.WORDS` count where only messages use it.
`tests/provenance/test_code.py` holds each of them to that.
"""

COUNTS = "recipe/sections/section.py"
"""What lies in such a folder and counts all the same: what the marks on keys mean."""

PACKAGE = Path(__file__).resolve().parent.parent

_READERS = ("code.py", "messages.py", "statements.py", "syntax.py", "wording.py")
_PARSER = [sha256_file(Path(__file__).with_name(name)) for name in _READERS]
"""What was parsed by other code than this counts as unknown."""


@dataclass(frozen=True)
class ModuleFacts:
    """What a hash needs to know of a module."""

    statements: str
    """Hash of what it does: without comments, docstrings and layout."""

    imports: list[str]
    """Dotted names that it imports; of `from a import b` both `a` and `a.b`."""

    data: list[str]
    """The data files and folders beside it that it names in a text."""


class Sources:
    """Modules as they are, each parsed once; those of unchanged bytes not even that."""

    def __init__(self, package: Path, known: Path | None = None) -> None:
        """Begin.

        Args:
            package: the folder of the package.
            known: a file in which what was parsed is kept by its bytes' hash. Whatever is wrong
                with it, it is only slower: each entry is checked by a hash of its own.
        """
        self.package = package
        self._file = known
        self._old = self._read()
        self._known: dict[str, dict[str, Any]] = {}
        self._facts: dict[Path, ModuleFacts] = {}
        self._beside: dict[Path, dict[str, list[Path]]] = {}
        self._named: dict[str, list[Path]] = {}

    def of(self, file: Path) -> ModuleFacts:
        """What a module does and imports."""
        if file not in self._facts:
            content = file.read_bytes()
            module = _module_name(self.package, file)
            beside = sorted(self.beside(file.parent))
            key = digest([_PARSER, module, beside, sha256_bytes(content)])
            facts = _checked(self._old.get(key))
            if facts is None:
                tree = ast.parse(content, file.name)
                found = words(tree)
                facts = ModuleFacts(
                    statements=digest(statements(tree, found)),
                    imports=sorted(set(_imported_names(tree, module, found))),
                    data=_named(tree, beside),
                )
            self._known[key] = {**asdict(facts), "check": digest(asdict(facts))}
            self._facts[file] = facts
        return self._facts[file]

    def beside(self, folder: Path) -> dict[str, list[Path]]:
        """The data files and folders in a package folder: each name with its files."""
        if folder not in self._beside:
            self._beside[folder] = _data(folder)
        return self._beside[folder]

    def named(self, name: str) -> list[Path]:
        """The module file of a dotted name and its packages' `__init__` files."""
        if name not in self._named:
            self._named[name] = list(_files_of(self.package, name))
        return self._named[name]

    def save(self) -> None:
        """Keep what is known, for the next time."""
        if self._file is not None and self._known != self._old:
            with suppress(UserError):  # it cannot be written: only slower
                write_text(self._file, json.dumps(self._known) + "\n")

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(read_bytes(self._file)) if self._file else {}
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def stage_hashes(package: Path = PACKAGE, known: Path | None = None) -> dict[str, str]:
    """`sha256:…` of each stage's import closure: statements of modules, bytes of data files.

    Args:
        package: the folder of the package.
        known: as `Sources` has it.
    """
    sources = Sources(package, known)
    hashes = {}
    for stage in HASHED:
        files = closure(package, package / "stages" / f"{stage}.py", sources)
        parts = {
            file.relative_to(package).as_posix(): sources.of(file).statements
            if file.suffix == ".py"
            else sha256_file(file)
            for file in files
        }
        hashes[stage] = digest(parts)
    sources.save()
    return hashes


def closure(package: Path, entry: Path, sources: Sources) -> list[Path]:
    """All files of the package that importing `entry` can reach, function-level imports too.

    A data file (a config, a template) counts with the modules beside it that name it or its folder;
    one that none of them names, with all of them. The package's own `__init__` is left out: it
    holds the version, which is no part of any formula.
    """
    left_out = {package / name for name in (*BYTE_FREE, "__init__.py")}
    kept = package / COUNTS
    modules: set[Path] = set()
    waiting = [entry]
    while waiting:
        file = waiting.pop()
        if file in modules or (file != kept and not left_out.isdisjoint((file, *file.parents))):
            continue
        modules.add(file)
        for name in sources.of(file).imports:
            waiting.extend(sources.named(name))
    data = {path for file in modules for path in _data_of(file, sources)}
    return sorted(modules | data)


def unnamed_data(folder: Path, sources: Sources) -> set[str]:
    """The data files and folders in a package folder that no module beside them names."""
    modules = (file for file in folder.glob("*.py"))
    return set(sources.beside(folder)) - {
        name for file in modules for name in sources.of(file).data
    }


def _data_of(file: Path, sources: Sources) -> Iterator[Path]:
    """The data files that count with a module."""
    beside = sources.beside(file.parent)
    if not beside:
        return
    for name in {*sources.of(file).data, *unnamed_data(file.parent, sources)}:
        yield from beside[name]


def _data(folder: Path) -> dict[str, list[Path]]:
    """What lies in a package folder beside modules and packages: each name with its files."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__pycache__")) or path.suffix in (".py", ".pyc"):
            continue
        if not path.is_dir():
            found[path.name] = [path]
        elif not (path / "__init__.py").is_file() and any(path.rglob("*")):
            found[path.name] = [inner for inner in sorted(path.rglob("*")) if inner.is_file()]
    return found


def _named(tree: ast.Module, names: list[str]) -> list[str]:
    """Those names that stand as a text, or at the start of a path, in a module."""
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    starts = {text.partition("/")[0] for text in texts if isinstance(text, str)}
    return [name for name in names if name in starts]


def _checked(entry: Any) -> ModuleFacts | None:
    """What is remembered of a module, or None where it is not what was written."""
    try:
        facts = ModuleFacts(*(entry[part.name] for part in fields(ModuleFacts)))
        return facts if entry["check"] == digest(asdict(facts)) else None
    except (TypeError, KeyError, ValueError):
        return None


def _module_name(package: Path, file: Path) -> str:
    return ".".join([package.name, *file.relative_to(package).with_suffix("").parts])


def _imported_names(tree: ast.Module, module: str, found: Words) -> Iterator[str]:
    """Dotted names that a module imports; of `from a import b` both `a` and `a.b`.

    Functions of `WORDS` that it uses in messages only are left out.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            bound = {alias.asname or alias.name for alias in node.names}
            if base in WORDS and found.counting.isdisjoint(bound):
                continue
            if node.level:
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _files_of(package: Path, name: str) -> Iterator[Path]:
    """The module file of a dotted name and its packages' `__init__` files, where they exist."""
    parts = name.split(".")
    if parts[0] != package.name:
        return
    for depth in range(1, len(parts)):
        folder = package.joinpath(*parts[1 : depth + 1])
        for file in (folder / "__init__.py", folder.with_suffix(".py")):
            if file.is_file():
                yield file
