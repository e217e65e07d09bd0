"""Evaluation: how the verifier and models do on frozen sets and on recorded telemetry. Nothing here needs a server."""
