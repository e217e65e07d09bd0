"""Incidents without a player: from seeds (`incidents`), their twins by one edit (`twins`), hostile text in them (`injection`).

python -m generator --task stage3_mixed --n 3
"""

from generator.incidents import GENERATOR_VERSION, Case, generate, incident_seed

__all__ = ["GENERATOR_VERSION", "Case", "generate", "incident_seed"]
