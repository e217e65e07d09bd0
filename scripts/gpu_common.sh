# What scripts/gpu_run.sh and scripts/gpu_self_play.sh share; they source it once their variables are set:
# OUT and RUN directories, DEVICE, EVAL_N, and CARRY, the names of the models that are brought home (all where it is unset).
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false PYTHONPATH=.
mkdir -p "$OUT" "$RUN"
OUT=$(cd "$OUT" && pwd)
began=$(date +%s)

if compgen -G '.whl/*.whl' >/dev/null; then
    [ -d /tmp/site ] || python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site .whl/*.whl
    export PYTHONPATH=/tmp/site:.
fi
python3 -c 'import sys, torch, transformers; print(sys.version.split()[0], torch.__version__, transformers.__version__, torch.cuda.is_available() and torch.cuda.get_device_name())'

say() { echo "[$(($(date +%s) - began)) s] $*"; }
minutes() { awk "BEGIN { print $1 / 60 }"; } # of seconds
keep() {                                     # a checkpoint's directory, its name
    [ -f "$1/model.safetensors" ] && [[ " ${CARRY-$2} " == *" $2 "* ]] && python3 scripts/carry.py pack "$1" "$OUT/$2"
}
logs() {
    (cd "$RUN" && find . -maxdepth 4 \( -name '*.jsonl' -o -name '*.json' -o -name '*.txt' \) -not -path './*/last/*' -not -path './*/tokenizer/*' -not -path './start-*/*' -print0 |
        tar czf "$OUT/.logs" --null -T - 2>/dev/null; mv "$OUT/.logs" "$OUT/logs.tgz")
}
measure() { # a model, its name
    timeout 90 python3 -m train.nano.measure "$1" --device "$DEVICE" --n "$EVAL_N" --out "$RUN/$2.json" 2>&1 | tee -a "$RUN/figures.txt"
    logs
}
