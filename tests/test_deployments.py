"""The files of deploy/ and docker-compose.yml: each is checked by the program that reads it where that is installed, and by its fields everywhere."""

import re
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from app_runtime.settings import Settings
from local_provider import ServerProcess
from test_server import free_port

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
KUBERNETES = {part["kind"]: part for part in yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text())}
UNIT = (ROOT / "deploy" / "opensoc.service").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SEARCH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
ANSWER = {"submit_triage": {"action": "monitor", "cited_log_id": "L1-1", "rationale": "one of several callers"}}


def program(name):
    return shutil.which(name, path=SEARCH) or pytest.skip(f"{name} is not installed")


# ---------------------------------------------------------------- the proxies
def placed(name, home, listen, nodes):
    """Write a proxy's file with addresses of this machine in place of the names of the network."""
    text = (ROOT / "deploy" / name).read_text().replace("/tmp/", f"{home}/")
    text = re.sub(
        r"(listen|bind :)\s*7860",
        lambda found: f"{'listen' if found[1] == 'listen' else 'bind'} 127.0.0.1:{listen}",
        text,
    )
    for host, port in zip(("one", "two"), nodes, strict=True):
        text = re.sub(rf"(server (?:{host} )?){host}:7860", rf"\g<1>127.0.0.1:{port}", text)
    (home / name).write_text(text)
    return home / name


@contextmanager
def proxy(name, home, nodes):
    listen = free_port()
    path = placed(name, home, listen, nodes)
    home.chmod(0o755)  # nginx's workers are another user
    command = (
        [program("nginx"), "-c", path, "-g", "daemon off;"]
        if name == "nginx.conf"
        else [program("haproxy"), "-db", "-f", path]
    )
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{listen}"
    finally:
        running.terminate()
        running.wait(timeout=120)


@pytest.mark.parametrize(
    ("name", "command"), [("nginx.conf", ["nginx", "-t", "-c"]), ("haproxy.cfg", ["haproxy", "-c", "-f"])]
)
def test_a_proxys_file_is_valid(name, command, tmp_path):
    path = placed(name, tmp_path, 7860, (7861, 7862))
    done = subprocess.run([program(command[0]), *command[1:], path], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower()


@pytest.fixture(scope="module")
def replicas():
    environ = {"OPENSOC_DEMO": "0", "OPENSOC_SALT": "the same on both"}
    with ExitStack() as stack:
        yield [stack.enter_context(ServerProcess(ROOT, env=environ, timeout_s=240)) for _ in range(2)]


@pytest.mark.parametrize("name", ["nginx.conf", "haproxy.cfg"])
def test_behind_the_proxy_each_callers_episodes_stay_on_one_replica(name, replicas, tmp_path):
    ports = [running.base_url.rpartition(":")[2] for running in replicas]

    def held():
        metrics = [httpx.get(f"{running.base_url}/metrics", trust_env=False).text for running in replicas]
        return [float(re.search(r"(?m)^opensoc_episodes (\S+)", text)[1]) for text in metrics]

    before = held()
    with proxy(name, tmp_path, ports) as url, ExitStack() as stack:
        callers = []
        for number in range(1, 25):
            transport = httpx.HTTPTransport(local_address=f"127.3.{number}.{number}", retries=3)
            callers.append(stack.enter_context(httpx.Client(base_url=url, transport=transport, timeout=120)))
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if callers[0].get("/health").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        began = [caller.post("/reset", params={"task": "stage1_basic", "seed": 1}).json() for caller in callers]
        steps = [
            caller.post("/step", params={"episode_id": first["episode_id"]}, json=ANSWER)
            for caller, first in zip(callers, began, strict=True)
        ]
        grown = [now - then for now, then in zip(held(), before, strict=True)]

    assert [reply.status_code for reply in steps] == [200] * 24
    assert sum(grown) == 24
    assert min(grown) > 0
    assert len({first["observation"]["alert"]["title"] for first in began}) == 1  # one salt, one incident


# ---------------------------------------------------------------- Docker Compose
def test_compose_runs_two_servers_and_shows_the_proxy_alone():
    services = COMPOSE["services"]

    assert set(services) == {"one", "two", "proxy"}
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert services["one"]["networks"] == services["two"]["networks"] == ["inside"]
    assert set(services["proxy"]["depends_on"]) == {"one", "two"}


@pytest.mark.parametrize("name", ["one", "two", "proxy"])
def test_each_service_is_bounded_and_writes_below_tmp_alone(name):
    service = COMPOSE["services"][name]

    assert service["read_only"] is True
    assert service["tmpfs"][0].startswith("/tmp:")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"


def test_the_salt_is_asked_for_and_the_variables_are_settings():
    environ = COMPOSE["services"]["one"]["environment"]

    assert environ["OPENSOC_SALT"].startswith("${OPENSOC_SALT:?")
    assert set(environ) - {"FORWARDED_ALLOW_IPS"} <= set(Settings.variables().values())


def test_the_proxys_file_names_the_services_of_compose():
    named = {match[1] for match in re.finditer(r"server (\w+):7860", (ROOT / "deploy" / "nginx.conf").read_text())}

    assert named == set(COMPOSE["services"]) - {"proxy"}


# ---------------------------------------------------------------- Kubernetes
def test_the_manifest_keeps_each_caller_with_one_pod():
    service = KUBERNETES["Service"]["spec"]

    assert service["sessionAffinity"] == "ClientIP"
    assert service["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] > Settings().session_timeout_s
    assert service["externalTrafficPolicy"] == "Local"
    assert service["selector"] == KUBERNETES["Deployment"]["spec"]["selector"]["matchLabels"]
    assert service["selector"] == KUBERNETES["Deployment"]["spec"]["template"]["metadata"]["labels"]


def test_the_pods_are_probed_bounded_and_hardened():
    pod = KUBERNETES["Deployment"]["spec"]["template"]["spec"]
    (server,) = pod["containers"]

    assert {name: server[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")} == {
        "startup": "/health",
        "liveness": "/health",
        "readiness": "/ready",
    }
    assert set(server["resources"]["limits"]) == {"cpu", "memory"}
    assert server["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (pod["securityContext"]["runAsUser"], pod["automountServiceAccountToken"]) == (1000, False)
    assert "USER 1000:1000" in DOCKERFILE
    assert server["env"] == [
        {"name": "OPENSOC_SALT", "valueFrom": {"secretKeyRef": {"name": "opensoc", "key": "salt"}}}
    ]
    assert [mount["mountPath"] for mount in server["volumeMounts"]] == ["/tmp"]


def test_the_pods_call_nobody():
    policy = KUBERNETES["NetworkPolicy"]["spec"]

    assert (policy["policyTypes"], policy["egress"]) == (["Ingress", "Egress"], [])


# ---------------------------------------------------------------- systemd
def test_the_unit_is_valid_and_its_exposure_low(tmp_path):
    path = tmp_path / "opensoc.service"
    path.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={shutil.which('true')}", UNIT))
    verified = subprocess.run([program("systemd-analyze"), "verify", path], capture_output=True, text=True)
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", path], capture_output=True, text=True
    )

    assert (verified.returncode, verified.stderr) == (0, "")
    assert judged.returncode == 0, judged.stdout[-300:]  # at most 2.0 of 10


def test_the_unit_starts_what_is_here_with_bounds():
    assert re.search(r"(?m)^ExecStart=/opt/opensoc/.venv/bin/python server.py --host 127.0.0.1$", UNIT)
    assert set(re.findall(r"(?m)^(\w+)=", UNIT)) >= {
        "MemoryMax",
        "CPUQuota",
        "TasksMax",
        "DynamicUser",
        "EnvironmentFile",
    }
