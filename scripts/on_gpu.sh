#!/bin/sh
# On a machine with a GPU: the figures of docs/performance.md, then the test suite and beside it a
# training and the report. With 16 cores it takes at most eight minutes. What falls short stands at
# the end of each.
#   sh scripts/on_gpu.sh [FOLDER]    keeps what is printed there (default: out)
# FIGURE_SECONDS and SUITE_SECONDS: when either is cut off.
set -u
cd "$(dirname "$0")/.." || exit 2
out=${1:-out}
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

echo "# The figures: nothing else runs on the GPU."
timeout "${FIGURE_SECONDS:-180}" python3 scripts/benchmark.py rules --platform gpu \
    --json "$out/figures.json" 2> "$out/figures.err" | tee "$out/figures.md"
tail -n 3 "$out/figures.err"

echo "# A training and the report, beside the suite."
{
    timeout "${SUITE_SECONDS:-280}" python3 scripts/train.py --out "$out/train" &&
        timeout "${SUITE_SECONDS:-280}" python3 scripts/report.py --out "$out/report"
    echo "exit status $?"
} > "$out/scripts.txt" 2>&1 &

echo "# The suite, in processes side by side. XLA need not look for the fastest product."
export XLA_FLAGS="--xla_backend_optimization_level=0 --xla_gpu_autotune_level=0"
processes=$(($(nproc) > 3 ? $(nproc) - 2 : 1))
# INT: pytest says what has failed by then. pytest-benchmark, where it is installed, minds xdist.
timeout -s INT -k 15 "${SUITE_SECONDS:-280}" python3 -m pytest -q -n "$processes" \
    -p no:cacheprovider -p no:benchmark > "$out/suite.txt" 2>&1
echo "exit status $? (0: all passed; 1: some failed; 2 or 124: cut off)"
grep -E "^(FAILED|ERROR)|passed|failed" "$out/suite.txt" || tail -n 5 "$out/suite.txt"

wait
echo "# train.py and report.py"
tail -n 12 "$out/scripts.txt"
