#!/usr/bin/env bash
# Measures the project on a CUDA machine. In the project's root, after pack.sh: . .gpu/env.sh && bash .gpu/campaign.sh PART...
#   smoke (70 s)       card, versions, the tests marked gpu, a tiny run exact and one fast, at the same time
#   exactness (70 s)   for both networks: two runs at once and one that is killed (kill -9) and resumed must end with the same bits
#   speed (290 s)      bare steps and their kernels, src.benchmark with report A's batches, checkpoints, more bare steps
#   ablations (380 s)  report A's six settings on real photos, 256 pixels, width 64, through the sweep; aggregate; records as .tar.gz
# Several parts in one call share CAMPAIGN_TOTAL seconds (395): what matters less comes last and is what a lack of time cuts off.
# `smoke exactness speed` and then `ablations` fit into 15 minutes, with two for the start of the machine.
# Parts stand alone; what an earlier part left in /tmp (decoded images, compiled networks) saves time. Results go to $OUT as they come:
# campaign.log, steps.tsv, results.jsonl, profile.txt, gpu.csv, ablations.tar.gz (6 files; checkpoints never).
# It ends with 1 if a step failed or was cut off; a step that is left out for lack of time is no failure.
# CAMPAIGN_SECONDS (of each part, in place of those above), CAMPAIGN_EPOCHS, CAMPAIGN_SEEDS (0,1,2), CAMPAIGN_SLOTS (6: 18 runs are 3 rounds),
# CAMPAIGN_TINY=1 (rehearsal on a CPU), CAMPAIGN_PATIENCE (factor on fixed limits of steps, for a slow machine).
set -uo pipefail
tools=$(cd "$(dirname "$0")" && pwd)
python3 -c 'import hydra, albumentations' 2>/dev/null || . "$tools/env.sh" # not sourced, or sourced in a pipe
export OUT=${OUT:-$PWD/.gpu/results}
mkdir -p "$OUT"
WORK=${CAMPAIGN_WORK:-/tmp/segsweep-campaign}
mkdir -p "$WORK"
rm -rf "$WORK"/*.log "$WORK"/bench_* "$WORK"/records.* # an earlier call's, which would pass for results of this one
touch "$OUT/steps.tsv"
steps_before=$(wc -l <"$OUT/steps.tsv")
export SEGSWEEP_CACHE=${SEGSWEEP_CACHE:-/tmp/segsweep-cache} NO_ALBUMENTATIONS_UPDATE=1 PYTHONUNBUFFERED=1
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-$SEGSWEEP_CACHE/compiled} # torch sets its own before the run can
TINY=${CAMPAIGN_TINY:-}
LOG=$OUT/campaign.log

# where runs are kept: in memory if there is room, since every epoch writes half a gigabyte
runs_folder() {
  local free
  free=$(df -Pk /dev/shm 2>/dev/null | awk 'NR==2 {print int($4 / 1048576)}')
  if [[ -n $TINY || ${free:-0} -lt 24 ]]; then echo "$WORK/runs"; else echo /dev/shm/segsweep-runs; fi
}
RUNS=$(runs_folder)
SAMPLE=${OXFORD_PET_ROOT:-$PWD/.gpu/data/oxford-iiit-pet-sample}
SLOTS=${CAMPAIGN_SLOTS:-6}
SEEDS=${CAMPAIGN_SEEDS:-0,1,2}
if [[ -n $TINY ]]; then
  python3 "$tools/campaign_repeat.py" "$SAMPLE" "$WORK/mini" 1 30 8
  export OXFORD_PET_ROOT=$WORK/mini
  SMALL=(device=cpu data.image_size=64 model.width=2 trainer.batch_size=4 data.workers=0)
  LAUNCH=(hydra.launcher.jobs=2)
  STEPS=(--device cpu --size 64 --width 2 --steps 1)
  export CAMPAIGN_WIDTH=4
else
  SMALL=(device=cuda)
  LAUNCH=("hydra.launcher.slots_per_gpu=$SLOTS")
  STEPS=()
fi

say() { echo "$*" | tee -a "$LOG"; }
now() { date +%s; }
TOTAL_END=$(($(now) + ${CAMPAIGN_TOTAL:-$((($# > 1) ? 395 : 3600))}))
[[ -n $TINY ]] && TOTAL_END=$(($(now) + 36000))
PATIENCE=${CAMPAIGN_PATIENCE:-$([[ -n $TINY ]] && echo 5 || echo 1)} # a rehearsal shares its cores with other tests
budget() { # seconds
  END=$(($(now) + ${CAMPAIGN_SECONDS:-$1}))
  ((END > TOTAL_END)) && END=$TOTAL_END
  say "== $PART: $((END - $(now))) s, $(date -u +%H:%M:%S)"
}
left() { echo $((END - $(now))); }

# step NAME LIMIT LINES command...: runs it in at most LIMIT seconds (-45: all that is left of the part but 45), says its last LINES lines
step() {
  local name=$1 limit=$2 lines=$3 began rc
  shift 3
  if ((limit < 0)); then limit=$(($(left) + limit)); else limit=$((limit * PATIENCE)); fi
  (($(left) - 2 < limit)) && limit=$(($(left) - 2))
  if ((limit < 3)); then say "-- $name: left out, no time"; printf '%s\t%s\tleft out\t0\n' "$PART" "$name" >>"$OUT/steps.tsv"; return 0; fi
  began=$(date +%s.%N)
  timeout -s TERM -k 20 "$limit" "$@" </dev/null 2>&1 | tee "$WORK/$name.log" >>"$LOG"
  rc=${PIPESTATUS[0]}
  printf '%s\t%s\t%s\t%.1f\n' "$PART" "$name" "$rc" "$(echo "$(date +%s.%N) $began" | awk '{print $1 - $2}')" | tee -a "$OUT/steps.tsv" | awk -F'\t' '{printf "-- %s: exit %s, %s s%s\n", $2, $3, $4, ($3 == 124 ? " (TIME IS UP)" : "")}'
  ((lines > 0)) && tail -n "$lines" "$WORK/$name.log" | cut -c1-400
  return "$rc"
}
json_lines() { grep -h '^{' "$@" 2>/dev/null >>"$OUT/results.jsonl"; }

smoke() {
  budget 100
  {
    command -v nvidia-smi >/dev/null && nvidia-smi
    nproc; free -g | head -2; df -h . /tmp /dev/shm 2>/dev/null; ulimit -n; uname -r
    python3 - <<'PY'
import platform, sys, torch
print("python", sys.version.split()[0], "torch", torch.__version__, "cuda", torch.version.cuda, "cudnn", torch.backends.cudnn.version(), "threads", torch.get_num_threads())
if torch.cuda.is_available():
    one = torch.cuda.get_device_properties(0)
    print(one.name, f"{one.total_memory / 2**30:.1f} GiB, {one.multi_processor_count} multiprocessors, capability {one.major}.{one.minor}")
PY
  } 2>&1 | tee -a "$LOG"
  local tests common tiny=()
  tests=$(grep -rlE --include='*.py' 'mark\.gpu|needs_cuda' tests) # the others need selenium and nbformat, which may be missing
  common=(data=oxford_pet size=small trainer.epochs=2 model.width=16 data.image_size=128 trainer.batch_size=32)
  export TORCHINDUCTOR_COMPILE_THREADS=4
  # shellcheck disable=SC2086
  step gpu_tests 95 25 python3 -m pytest -q -n "$([[ -n $TINY ]] && echo 2 || echo 7)" -m gpu -rfE --tb=short -p no:cacheprovider $tests &
  for numerics in exact fast; do
    step "tiny_$numerics" 64 2 python3 -m src.train "${common[@]}" "numerics=$numerics" "${SMALL[@]}" "output=$RUNS/smoke" &
    tiny+=($!)
  done
  wait "${tiny[@]}" # the tests may still run beside the next part, which is not about time
  unset TORCHINDUCTOR_COMPILE_THREADS
}

exact_run() { # network, who; becomes python, so call it in a subshell
  exec python3 -m src.train "model=$1" data=oxford_pet trainer=report_a numerics=exact "trainer.checkpoint_seconds=$([[ -n $TINY ]] && echo 0 || echo 1)" "trainer.epochs=$([[ -n $TINY ]] && echo 6 || echo 2)" trainer.batch_size=32 data.workers=2 "${SMALL[@]}" "output=$RUNS/exact/$1/$2"
}
killed_run() { # network
  local pid epochs=0
  (exact_run "$1" killed) &
  pid=$!
  for _ in $(seq 600); do
    epochs=$(cat "$RUNS/exact/$1/killed/single/"*/epochs.jsonl 2>/dev/null | wc -l)
    ((epochs >= 1)) && break # its checkpoint, of each second, is of this epoch or of the next one
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  sleep 0.3
  kill -9 "$pid" 2>/dev/null
  wait "$pid" 2>/dev/null
  echo "killed after $epochs epochs with status $(grep -h '"status"' "$RUNS/exact/$1/killed/single/"*/run.json)"
  (exact_run "$1" killed)
  grep -ho "resuming in epoch.*" "$RUNS/exact/$1/killed/single/"*/train.log || echo "RESUMED FROM NOTHING"
}
exactness() {
  budget 75
  rm -rf "$RUNS/exact"
  export -f exact_run killed_run
  export RUNS TINY
  SMALL_TEXT="${SMALL[*]} $([[ -n $TINY ]] || echo model.width=32)" # float32 without tf32 is slow: a quarter of the work
  export SMALL_TEXT
  for network in unet resnet34_unet; do
    for who in first second; do step "exact_${network}_$who" 66 1 bash -c 'SMALL=($SMALL_TEXT); exact_run "$@"' _ "$network" "$who" & done
    step "exact_${network}_killed" 66 3 bash -c 'SMALL=($SMALL_TEXT); killed_run "$@"' _ "$network" &
  done
  wait
  grep -hE "killed after|resuming|RESUMED" "$WORK"/exact_*_killed.log 2>/dev/null
  for network in unet resnet34_unet; do
    step "bits_$network" 15 3 python3 "$tools/campaign_bits.py" "first=$RUNS/exact/$network/first" "second=$RUNS/exact/$network/second" "killed and resumed=$RUNS/exact/$network/killed"
  done
  rm -rf "$RUNS/exact"
}

speed() {
  wait # for the tests of the part before
  budget 290
  local root=$WORK/repeated turns=(repeats=3 images=64)
  python3 "$tools/campaign_repeat.py" "$SAMPLE" "$root" "$([[ -n $TINY ]] && echo 1 || echo 4)" $([[ -n $TINY ]] && echo 60 8)
  local full=(data=oxford_pet "data.root=$root" data.workers=8 "data.cache_dir=$SEGSWEEP_CACHE") unet=32 resnet=128 u_steps=20 r_steps=8
  if [[ -n $TINY ]]; then
    full=(data=oxford_pet "data.root=$root" "${SMALL[@]}"); turns=(repeats=1 images=8); unet=4; resnet=4; u_steps=1; r_steps=1
  fi
  # only the two main variants are compiled, at the same time and beforehand, so that nothing waits for it later
  export TORCHINDUCTOR_COMPILE_THREADS=8
  for way in "unet:$unet" "resnet34_unet:$resnet"; do
    step "warm_${way/:/_}" 80 1 python3 "$tools/campaign_steps.py" --warm-only "${STEPS[@]}" "$way:compile,cl" &
  done
  wait
  unset TORCHINDUCTOR_COMPILE_THREADS
  json_lines "$WORK"/warm_*.log
  local -a ways=("unet:$unet:compile,cl,profile" "resnet34_unet:$resnet:compile,cl,profile" "unet:$unet:cl" "resnet34_unet:$resnet:cl")
  step steps 50 30 python3 "$tools/campaign_steps.py" "${STEPS[@]}" --seconds 35 --profile "$OUT/profile.txt" "${ways[@]}"
  json_lines "$WORK/steps.log"
  benchmark resnet34_unet "$r_steps"
  benchmark unet "$u_steps"
  step checkpoints 25 4 python3 "$tools/campaign_checkpoints.py" "$WORK/checkpoints" "$RUNS/checkpoints"
  json_lines "$WORK/checkpoints.log"
  ways=("unet:$unet:" "resnet34_unet:$resnet:")
  [[ -z $TINY ]] && ways+=(unet:32:exact resnet34_unet:128:exact unet:32:cl,eval resnet34_unet:128:cl,eval unet:128:cl resnet34_unet:32:cl
    resnet34_unet:128:graphs,cl unet:64:compile,cl resnet34_unet:64:compile,cl unet:128:compile,cl)
  step more_steps -3 30 python3 "$tools/campaign_steps.py" "${STEPS[@]}" --seconds "$(($(left) - 12))" "${ways[@]}"
  json_lines "$WORK/more_steps.log"
  cp "$OUT/results.jsonl" "$WORK/results.jsonl" # for the choice of epochs in a later call, whose $OUT is empty
}
benchmark() { # network, steps in each turn; with the variables of `speed`
  step "bench_$1" 75 12 python3 -m src.benchmark "networks=[$1]" "steps=$2" "${turns[@]}" "output=$WORK/bench_$1" "${full[@]}"
  [[ -f $WORK/bench_$1/benchmark.json ]] && python3 -c 'import json,sys; print(json.dumps({"benchmark": json.load(open(sys.argv[1]))}))' "$WORK/bench_$1/benchmark.json" >>"$OUT/results.jsonl"
}

keep_records() { # the records so far, without checkpoints
  [[ -d $RUNS/report_a_256 ]] || return 0
  local file=$WORK/records.$BASHPID.tar.gz # another process may be writing its own
  tar -C "$RUNS" --exclude=checkpoints --exclude='*.pt' --exclude=.locks --exclude=.jobs -czf "$file" report_a_256 2>/dev/null || true
  mv "$file" "$OUT/ablations.tar.gz"
}
# the runs of experiment=report_a/all (same ids), but seed by seed, so that a sweep that is cut off is balanced
SETTINGS=$(printf 'report_a/%s,' {unet,resnet34_unet}_{none_cosine,flip_jitter_cosine,flip_jitter_onecycle})
sweep() { # seeds; what it leaves of the part is for the aggregation
  step "sweep_$1" -45 30 python3 -m src.train -m "seed=$1" "setting=${SETTINGS%,}" "${FAST[@]}" "${EPOCHS[@]}" "${SMALL[@]}" "${LAUNCH[@]}" "output=$RUNS" sweep.name=report_a_256
}
ablations() {
  budget 380
  local sampler="" keeper epochs began took
  FAST=(numerics=fast)
  if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=timestamp,utilization.gpu,memory.used,power.draw,clocks.sm --format=csv,noheader,nounits -l 2 >>"$OUT/gpu.csv" &
    sampler=$!
  fi
  (while sleep 40; do keep_records; done) >/dev/null 2>&1 & # a killed loop's sleep would hold the terminal or pipe open
  keeper=$!
  # compiles both networks, for training and for evaluation, into the cache that all runs share, and times an epoch
  if [[ -z $TINY ]]; then
    step warm_runs 100 6 python3 -m src.train -m model=unet,resnet34_unet trainer=report_a numerics=fast trainer.epochs=3 data=oxford_pet "${SMALL[@]}" hydra.launcher.slots_per_gpu=2 "output=$RUNS" sweep.name=warm
    case $? in 0 | 124) ;; *) say "warm runs failed: the sweep goes without torch.compile"; FAST+=(numerics.compile=false) ;; esac
    export TORCHINDUCTOR_COMPILE_THREADS=$(($(nproc) / SLOTS)) # otherwise every run starts a helper process for each core
  fi
  epochs=${CAMPAIGN_EPOCHS:-$(if [[ -n $TINY ]]; then echo 1; else python3 "$tools/campaign_summary.py" epochs "$RUNS/warm" "$WORK/results.jsonl" "$(($(left) - 45))" "$SEEDS" "$SLOTS" 2>>"$LOG"; fi)}
  say "epochs: ${epochs:=20} (the report's 50 as far as time allows), seeds $SEEDS, $SLOTS runs at a time, records in $RUNS"
  EPOCHS=("trainer.epochs=$epochs")
  [[ $epochs == 50 ]] && EPOCHS=()
  began=$(now)
  sweep "$SEEDS"
  took=$(($(now) - began))
  keep_records
  if [[ -z $TINY && $SEEDS == 0,1,2 ]] && (($(left) - 50 > took * 4 / 5)); then sweep 3,4; fi
  kill "$keeper" 2>/dev/null
  wait "$keeper" 2>/dev/null
  step aggregate 40 25 python3 -m src.aggregate "sweep=$RUNS/report_a_256"
  keep_records
  step summary 10 30 python3 "$tools/campaign_summary.py" runs "$RUNS/report_a_256" "$OUT/gpu.csv"
  json_lines "$WORK/summary.log"
  [[ -n $sampler ]] && kill "$sampler" 2>/dev/null
}

[[ $# -gt 0 ]] || { sed -n '2,13p' "$0"; exit 2; }
for PART in "$@"; do
  case $PART in
    smoke | speed | ablations | exactness) began_part=$(now); "$PART"; say "== $PART took $(($(now) - began_part)) s" ;;
    *) echo "no part called $PART: smoke, exactness, speed, ablations"; exit 2 ;;
  esac
done
wait
ls -la "$OUT"
# more_steps fills the time that is left, so that it may be cut off
failed=$(tail -n "+$((steps_before + 1))" "$OUT/steps.tsv" | awk -F'\t' '$3 != "0" && $3 != "left out" && !($2 == "more_steps" && $3 == "124") {printf " %s", $2}')
[[ -z $failed ]] || { say "failed:$failed"; exit 1; }
