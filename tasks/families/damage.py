"""Impact and exfiltration: what is destroyed, what is misused, and what leaves."""

from __future__ import annotations

from schema import CLOUD_WORK
from tasks.families.story import choose_halves, launch, trail
from tasks.paths import SYSTEM32
from tasks.scene import ADDRESS, FIRM, GRAVE, HOST, SOFT, TOOL, Family, Plan, Scene, TicketScope, actor, other_account


def shadow_removal(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody removes backups or shadow copies on the command line."""
    tool = "vssadmin.exe"
    who, at = actor(scene, plan, tool), scene.moment(60)
    order = scene.pick(("delete shadows /all /quiet", "delete shadows /for=C: /oldest"))
    if plan.strength == "below":
        order = scene.pick(("list shadows /for=C:", "list shadowstorage"))
    launch(scene, at, who, SYSTEM32 + tool, f"{tool} {order}", SYSTEM32 + "cmd.exe")
    return who.scope(tool, at, at)


def stopped_services(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody stops one service after another and removes the shadow copies."""
    who, at = actor(scene, plan), scene.moment(400)
    stopped, removed = choose_halves(scene, plan)
    orders = [f"net {'stop' if stopped else 'start'} {scene.word()}" for _ in range(scene.between(7, 9))]
    orders.append("vssadmin delete shadows /all /quiet" if removed else "vssadmin list shadows /for=C:")
    last = at
    for order in orders:
        last = launch(scene, last + scene.between(2, 25), who, SYSTEM32 + "cmd.exe", f"cmd.exe /c {order}")
    return who.scope("cmd.exe", at, last)


def encrypted_files(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how one program rewrites many files under one new ending; in the harmless strength, each gets its own ending."""
    tool = "7z.exe"
    who, at, ending = actor(scene, plan, tool), scene.moment(400), scene.word()[:5]
    last = at
    for _ in range(scene.between(10, 13)):
        name = f"D:\\Shares\\{scene.word()}\\{scene.word()}.{scene.pick(('xlsx', 'docx', 'pdf'))}"
        last = scene.add(
            last + scene.between(1, 20),
            "file",
            "modify",
            who.host,
            who.user,
            file_path=f"{name}.{scene.word()[:5] if plan.strength == 'below' else ending}",
            process_path=f"C:\\Program Files\\7-Zip\\{tool}",
        )
    return who.scope(tool, at, last)


def cloud_mining(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody outside stops the audit trail and starts huge machines."""
    who, first, source = actor(scene, plan), scene.moment(900), scene.public_address()
    huge, stopped = choose_halves(scene, plan)
    machine = scene.pick(("p4d.24xlarge", "g5.48xlarge")) if huge else scene.pick(("t3.micro", "m5.large"))
    scene.add(
        first,
        "cloud_api",
        "call",
        who.host,
        who.user,
        src_ip=source,
        api_service="ec2.amazonaws.com",
        api_operation="RunInstances",
        user_agent="aws-cli/2.15",
        resources=f'{{"instanceType":"{machine}","maxCount":"{scene.between(1, 5)}"}}',
    )
    last = trail(scene, first + scene.between(20, 800), who, source, stopped)
    return who.scope(CLOUD_WORK, first, last)


# ---------------------------------------------------------------- exfiltration
def large_upload(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how an account gathers files and sends them out; in half of the story, another account read them."""
    tool = scene.pick(("rclone.exe", "winscp.exe"))
    who, first = actor(scene, plan, tool), scene.moment(1500)
    reader = other_account(scene, who) if plan.strength == "suspicious" else who.user
    last = first
    for _ in range(scene.between(7, 10)):
        last = scene.add(
            last + scene.between(5, 60),
            "share",
            "access",
            who.host,
            reader,
            share_name="\\\\*\\Projects",
            file_path=f"{scene.word()}\\{scene.word()}.docx",
            src_ip=who.ip,
        )
    size = (1_000_000, 90_000_000) if plan.strength == "below" else (800_000_000, 4_000_000_000)
    last = _send(scene, last + scene.between(30, 300), who.host, who.user, who.ip, tool, size)
    return who.scope(tool, scene.start, last)  # the reader may have read files all day


def _send(scene: Scene, at: float, host: str, user: str, ip: str, tool: str, size: tuple[int, int]) -> float:
    return scene.add(
        at,
        "net_conn",
        "flow",
        host,
        user,
        src_ip=ip,
        dst_ip=scene.public_address(),
        dst_port=443,
        bytes_out=scene.between(*size),
        bytes_in=scene.between(10_000, 900_000),
        direction="outbound",
        process_path=f"C:\\Program Files\\Transfer\\{tool}",
        dst_scope="external",
    )


def shared_snapshot(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody shares a snapshot or bucket with a foreign cloud account, then uploads; harmless with their own account."""
    who, first = actor(scene, plan), scene.moment(900)
    own, other = (f"{scene.between(10**11, 10**12)}" for _ in range(2))
    named = own if plan.strength == "below" else other
    snapshot = f'{{"createVolumePermission":{{"add":{{"items":["{named}"]}}}}}}'
    statement = f'{{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{named}:root"}},"Action":"s3:GetObject"}}'
    bucket = f'{{"bucketPolicy":{{"Statement":[{statement}]}}}}'
    whole = plan.strength == "confirmed" or (plan.strength == "below" and scene.chance(0.5))
    scene.add(
        first,
        "cloud_api",
        "call",
        who.host,
        who.user,
        src_ip=who.ip,
        api_service="ec2.amazonaws.com" if whole else "s3.amazonaws.com",
        api_operation="ModifySnapshotAttribute" if whole else "PutBucketPolicy",
        user_agent=scene.pick(("aws-cli/2.15", "console.amazonaws.com")),
        cloud_account=own,
        resources=snapshot if whole else bucket,
    )
    size = (80_000_000, 300_000_000)
    last = _send(scene, first + scene.between(20, 800), who.host, who.user, who.ip, "winscp.exe", size)
    return who.scope(CLOUD_WORK, first, last)


FAMILIES = (
    Family(
        "shadow_removal",
        "T1490",
        "impact",
        shadow_removal,
        (),
        SOFT,
        TOOL,
        single=True,
        rules=("recovery-inhibited",),
        split="test_family",
    ),
    Family(
        "stopped_services",
        "T1489",
        "impact",
        stopped_services,
        HOST,
        rules=("services-stopped", "recovery-inhibited"),
        split="val_family",
    ),
    Family("encrypted_files", "T1486", "impact", encrypted_files, GRAVE, FIRM, TOOL, rules=("mass-encryption",)),
    Family(
        "cloud_mining",
        "T1496",
        "impact",
        cloud_mining,
        ADDRESS,
        rules=("cloud-machines-misused", "cloud-trail-stopped"),
        platform="cloud",
        split="val_family",
    ),
    Family(
        "large_upload",
        "T1567",
        "exfiltration",
        large_upload,
        GRAVE,
        explanations=TOOL,
        rules=("bulk-upload",),
        platform="network",
        split="val_family",
    ),
    Family(
        "shared_snapshot",
        "T1537",
        "exfiltration",
        shared_snapshot,
        GRAVE,
        rules=("cloud-shared-outside",),
        platform="cloud",
        split="test_family",
    ),
)
