"""Connections with little reason: odd callers and ports, calls by the clock or without an answer, forwarded ports, data in names, uploads."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.families.tellings import Row, Telling, each, file, made, order
from tasks.paths import SYSTEM32
from tasks.scene import GRAVE, HOST, TOOL, Family

TUNNELS = ("-N -R 8080:localhost:22 {word}@{domain}", "-f -N -D 1080 {word}@{address}", "-fN -R *:3389 {word}@{domain}")
NO_TUNNELS = ("-N -L 8080:localhost:22 {word}@{domain}", "-o Ciphers=aes256-ctr {word}@{address}", "-v {word}@{domain}")


def _transfer(*urls: str) -> Row:
    fields = {"url": urls, "process_path": SYSTEM32 + "svchost.exe", "bytes_in": 48_000}
    return Row("net_conn", "bits_job", fields)


TRANSFERRED = (
    each(
        _transfer("http://{address}/{word}.bin", "https://{address}:8443/{word}", "\\\\{other_host}\\{word}$\\{word2}")
    ),
    each(_transfer("http://{domain}/{word}.bin", "https://{domain}:8443/{word}")),
)


def _connection(program: object, target: str, port: object, **fields: object) -> Row:
    ours = target != "{address}" and not target.startswith("{address")
    return Row(
        "net_conn",
        "open",
        {
            "src_ip": "{ip}",
            "dst_ip": target,
            "dst_port": port,
            "direction": "lateral" if ours else "outbound",
            "process_path": program,
            "dst_scope": "internal" if ours else "external",
            **fields,
        },
    )


_ODD_PORTS = (4444, 8443, 9001, 5555, 1337)
_SCRIPTERS = tuple(
    SYSTEM32 + name for name in ("WindowsPowerShell\\v1.0\\powershell.exe", "wscript.exe", "certutil.exe", "mshta.exe")
)
_NO_NETWORK = tuple(SYSTEM32 + name for name in ("notepad.exe", "calc.exe", "mspaint.exe", "gpupdate.exe"))


def _odd_names(domain: str) -> Telling:
    """Tell of many names of middle length that a program asks for under a domain; `{domain}` and a number is another for each."""
    return [
        Row(
            "dns_query",
            "query",
            {
                "query_hostname": f"{{token{number}}}.x.{domain.format(number)}",
                "src_ip": "{ip}",
                "process_path": "{installed}",
            },
            after=(2, 20),
        )
        for number in range(23)
    ]


def _tries(ports: Sequence[int], *targets: str, state: object = ("S0", "REJ", "RSTRH")) -> Telling:
    """Tell of connections that the network's sensor sees, to ports of targets in turn."""
    return [
        Row(
            "net_conn",
            "flow",
            {
                "src_ip": "{ip}",
                "dst_ip": targets[number % len(targets)],
                "dst_port": port,
                "direction": "outbound",
                "dst_scope": "external",
                "conn_state": state,
            },
            after=(1, 12),
            user="",
        )
        for number, port in enumerate(ports)
    ]


_PORTS = tuple(range(8001, 8013))
_STRANGERS = tuple(f"{{address{number}}}" for number in range(12))


def _calls(program: str, targets: Sequence[str], after: tuple[int, int] = (118, 123)) -> Telling:
    """Tell of a program's sessions with targets in turn, as the network's sensor sees them."""
    return [
        Row(
            "net_conn",
            "tls_session",
            {
                "src_ip": "{ip}",
                "dst_ip": targets[number % len(targets)],
                "dst_port": 443,
                "tls_sni": "{domain}",
                "direction": "outbound",
                "process_path": program,
                "dst_scope": "external",
            },
            after=after,
        )
        for number in range(8)
    ]


def _packed(host: str, user: str, size: int) -> Telling:
    """Tell of an archive that an account writes on a host, and of what a program sends out."""
    return [
        file(
            ("D:\\Work\\{word}.zip", "D:\\Work\\{word}.7z", "D:\\Work\\{word}.rar"),
            "C:\\Program Files\\7-Zip\\7zG.exe",
            host=host,
            user=user,
        ),
        _connection("C:\\Program Files\\Transfer\\rclone.exe", "{address}", 443, bytes_out=size, bytes_in=90_000),
    ]


FAMILIES: tuple[Family, ...] = (
    made(
        "odd_connection",
        "T1105",
        "command_and_control",
        ("script-host-connects",),
        confirmed=[
            [_connection(program, target, port)]
            for program in _NO_NETWORK
            for target, port in (("{address}", _ODD_PORTS), ("{other_ip}", (445, 8080)))
        ],
        suspicious=[
            [_connection(program, target, port)]
            for program in _SCRIPTERS
            for target, port in (("{address}", _ODD_PORTS), ("{other_ip}", (135, 445)))
        ],
        below=[
            [_connection(program, target, port)]
            for program, port in (*((name, 443) for name in _SCRIPTERS), *((name, 8080) for name in _SCRIPTERS))
            for target in (("{address}", "{other_ip}") if port == 443 else ("{other_ip}",))
        ]
        + [[_connection(program, "127.0.0.1", _ODD_PORTS)] for program in _NO_NETWORK],
        reaches=HOST,
    ),
    made(
        "fetched_from_address",
        "T1197",
        "command_and_control",
        ("transfer-job",),
        suspicious=TRANSFERRED[0],
        below=TRANSFERRED[1],
    ),
    made(
        "unanswered_calls",
        "T1571",
        "command_and_control",
        ("unanswered-calls",),
        confirmed=[_tries(_PORTS, "{address}")],
        suspicious=[_tries((443,) * 12, *_STRANGERS), _tries((8443,) * 12, "{address}")],
        below=[
            _tries(_PORTS, "{address}", state="SF"),
            _tries((443,) * 12, *_STRANGERS, state="SF"),
            _tries((8443,) * 12, "{address}", state="SF"),
        ],
        reaches=HOST,
        explanations=(),
        names_account=False,
        platform="network",
    ),
    made(
        "forwarded_port",
        "T1572",
        "command_and_control",
        ("traffic-forwarded",),
        suspicious=each(
            order("C:\\Windows\\System32\\OpenSSH\\ssh.exe", *TUNNELS),
            order("D:\\Tools\\plink.exe", *TUNNELS),
            order("/usr/bin/ssh", *TUNNELS, parent="/usr/bin/bash"),
        ),
        below=each(
            order("C:\\Windows\\System32\\OpenSSH\\ssh.exe", *NO_TUNNELS),
            order("D:\\Tools\\plink.exe", *NO_TUNNELS),
            order("/usr/bin/ssh", *NO_TUNNELS, parent="/usr/bin/bash"),
        ),
        platform="linux",
    ),
    made(
        "generated_names",
        "T1568.002",
        "command_and_control",
        ("many-odd-names",),
        suspicious=[_odd_names("{{domain}}")],
        below=[_odd_names("{{domain{}}}")],
        platform="network",
    ),
    made(
        "timed_sessions",
        "T1071.001",
        "command_and_control",
        ("beaconing",),
        confirmed=[_calls("{writable}", ["{address}"])],
        suspicious=[_calls("{installed}", ["{address}"])],
        below=[
            _calls("{writable}", [f"{{address{number}}}" for number in range(4)]),
            _calls("{writable}", ["{address}"], after=(2, 400)),
            _calls("{installed}", ["{address}"], after=(2, 400)),
        ],
        reaches=HOST,
        platform="network",
    ),
    made(
        "packed_upload",
        "T1567",
        "exfiltration",
        ("bulk-upload",),
        "rclone.exe",
        confirmed=[_packed("{host}", "{user}", 900_000_000)],
        suspicious=[_packed("{host}", "{other_user}", 900_000_000), _packed("{other_host}", "{user}", 900_000_000)],
        below=[_packed("{host}", "{user}", 90_000_000)],
        reaches=GRAVE,
        explanations=TOOL,
        platform="network",
    ),
)
