"""Training: the prompt that models read and write (`prompt`). Uses `env` in process and no web server."""
