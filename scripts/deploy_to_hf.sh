#!/usr/bin/env bash
# Push OpenSOC to Hugging Face (Space, dataset, models), wait until the Space runs, and try it: DEPLOY.md tells more.
#   export HF_USER=your-name
#   bash scripts/deploy_to_hf.sh [--dry-run] [--adapters DIR] [--private] [--wait SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
    if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; else PYTHON=python3; fi
fi
exec "$PYTHON" scripts/deploy_to_hf.py "$@"
