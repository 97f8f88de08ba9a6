"""Did a change of the checker change what it says? Every report of the corpus, finding by finding.

python .ci/reports.py record FILE [--seeds N]    every report as JSON; before and after a change
python .ci/reports.py compare BEFORE AFTER       what differs; exit status 1 where anything does
"""

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]


def record(path: Path, seeds: int) -> int:
    import numpy as np
    from corpus.right import RIGHT
    from corpus.wrong import WRONG

    from jaxnet import check

    reports = {}
    for kind, examples in (("wrong", WRONG), ("right", RIGHT)):
        for name, example in examples.items():
            options = {"kwargs": example.kwargs, "ref": example.ref, "dtypes": example.dtypes}
            for seed in range(seeds):
                args = example.args(np.random.default_rng(seed))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    report = check(example.f, *args, **options, seed=seed)
                reports[f"{kind}: {name}, seed {seed}"] = json.loads(report.json())
    path.write_text(json.dumps(reports, indent=1), encoding="utf-8")
    print(f"{len(reports)} reports")
    return 0


def compare(before: Path, after: Path) -> int:
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
    differing = 0
    for name in sorted({*old, *new}):
        lines = differences(old.get(name, {}), new.get(name, {}))
        differing += bool(lines)
        if lines:
            print("\n  ".join([name, *lines]))
    print(f"{differing} of {len(new)} reports differ")
    return int(differing > 0)


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Lines: what is gone (-) and what has come (+); another order of findings is none."""
    findings = [set(map(json.dumps, report.get("findings", []))) for report in (old, new)]
    gone, come = findings[0] - findings[1], findings[1] - findings[0]
    lines = [f"- {f}" for f in sorted(gone)] + [f"+ {f}" for f in sorted(come)]
    for key in sorted({*old, *new} - {"findings"}):
        if old.get(key) != new.get(key):
            lines += [f"- {key}: {old.get(key)}", f"+ {key}: {new.get(key)}"]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("file", type=Path)
    recording.add_argument("--seeds", type=int, default=10)
    comparing = commands.add_parser("compare")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    options = parser.parse_args()
    if options.command == "record":
        return record(options.file, options.seeds)
    return compare(options.before, options.after)


if __name__ == "__main__":
    sys.exit(main())
