"""`python -m tests.fuzz`: fires at a real collector and says what came back; exit status 1 with findings."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tests.fuzz.fire import fire
from tests.fuzz.report import Report
from tests.fuzz.target import Target


def main() -> int:
    """Parses, fires, tells."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="requests in all (default: 100000)")
    parser.add_argument(
        "--seed", type=int, default=None, help="the same requests again (default: another each time)"
    )
    parser.add_argument("--db", default=None, help="a database address (default: an SQLite file of its own)")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
    given = parser.parse_args()
    chosen_seed = int(time.time()) % 10**6 if given.seed is None else given.seed
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="foreshock-fuzz-") as folder,
        Target(Path(folder), given.db) as target,
        Progress(*columns, console=console) as progress,
    ):
        report = Report(target)
        task = progress.add_task("", total=given.cases)

        def tell(door: str, number: int) -> None:
            shown = f"{door}  {target.memory_bytes / 2**20:.0f} MiB, {len(report.findings)} findings"
            progress.update(task, completed=report.num_cases, description=shown)
            if number % 1000 == 1 and not console.is_terminal:
                print(f"{report.num_cases} of {given.cases}  {shown}", file=sys.stderr, flush=True)

        fire(report, given.cases, chosen_seed, tell)
        report.finish()
    told = {"seed": chosen_seed, **report.as_dict()}
    print(json.dumps(told) if given.as_json else _summary(told))
    return 1 if told["findings"] else 0


def _summary(told: dict[str, object]) -> str:
    lines = [f"{told['cases']} requests, seed {told['seed']}", f"answers by status: {told['statuses']}"]
    lines.append(f"memory in MiB as it went: {told['memory_mib']}")
    findings = told["findings"]
    assert isinstance(findings, list)
    for one in findings:
        lines.append(f"\n{one['door']} {one['status']}: {one['kind']}\n  {one['request']}\n  {one['answer']}")
    lines.append("no findings" if not findings else f"\n{len(findings)} kinds of findings")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
