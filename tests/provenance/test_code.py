"""A stage's code hash moves with what the code does, and with nothing else."""

from __future__ import annotations

import ast
import functools
import json
import shutil
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lora_recipes import pipeline
from lora_recipes.pipeline import HASHED as STAGES
from lora_recipes.pipeline import stage
from lora_recipes.provenance.code import (
    BYTE_FREE,
    COUNTS,
    PACKAGE,
    Sources,
    closure,
    stage_hashes,
    unnamed_data,
)
from lora_recipes.provenance.statements import statements

HERE = Sources(PACKAGE)
"""The package as it is, each module parsed once for all tests."""


@functools.cache
def reached(name: str) -> list[Path]:
    """The closure of a stage of the package as it is."""
    return closure(PACKAGE, PACKAGE / "stages" / f"{name}.py", HERE)


MATHS = '''"""A module."""

from lora_recipes.deep import helper


def train(x: float) -> float:
    """Add one."""
    return helper.twice(x) + 1  # plain
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "lora_recipes"
    for folder in ("stages", "maths", "deep", "unused"):
        (root / folder).mkdir(parents=True)
        (root / folder / "__init__.py").write_text("")
    (root / "__init__.py").write_text('__version__ = "1"\n')
    for name in STAGES:
        (root / "stages" / f"{name}.py").write_text(f"STAGE = {name!r}\n")
    (root / "stages" / "train.py").write_text(
        "def run():\n    from lora_recipes.maths import core\n    return core.train(1)\n"
    )
    (root / "maths" / "core.py").write_text(MATHS)
    (root / "deep" / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    (root / "deep" / "table.json").write_text("[1]")
    (root / "unused" / "module.py").write_text("VALUE = 1\n")
    return root


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("maths/core.py", "# plain", "# explained at length"),
        ("maths/core.py", '"""Add one."""', '"""Add one to twice x."""'),
        ("maths/core.py", "twice(x) + 1", "twice(\n        x\n    ) + 1"),
        ("unused/module.py", "1", "2"),
        ("__init__.py", '"1"', '"2"'),
    ],
)
def test_comments_docstrings_layout_and_foreign_modules_move_no_hash(package, file, old, new):
    before = stage_hashes(package)
    edit(package / file, old, new)
    assert stage_hashes(package) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("stages/train.py", "train(1)", "train(2)"),
        ("maths/core.py", "+ 1", "- 1"),
        ("deep/helper.py", "2 * x", "3 * x"),
        ("deep/table.json", "[1]", "[2]"),
    ],
)
def test_whatever_the_stage_can_reach_moves_its_hash_and_only_its_own(package, file, old, new):
    before = stage_hashes(package)
    edit(package / file, old, new)
    after = stage_hashes(package)
    assert {stage for stage in STAGES if before[stage] != after[stage]} == {"train"}


def test_an_import_inside_a_function_and_a_relative_one_are_followed(package):
    edit(package / "maths/core.py", "from lora_recipes.deep import", "from ..deep import")
    found = closure(package, package / "stages/train.py", Sources(package))
    names = {file.relative_to(package).as_posix() for file in found}
    assert {"maths/core.py", "deep/helper.py", "deep/table.json"} <= names
    assert "unused/module.py" not in names


def test_the_real_stages_reach_their_own_floors_and_not_their_neighbours():
    def reach(stage: str) -> set[str]:
        return {file.relative_to(PACKAGE).parts[0] for file in reached(stage)}

    assert "train" in reach("train")
    assert not {"sample", "report", "pocket"} & reach("train")
    assert not {"train", "report", "pocket"} & reach("sample")
    assert not {"train", "sample", "encode", "base"} & reach("prepare")


def statements_of(text: str) -> list[object]:
    return statements(ast.parse(textwrap.dedent(text)))


RAISED = "raise UserError(Problem(where=str(path), what=f'is {size} long', fix='cut it'))"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (RAISED, RAISED.replace("is {size} long", "has {size} bytes, not {len(data)}")),
        (RAISED, RAISED.replace("str(path)", "path.name")),
        ("return UserError.of(fix='a' if one else 'b')", "return UserError.of(fix=', '.join(all))"),
        ("report.say(f'{n} done')", "report.say(f'{n} of {total} are done')"),
        ("self.report.warn('a')", "self.report.warn('b' + name)"),
        ("report.bar('train', 3)", "report.bar('training', total, 3)"),
        ("with report.loading('a'):\n    f()", "with report.loading(f'b of {name}'):\n    f()"),
        ("self.bar.advance(loss=loss)", "self.bar.advance(1 / 2, loss=loss, rate=1.0)"),
        ("raise ValueError('no')", "raise ValueError(f'no {name}')"),
        ("assert x, 'no'", "assert x"),
        ("def f():\n    'One.'\n    return 1", "def f():\n    'Other.'\n    return 1"),
    ],
)
def test_the_wording_of_a_message_is_no_statement(before, after):
    assert statements_of(before) == statements_of(after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("report.say(f'{n}')", "report.say(f'{(n := n + 1)}')"),
        ("report.say(f'{(n := n + 1)}')", "report.say(f'{(n := n + 2)}')"),
        ("report.say(f'{n}')", "report.say(f'{queue.pop()}')"),
        ("report.say(f'{queue.pop()}')", "report.say(f'{queue.popleft()}')"),
        ("Problem(what=shown(path))", "Problem(what=short(path))"),
        ("UserError.of(what=shown(path))", "UserError.of(what=short(path))"),
        ("Stream.of(repeats)", "Stream.of(times)"),
        ("raise SystemExit(1)", "raise SystemExit(0)"),
        ("raise ValueError('no')", "raise KeyError('no')"),
        ("raise Stop(step)", "raise Stop(step + 1)"),
        ("assert x, 'no'", "assert y, 'no'"),
        ("say('a')", "say('b')"),
        ("store.warn('a')", "store.warn('b')"),
        ("stream.advance(1)", "stream.advance(2)"),
        ("bar.advance(1)", "bar.advance(queue.pop())"),
        ("x = 'a'", "x = 'b'"),
    ],
)
def test_what_an_argument_of_a_message_does_and_what_is_no_message_counts(before, after):
    assert statements_of(before) != statements_of(after)


def test_an_empty_end_that_one_python_version_sees_in_a_format_is_no_statement():
    tree = ast.parse("x = f'{a:{size}}'")
    expected = statements(tree)
    (inner,) = [node for node in ast.walk(tree) if isinstance(node, ast.FormattedValue)][:1]
    assert isinstance(inner.format_spec, ast.JoinedStr)
    inner.format_spec.values.append(ast.Constant(""))
    assert statements(tree) == expected


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is, for edits; without the pocket's weights, which no stage's code is."""
    copy = tmp_path_factory.mktemp("copy") / "lora_recipes"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "model"))
    return copy


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("known") / "code.json"


@pytest.fixture(scope="module")
def unchanged(copied: Path, known: Path) -> dict[str, str]:
    return stage_hashes(copied, known)


@pytest.fixture
def moved(copied: Path, known: Path, unchanged: dict[str, str]):
    """Which stages' hashes an edit of one file moves. The file is as it was afterwards."""

    def by(file: str, change: Callable[[str], str]) -> set[str]:
        path = copied / file
        old = path.read_text("utf-8")
        new = change(old)
        assert new != old
        path.write_text(new, "utf-8")
        try:
            after = stage_hashes(copied, known)
        finally:
            path.write_text(old, "utf-8")
        return {name for name in STAGES if unchanged[name] != after[name]}

    return by


def insert(before: str, added: str) -> Callable[[str], str]:
    """Put lines before the first place where a text stands."""

    def change(text: str) -> str:
        assert before in text
        return text.replace(before, added + before, 1)

    return change


def swap(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


def flip(text: str) -> str:
    """Another operator in the first sum, product or quotient that is no part of a message."""
    before = statements(ast.parse(text))
    for number in range(sum(map(text.count, "+*/"))):
        tree = ast.parse(text)
        found = [n for n in ast.walk(tree) if isinstance(n, ast.BinOp)]
        found = [n for n in found if isinstance(n.op, (ast.Add, ast.Mult, ast.Div))]
        if number < len(found):
            found[number].op = ast.Sub()
            if statements(tree) != before:
                return ast.unparse(tree)
    raise AssertionError("there is no sum, product or quotient")


def reword(text: str) -> str:
    """Another word in the first `fix=` of a problem."""
    return swap('fix="', 'fix="please ')(text)


NEW_KEY = """    throw_away: Annotated[int, Field(ge=0), Off(0)] = 0
    \"\"\"A key that nothing reads.\"\"\"

"""

MOVES_NOTHING = {
    "a row of the speed table": ("plan/speeds.json", lambda text: text + " "),
    "a GPU's peak": ("plan/duration.py", lambda text: text + "\nPEAK = 1\n"),
    "a runtime key": ("recipe/sections/runtime.py", swap(
        "    progress: Ann", '    loud: bool = False\n    """Whether."""\n\n    progress: Ann')),
    "reading runtime": ("recipe/params.py", lambda text: text + "\nMORE = 1\n"),
    "a key of train that is off": ("recipe/sections/train.py", insert("    repeats: Ann", NEW_KEY)),
    "a key of sample that is off": ("recipe/sections/sample.py", insert("    seeds: ", NEW_KEY)),
    "a bound": ("recipe/sections/compute.py", swap("le=1024", "le=2048")),
    "help text": ("recipe/sections/lora.py", swap("Higher:", "More:")),
    "an error of training": ("train/checkpoints.py", reword),
    "an error of the adapter's file": ("adapter/file.py", reword),
    "an error of the data": ("dataset/find.py", reword),
    "an error of the base": ("base/locate.py", reword),
    "an error of encoding": ("encode/text.py", reword),
    "the layout of errors": ("errors.py", swap("  fix:     ", "  try:     ")),
    "a reporter": ("reporting.py", lambda text: text + "\nMORE = 1\n"),
    "a hint about YAML": ("recipe/yaml_hints.py", swap("there is a tab", "a tab is there")),
    "a fix in a table": ("recipe/yamlfile.py", swap("close the quotes", "add the quotes")),
    "what another file is": ("tensors.py", swap("is a web page", "seems to be a web page")),
    "what a checkpoint is": ("base/single_file.py", swap("is the SDXL", "must be the SDXL")),
    "a kind of value in words": ("base/values.py", swap("a whole number", "an integer")),
    "what a plan says": ("machine.py", swap("finds no", "sees no")),
    "what a text may hold": ("recipe/sections/kinds.py", swap("64 to 4,096", "64 up to 4,096")),
    "a bound of all sizes": ("recipe/sections/kinds.py", swap("le=4096", "le=8192")),
    "another mark on keys": ("recipe/sections/kinds.py", lambda text: text + "\nMORE = 1\n"),
    "a checked source": ("train/fast/sources.py", swap('forward": {', 'forward": {"0": "1.0", ')),
    "what a run is said to take": ("train/telling.py", flip),
    "a synonym": ("recipe/near.py", lambda text: text + "\nMORE = 1\n"),
    "a rule": ("recipe/rules_train.py", lambda text: text + "\nMORE = 1\n"),
    "how a command prints": ("console.py", flip),
    "a command": ("provenance/trace.py", lambda text: text + "\nMORE = 1\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES_NOTHING)
def test_what_cannot_move_a_byte_reruns_no_stage(moved, name):
    assert moved(*MOVES_NOTHING[name]) == set()


def test_what_turns_numbers_into_words_counts_where_the_words_are_an_output(moved):
    assert moved("text.py", flip) == {"report"}


ONE_OPERATOR = {
    "diffusion/noise.py": {"train"},
    "train/optim/adafactor.py": {"train"},
    "train/data/stream.py": {"train"},
    "adapter/inject.py": {"train", "sample"},
    "adapter/parts.py": {"train", "sample"},
    "encode/moments.py": {"encode"},
    "dataset/buckets.py": {"prepare"},
    "dataset/geometry.py": {"prepare", "report"},
    "recipe/cover.py": {"prepare", "encode", "report"},  # a mirrored picture's crop
    "dataset/captions.py": {"dataset"},
    "dataset/png.py": {"prior", "prepare"},
    "generate/generation.py": {"prior", "sample"},
    "report/charts.py": {"report"},
    "base/single_file.py": {"prior", "encode", "train", "sample"},
}


@pytest.mark.parametrize("file", ONE_OPERATOR)
def test_one_operator_reruns_the_stages_that_compute_with_it_and_only_those(moved, file):
    assert moved(file, flip) == ONE_OPERATOR[file]


def test_a_config_counts_with_the_modules_that_name_its_folder(moved):
    config = "base/configs/unet/config.json"
    assert moved(config, lambda text: text + " ") == {"prior", "encode", "train", "sample"}


def test_a_data_file_counts_with_the_modules_that_name_it_or_where_none_does_with_all(package):
    (package / "deep/other.py").write_text("VALUE = 1\n")
    edit(package / "stages/sample.py", "STAGE", "from lora_recipes.deep import other\nSTAGE")
    before = stage_hashes(package)
    (package / "deep/table.json").write_text("[2]")
    nobodys = stage_hashes(package)
    assert {name for name in STAGES if before[name] != nobodys[name]} == {"train", "sample"}
    edit(package / "deep/helper.py", "2 * x", "2 * x, 'table.json'")
    before = stage_hashes(package)
    (package / "deep/table.json").write_text("[3]")
    named = stage_hashes(package)
    assert {name for name in STAGES if before[name] != named[name]} == {"train"}


def test_every_data_file_of_the_package_is_named_by_a_module_beside_it():
    folders = {file.parent for file in PACKAGE.rglob("*.py")}
    assert len(folders) > 10
    found = {folder.name: names for folder in folders if (names := unnamed_data(folder, HERE))}
    assert found == {}


def test_no_stage_reaches_what_foretells_or_what_reads_recipes():
    for name in STAGES:
        names = {file.relative_to(PACKAGE).as_posix() for file in reached(name)}
        assert not [file for file in names if file.startswith(("plan/", "provenance/", "pocket/"))]
        for module in (
            "fields",
            "layers",
            "load",
            "merge",
            "model",
            "near",
            "rule",
            "rules",
            "values",
        ):
            assert f"recipe/{module}.py" not in names, name


# What is left out of the hashes is held to it, module by module.


def test_the_sections_hold_declarations_only():
    """Their values stand in resolved.yaml; what `Off` says may never change."""
    kinds_of_values = PACKAGE / "recipe/sections/kinds.py"
    files = set((PACKAGE / "recipe/sections").glob("*.py")) - {PACKAGE / COUNTS, kinds_of_values}
    assert len(files) > 8
    for file in files:
        for node in ast.parse(file.read_text("utf-8")).body:
            inside = node.body if isinstance(node, ast.ClassDef) else [node]
            kinds = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
            assert all(isinstance(item, kinds) for item in inside), f"{file.name}:{node.lineno}"


def test_kinds_of_values_are_used_to_declare_keys_and_by_nothing_that_a_stage_runs():
    for name in STAGES:
        assert list(imported(name, "lora_recipes.recipe.sections.kinds")) == []


def test_what_tells_how_a_run_was_writes_no_output_and_what_it_measures_goes_there_only():
    users = {file.name for file in reached("train") if "peak_bytes" in text_of(file)}
    assert users == {"loop.py", "job.py"}  # which put it into the outcome
    assert {"write_run", "peak_memory"} == set(imported("train", "lora_recipes.train.telling"))
    tree = ast.parse(text_of(PACKAGE / "train/telling.py"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    answers = {node.name: ast.unparse(node.returns) for node in functions if node.returns}
    assert answers == {"write_run": "None", "peak_memory": "int | None"}
    assert text_of(PACKAGE / "train/loop.py").count("peak_memory(") == 1
    assert "peak_bytes=peak_memory(" in text_of(PACKAGE / "train/loop.py")


def test_a_graphics_card_is_looked_for_only_to_refuse():
    for name in STAGES:
        assert set(imported(name, "lora_recipes.machine")) <= {"nvidia_card"}
    tree = ast.parse(text_of(PACKAGE / "base/compute.py"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    (user,) = [node for node in functions if "nvidia_card()" in ast.unparse(node)]
    assert user.returns is not None
    assert ast.unparse(user.returns) == "None"


def test_the_checked_sources_are_a_table():
    tree = ast.parse(text_of(PACKAGE / "train/fast/sources.py"))
    kinds = (ast.Expr, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    assert all(isinstance(node, kinds) for node in tree.body)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def text_of(file: Path) -> str:
    return file.read_text("utf-8") if file.suffix == ".py" else ""


def test_what_stages_take_from_the_table_stands_in_their_entry_of_dvc_yaml():
    """DVC itself reruns a stage whose entry changed."""
    taken = {name: list(imported(name, "lora_recipes.pipeline")) for name in STAGES}
    assert sum(map(len, taken.values())) > 10
    for name, names in taken.items():
        row = stage(name)
        paths = {*row.deps, *(output.path for output in row.outputs), pipeline.RESOLVED}
        for constant in set(names) - {"stage", "TRAINED_SECTIONS"}:
            value = getattr(pipeline, constant)
            assert value in paths or value == pipeline.PARAMS, f"{name} takes {constant}"
        assert "TRAINED_SECTIONS" not in names or row.sections == pipeline.TRAINED_SECTIONS


def test_what_refuses_or_speaks_answers_with_words_only():
    words = {"Problem | None", "list[Problem]", "str", "str | None", "Hint | None", "None", "bool"}
    speak = ("length", "processes", "yaml_hints", "missing_folder", "kept")
    for file in (*(f"recipe/{name}.py" for name in speak), "errors.py", "command.py"):
        tree = ast.parse((PACKAGE / file).read_text("utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        assert functions
        for function in functions:
            assert function.returns is not None
            # an error of one problem is the class itself, called in another way; and lines to print
            own = {("errors.py", "of"): "Self", ("errors.py", "told"): "list[str]"}
            allowed = words | {own.get((file, function.name), "str")}
            assert ast.unparse(function.returns) in allowed, f"{file}: {function.name}"


def test_a_reporter_gives_nothing_back():
    from lora_recipes.reporting import Bar, Reporter

    answers = [Reporter.say, Reporter.warn, Bar.advance]
    assert Reporter.loading.__annotations__["return"] == "AbstractContextManager[object]"
    assert [function.__annotations__["return"] for function in answers] == ["None"] * 3


def test_the_list_of_what_is_left_out_names_what_is_there():
    assert [name for name in BYTE_FREE if not (PACKAGE / name).exists()] == []
    # Of params, stages take `runtime` alone; tests/train/test_resume.py changes each of its keys.
    for name in STAGES:
        assert set(imported(name, "lora_recipes.recipe.params")) <= {"runtime"}


def imported(name: str, module: str) -> Iterator[str]:
    """What the modules of a stage import from one module."""
    for file in reached(name):
        if file.suffix == ".py":
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module == module:
                    yield from (alias.name for alias in node.names)


def test_what_is_remembered_gives_the_same_hashes_and_follows_every_edit(package, tmp_path):
    known = tmp_path / "code.json"
    first = stage_hashes(package, known)
    assert first == stage_hashes(package)
    assert stage_hashes(package, known) == first
    edit(package / "deep/helper.py", "2 * x", "3 * x")
    changed = stage_hashes(package, known)
    assert changed == stage_hashes(package) != first
    edit(package / "deep/helper.py", "3 * x", "2 * x")
    assert stage_hashes(package, known) == first


@pytest.mark.parametrize("damage", ["", "{", "[]", "7", "other hash", "other imports"])
def test_a_damaged_memory_changes_no_hash(package, tmp_path, damage):
    known = tmp_path / "code.json"
    expected = stage_hashes(package, known)
    if damage.startswith("other"):
        entries = json.loads(known.read_text())
        for entry in entries.values():
            entry.update({"statements": "sha256:0"} if damage == "other hash" else {"imports": []})
        damage = json.dumps(entries)
    known.write_text(damage)
    assert stage_hashes(package, known) == expected


def test_an_unchanged_module_is_not_parsed_again(package, tmp_path, monkeypatch):
    known = tmp_path / "code.json"
    expected = stage_hashes(package, known)
    parsed = []
    monkeypatch.setattr("ast.parse", lambda content, name: parsed.append(name))
    assert stage_hashes(package, known) == expected
    assert parsed == []
