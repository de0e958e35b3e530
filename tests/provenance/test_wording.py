"""Each text of the code that stages run: its words count where they can reach an output, only."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_recipes.pipeline import HASHED
from lora_recipes.provenance.code import PACKAGE, Sources, closure
from lora_recipes.provenance.messages import WORDING, WORDS, is_wording
from lora_recipes.provenance.statements import statements
from lora_recipes.provenance.syntax import stands_alone
from lora_recipes.provenance.wording import words

READS = re.compile(r"[a-z]{2,},? [a-z]")
"""Two words beside each other: a text that people read, where it is not one of those below."""

PAGE = ("recipe/judging.py", "report/", "sample/png_text.py", "processor.py")
"""Where texts that read like that are written into an output, or read from another's."""

COUNT_ALL_THE_SAME = {
    "adapter/metadata.py": {"LoRA adapter made by lora-recipes"},  # a field of the header
    "base/load.py": {"random weights"},  # the purpose of a draw
    "dataset/walk.py": {"system volume information"},  # a folder's name
    # What is looked for in others' texts, and the fallback in which it is looked for.
    "base/statements.py": {
        "zero terminal SNR",
        "the scheduler of SDXL 1.0, which a single file is trained with,",  # in `Statement`
    },
    "recipe/yamlfile.py": {
        *("duplicate key", "another document", "undefined alias", "constructor for the tag"),
        *("cannot start any token", "unexpected end of stream", 'found duplicate key "(.*?)"'),
        "cannot be understood",
    },
    # Ways out, and the name of a model that is loaded, which another module puts into its message.
    "dataset/generated.py": {"run `dvc repro prior`, which writes it anew"},
    "dataset/manifest.py": {"run `dvc repro`, which writes it"},
    "encode/build.py": {"the text encoders of "},
    "encode/pictures.py": {"run `dvc repro prepare`, which writes it anew"},
    "encode/store.py": {"run `dvc repro encode`, which writes it anew"},
    "sample/index.py": {"run `dvc repro sample`, which writes it"},
    "train/loop.py": {"the training has "},  # of a method, which any class may override
    "train/same_form.py": {
        *(" is not ", " does not hold what belongs there", " is not of length ", "of the type "),
    },
    "train/results.py": {"The recipe's train.snapshots keeps none.\n"},  # a file's content
    # Notes on a picture: kept with what is known of it, which a change has to make anew.
    "dataset/colour.py": {
        *("with a palette", 'converted to sRGB from the colour profile "'),
        "in CMYK without a usable ICC profile, so their colours are approximate",
        "with a colour profile that cannot be used, so taken as sRGB",
    },
    "dataset/decode.py": {
        *("of which Pillow says: ", " but holding ", ", which is what counts"),
        "partly transparent, where prepare.background shows",
        "turned upright as their EXIF orientation asks",
        "with several frames or pages, of which the first is used",
        "with 16 bits per channel, of which the high 8 are used",
    },
}
"""Texts that read like a message and count."""

MUST_COUNT = {
    "adapter/names.py": {"lora_unet_"},
    "adapter/parts.py": {"unet", "lora", "lora_down", "lora_up", ".alpha"},
    "adapter/metadata.py": {"LoRA adapter made by lora-recipes", "ss_"},
    "base/load.py": {"random weights"},
    "base/statements.py": {"epsilon", "v_prediction", "prediction_type"},
    "base/single_file.py": {"model.diffusion_model.", "v_pred", "position_ids"},
    "dataset/captions.py": {"file_name", "text", "file", "metadata", "folder", "template"},
    "dataset/manifest.py": {"schema", "images", "pictures", "hash"},
    "dataset/prepare.py": {".png"},
    "dataset/suffixes.py": {".jpg"},
    "encode/store.py": {"safetensors"},
    "files.py": {".tmp"},
    "tensors.py": {"__metadata__", "dtype", "data_offsets", "F32", "BF16"},
    "diffusion/noise.py": {"noise", "offset"},
    "diffusion/timesteps.py": {"timestep"},
    "train/module.py": {"posterior"},
    "train/results.py": {"losses.json", "loss_first", "steps"},
}
"""Names of tensors and files, fields of headers and tables, purposes of draws: floors."""


def files() -> list[Path]:
    sources = Sources(PACKAGE)
    every = (closure(PACKAGE, PACKAGE / "stages" / f"{name}.py", sources) for name in HASHED)
    return sorted({file for found in every for file in found if file.suffix == ".py"})


FILES = {file.relative_to(PACKAGE).as_posix(): file.read_text("utf-8") for file in files()}


def texts(tree: ast.AST) -> list[ast.Constant]:
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return [node for node in found if isinstance(node.value, str) and node.value.strip()]


def counting(name: str) -> tuple[set[str], set[str]]:
    """The texts of a module whose words count, and the others.

    Each text is replaced by a number of its own, all at once: what is a message does not depend
    on its words, so this is the same as changing one text after another.
    """
    tree = ast.parse(FILES[name])
    values = {}
    for number, node in enumerate(texts(tree)):
        values[number], node.value = str(node.value), f"<text {number}>"
    seen = {int(number) for number in re.findall(r"<text (\d+)>", repr(statements(tree)))}
    return (
        {value for number, value in values.items() if number in seen},
        {value for number, value in values.items() if number not in seen},
    )


COUNTING = {name: counting(name) for name in FILES}


def test_no_text_that_people_read_counts_except_those_that_stand_in_an_output():
    assert len(FILES) > 100
    told = [text for _, others in COUNTING.values() for text in others if READS.search(text)]
    assert len(told) > 500
    for name, (counted, _) in COUNTING.items():
        if not name.startswith(PAGE):
            read = {text for text in counted if READS.search(text)}
            assert read == COUNT_ALL_THE_SAME.get(name, set()), name


@pytest.mark.parametrize("name", MUST_COUNT)
def test_names_in_outputs_and_purposes_of_draws_count(name):
    counted, _ = COUNTING[name]
    whole = "\n".join(counted)
    assert [text for text in sorted(MUST_COUNT[name]) if text not in whole] == []


def test_where_no_message_is_made_every_text_counts():
    """Docstrings apart, and what an exception or an assertion of ours says."""
    silent = 0
    for name, source in FILES.items():
        tree = ast.parse(source)
        if any(isinstance(node, (ast.Raise, ast.Assert)) for node in ast.walk(tree)):
            continue
        if any(word in source for word in ("errors", "report", "bar.", WORDING)):
            continue
        alone = {id(node.value) for node in ast.walk(tree) if stands_alone(node)}
        expected = {str(node.value) for node in texts(tree) if id(node) not in alone}
        assert COUNTING[name][0] >= expected, name
        silent += len(expected)
    assert silent > 300


def nodes(text: str) -> list[object]:
    return statements(ast.parse(textwrap.dedent(text)))


TOLD = [
    "def f(a):\n    what = {0}\n    raise UserError(Problem(what=what, fix='x'))",
    "def f(a):\n    what, fix = {0}, 'b'\n    return Problem(what, fix)",
    "def f(a):\n    what = {0} if a else ''\n    if what:\n        report.say(what)",
    "def f(a):\n    what = 'a'\n    what += {0}\n    report.warn(f'{{what}}!')",
    "def f(a):\n    return [Problem(what=w) for w in ({0}, 'b')]",
    "def f(a):\n    for word, n in (({0}, 1), ('b', 2)):\n        g(n, Problem(word))",
    "def _no(what):\n    return Problem(what=what)\ndef f(a):\n    return _no({0})",
    "def _no(*, what):\n    return Problem(what=what)\ndef f(a):\n    return _no(what={0})",
    "def _why(a):\n    return {0} if a > 1 else None\n"
    "def f(a):\n    if (why := _why(a)) is not None:\n        report.say(why)",
    "_A = {{1: {0}}}\ndef f(a):\n    report.say(_A.get(a, 'other'))",
    "_A = ((1, {0}), (2, 'b'))\ndef f(a):\n    report.say(next((t for n, t in _A if n == a), 'c'))",
    "A: Wording = {0}\ndef f(a):\n    report.say(A)",
    "def f(a) -> Wording:\n    return {0}",
    "def f(a):\n    raise BadLine({0}, f'{{shown(a)}}') from a",
]


@pytest.mark.parametrize("code", TOLD)
@pytest.mark.parametrize("other", ["'other words'", "f'{a} words'"])
def test_a_text_that_only_reaches_messages_does_not_count(code, other):
    assert nodes(code.format("'words'")) == nodes(code.format(other))


COUNTS = [
    "def f(a):\n    what = {0}\n    report.say(what)\n    return what",
    "def f(a):\n    what = {0}\n    report.say(what)\n    a.what = what",
    "def f(a):\n    what = {0}\n    report.say(what)\n    g(what)",
    "def f(a):\n    what = {0}\n    report.say(what)\n    return lambda: what",
    "def f(a):\n    what = {0}\n    def g():\n        return what\n    report.say(what)\n    g()",
    "def f(a):\n    what = {0}\n    b = what\n    report.say(what)\n    return b",
    "def f(a):\n    what = {0}\n    if what == a:\n        report.say(what)",
    "def f(a):\n    what = {0}\n    if what in a:\n        report.say(what)",
    "def f(a):\n    what = {0}\n    return Problem(what), len(what)",
    "def f(a):\n    what = {0}\n    report.say(store(what))",
    "def f(a):\n    names = [{0}]\n    names.append(a)\n    report.say(names)\n    return names[0]",
    "def f(a, out):\n    out += [{0}]",
    "def f(a, out):\n    out.append({0})",
    "def f(a):\n    for letter in {0}:\n        a += 1\n    return a",
    "def f(a):\n    word = {0}\n    for letter in word:\n        a += 1\n    return a",
    "def f(a):\n    global what\n    what = {0}\n    report.say(what)",
    "def f(a):\n    with open({0}) as what:\n        report.say(what)",
    "def f(a):\n    return {{{0}: Problem(a)}}",
    "def f(a):\n    report.say({{{0}: 1}}[a])\n    return a[{0}]",
    "def f(a):\n    return Image(caption={0})",
    "def f(a):\n    yield {0}",
    "def f(a):\n    return {0}",
    "def _no(what):\n    return Problem(what=what), what\ndef f(a):\n    return _no({0})",
    "def _no(what):\n    return Problem(what=what)\ndef f(a):\n    return map(_no, a), a({0})",
    "def _why(a):\n    return {0}\ndef f(a):\n    report.say(_why(a))\n    return _why(a)",
    "def _why(a):\n    return {0}\ndef f(a):\n    report.say(_why(a))\n    return map(_why, a)",
    "def why(a):\n    return {0}\ndef f(a):\n    report.say(why(a))",
    "def no(what):\n    return Problem(what)\ndef f(a):\n    return no({0})",
    "A = {0}\ndef f(a):\n    report.say(A)",
    "_A = {0}\ndef f(a):\n    report.say(_A)\n    return _A",
    "_A = {{{0}: 'b'}}\ndef f(a):\n    report.say(_A[a])",
    "_A = ((1, {0}), (2, 'b'))\ndef f(a):\n    for n, t in _A:\n        report.say(g(t))",
    "class A:\n    _why = {0}\n    def f(self):\n        report.say(self._why)",
    "class A:\n    def _why(self):\n        return {0}\n    def f(self):\n        report.say(_why)",
]


@pytest.mark.parametrize("code", COUNTS)
def test_a_text_that_also_goes_elsewhere_counts(code):
    assert nodes(code.format("'words'")) != nodes(code.format("'other words'"))


def test_whether_a_text_is_empty_counts():
    code = "def f(a):\n    what = {0} if a else 'b'\n    if what:\n        report.say(what)"
    assert nodes(code.format("'words'")) != nodes(code.format("''"))


def test_no_module_takes_what_is_private_to_another():
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lora_recipes"):
                private = [alias.name for alias in node.names if re.match("_(?!_)", alias.name)]
                assert private == [], file


def declared() -> Iterator[tuple[str, str]]:
    """(module, name) of what says of itself that it is wording; a class's `__str__` apart."""
    for name, source in FILES.items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and is_wording(node.returns):
                yield name, node.name
            elif isinstance(node, ast.AnnAssign) and is_wording(node.annotation):
                assert isinstance(node.target, ast.Name)
                yield name, node.target.id


def test_what_is_declared_to_be_wording_is_used_in_messages_only():
    found = list(declared())
    assert len(found) > 5
    for name, source in FILES.items():
        tree = ast.parse(source)
        taken = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            for module, declared_name in found
            if node.module == f"lora_recipes.{module.removesuffix('.py').replace('/', '.')}"
            and alias.name == declared_name
        }
        own = {declared_name for module, declared_name in found if module == name}
        assert words(tree).counting & (taken | own) == set(), name


def test_whose_own_text_is_wording():
    """A value's kind and what is said of a prediction: both are shown in problems only."""
    found = {
        f"{name}: {node.name}"
        for name, source in FILES.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        if any(isinstance(item, ast.FunctionDef) and is_wording(item.returns) for item in node.body)
    }
    kinds = {"Kind", "Whole", "Number", "One", "Each", "Either", "Anything"}
    assert found == {f"base/values.py: {kind}" for kind in kinds} | {
        "base/statements.py: Statement"
    }


def test_modules_of_words_are_pure_and_give_nothing_only_for_nothing():
    from lora_recipes import text

    assert {text.__name__} == WORDS
    assert text.counted(0, "picture") == "0 pictures"
    assert text.first_few([], 3) == ""
    assert text.first_few(["a"], 3) == "a"
    for node in ast.walk(ast.parse((PACKAGE / "text.py").read_text("utf-8"))):
        assert not (isinstance(node, ast.Name) and node.id in ("open", "print", "Path"))
