#!/usr/bin/env bash
# Installs what is missing, and only that: tests/install.sh build|test|bench|regen ...
set -euo pipefail
wanted=()
need() { command -v "$1" >/dev/null 2>&1 || wanted+=("$2"); }
for what in "$@"; do
    case $what in
    build)
        need cc gcc
        need make make
        ;;
    regen)
        need espeak-ng espeak-ng
        need sox sox
        ;;
    test)
        need sipp sip-tester
        need baresip baresip
        need chromium chromium
        need espeak-ng espeak-ng
        need sox sox
        ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || wanted+=(postgresql)
        ls /usr/share/fonts/opentype/noto/NotoSansCJK* >/dev/null 2>&1 || wanted+=(fonts-noto-cjk)
        ;;
    bench)
        need strace strace
        ;;
    *)
        echo "usage: $0 build|test|bench|regen ..." >&2
        exit 2
        ;;
    esac
done
[ ${#wanted[@]} -eq 0 ] && exit 0
echo "installing: ${wanted[*]}"
sudo=""
[ "$(id -u)" -eq 0 ] || sudo=sudo
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
