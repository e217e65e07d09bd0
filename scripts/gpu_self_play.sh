#!/usr/bin/env bash
# Train both seats on one GPU in minutes: scripts/gpu_self_play.sh PHASE...
#
#   short      the defender learns SHORT incidents from what is shipped, and is measured: what a change of the text alone is worth
#   seats      the defender goes on from there or from what is shipped (fresh incidents, SFT_MORE of them told otherwise), while the attacker goes on from what is shipped
#   grpo       the defender goes on by rewards alone
#   play       rounds of self-play from there
#
# Weights and logs go to $OUT in small files (scripts/carry.py joins them) as each phase ends, and once a minute. Wheels in .whl are installed first.
# Variables: SHORT incidents, SHORT_LR; SFT_S and ATTACKER_S seconds of the seats, LR and ATTACKER_LR, SFT_MORE flags of the defender's, ATTACKER_MORE of the attacker's; GRPO_S seconds,
# GRPO_LR, GRPO_MORE; ROUNDS, ATTACKER_MIN and DEFENDER_MIN minutes of the halves of a round, PLAY_MORE flags; DEVICE, RUN the directory of the runs, EVAL_N
# incidents of each split.
[[ ${1-} != -h && ${1-} != --help ]] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0; }
set -uo pipefail
for phase in "${@:-none}"; do
    [[ $phase =~ ^(short|seats|grpo|play)$ ]] || { echo "Expected phases, each short, seats, grpo or play, and got $phase; --help says more." >&2; exit 2; }
done
cd "$(dirname "$0")/.."
: "${SHORT:=57000}" "${SHORT_LR:=2e-3}" "${GRPO_S:=120}" "${GRPO_LR:=5e-4}" "${GRPO_MORE:=}"
: "${SFT_S:=240}" "${ATTACKER_S:=$SFT_S}" "${SFT_MORE:=--drills 0.4 --asides 0.3 --other-names 0.4 --other-words 0.3}" "${ATTACKER_MORE:=}" "${ROUNDS:=3}" "${ATTACKER_MIN:=1}" "${DEFENDER_MIN:=0.8}" "${PLAY_MORE:=}"
: "${DEVICE:=cuda}" "${OUT:=out/gpu-run}" "${RUN:=/tmp/gpu-play}" "${EVAL_N:=400}" "${LR:=1e-3}" "${ATTACKER_LR:=$LR}"
source scripts/gpu_common.sh

start() { # a seat: the checkpoint of what is shipped for it
    [ -d "$RUN/start-$1" ] || python3 -m train.nano.unpack "models/$1" --any-text --out "$RUN/start-$1"
}

short() {
    start defender
    say "short, $SHORT incidents"
    timeout -s INT -k 20 200 python3 -m train.sft --model "$RUN/start-defender" --out "$RUN/short" --generate "$SHORT" --lr "$SHORT_LR" \
        --device "$DEVICE" --wide $SFT_MORE 2>&1 | tee "$RUN/short.txt" | tail -n 3
    measure "$RUN/short/last" short
    keep "$RUN/short/last" short
    logs
}

seats() {
    start defender
    start attacker
    local from="$RUN/start-defender"
    [ -f "$RUN/short/last/model.safetensors" ] && from="$RUN/short/last"
    say "both seats, $SFT_S and $ATTACKER_S s"
    timeout -s INT -k 30 $((SFT_S + 120)) python3 -m train.sft --model "$from" --out "$RUN/defender" --generate 10000000 --seed 1 \
        --minutes "$(minutes "$SFT_S")" --lr "$LR" --device "$DEVICE" --wide $SFT_MORE >"$RUN/defender.txt" 2>&1 & local defender=$!
    timeout -s INT -k 30 $((ATTACKER_S + 120)) python3 -m train.sft --model "$RUN/start-attacker" --out "$RUN/attacker" --seat attacker --generate 10000000 --seed 1 \
        --minutes "$(minutes "$ATTACKER_S")" --lr "$ATTACKER_LR" --device "$DEVICE" --wide $ATTACKER_MORE >"$RUN/attacker.txt" 2>&1 & local attacker=$!
    while kill -0 $defender 2>/dev/null || kill -0 $attacker 2>/dev/null; do
        sleep 15
        tail -qn 1 "$RUN/defender.txt" "$RUN/attacker.txt" | cut -c1-200
        [ $((SECONDS % 60)) -lt 16 ] && keep "$RUN/defender/last" defender >/dev/null
    done
    tail -n 2 "$RUN/defender.txt" "$RUN/attacker.txt"
    keep "$RUN/defender/last" defender
    keep "$RUN/attacker/last" attacker
    measure "$RUN/defender/last" defender-greedy
    say "both seats are done"
}

grpo() {
    say "grpo, $GRPO_S s"
    timeout -s INT -k 20 $((GRPO_S + 60)) python3 -m train.grpo --model "$RUN/defender/last" --out "$RUN/grpo" --mixed \
        --minutes "$(minutes "$GRPO_S")" --lr "$GRPO_LR" --eval-every 0 --device "$DEVICE" --wide $GRPO_MORE 2>&1 | tee "$RUN/grpo.txt" | cut -c1-300
    keep "$RUN/grpo/mixed/last" grpo
    measure "$RUN/grpo/mixed/last" grpo-greedy
}

play() {
    say "self-play, $ROUNDS rounds"
    while sleep 45; do logs; done & local keeper=$!
    python3 -m train.self_play --attacker "$RUN/attacker/last" --defender "$RUN/defender/last" --out "$RUN/self-play" --rounds "$ROUNDS" \
        --attacker-steps 100000 --defender-steps 100000 --attacker-minutes "$ATTACKER_MIN" --defender-minutes "$DEFENDER_MIN" \
        --briefs 64 --groups 128 --device "$DEVICE" $PLAY_MORE 2>&1 | tee "$RUN/self-play.txt" | cut -c1-400
    kill $keeper 2>/dev/null
    for half in "$RUN"/self-play/rounds/*; do keep "$half" "$(basename "$half")"; done
    logs
    say "self-play is done"
}

for phase in "$@"; do "$phase"; done
ls -la "$OUT"
