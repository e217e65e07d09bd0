"""Time the import of recorded telemetry, and measure its memory: python scripts/bench_import.py [--records 60000] [--gigabytes 2]

It makes Sysmon records of its own, and prints, side by side: records a second that are read from JSON lines, read and imported, and judged;
the same records as a binary event log (EVTX), imported by us and as JSON lines that come through a pipe; and the most memory that judging a file
of some gigabytes takes. Rates count the processor's own time. For the event log the clock stands beside the time of all processes, since a pipe
has two: the lines come from the library `evtx`, from `evtx_dump` where it is installed, and from `cat` of the finished lines, a bound for any dump.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

NAMESPACE = "http://schemas.microsoft.com/win/2004/08/events/event"
DUMP = (  # the fastest that was found: one thread, lines without indents, written as bytes
    "import evtx, sys; write = sys.stdout.buffer.write\n"
    "for r in evtx.PyEvtxParser(sys.argv[1], number_of_threads=1, indent=False).records_json(): write(r['data'].encode() + b'\\n')"
)
IMPORT = (
    "import sys; from pathlib import Path; from telemetry.importers import import_stream; "
    "from telemetry.importers.reading import read_records; from telemetry.importers.times import FileTimes; "
    "print(sum(1 for _ in import_stream(read_records(Path(sys.argv[1])), FileTimes())))"
)
JUDGE = (
    "import resource, sys; from pathlib import Path; from telemetry.judging import judge_file; from world import World; "
    "judgement = judge_file(('big', Path(sys.argv[1])), World()); "
    "print(judgement.records, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
)


def values_of(number: int) -> tuple[int, dict[str, str]]:
    """Return event id and data of a record: a launch, a connection or a file, in turn."""
    tool = number % 997
    common = {
        "UtcTime": "2031-05-06 07:08:09.500",
        "ProcessGuid": f"00000000-0000-0000-0000-{number:012d}",
        "ProcessId": str(number % 65_536),
        "Image": f"C:\\Program Files\\Tool{tool}\\tool{tool}.exe",
        "User": "LAB\\n.brandt",
    }
    if number % 3 == 0:
        line = f'"C:\\Program Files\\Tool{tool}\\tool{tool}.exe" --job {number}'
        parent = {"ParentImage": "C:\\Windows\\System32\\services.exe", "ParentCommandLine": "services.exe"}
        return 1, {**common, "CommandLine": line, "Hashes": "MD5=" + "0" * 32 + ",SHA256=" + "0" * 64, **parent}
    if number % 3 == 1:
        ends = {"SourceIp": f"10.0.{tool % 250}.{number % 250}", "DestinationIp": f"192.0.2.{number % 250}"}
        return 3, {
            **common,
            "Protocol": "tcp",
            "Initiated": "true",
            **ends,
            "SourcePort": "50000",
            "DestinationPort": "443",
        }
    return 11, {**common, "TargetFilename": f"C:\\Users\\n.brandt\\AppData\\Local\\Temp\\f{number}.tmp"}


def when(number: int) -> str:
    """Return the time of a record, one a second."""
    return f"2031-05-{number // 86_400 % 28 + 1:02d}T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.5Z"


def as_json(number: int) -> str:
    """Write a record as evtx converters do."""
    event_id, data = values_of(number)
    system = {
        "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}},
        "EventID": event_id,
        "TimeCreated": {"#attributes": {"SystemTime": when(number)}},
        "EventRecordID": number,
        "Channel": "Microsoft-Windows-Sysmon/Operational",
        "Computer": f"desk-{number % 40}.lab.test",
        "Security": {"#attributes": {"UserID": "S-1-5-18"}},
    }
    return json.dumps({"Event": {"#attributes": {"xmlns": NAMESPACE}, "System": system, "EventData": data}})


def as_xml(number: int) -> str:
    """Write a record as Windows does."""
    event_id, data = values_of(number)
    rows = "".join(f"<Data Name='{name}'>{escape(value)}</Data>" for name, value in data.items())
    return (
        f"<Event><System><Provider Name='Microsoft-Windows-Sysmon'/><EventID>{event_id}</EventID>"
        f"<TimeCreated SystemTime='{when(number)}'/><EventRecordID>{number}</EventRecordID>"
        f"<Channel>Microsoft-Windows-Sysmon/Operational</Channel><Computer>desk-{number % 40}.lab.test</Computer>"
        f"</System><EventData>{rows}</EventData></Event>"
    )


def processor_rate(work: Callable[[], int]) -> float:
    """Return how many records a second of the processor's time a work handles; the best of three."""
    rates = []
    for _ in range(3):
        began = time.process_time()
        rates.append(work() / (time.process_time() - began))
    return max(rates)


def costs_of(commands: Mapping[str, str], count: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Run shell commands in turns, and return of each the seconds of the clock and of all its processes' time in every round."""
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            began, used = time.perf_counter(), children_s()
            done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
            cost = time.perf_counter() - began, children_s() - used
            assert int(done.stdout) == count, f"expected {count} records, got {done.stdout!r}"
            if number:  # the first round fills the caches
                costs[name].append(cost)
    return costs


def children_s() -> float:
    """Return the processor's time that ended child processes took, all together."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def lines_of(gigabytes: float) -> Iterator[str]:
    """Yield lines of JSON until they are as long as that together."""
    size, number = 0, 0
    while size < gigabytes * 1e9:
        line = as_json(number) + "\n"
        size, number = size + len(line), number + 1
        yield line


def time_lines(path: Path) -> None:
    """Print the rates of reading, importing and judging JSON lines."""
    from telemetry.importers import import_stream
    from telemetry.importers.reading import read_records
    from telemetry.importers.times import FileTimes
    from telemetry.judging import judge
    from world import World

    works: dict[str, Callable[[], int]] = {
        "read": lambda: sum(1 for _ in read_records(path)),
        "read and imported": lambda: sum(1 for _ in import_stream(read_records(path), FileTimes())),
        "judged": lambda: judge(read_records(path), World()).records,
    }
    for name, work in works.items():
        print(f"JSON lines, {name}: {processor_rate(work):,.0f} records/s of one core")


def time_event_log(path: Path, count: int, rounds: int) -> None:
    """Print what importing an event log takes by us and through pipes: medians over rounds in which they take turns."""
    tool, lines = shutil.which("evtx_dump"), path.with_suffix(".dumped")
    with lines.open("w") as handle:
        subprocess.run([sys.executable, "-c", DUMP, str(path)], stdout=handle, check=True)
    reader = f'{sys.executable} -c "{IMPORT}"'
    commands = {
        "by us": f"{reader} {path}",
        "piped from the library in a process of its own": f'{sys.executable} -c "{DUMP}" {path} | {reader} /dev/stdin',
        "piped from cat of what that writes, which no dump is faster than": f"cat {lines} | {reader} /dev/stdin",
    }
    if tool:
        commands["piped from evtx_dump"] = (
            f"{tool} -t 1 -o jsonl --dont-show-record-number {path} | {reader} /dev/stdin"
        )
    print(f"EVTX, {path.stat().st_size / 1e6:.0f} MB, {count:,} records, medians of {rounds} rounds in turns:")
    costs = costs_of(commands, count, rounds)
    ours = costs["by us"]
    for name, rows in costs.items():
        clock, processor = (median(row[place] for row in rows) for place in (0, 1))
        ratios = [median(row[place] / own[place] for row, own in zip(rows, ours, strict=True)) for place in (0, 1)]
        print(
            f"  {name}: {clock:.2f} s of the clock, {processor:.2f} s of all processes (user and system); "
            f"that is {ratios[0]:.2f} and {ratios[1]:.2f} times ours"
        )


def measure_memory(gigabytes: float, folder: Path) -> None:
    """Print the most memory that judging a large file takes."""
    path = folder / "large.jsonl"
    with path.open("w") as handle:
        handle.writelines(lines_of(gigabytes))
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    records, peak = done.stdout.split()
    took = time.perf_counter() - began
    print(
        f"{path.stat().st_size / 1e9:.1f} GB of JSON lines, {int(records):,} records: at most {peak} MiB, {took:.0f} s"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the import of recorded telemetry, and measure its memory.")
    parser.add_argument("--records", type=int, default=60_000, help="how many records are timed (default: 60,000)")
    parser.add_argument(
        "--rounds", type=int, default=7, help="how often each way to import an event log is timed (default: 7)"
    )
    parser.add_argument("--gigabytes", type=float, default=0, help="size of the file for the memory (default: none)")
    args = parser.parse_args()
    from evtx_files import evtx_file

    with tempfile.TemporaryDirectory() as name:
        lines, log = Path(name) / "sysmon.jsonl", Path(name) / "sysmon.evtx"
        lines.write_text("".join(as_json(number) + "\n" for number in range(args.records)))
        log.write_bytes(evtx_file(as_xml(number) for number in range(args.records)))
        time_lines(lines)
        time_event_log(log, args.records, args.rounds)
        if args.gigabytes:
            measure_memory(args.gigabytes, Path(name))
    print(f"this process: at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    main()
