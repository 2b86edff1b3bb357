"""``python -m benchmarks [name …]``: measure, and print one table per benchmark."""

import importlib
import sys

from benchmarks.report import table

NAMES = ("import_definitions", "daily_step", "serving", "views", "diagnosis")


def main(names: list[str]) -> int:
    """Run the benchmarks named, or all; 1 where a target is missed."""
    unknown = [n for n in names if n not in NAMES]
    if unknown:
        print(f"no benchmark is named {', '.join(unknown)}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    short = False
    for name in names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n{name}: {(module.__doc__ or '').splitlines()[0]}", flush=True)
        lines = module.run()
        print(table(lines), flush=True)
        short = short or any(line.verdict == "short" for line in lines)
    return int(short)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
