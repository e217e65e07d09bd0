"""The bounds of the audit's shortcut probes."""

from schema import LABELS

MAJORITY = 1 / len(LABELS)  # accuracy of a learner that knows nothing, on as many incidents of each decision
FIELD_MARGIN, PAIR_MARGIN = 0.05, 0.10  # above the majority class
# Relations are partly what the task asks for: a silent sensor of the alert's host, a ticket around a line or a known address decide some
# incidents by the playbook, whatever the family. Whoever joins all of them, without a rule, has reached 0.39 on stage 2.
MAX_F1 = 0.45
