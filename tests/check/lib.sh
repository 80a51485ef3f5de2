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

# Runs every Criterion program of a build folder and counts its tests. criterion FOLDER [NAME…]
criterion() {
   local build=$1 program out
   shift
   for program in "$build"/tests/*_test; do
      [ $# -gt 0 ] && [[ ! " $* " == *" $(basename "$program") "* ]] && continue
      out=$("$program" -j2 2>&1)
      local code=$?
      echo "== $(basename "$program") (exit $code)"
      printf '%s\n' "$out" | tail -40
      # "[====] Synthesis: Tested: 8 | Passing: 8 | Failing: 0 | Crashing: 0"
      if [[ $out =~ Tested:\ ([0-9]+)\ \|\ Passing:\ ([0-9]+)\ \|\ Failing:\ ([0-9]+)\ \|\ Crashing:\ ([0-9]+) ]]; then
         passed=$((passed + BASH_REMATCH[2]))
         failed=$((failed + BASH_REMATCH[3] + BASH_REMATCH[4]))
         [ "$code" -ne 0 ] && [ $((BASH_REMATCH[3] + BASH_REMATCH[4])) -eq 0 ] && failed=$((failed + 1))
      else
         failed=$((failed + 1))
      fi
   done
}

finish() {
   echo "$passed passed, $failed failed"
   [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
   exit
}
