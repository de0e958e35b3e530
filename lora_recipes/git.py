"""The environment in which git answers about the folder that it is asked in."""

from __future__ import annotations

import os

GIT_PLACES = frozenset(
    {
        *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE"),
        *("GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_NAMESPACE", "GIT_NO_REPLACE_OBJECTS"),
        *("GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE"),
        "GIT_WORK_TREE",
    }
)
"""What git sets for its hooks, and what would send it to another repository: the list is that of
`git rev-parse --local-env-vars`, without the variables that hold settings."""


def git_environment() -> dict[str, str]:
    """This process's environment without what would send git to another repository."""
    return {name: value for name, value in os.environ.items() if name not in GIT_PLACES}
