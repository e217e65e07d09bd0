"""What can be played: scenario families, tasks and splits, the alert catalogue."""
