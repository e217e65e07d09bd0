#!/usr/bin/env bash
# Measure the shipped defender beside an earlier one and the baselines, and make docs/results.md, the board and the pictures of it:
#   scripts/make_results.sh BEFORE [NAME=DIR[,DIR] ...]
#
# BEFORE is a run of eval.run over `val,val_family,all` by another name than `embedded`; a NAME=DIR is a training, with a directory for each seed (run.json and
# log.jsonl in it). Runs are kept in $OUT (default out/eval); what is there is resumed, so another export needs another $OUT or none of its old run.
# SPLITS (default val,val_family,all) are those of `embedded`: it takes a core a third of a second for each of its 4,600 items. AFTER is a run that is there already, made on a
# GPU, say, and measured in its place. PYTHON names the interpreter.
[[ ${1-} != -h && ${1-} != --help ]] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0; }
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { bash "$0" --help >&2; exit 2; }
before=$1 out=${OUT:-out/eval}
after=${AFTER:-$out/embedded}
shift
if [ -z "${PYTHON:-}" ]; then
    if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; else PYTHON=python3; fi
fi
trained=()
for training in "$@"; do trained+=(--trained "$training"); done

[ -n "${AFTER:-}" ] || "$PYTHON" -m eval.run --defender embedded --split "${SPLITS:-val,val_family,all}" --out "$out/embedded"
"$PYTHON" -m eval.results --before "$before" --after "$after" ${trained[@]+"${trained[@]}"}
"$PYTHON" scripts/make_docs.py
for run in "$before" "$after"; do "$PYTHON" -m eval.leaderboard add "$run"; done  # the baselines stand on it

runs=("$after" "$before")
for baseline in keyword bag_of_words random always_dismiss always_escalate majority verifier_oracle; do
    [ -f "$out/$baseline/metrics.json" ] || "$PYTHON" -m eval.run --defender "$baseline" --split all --out "$out/$baseline" >/dev/null
    runs+=("$out/$baseline")
done
"$PYTHON" -m eval.plot_results "${runs[@]}" --out "$out/pictures" --audit data/audit.json
for picture in dismiss_on_malicious macro_f1_by_split shortcuts; do
    cp "$out/pictures/$picture".{png,csv} docs/images/
done
"$PYTHON" -m eval.plot_results "$before" "$after" "$out/keyword" --out "$out/three"  # small enough for the README
for picture in confusion reward_by_stage; do
    cp "$out/three/$picture".{png,csv} docs/images/
done
"$PYTHON" scripts/make_docs.py
"$PYTHON" -m eval.report "$before" "$after" --out "$out/report.html"
