#!/bin/sh
# Stands before the compiler of the workspace's own crates (RUSTC_WORKSPACE_WRAPPER): the coverage that libFuzzer
# steers by, and the checks of arithmetic that a release leaves out. Other crates are built as ever, so they are shared with
# the ordinary build. All of these options are stable; sanitizers, which are not, are not needed. Little optimisation: what
# runs costs less than what is compiled here.
exec "$@" \
  -C passes=sancov-module \
  -C llvm-args=-sanitizer-coverage-level=4 \
  -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
  -C llvm-args=-sanitizer-coverage-pc-table \
  -C llvm-args=-sanitizer-coverage-trace-compares \
  -C opt-level=1 -C overflow-checks=on -C debug-assertions=on
