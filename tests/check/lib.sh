# lib.sh - counting for the steps of ./check. Source it; call `try NAME COMMAND…` per test; end with `finish`.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
passed=0
failed=0

# Runs a command as one test.
try() {
   local name=$1
   shift
   if "$@"; then
      passed=$((passed + 1))
   else
      failed=$((failed + 1))
      echo "FAILED: $name"
   fi
}

# Configures build/asan, which two steps share.
sanitized() {
   cmake -S . -B build/asan -G Ninja -DCMAKE_C_COMPILER=clang-22 -DSINTER_SANITIZE=address,undefined -DSINTER_FUZZ=ON \
      -DSINTER_TESTS=ON
}

# Runs every Criterion program of a build folder, two at a time, and counts its tests; *_gpu_test in --long only.
# criterion FOLDER [NAME…]
criterion() {
   local build=$1 program name code out logs
   local -A running=()
   logs=$(mktemp -d)
   shift
   for program in "$build"/tests/*_test; do
      name=$(basename "$program")
      [ $# -gt 0 ] && [[ ! " $* " == *" $name "* ]] && continue
      # The CPU's programs once more on the mock's threads: slow.
      [[ $name == *_gpu_test && ${SINTER_CHECK_LONG:-0} != 1 ]] && continue
      if [ ${#running[@]} -ge 2 ]; then
         wait -n -p pid "${!running[@]}"
         unset "running[$pid]"
      fi
      (
         start=$SECONDS
         "$program" -j1 >"$logs/$name" 2>&1
         echo "exit $?, $((SECONDS - start)) s" >"$logs/$name.exit"
      ) &
      running[$!]=1
   done
   wait
   for program in "$logs"/*_test; do
      name=$(basename "$program")
      out=$(cat "$program")
      code=$(cat "$program.exit")
      echo "== $name ($code)"
      printf '%s\n' "$out" | tail -40
      # "[====] Synthesis: Tested: 8 | Passing: 8 | Failing: 0 | Crashing: 0"
      if [[ $out =~ Tested:\ ([0-9]+)\ \|\ Passing:\ ([0-9]+)\ \|\ Failing:\ ([0-9]+)\ \|\ Crashing:\ ([0-9]+) ]]; then
         passed=$((passed + BASH_REMATCH[2]))
         failed=$((failed + BASH_REMATCH[3] + BASH_REMATCH[4]))
         [[ $code != "exit 0,"* ]] && [ $((BASH_REMATCH[3] + BASH_REMATCH[4])) -eq 0 ] && failed=$((failed + 1))
      else
         failed=$((failed + 1))
      fi
   done
   rm -r "$logs"
}

finish() {
   echo "$passed passed, $failed failed"
   [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
   exit
}
