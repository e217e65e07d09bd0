#!/usr/bin/env bash
# Train a small model on one GPU from nothing and measure it beside the shipped one: scripts/train_on_gpu.sh [OUT] [MINUTES] [PRESET]
#
# Unlabelled pretraining, SFT on fresh labelled incidents (easy ones first), GRPO, figures, export in 8 bits. Checkpointed every minute; the same command goes on.
# `small` is larger than the 20 MB that models/defender may have, in 8 bits too: it is measured, and its export refused; `mini` fits.
# Needs torch with CUDA and requirements-train.txt. DEVICE=cpu tries it without a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/gpu} minutes=${2:-60} preset=${3:-small}
device=${DEVICE:-cuda}
share() { awk "BEGIN { print $minutes * $1 }"; }
how=(--device "$device" --threads 1)

python -m train.nano.pretrain --model "$preset" --out "$out/pretrain" --minutes "$(share 0.1)" "${how[@]}"
python -m train.sft --model "$out/pretrain" --out "$out/easy" --generate 10000000 --tasks stage1_basic --minutes "$(share 0.15)" "${how[@]}"
python -m train.sft --model "$out/easy" --out "$out/labels" --generate 10000000 --minutes "$(share 0.5)" "${how[@]}"
python -m train.grpo --model "$out/labels" --out "$out/grpo" --stages stage4_adversarial --minutes "$(share 0.15)" --eval-every 100 "${how[@]}"
for model in labels grpo/stage4_adversarial; do
    name=$(basename "$model")
    python -m eval.run --defender "$out/$model" --name "$name" --density compact --split benchmark --out "$out/eval/$name"
done
if [ -d models/defender ]; then
    python -m eval.run --defender embedded --split benchmark --out "$out/eval/embedded"
    python -m eval.compare "$out/eval/embedded" "$out/eval/labels" "$out/eval/stage4_adversarial"
fi
for model in labels grpo/stage4_adversarial; do
    name=$(basename "$model")
    python -m train.nano.export "$out/$model" --out "$out/defender/$name" ||
        echo "$model is not exported: the reason stands above; its figures are in $out/eval." >&2
done
