#!/usr/bin/env bash
# Train a defender on one GPU in minutes, from nothing: scripts/gpu_run.sh
#
# SFT on fresh incidents (easy ones first), figures, GRPO, figures. Weights and logs go to $OUT in few small files (scripts/carry.py joins them),
# once a minute and after each phase; a phase that fails or is killed leaves what the ones before it made. Wheels in .whl are installed first.
# Variables: SFT_S, GRPO_S and SCARCE_S seconds of training (0 leaves a line out), CARRY the models that are brought home, EASY incidents of
# stage 1 first, EVAL_N incidents of each split, SAVE_S seconds between savings, RUN the directory of the runs, PRESET, DEVICE, LR, GRPO_LR, SFT_MORE and
# GRPO_MORE flags; SMOKE=1 tries every phase in a minute.
[[ ${1-} != -h && ${1-} != --help ]] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0; }
set -uo pipefail
cd "$(dirname "$0")/.."
if [ "${SMOKE:-0}" = 1 ]; then
    : "${SFT_S:=15}" "${GRPO_S:=8}" "${EASY:=512}" "${EVAL_N:=40}" "${SAVE_S:=15}" "${RUN:=/tmp/gpu-smoke}"
    rm -rf "$RUN"
fi
: "${SFT_S:=300}" "${GRPO_S:=90}" "${SCARCE_S:=0}" "${CARRY:=sft grpo scarcegrpo}" "${EASY:=60000}" "${EVAL_N:=800}" "${SAVE_S:=60}" "${PRESET:=medium}" "${DEVICE:=cuda}"
: "${LR:=3e-3}" "${GRPO_LR:=5e-4}" "${SFT_MORE:=}" "${GRPO_MORE:=}" "${OUT:=out/gpu-run}" "${RUN:=/tmp/gpu-run}"
source scripts/gpu_common.sh

keep_on() { # every minute
    while sleep "$SAVE_S"; do keep "$1" "$2" >/dev/null; logs; done
}

phase() { # seconds that training takes, its last checkpoint, its name, the command
    local seconds=$1 last=$2 name=$3
    shift 3
    say "$name: $*"
    keep_on "$last" "$name" & local keeper=$!
    timeout -s INT -k 20 $((seconds + 90)) "$@" 2>&1 | tee -a "$RUN/$name.txt"
    kill "$keeper" 2>/dev/null
    keep "$last" "$name"
    logs
}

if [ "$SFT_S" != 0 ]; then
    phase "$SFT_S" "$RUN/sft/last" sft python3 -m train.sft --model "$PRESET" --out "$RUN/sft" --generate 10000000 --easy-first "$EASY" \
        --minutes "$(minutes "$SFT_S")" --lr "$LR" --device "$DEVICE" --wide $SFT_MORE
    measure "$RUN/sft/last" sft-greedy
fi
if [ "$GRPO_S" != 0 ]; then
    phase "$GRPO_S" "$RUN/grpo/mixed/last" grpo python3 -m train.grpo --model "$RUN/sft/last" --out "$RUN/grpo" --mixed \
        --minutes "$(minutes "$GRPO_S")" --lr "$GRPO_LR" --eval-every 0 --device "$DEVICE" --wide $GRPO_MORE
    measure "$RUN/grpo/mixed/last" grpo-greedy
fi
if [ "$SCARCE_S" != 0 ]; then # labels scarce: a third of the seconds without labels, the 600 rows, the rest GRPO
    phase $((SCARCE_S / 3)) "$RUN/scarce/last" pretrain python3 -m train.nano.pretrain --model "$PRESET" --out "$RUN/scarce" \
        --minutes "$(minutes $((SCARCE_S / 3)))" --lr "$LR" --device "$DEVICE" --wide
    phase 60 "$RUN/scarce600/last" rows600 python3 -m train.sft --model "$RUN/scarce/last" --out "$RUN/scarce600" --epochs 6 \
        --batch 32 --lr "$LR" --device "$DEVICE" --wide
    measure "$RUN/scarce600/last" scarce600-greedy
    phase $((SCARCE_S * 2 / 3)) "$RUN/scarcegrpo/mixed/last" scarcegrpo python3 -m train.grpo --model "$RUN/scarce600/last" --out "$RUN/scarcegrpo" --mixed \
        --minutes "$(minutes $((SCARCE_S * 2 / 3)))" --lr "$GRPO_LR" --eval-every 0 --device "$DEVICE" --wide $GRPO_MORE
    measure "$RUN/scarcegrpo/mixed/last" scarcegrpo-greedy
fi
say "done"
ls -la "$OUT"
