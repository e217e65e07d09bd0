#!/bin/sh
# Data, SFT, GRPO, evaluation, pictures and the demo's examples with one command, for a preset on a CPU or a model on a GPU:
#   scripts/run_full_pipeline.sh --preset nano
#   scripts/run_full_pipeline.sh --model Qwen/Qwen2.5-3B-Instruct --out out/qwen
# Every part keeps a directory under --out and is not done twice: after a kill the same command goes on.
set -eu
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
usage: scripts/run_full_pipeline.sh [--preset nano|mini|medium|small | --model DIR_OR_HUB_ID] [--out DIR] [--stages TASKS] [--steps N] [--limit N]

  --preset NAME   a small model from nothing, on a CPU (default: nano)
  --model MODEL   a model's directory or its name on the hub, by LoRA; then there is no pretraining
  --out DIR       where all goes (default: out/pipeline)
  --stages TASKS  of GRPO, comma-separated (default: stage1_basic,stage2_multi,stage3_mixed,stage4_adversarial)
  --steps N       optimizer steps of pretraining and of each stage (default: each command's own)
  --limit N       items of each evaluated set (default: all)
PYTHON names the interpreter (default: .venv/bin/python where it is there, else python3).
TEXT
}

preset=nano model="" out=out/pipeline stages=stage1_basic,stage2_multi,stage3_mixed,stage4_adversarial steps="" limit=""
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --preset | --model | --out | --stages | --steps | --limit)
            [ $# -ge 2 ] || { echo "Expected a value after $1, and got none." >&2; exit 2; }
            eval "${1#--}=\$2"
            shift 2
            ;;
        *) echo "Expected one of the flags below, and got $1." >&2; usage >&2; exit 2 ;;
    esac
done

if [ -z "${PYTHON:-}" ]; then
    if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; else PYTHON=python3; fi
fi
run() {
    echo "\$ python -m $*" >&2
    "$PYTHON" -m "$@"
}

# A wrong name is told before anything long begins.
"$PYTHON" -c 'import sys
from schema import OpenSOCError
from train.command import tasks_of
try:
    tasks_of(sys.argv[1], "--stages")
except OpenSOCError as error:
    sys.exit(str(error))' "$stages" || exit 2

# Data: the frozen sets are in the repository; a few of each are made again and compared.
run eval.build_sets --check --sample 5

# Training
if [ -z "$model" ]; then
    run train.nano.pretrain --model "$preset" --out "$out/pretrain" ${steps:+--steps "$steps"}
    model=$out/pretrain
fi
run train.sft --model "$model" --out "$out/sft"
# What the plain loop made reads short prompts, whatever it began as.
if [ -f "$out/sft/opensoc.json" ]; then density=compact; else density=legend; fi
run train.grpo --model "$out/sft" --out "$out/grpo" --stages "$stages" --density "$density" ${steps:+--steps "$steps"}

# Evaluation, pictures, the demo's examples
last=${stages##*,}
for name in sft grpo; do
    if [ $name = sft ]; then path=$out/sft; else path=$out/grpo/$last; fi
    run eval.run --defender "$path" --name "$name" --split holdout,benchmark --density "$density" --out "$out/eval/$name" ${limit:+--limit "$limit"}
done
run eval.compare "$out/eval/sft" "$out/eval/grpo"
run eval.plot_results "$out/eval/sft" "$out/eval/grpo" --out "$out/pictures"
run eval.plot_training "$out/grpo/$last/log.jsonl" --out "$out/pictures"
run eval.bake_demo --run "sft=$out/eval/sft" --run "grpo=$out/eval/grpo" --out "$out/demo_examples.json"
echo "All of it: $out"
