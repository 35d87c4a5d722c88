#!/usr/bin/env bash
# A build without the option HEP_CRASH_POINTS has nothing of them in any program, not even a string.
#   no_crash_points.sh BIN_FOLDER SOURCE_TREE
set -euo pipefail
words=$(mktemp /tmp/hep-words-XXXXXX)
trap 'rm -f "$words"' EXIT
{
  printf 'HEPTAD_CRASH_AT\ncrash-points\ncrash_at\nhep_crash\n'
  sed -n 's/^HEP_CRASH_ROW("[^"]*", *"\([^"]*\)", *"\([^"]*\)".*/\1\n\2/p' "$2/common/crash_points.def"
} >"$words"
[ "$(wc -l <"$words")" -gt 50 ]
# some names are ordinary words of the product too: those count only as whole strings
found=$(for program in "$1"/heptad "$1"/heptad-* "$1"/heptctl; do strings -a "$program"; done | grep -xFf "$words" || true)
symbols=$(for program in "$1"/heptad "$1"/heptad-*; do nm "$program"; done | grep ' hep_crash_' | grep -vc ' hep_crash_handler_' || true)
[ -z "$found" ] && [ "$symbols" = 0 ] && exit 0
printf 'left in the programs (%s symbols):\n%s\n' "$symbols" "$found"
exit 1
