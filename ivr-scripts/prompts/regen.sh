#!/usr/bin/env bash
# Remakes the shipped prompts, tones, music and the table that puts them into the program. The same every time:
# espeak-ng speaks prompts.toml, sox makes the rest. Needs espeak-ng 1.51 and sox 14.4.
set -euo pipefail
cd "$(dirname "$0")"
for tool in espeak-ng sox rustfmt; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed: apt-get install espeak-ng sox, rustup component add rustfmt" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
locales=(zh-CN en)
# No dither and fixed random numbers, so that two runs give the same bytes.
sox() { command sox -D -R "$@"; }
telephone=(-r 8000 -c 1 -b 16 -e signed-integer)

voice() { # voice LOCALE -> espeak-ng's arguments
    case $1 in
    zh-CN) echo "-v cmn+f2 -s 185 -p 52 -g 2" ;;
    en) echo "-v en-gb+f2 -s 150 -p 52 -g 2" ;;
    *) echo "no voice for the locale $1: name one in regen.sh" >&2; exit 1 ;;
    esac
}

speak() { # speak LOCALE TEXT FILE
    local locale=$1 text=$2 file=$3
    if [[ $text =~ ^([A-Za-z-]+)\|(.*)$ ]]; then locale=${BASH_REMATCH[1]} text=${BASH_REMATCH[2]}; fi
    # shellcheck disable=SC2046
    espeak-ng $(voice "$locale") -b 1 -w "$work/raw.wav" "$text"
    # The telephone's band, cut to the words, ends faded, a short pause after, loud as speech is on a line.
    sox "$work/raw.wav" "${telephone[@]}" "$file" highpass 200 rate -h 8000 silence 1 0.005 0.5% fade q 0.005 \
        reverse silence 1 0.005 0.5% fade q 0.015 reverse norm -5 pad 0 0.06
}

rm -rf "${locales[@]}" music
mkdir -p "${locales[@]}" music
name=""
while IFS= read -r line; do
    if [[ $line =~ ^\[([a-z0-9_]+)\]$ ]]; then name=${BASH_REMATCH[1]}
    elif [[ $line =~ ^([A-Za-z-]+)\ =\ \"(.*)\"$ ]]; then
        speak "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "${BASH_REMATCH[1]}/$name.wav"
    elif [[ -n $line && $line != \#* ]]; then echo "prompts.toml: not understood: $line" >&2; exit 1
    fi
done <prompts.toml

# Tones are the same in every locale: the zip before an agent's call, a beep, and the ringback of China (450 Hz, 1 s in 5; GF 002).
sox -n "${telephone[@]}" "$work/zip.wav" synth 0.12 sine 620:940 fade q 0.01 0.12 0.02 gain -9
sox -n "${telephone[@]}" "$work/beep.wav" synth 0.25 sine 1000 fade q 0.01 0.25 0.02 gain -9
sox -n "${telephone[@]}" "$work/ringback.wav" synth 1 sine 450 fade q 0.01 1 0.01 gain -12 pad 0 4
for locale in "${locales[@]}"; do cp "$work"/{zip,beep,ringback}.wav "$locale/"; done

# Music: eight bars of 3.75 s, a soft chord under a slow broken one. Every bar begins and ends in silence, so the loop has no seam.
bar() { # bar FILE F1 F2 F3 F4
    local file=$1 i=0 at parts=()
    shift
    sox -n "${telephone[@]}" "$work/pad.wav" synth 3.75 sine "$1" synth 3.75 sine mix "$2" synth 3.75 sine mix "$3" \
        fade h 0.9 3.75 1.2 gain -17
    for note in "$1" "$2" "$3" "$4" "$3" "$2"; do
        at=$(awk "BEGIN{print $i * 0.5 + 0.1}")
        sox -n "${telephone[@]}" "$work/note$i.wav" synth 1.1 triangle "$(awk "BEGIN{print $note * 2}")" \
            fade l 0.02 1.1 1.05 gain -15 pad "$at" 0
        parts+=("$work/note$i.wav")
        i=$((i + 1))
    done
    sox -m "$work/pad.wav" "${parts[@]}" "${telephone[@]}" "$file" gain 12 trim 0 3.75 fade h 0 3.75 0.1
}
bar "$work/bar1.wav" 261.63 329.63 392.00 493.88
bar "$work/bar2.wav" 220.00 261.63 329.63 392.00
bar "$work/bar3.wav" 174.61 220.00 261.63 329.63
bar "$work/bar4.wav" 196.00 246.94 293.66 329.63
bar "$work/bar5.wav" 261.63 329.63 392.00 440.00
bar "$work/bar6.wav" 164.81 246.94 329.63 392.00
bar "$work/bar7.wav" 146.83 220.00 261.63 349.23
bar "$work/bar8.wav" 196.00 246.94 293.66 392.00
sox "$work"/bar[1-8].wav "${telephone[@]}" music/default.wav lowpass 3000 norm -12

# The table that puts them into the program.
table=../src/generated/prompts.rs
{
    echo "// Made by prompts/regen.sh."
    echo "/// Locale (or \`music\`), name, and the WAV file: 8 kHz, mono, 16 bit. Sorted."
    echo "pub const PROMPTS: &[(&str, &str, &[u8])] = &["
    for file in $(ls -d */*.wav | LC_ALL=C sort); do
        locale=${file%%/*} base=$(basename "$file" .wav)
        echo "(\"$locale\", \"$base\", include_bytes!(\"../../prompts/$file\")),"
    done
    echo "];"
    echo "/// SHA-256 of prompts.toml and regen.sh, one after the other, as they were when the audio was made."
    echo "#[cfg(test)]"
    echo "pub const SOURCE_SHA256: &str = \"$(cat prompts.toml regen.sh | sha256sum | cut -c1-64)\";"
} >"$table"
rustfmt --edition 2024 --config-path ../../rustfmt.toml "$table"
