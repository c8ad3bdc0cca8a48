#!/usr/bin/env bash
# Remakes every generated file: the shipped prompts and music with their table, and the TypeScript types.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/install.sh build regen
ivr-scripts/prompts/regen.sh
ZONGJI_REGEN=1 ${CARGO:-cargo} test -q -p agent-gateway --lib typescript
