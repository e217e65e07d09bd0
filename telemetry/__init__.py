"""Recorded logs: read, put into the schema, cut to a window, judged: `python -m telemetry FILE...`."""
