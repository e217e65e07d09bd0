"""Time the import of recorded telemetry, and measure its memory: python scripts/bench_import.py [--records 60000] [--gigabytes 2]

It makes Sysmon records of its own, and prints, side by side: records a second that are read from JSON lines, read and imported, and judged;
the same records as a binary event log (EVTX), read by us and as JSON lines that `evtx_dump` (or, where it is not installed, the library `evtx` in a
process of its own) writes into a pipe to us; and the most memory that judging a file of some gigabytes takes. Rates count the processor's own time,
but for the event logs, where the clock's stands beside it: a pipe has two processes, and each starts an interpreter.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

NAMESPACE = "http://schemas.microsoft.com/win/2004/08/events/event"
DUMP = "import evtx, sys\nfor r in evtx.PyEvtxParser(sys.argv[1]).records_json(): print(r['data'].replace('\\n', ''))"
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


def command_rates(command: list[str], count: int) -> tuple[float, float]:
    """Return how many records a second of the clock, and of the processor, a command handles; the best of three."""
    rates = []
    for _ in range(3):
        began, used = time.perf_counter(), children_s()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        rates.append((count / (time.perf_counter() - began), count / (children_s() - used)))
        assert int(done.stdout) == count, f"expected {count} records, got {done.stdout!r}"
    return max(clock for clock, _ in rates), max(processor for _, processor in rates)


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


def time_event_log(path: Path, count: int) -> None:
    """Print the rates of importing an event log by us and through a pipe."""
    tool = shutil.which("evtx_dump")
    dump = f"{tool} -o jsonl --dont-show-record-number {path}" if tool else f'{sys.executable} -c "{DUMP}" {path}'
    ours = command_rates([sys.executable, "-c", IMPORT, str(path)], count)
    piped = command_rates(["bash", "-c", f'{dump} | {sys.executable} -c "{IMPORT}" /dev/stdin'], count)
    name = "evtx_dump" if tool else "the library evtx in a process of its own"
    for unit, direct, pipe in zip(("the clock", "all processes' time"), ours, piped, strict=True):
        print(f"EVTX by {unit}: {direct:,.0f} records/s; by a pipe from {name}: {pipe:,.0f}; ratio {direct / pipe:.2f}")


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
    parser.add_argument("--gigabytes", type=float, default=0, help="size of the file for the memory (default: none)")
    args = parser.parse_args()
    from evtx_files import evtx_file

    with tempfile.TemporaryDirectory() as name:
        lines, log = Path(name) / "sysmon.jsonl", Path(name) / "sysmon.evtx"
        lines.write_text("".join(as_json(number) + "\n" for number in range(args.records)))
        log.write_bytes(evtx_file(as_xml(number) for number in range(args.records)))
        time_lines(lines)
        time_event_log(log, args.records)
        if args.gigabytes:
            measure_memory(args.gigabytes, Path(name))
    print(f"this process: at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    main()
