"""What code a stage's result depends on, as a hash that comments and docstrings do not move.

DVC knows files, not imports. `resolve` writes `code.<stage>` into resolved.yaml and each stage
tracks its own: a changed formula reruns the stages that can reach it, a changed comment none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lora_recipes.dataset.cache import StatCache
from lora_recipes.hashing import digest, sha256_file

STAGES = ("dataset", "prepare", "encode", "train", "sample", "report")
"""The stages whose code is tracked. `resolve` itself depends on the whole package as files."""

PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Fact:
    """What a stage's hash takes from one file."""

    hash: str
    """Of a module's statements, or of a data file's bytes."""
    imports: tuple[str, ...] = ()
    """The dotted names of the package's own that a module imports."""


class Files:
    """The package's files, each looked at once; untouched ones not even that."""

    def __init__(self, package: Path, cache: Path | None = None) -> None:
        """Look into a package.

        Args:
            package: the package's folder.
            cache: the file that remembers what untouched files held, `.lora/code.json`.
        """
        self.package = package
        self._known = StatCache(cache, f"code 1 {sha256_file(Path(__file__))}") if cache else None
        self._facts: dict[Path, Fact] = {}
        self._reached: dict[Path, list[Path]] = {}

    def fact(self, file: Path) -> Fact:
        """A file's hash and imports."""
        if file not in self._facts:
            self._facts[file] = self._remembered(file) or self._look(file)
        return self._facts[file]

    def reached(self, module: Path) -> list[Path]:
        """The modules that a module's own import statements load."""
        if module not in self._reached:
            names = self.fact(module).imports
            found = (file for name in names for file in _files_of(self.package, name))
            self._reached[module] = list(dict.fromkeys(found))
        return self._reached[module]

    def save(self) -> None:
        """Remember for the next time."""
        if self._known is not None:
            self._known.save()

    def _remembered(self, file: Path) -> Fact | None:
        known = self._known.get(file, file.stat()) if self._known else None
        return Fact(known[0], tuple(known[1])) if known else None

    def _look(self, file: Path) -> Fact:
        before = file.stat()
        if file.suffix == ".py":
            tree = ast.parse(file.read_text("utf-8"), file.name)
            names = _imported_names(tree, _module_name(self.package, file))
            own = sorted({name for name in names if name.partition(".")[0] == self.package.name})
            fact = Fact(digest(_statements(tree)), tuple(own))
        else:
            fact = Fact(sha256_file(file))
        if self._known is not None:
            self._known.put(file, before, [fact.hash, fact.imports])
        return fact


def stage_hashes(package: Path = PACKAGE, cache: Path | None = None) -> dict[str, str]:
    """`sha256:…` of each stage's import closure: statements of modules, bytes of data files.

    Args:
        package: the package's folder.
        cache: the file that remembers what untouched files held.
    """
    files = Files(package, cache)
    hashes = {}
    for stage in STAGES:
        found = closure(files, package / "stages" / f"{stage}.py")
        parts = {file.relative_to(package).as_posix(): files.fact(file).hash for file in found}
        hashes[stage] = digest(parts)
    files.save()
    return hashes


def closure(files: Files, entry: Path) -> list[Path]:
    """All files of the package that importing `entry` can reach, function-level imports too.

    Data files (configs, templates) count with the package folder in which they lie. The package's
    own `__init__` is left out: it holds the version, which is no part of any formula.
    """
    package = files.package
    modules: set[Path] = set()
    waiting = [entry]
    while waiting:
        file = waiting.pop()
        if file not in modules:
            modules.add(file)
            waiting.extend(files.reached(file))
    modules.discard(package / "__init__.py")
    folders = {file.parent for file in modules} - {package}
    data = {path for folder in folders for path in _data_files(folder)}
    return sorted(modules | data)


def _module_name(package: Path, file: Path) -> str:
    return ".".join([package.name, *file.relative_to(package).with_suffix("").parts])


def _imported_names(tree: ast.Module, module: str) -> Iterator[str]:
    """Dotted names that a module imports; of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _files_of(package: Path, name: str) -> Iterator[Path]:
    """The module file of a dotted name and its packages' `__init__` files, where they exist."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        folder = package.joinpath(*parts[1 : depth + 1])
        for file in (folder / "__init__.py", folder.with_suffix(".py")):
            if file.is_file():
                yield file


def _data_files(folder: Path) -> Iterator[Path]:
    """Non-Python files below a package folder that belong to no package of their own."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__pycache__")):
            continue
        if path.is_dir():
            if not (path / "__init__.py").is_file():
                yield from (p for p in sorted(path.rglob("*")) if p.is_file())
        elif path.suffix not in (".py", ".pyc"):
            yield path


def _statements(node: ast.AST) -> list[object]:
    """A syntax tree as nested lists, the same for every Python version that can parse it.

    Positions, empty fields (versions differ in them) and strings that stand alone (docstrings)
    are left out.
    """
    out: list[object] = [type(node).__name__]
    for name, value in ast.iter_fields(node):
        if name in ("ctx", "kind", "type_comment", "type_ignores"):
            continue
        if isinstance(value, list):
            items = [_value(item) for item in value if not _stands_alone(item)]
            if items:
                out.append([name, items])
        elif value is not None:
            out.append([name, _value(value)])
    return out


def _value(value: object) -> object:
    return _statements(value) if isinstance(value, ast.AST) else repr(value)


def _stands_alone(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
