"""One wrong value: what the user reads."""

from __future__ import annotations

import pytest

from lora_recipes.recipe.load import resolve
from tests.recipe.conftest import message

RATE = "a number above 0 up to 0.1, or auto"
RANK = "a whole number from 1 to 1,024"
IN_RANGE = "choose a value in that range; the default is "


@pytest.mark.parametrize(
    ("written", "what", "allowed", "fix"),
    [
        ("lora: {rank: 0}", "lora.rank = 0", RANK, IN_RANGE + "128"),
        ("lora: {rank: -4}", "lora.rank = -4", RANK, IN_RANGE + "128"),
        ("lora: {rank: '8'}", "lora.rank = '8'", RANK, "write it without quotes"),
        ("lora: {rank: 8.0}", "lora.rank = 8.0", RANK, "write a whole number, 8"),
        (
            "lora: {rank: true}",
            "lora.rank = true",
            RANK,
            "choose what is allowed; the default is 128",
        ),
        (
            "lora: {rank: [8]}",
            "lora.rank = [8]",
            RANK,
            "choose what is allowed; the default is 128",
        ),
        (
            "lora: {rank: {a: 8}}",
            "lora.rank is a mapping",
            RANK,
            "write one value after the colon",
        ),
        (
            "lora: {alpha: 0}",
            "lora.alpha = 0",
            "a number above 0 up to 4,096",
            IN_RANGE + "128.0",
        ),
        ("train: {learning_rate: 0}", "train.learning_rate = 0", RATE, IN_RANGE + "0.0001"),
        (
            "train: {learning_rate: -1e-4}",
            "train.learning_rate = -0.0001",
            RATE,
            IN_RANGE + "0.0001",
        ),
        (
            "train: {learning_rate: 1e6}",
            "train.learning_rate = 1000000.0",
            RATE,
            IN_RANGE + "0.0001",
        ),
        ("train: {learning_rate: .nan}", "train.learning_rate = nan", RATE, IN_RANGE + "0.0001"),
        (
            "train: {learning_rate: '1e-4'}",
            "train.learning_rate = '1e-4'",
            RATE,
            "write it without quotes",
        ),
        ("train: {learning_rate: atuo}", "train.learning_rate = atuo", RATE, "did you mean auto?"),
        (
            "train: {optimizer: adam}",
            "train.optimizer = adam",
            "adafactor or adamw",
            "did you mean adamw?",
        ),
        (
            "prepare: {upscale: yes}",
            "prepare.upscale = yes",
            "true or false",
            "choose what is allowed; the default is false",
        ),
        (
            "prepare: {resolution: 1020}",
            "prepare.resolution = 1020",
            "a whole number from 64 to 4,096, a multiple of 8, or [width, height] of such",
            IN_RANGE + "1024",
        ),
        (
            "prepare: {resolution: [832, 1217]}",
            "prepare.resolution = [832, 1217]",
            "a whole number from 64 to 4,096, a multiple of 8, or [width, height] of such",
            "choose what is allowed; the default is 1024",
        ),
        (
            "train: {snapshots: [0.5, 1.5]}",
            "train.snapshots[1] = 1.5",
            "a list of: a number above 0 and below 1",
            IN_RANGE + "[]",
        ),
        (
            "sample: {prompts: a text}",
            "sample.prompts = a text",
            "a list of texts",
            'write it as a list: ["a text"]',
        ),
        (
            "sample: {prompts: 'a {trigger}, smiling'}",
            "sample.prompts = a {trigger}, smiling",
            "a list of texts",
            'write it as a list: ["a {trigger}, smiling"]',
        ),
        (
            "train: {snapshots: 0.5}",
            "train.snapshots = 0.5",
            "a list of: a number above 0 and below 1",
            "write it as a list: [0.5]",
        ),
        (
            "train: {snapshots: '0.5'}",
            "train.snapshots = '0.5'",
            "a list of: a number above 0 and below 1",
            "write it as a list: [0.5]",
        ),
        (
            "sample: {seeds: 7}",
            "sample.seeds = 7",
            "a list of whole numbers",
            "write it as a list: [7]",
        ),
        (
            "compute: {device: gpu}",
            "compute.device = gpu",
            "auto, cpu, cuda or mps",
            "did you mean cuda?",
        ),
        (
            "compute: {precision: Half}",
            "compute.precision = Half",
            "fp32, bf16 or fp16",
            "did you mean fp16?",
        ),
        (
            "sample: {prompts: [x, null]}",
            "sample.prompts[1] = null",
            "a list of texts",
            "choose what is allowed; the default is []",
        ),
        (
            "dataset: {manifest: 1234}",
            "dataset.manifest = 1234",
            "unpinned, or sha256: and 64 hex digits",
            "choose what is allowed; the default is unpinned",
        ),
        (
            "dataset: {heldout: ../secret}",
            "dataset.heldout = ../secret",
            "the name of a sub-folder, without slashes, or none",
            "choose what is allowed; the default is none",
        ),
        (
            "lora: {alpha: '${train.seed}'}",
            "lora.alpha = 0 (from ${train.seed})",
            "a number above 0 up to 4,096",
            IN_RANGE + "128.0",
        ),
        (
            "lora: {alpha: '${train.sead}'}",
            "lora.alpha = ${train.sead} cannot be resolved",
            "${section.key} for another key's value",
            "did you mean train.seed?",
        ),
        (
            "lora: {alpha: '${lora.alpha}'}",
            "lora.alpha = ${lora.alpha} cannot be resolved",
            "${section.key} for another key's value",
            "give one of the keys a value of its own; they refer to one another",
        ),
        (
            "lora: {alpha: '${nothing:x}'}",
            "lora.alpha = ${nothing:x}",
            "${section.key} for another key's value; nothing else can be reached",
            "write the value itself, or name the key whole, as ${train.seed}",
        ),
        (
            "dataset: {trigger: 'a ${ b'}",
            "dataset.trigger = a ${ b",
            "${section.key} for another key's value",
            "complete it, or write \\${ for the two characters themselves",
        ),
        (
            "sample: {prompts: ['${']}",
            "sample.prompts = ${",
            "${section.key} for another key's value",
            "complete it, or write \\${ for the two characters themselves",
        ),
        (
            "train: {seed: '${oc.env:SEED}'}",
            "train.seed = ${oc.env:SEED}",
            "environment variables and ${runtime.…} under runtime only",
            "write the value itself; a result must not depend on this machine",
        ),
        (
            "train: {seed: '${runtime.workers}'}",
            "train.seed = ${runtime.workers}",
            "environment variables and ${runtime.…} under runtime only",
            "write the value itself; a result must not depend on this machine",
        ),
        (
            "train: {seed: '???'}",
            "train.seed = ???",
            "a whole number from 0 to 2^63 - 1",
            "fill in the value; ??? only marks its place",
        ),
        (
            "runtime: {workers: '${oc.env:NOT_SET_ANYWHERE}'}",
            "runtime.workers = ${oc.env:NOT_SET_ANYWHERE} cannot be resolved",
            "${section.key} for another key's value",
            "set the variable, or give a default: ${oc.env:NAME,default}",
        ),
        (
            "runtime: {workers: '${oc.env:NOT_SET_ANYWHERE,3}'}",
            "runtime.workers = ${oc.env:NOT_SET_ANYWHERE,3}, which is a text here",
            "a whole number from 0 to 256",
            "write ${oc.decode:${oc.env:NAME}}, which makes a number of the text",
        ),
        (
            "train.learning_rate: 0.001",
            "train.learning_rate is not a key",
            "one of recipe, data, base, dataset, prior, prepare, encode, lora, train, sample, "
            "compute, runtime",
            "write learning_rate on a line of its own under train:",
        ),
        (
            "lora: {noise_offset: 0.1}",
            "lora.noise_offset is not a key",
            "one of rank, alpha, targets",
            "write it under train:",
        ),
        (
            "lora: {quux: 0.1}",
            "lora.quux is not a key",
            "one of rank, alpha, targets",
            "remove the line",
        ),
        (
            "lora: {quux: null}",
            "lora.quux is not a key",
            "one of rank, alpha, targets",
            "remove the line",
        ),
        (
            "description: null",
            "description is not a key",
            "one of recipe, data, base, dataset, prior, prepare, encode, lora, train, sample, "
            "compute, runtime",
            "remove the line; each recipe says its own",
        ),
        (
            "sample: {prompts: [{a: '${'}]}",
            "sample.prompts = ${",
            "${section.key} for another key's value",
            "complete it, or write \\${ for the two characters themselves",
        ),
        (
            "lora: [8]",
            "lora is a list",
            "a mapping with rank, alpha, targets",
            "write the keys of lora on indented lines under it",
        ),
        (
            "lora:\n  rank:8\n  alpha:8",
            "lora is a text",
            "a mapping with rank, alpha, targets",
            "write a space after the colon: `rank: 8`",
        ),
        (
            "lora: https://example.org/lora",
            "lora is a text",
            "a mapping with rank, alpha, targets",
            "write the keys of lora on indented lines under it",
        ),
        (
            "lora: {rank:8, alpha: 8}",
            "lora.rank:8 is not a key",
            "one of rank, alpha, targets",
            "write a space after the colon: `rank: 8`",
        ),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed_and_the_fix(
    project, written, what, allowed, fix
):
    project.params(written + "\n")
    assert message(lambda: resolve(project.root)) == (
        f"params.yaml:3: {what}\n  allowed: {allowed}\n  fix:     {fix}"
    )


def test_in_a_recipe_null_is_no_value(project):
    project.recipe("lora: {rank: null}\ntrain: null\n")
    assert message(lambda: resolve(project.root)) == (
        "recipes/mine.yaml:5: lora.rank = null\n"
        "  allowed: a whole number from 1 to 1,024\n"
        "  fix:     remove the line, or give the key a value; in a recipe, null is no value\n"
        "recipes/mine.yaml:6: train = null\n"
        "  allowed: a mapping of keys\n"
        "  fix:     remove the line, or give the key a value; in a recipe, null is no value"
    )


def test_a_wrong_value_in_a_list_is_told_with_its_own_line(project):
    project.params("sample:\n  seeds:\n    - 1\n    - two\n")
    assert message(lambda: resolve(project.root)) == (
        "params.yaml:6: sample.seeds[1] = two\n"
        "  allowed: a list of whole numbers\n"
        "  fix:     choose what is allowed; the default is [0]"
    )
