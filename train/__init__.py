"""Training: the prompt that models read and write (`prompt`), rows (`rows`), the commands (`sft`, `grpo`). Uses `env` in process and no web server."""
