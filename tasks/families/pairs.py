"""Two suspicious things on one host that bear each other out, made of the families that tell each alone."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.families.tellings import paired
from tasks.scene import Family

# Steps that follow each other in intrusions, by the techniques that ATT&CK's groups and campaigns combine. The first gives the category.
PAIRS = (
    ("opened_archive", "looked_around"),
    ("opened_archive", "subscribed_by_command"),
    ("opened_archive", "added_component"),
    ("sought_administrators", "started_there"),
    ("sought_administrators", "saved_credentials"),
    ("opened_archive", "mounted_drive"),
    ("looked_around", "silent_remote_tool"),
    ("looked_around", "opened_tunnel"),
    ("looked_around", "watched_screen"),
    ("hidden_account", "looked_around"),
    ("looked_around", "shell_of_package"),
    ("wiped_data", "erased_history"),
    ("wiped_data", "dropped_firewall"),
    ("halted_services", "copied_out"),
    ("halted_services", "safe_mode"),
    ("halted_services", "hidden_file"),
    ("removed_backups", "erased_history"),
    ("prevented_recovery", "dropped_firewall"),
    ("erased_history", "gathered_mail"),
    ("far_registry", "shared_folder"),
    ("far_registry", "shell_there"),
    ("backdated_program", "opened_tunnel"),
    ("backdated_program", "added_component"),
    ("hidden_account", "unattended_desk"),
    ("hidden_account", "shared_folder"),
    ("edited_policy", "sought_administrators"),
    ("edited_policy", "made_trust"),
    ("made_trust", "gathered_mail"),
    ("dropped_firewall", "opened_tunnel"),
    ("safe_mode", "silent_remote_tool"),
    ("shell_of_package", "subscribed_by_command"),
    ("shell_of_package", "watched_screen"),
    ("saved_credentials", "gathered_files"),
    ("saved_credentials", "opened_tunnel"),
    ("hidden_file", "uploaded_archive"),
    ("hijacked_class", "launched_shell"),
    ("started_at_sign_in", "launched_shell"),
    ("hijacked_class", "odd_service"),
    ("short_task", "odd_service"),
    ("turned_service", "account_by_command"),
    ("started_at_sign_in", "account_by_command"),
    ("turned_service", "loaded_value"),
    ("short_task", "opened_rights"),
)


def pairs_of(families: Iterable[Family]) -> tuple[Family, ...]:
    """Make the pairs of some families."""
    by_name = {family.name: family for family in families}
    return tuple(paired(by_name[first], by_name[second]) for first, second in PAIRS)
