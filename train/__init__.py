"""Training: rows and bulk generation (`data`), the reward (`reward`), the commands (`sft`, `grpo`), small models (`nano`). Uses `env` in process and no web server."""
