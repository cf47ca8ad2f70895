#!/bin/sh
# Cargo's RUSTC_WRAPPER for `make fuzz`: adds libFuzzer's instrumentation, on the stable compiler, to the crates that are
# to be explored, and their assertions. The gateway and zlib-rs get counters alone: what they compare is seldom worth finding,
# and costs; names and words are compared by memcmp, which libFuzzer sees anyway. The harness gets none: what is new to it
# alone is nothing to find.
rustc=$1
shift
crate=
previous=
for argument in "$@"; do
    [ "$previous" = --crate-name ] && crate=$argument
    previous=$argument
done
counters="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks"
case $crate in
drawgate_protocol | toml | toml_parser)
    # shellcheck disable=SC2086 # They are words.
    exec "$rustc" "$@" $counters -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
drawgate | zlib_rs)
    # shellcheck disable=SC2086
    exec "$rustc" "$@" $counters
    ;;
*)
    exec "$rustc" "$@"
    ;;
esac
