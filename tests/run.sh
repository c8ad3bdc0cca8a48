#!/usr/bin/env bash
# Every test of the project, in the order of what fails soonest. Ends with one line: N passed, N failed, N skipped.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
passed=0 failed=0 skipped=0
web=agent-gateway/web
cargo=${CARGO:-cargo}

# step NAME COMMAND...: one check, counted as one test.
step() {
    local name=$1
    shift
    echo "== $name"
    if "$@"; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAILED: $name"
    fi
}

# counted NAME COMMAND...: a test runner, its own counts added up.
counted() {
    local name=$1 status
    shift
    echo "== $name"
    "$@" 2>&1 | tee "$out"
    status=${PIPESTATUS[0]}
    local p f s
    # cargo test prints "test result: ok. 3 passed; 0 failed; 1 ignored"; vitest prints "Tests  3 passed | 1 failed (4)".
    p=$(sed 's/\x1b\[[0-9;]*m//g' "$out" | awk '/^test result:/ {n+=$4} /^ *Tests +/ {for(i=1;i<NF;i++) if($(i+1)=="passed") n+=$i} END {print n+0}')
    f=$(sed 's/\x1b\[[0-9;]*m//g' "$out" | awk '/^test result:/ {n+=$6} /^ *Tests +/ {for(i=1;i<NF;i++) if($(i+1)=="failed") n+=$i} END {print n+0}')
    s=$(sed 's/\x1b\[[0-9;]*m//g' "$out" | awk '/^test result:/ {n+=$8} /^ *Tests +/ {for(i=1;i<NF;i++) if($(i+1)=="skipped") n+=$i} END {print n+0}')
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
        failed=$((failed + 1))
        echo "FAILED: $name (exit $status)"
    fi
}

step "what the tests need is installed" tests/install.sh build test
step "the web application's packages" bash -c "cd $web && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund; }"
step "rustfmt" $cargo fmt --check
step "the web application checks (types, translations)" bash -c "cd $web && npm run -s check"
step "the web application builds within its budgets" bash -c "cd $web && npm run -s build"
counted "the web application's unit tests" bash -c "cd $web && npm test -s"
step "everything builds" $cargo build --workspace --all-targets
step "clippy" $cargo clippy --workspace --all-targets -- -D warnings
counted "cargo test" $cargo test --workspace --no-fail-fast

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
