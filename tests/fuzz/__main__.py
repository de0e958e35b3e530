"""`make fuzz`: look for inputs that break the property, at random, for an hour.

MINUTES=5 looks for five. It stops at the first failure, with the seed and the smallest input.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

FACTOR = 3
"""Times the usual number of examples, before the next seed."""


def main() -> int:
    """Run the tests of this folder with one seed after another."""
    end = time.monotonic() + 60 * float(os.environ.get("MINUTES", "60"))
    environment = {**os.environ, "LORA_RECIPES_FUZZ": str(FACTOR)}
    while time.monotonic() < end:
        seed = secrets.randbelow(2**32)
        command = [
            *(sys.executable, "-m", "pytest", str(Path(__file__).parent), "-x"),
            *("-n", "2", f"--hypothesis-seed={seed}"),
        ]
        print(f"LORA_RECIPES_FUZZ={FACTOR} {' '.join(command[1:])}", flush=True)
        if code := subprocess.run(command, env=environment, check=False).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
