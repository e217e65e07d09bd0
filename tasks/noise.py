"""Ordinary lines: what a healthy organisation logs all day. None of them is near any rule."""

from __future__ import annotations

from collections.abc import Callable

from schema import Account, Host
from tasks.scene import Scene

_PROGRAMS = (
    "C:\\Program Files\\Google\\Chrome\\chrome.exe",
    "C:\\Program Files\\Microsoft Office\\OUTLOOK.EXE",
    "C:\\Program Files\\Teams\\teams.exe",
    "C:\\Windows\\System32\\svchost.exe",
    "C:\\Windows\\System32\\conhost.exe",
    "C:\\Windows\\explorer.exe",
    "C:\\Windows\\System32\\notepad.exe",
)
_SITES = (
    "cdn.example-static.com",
    "login.example-id.com",
    "updates.example-os.com",
    "mail.example-office.com",
    "api.example-crm.com",
)


def _host_user(scene: Scene) -> tuple[Host, Account]:
    return scene.pick(scene.cast_hosts), scene.pick(scene.cast_accounts)


def _program_start(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    path = scene.pick((*_PROGRAMS[:3], *_PROGRAMS[4:5], _PROGRAMS[6]))
    scene.add(
        at,
        "process",
        "launch",
        host["name"],
        user["name"],
        process_path=path,
        process_cmd_line=path,
        parent_path="C:\\Windows\\explorer.exe",
    )


def _program_end(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "process",
        "terminate",
        host["name"],
        user["name"],
        process_path=scene.pick(_PROGRAMS),
        process_pid=scene.between(400, 20_000),
    )


def _web_visit(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "net_conn",
        scene.pick(("open", "open", "open", "block")),
        host["name"],
        user["name"],
        src_ip=host["ip"],
        dst_ip=scene.outside(),
        dst_port=443,
        dst_hostname=scene.pick(_SITES),
        bytes_out=scene.between(400, 90_000),
        direction="outbound",
        process_path=_PROGRAMS[0],
        dst_scope="external",
    )


def _lookup(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "dns_query",
        "query",
        host["name"],
        user["name"],
        query_hostname=scene.pick(_SITES),
        src_ip=host["ip"],
        process_path=scene.pick(_PROGRAMS),
    )


def _page(scene: Scene, at: float) -> None:
    host = scene.pick(scene.cast_hosts)
    scene.add(
        at,
        "http",
        "request",
        host["name"],
        url=f"/{scene.word()}",
        http_method="GET",
        status_code=200,
        user_agent="Mozilla/5.0",
        src_ip=scene.outside(),
        dst_ip=host["ip"],
    )


def _sign_in(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at, "logon", "success", host["name"], user_name=user["name"], logon_type=scene.pick((2, 5, 7, 11)), status="0x0"
    )


def _sign_off(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(at, "logon", "logoff", host["name"], user_name=user["name"], logon_type=scene.pick((2, 3)))


def _ticket(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "kerberos",
        "tgs",
        host["name"],
        user_name=user["name"],
        service_name=f"{host['name']}$",
        ticket_encryption="0x12",
        src_ip=host["ip"],
    )


def _document(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "file",
        "create",
        host["name"],
        user["name"],
        file_path=f"D:\\Shares\\{scene.word()}\\{scene.word()}.docx",
        process_path=_PROGRAMS[5],
    )


def _setting(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "registry",
        "set",
        host["name"],
        user["name"],
        reg_key_path=f"HKLM\\Software\\{scene.word().title()}\\LastRun",
        reg_value_data=f"DWORD {scene.between(1, 90_000)}",
        process_path=_PROGRAMS[3],
    )


def _share(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "share",
        "access",
        host["name"],
        user["name"],
        share_name="\\\\*\\Public",
        file_path=f"{scene.word()}.pdf",
        src_ip=scene.pick(scene.cast_hosts)["ip"],
    )


def _service(scene: Scene, at: float) -> None:
    host = scene.pick(scene.cast_hosts)
    scene.add(
        at,
        "service",
        "state",
        host["name"],
        "SYSTEM",
        service_name=scene.pick(("wuauserv", "Spooler", "BITS")),
        status="running",
    )


def _module(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "module_load",
        "dll",
        host["name"],
        user["name"],
        file_path=f"C:\\Windows\\System32\\{scene.pick(('urlmon', 'winhttp', 'dbghelp', 'samlib'))}.dll",
        signature_state="signed",
        signature_subject="Microsoft Windows",
        process_path=scene.pick(_PROGRAMS),
    )


def _script(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "script",
        "block",
        host["name"],
        user["name"],
        script_text=scene.pick(
            ("Get-Service | Where-Object Status -eq Running", "Get-EventLog -Newest 20", "Test-NetConnection")
        ),
    )


def _job(scene: Scene, at: float) -> None:
    host = scene.pick(scene.cast_hosts)
    scene.add(
        at,
        "task",
        "run",
        host["name"],
        "SYSTEM",
        job_name="\\Microsoft\\Windows\\Defrag\\ScheduledDefrag",
        job_cmd_line="C:\\Windows\\System32\\defrag.exe",
    )


def _members(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "group",
        "enumerate",
        host["name"],
        user["name"],
        group_name=scene.pick(("Administrators", "Domain Admins", "Users")),
        process_path=_PROGRAMS[3],
    )


def _privileges(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "privilege",
        "special_logon",
        host["name"],
        user_name=user["name"],
        privileges="SeBackupPrivilege SeRestorePrivilege",
    )


def _query(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(at, "wmi", "query", host["name"], user["name"], wmi_query="SELECT FreeSpace FROM Win32_LogicalDisk")


def _cloud(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "cloud_api",
        "call",
        host["name"],
        user["name"],
        src_ip=host["ip"],
        api_service=scene.pick(("ec2.amazonaws.com", "s3.amazonaws.com", "iam.amazonaws.com")),
        api_operation=scene.pick(("DescribeInstances", "ListBuckets", "GetUser")),
        user_agent="aws-cli/2.15",
    )


def _object(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "object_access",
        "open",
        host["name"],
        user["name"],
        object_name=f"D:\\Shares\\{scene.word()}",
        object_type="File",
        access_mask="0x1",
        process_path=_PROGRAMS[5],
    )


def _control(scene: Scene, at: float) -> None:
    host = scene.pick(scene.cast_hosts)
    scene.add(
        at,
        "control_change",
        "firewall",
        host["name"],
        "SYSTEM",
        control_name="Rule Core Networking",
        new_value="updated",
    )


def _password(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "account",
        "password_change",
        host["name"],
        user["name"],
        user_name=user["name"],
        attributes="password last set",
    )


def _opened(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "process_access",
        "open",
        host["name"],
        user["name"],
        process_path=_PROGRAMS[3],
        target_path=scene.pick(_PROGRAMS),
        access_mask="0x1000",
    )


def _directory(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "directory",
        "access",
        host["name"],
        user["name"],
        object_dn=f"CN={scene.word()},OU=Staff,DC=corp,DC=example",
        object_type="user",
        properties="Read Property",
        access_mask="0x10",
    )


def _notice(scene: Scene, at: float) -> None:
    host = scene.pick(scene.cast_hosts)
    scene.add(
        at,
        "detection",
        "ids_notice",
        host["name"],
        finding_title=scene.pick(("TLS certificate expires soon", "Old protocol version", "Policy: file sharing")),
        severity="low",
    )


def _thread(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "process_inject",
        "remote_thread",
        host["name"],
        user["name"],
        process_path="C:\\Windows\\System32\\csrss.exe",
        target_path=scene.pick(_PROGRAMS),
    )


def _pipe(scene: Scene, at: float) -> None:
    host = scene.pick(scene.cast_hosts)
    scene.add(
        at,
        "pipe",
        "connect",
        host["name"],
        "SYSTEM",
        pipe_name=scene.pick(("\\wkssvc", "\\srvsvc", "\\lsass")),
        process_path=_PROGRAMS[3],
    )


def _visitor(scene: Scene, at: float) -> None:
    host = scene.pick(scene.cast_hosts)
    scene.add(
        at,
        "net_conn",
        scene.pick(("flow", "allow", "block")),
        host["name"],
        src_ip=scene.outside(),
        dst_ip=host["ip"],
        dst_port=scene.pick((22, 80, 443, 443, 3389, 8080)),
        direction="inbound",
        dst_scope="internal",
    )


def _mistyped(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    source = scene.outside() if scene.chance(0.5) else scene.pick(scene.cast_hosts)["ip"]
    scene.add(
        at,
        "logon",
        "failure",
        host["name"],
        user_name=user["name"],
        logon_type=scene.pick((3, 10)),
        src_ip=source,
        status="0xc000006a",
    )


NOISE: tuple[Callable[[Scene, float], None], ...] = (
    _program_start,
    _program_end,
    _web_visit,
    _lookup,
    _page,
    _sign_in,
    _sign_off,
    _ticket,
    _document,
    _setting,
    _share,
    _service,
    _module,
    _script,
    _job,
    _members,
    _privileges,
    _query,
    _cloud,
    _object,
    _control,
    _password,
    _opened,
    _directory,
    _notice,
    _thread,
    _pipe,
    _visitor,
    _mistyped,
    # programs and connections are what a window is full of, and what most stories are told by
    _web_visit,
    _web_visit,
    _visitor,
    _visitor,
    _program_start,
)
