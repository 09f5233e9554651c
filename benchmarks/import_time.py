"""How long `import ram_envs` takes beyond `import gymnasium`, in fresh processes, in turn.

python benchmarks/import_time.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys

REPEATS = 15
CODE = """
import time, gymnasium
started = time.perf_counter()
import ram_envs
print(time.perf_counter() - started)
"""


def main() -> None:
    seconds = [
        float(subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True).stdout)
        for _ in range(REPEATS)
    ]
    print(
        f"import ram_envs beyond import gymnasium: median {1000 * statistics.median(seconds):.0f} "
        f"ms, least {1000 * min(seconds):.0f} ms, most {1000 * max(seconds):.0f} ms"
    )


if __name__ == "__main__":
    main()
