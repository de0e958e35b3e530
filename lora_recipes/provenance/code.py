"""What code a stage's result depends on, as a hash that comments and docstrings do not move.

DVC knows files, not imports. `resolve` writes `code.<stage>` into resolved.yaml and each stage
tracks its own: a changed formula reruns the stages that can reach it, a changed comment none.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lora_recipes.files import write_text
from lora_recipes.hashing import digest, sha256_bytes, sha256_file

STAGES = ("dataset", "prepare", "encode", "train", "sample", "report")
"""The stages whose code is tracked. `resolve` itself depends on the whole package as files."""

PACKAGE = Path(__file__).resolve().parent.parent

_PARSER = sha256_file(Path(__file__))
"""What was parsed by other code than this counts as unknown."""


@dataclass(frozen=True)
class Source:
    """What a hash needs to know of a module."""

    statements: str
    """Hash of what it does: without comments, docstrings and layout."""

    imports: list[str]
    """Dotted names that it imports; of `from a import b` both `a` and `a.b`."""


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
        self._sources: dict[Path, Source] = {}

    def of(self, file: Path) -> Source:
        """What a module does and imports."""
        if file not in self._sources:
            content = file.read_bytes()
            module = _module_name(self.package, file)
            key = digest([_PARSER, module, sha256_bytes(content)])
            source = _checked(self._old.get(key))
            if source is None:
                tree = ast.parse(content, file.name)
                names = sorted(set(_imported_names(tree, module)))
                source = Source(digest(_statements(tree)), names)
            self._known[key] = {**asdict(source), "check": digest(asdict(source))}
            self._sources[file] = source
        return self._sources[file]

    def save(self) -> None:
        """Keep what is known, for the next time."""
        if self._file is not None and self._known != self._old:
            write_text(self._file, json.dumps(self._known) + "\n")

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._file.read_bytes()) if self._file else {}
        except (OSError, ValueError):
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
    for stage in STAGES:
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

    Data files (configs, templates) count with the package folder in which they lie. The package's
    own `__init__` is left out: it holds the version, which is no part of any formula.
    """
    modules: set[Path] = set()
    waiting = [entry]
    while waiting:
        file = waiting.pop()
        if file in modules:
            continue
        modules.add(file)
        for name in sources.of(file).imports:
            waiting.extend(_files_of(package, name))
    modules.discard(package / "__init__.py")
    folders = {file.parent for file in modules} - {package}
    data = {path for folder in folders for path in _data_files(folder)}
    return sorted(modules | data)


def _checked(entry: Any) -> Source | None:
    """A remembered source, or None where it is not what was written."""
    try:
        source = Source(entry["statements"], entry["imports"])
        return source if entry["check"] == digest(asdict(source)) else None
    except (TypeError, KeyError, ValueError):
        return None


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
    if parts[0] != package.name:
        return
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
