#!/usr/bin/env bash
# Puts each fault of faults/ back into a copy of the source, one at a time, and shows how many schedules the simulator
# takes to find it.
#
#   tests/simulator/faults.sh [NAME…]       all of them, or these; SCHEDULES says how many are tried (default 3000)
#
# Fails if one is not found. Takes about a minute for each after a first build of everything, in a target folder of its
# own (cargo would take what is built of the copy for its own): it is no part of tests/run.
set -euo pipefail
cd "$(dirname "$0")/../.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
git ls-files -z | xargs -0 cp --parents --target-directory "$copy"
target=$(realpath -m "${CARGO_TARGET_DIR:-target}/faults")
cd "$copy"
git init --quiet . && git add --all && git -c user.name=x -c user.email=x@localhost commit --quiet --message copy

missed=0
for fault in "${@:-}"; do
    for patch in tests/simulator/faults/${fault:-*}.patch; do
        name=$(basename "$patch" .patch)
        git checkout --quiet . && git apply "$patch"
        if ! CARGO_TARGET_DIR="$target" cargo build --workspace --features kassa/crash-points --bin simulator --quiet; then
            printf '%-42s does not build\n' "$name"
            missed=1
            continue
        fi
        if said=$("$target/debug/simulator" --schedules "${SCHEDULES:-3000}" --no-shrink 2>&1); then
            printf '%-42s NOT FOUND in %s schedules\n' "$name" "${SCHEDULES:-3000}"
            missed=1
        elif found=$(grep -m1 -o '^seed [0-9]*: [^:]*' <<< "$said"); then
            printf '%-42s %s\n' "$name" "$found"
        else
            printf '%-42s the simulator broke off: %s\n' "$name" "$said"
            missed=1
        fi
    done
done
exit "$missed"
