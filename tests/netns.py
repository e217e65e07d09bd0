"""What tests/local_provider.py runs inside a network namespace of its own (standard library only).

- `netns.py relay FD PORT COMMAND...` runs the command and passes what arrives at the inherited socket FD to PORT.
- `netns.py control` prints whether SINK answers in a namespace that has its address.
- `netns.py probe` prints whether SINK answers here, and what network there is.
"""

import contextlib
import errno
import fcntl
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

SINK = ("192.0.2.1", 8080)  # an address for documentation (RFC 5737): no machine has it
SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP = 0x8914, 0x8916, 1


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


def give_loopback(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        packed = struct.pack("16sHH4s16x", b"lo:0", socket.AF_INET, 0, socket.inet_aton(address))
        fcntl.ioctl(sock, SIOCSIFADDR, packed)


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def relay(listener: socket.socket, port: int) -> None:
    """Accept outside, connect inside: a socket stays in the namespace that it was made in."""
    while True:
        outside, _ = listener.accept()
        try:
            inside = socket.create_connection(("127.0.0.1", port))
        except OSError:  # the server is not up yet
            outside.close()
            continue
        for pair in ((outside, inside), (inside, outside)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


def attempt() -> dict:
    """Connect to SINK. Only the network's refusal counts as denial: a host's proves that the host was reached."""
    try:
        socket.create_connection(SINK, timeout=3).close()
    except ConnectionRefusedError:
        return {"result": "reachable"}
    except OSError as error:
        denied = error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)
        return {"result": "denied" if denied else "inconclusive", "errno": error.errno}
    return {"result": "reachable"}


def describe() -> dict:
    routes = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    ipv6 = Path("/proc/net/if_inet6")
    devices = [line.split()[-1] for line in ipv6.read_text().splitlines()] if ipv6.exists() else []
    return {
        "interfaces": [name for _, name in socket.if_nameindex()],
        "default_route": any(route[1] == "00000000" for route in routes),
        "ipv6_non_loopback": sum(device != "lo" for device in devices),
    }


def main(command: str, *args: str) -> int:
    if command == "relay":
        loopback_up()
        listener = socket.socket(fileno=int(args[0]))
        server = subprocess.Popen(args[2:])
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the server gets it too, and its end is ours
        threading.Thread(target=relay, args=(listener, int(args[1])), daemon=True).start()
        return server.wait()
    if command == "control":
        loopback_up()
        give_loopback(SINK[0])
        with socket.create_server(SINK):
            print(json.dumps({"tcp": attempt()}))
    else:
        print(json.dumps({"tcp": attempt(), "namespace": describe()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
