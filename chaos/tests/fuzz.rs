//! Every decoder that reads bytes from outside, driven by coverage for a moment; and the fuzzer that does it finds a
//! planted bug. `chaos/fuzz/README.md` has the command for a longer run.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use chaos::random::Random;
use chaos::run::Run;
use chaos::tools;

/// Targets and how often each runs: some 10 s for the slowest, which opens a log on a disk each time.
const TARGETS: [(&str, u32); 9] = [
    ("admin", 100_000),
    ("config", 20_000),
    ("envelope", 50_000),
    ("frame", 200_000),
    ("message", 200_000),
    ("peer", 200_000),
    ("record", 200_000),
    ("segments", 4_000),
    ("token", 50_000),
];

/// Runs in which the planted bug is found: it takes about 20,000, depending on the seed.
const CANARY_RUNS: u32 = 2_000_000;

/// How libFuzzer ends when a target broke a promise.
const FOUND: i32 = 77;

/// The fuzzer, built once.
fn fuzzer() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        tools::debian(&[("c++", "g++")]).unwrap();
        let target = tools::target_folder().unwrap();
        let mut build = tools::cargo();
        build
            .args(["build", "--release", "--quiet", "--package", "fuzz", "--features", "libfuzzer", "--bins"])
            .env("RUSTC_WORKSPACE_WRAPPER", tools::source_root().join("chaos/fuzz/coverage.sh"))
            // what is not of this workspace is built without coverage, and therefore shared with other builds
            .env("CARGO_BUILD_BUILD_DIR", &target)
            .env("CARGO_TARGET_DIR", target.join("fuzz"));
        tools::expect_success(&mut build, "build the fuzzer (needs a C++ compiler)").unwrap();
        target.join("fuzz/release/fuzz")
    })
}

fn committed_seeds(target: &str) -> PathBuf {
    tools::source_root().join("chaos/fuzz/seeds").join(target)
}

/// Runs the fuzzer over a target's seeds and what it makes of them; inputs that break something stay in the run's folder.
fn fuzz(run: &Run, target: &str, runs: u32, seeds: &[PathBuf]) -> Output {
    let corpus = run.path(&format!("{target}-corpus"));
    std::fs::create_dir_all(&corpus).unwrap();
    // libFuzzer takes 32 bits, and 0 for a seed of its own choice
    let seed = Random::seed_of_run(target) % u64::from(u32::MAX) + 1;
    let mut command = Command::new(fuzzer());
    command.env("FUZZ_TARGET", target).arg(&corpus).args(seeds);
    command.args([format!("-runs={runs}"), format!("-seed={seed}")]);
    command.args(["-timeout=20", "-rss_limit_mb=1024", "-max_len=4096", "-print_final_stats=1"]);
    command.arg(format!("-artifact_prefix={}", run.path(&format!("{target}-")).display()));
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn no_target_breaks_a_promise_in_a_short_run() {
    let run = Run::new("fuzz").unwrap();
    for (target, runs) in TARGETS {
        let output = fuzz(&run, target, runs, &[committed_seeds(target)]);
        let said = said(&output);
        assert!(output.status.success(), "{target}: {}\n{said}", output.status);
        assert!(said.contains("inline 8-bit counters"), "{target} ran without coverage:\n{said}");
        assert!(said.contains(&format!("stat::number_of_executed_units: {runs}")), "{target}:\n{said}");
    }
}

#[test]
fn the_fuzzer_finds_a_planted_bug_and_can_repeat_it() {
    let run = Run::new("fuzz-canary").unwrap();
    let output = fuzz(&run, "canary", CANARY_RUNS, &[]);
    assert_eq!(output.status.code(), Some(FOUND), "{}", said(&output));
    let names = std::fs::read_dir(run.folder()).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = names.filter(|path| path.to_string_lossy().contains("canary-crash-")).collect();
    assert_eq!(found.len(), 1, "one input that breaks it: {found:?}");
    let mut again = Command::new(fuzzer());
    let again = again.env("FUZZ_TARGET", "canary").arg(&found[0]).output().unwrap();
    assert_eq!(again.status.code(), Some(FOUND), "the input breaks it again: {}", said(&again));
}

#[test]
fn the_committed_seeds_are_those_the_command_writes_and_every_target_has_some() {
    let run = Run::new("fuzz-seeds").unwrap();
    let written = run.path("seeds");
    tools::expect_success(Command::new(fuzzer()).env("FUZZ_SEEDS", &written), "write the seeds").unwrap();
    let mut targets: Vec<_> = names(&written);
    targets.sort();
    assert_eq!(targets, TARGETS.map(|(target, _)| target), "a target is never run");
    for target in targets {
        let (committed, written) = (committed_seeds(&target), written.join(&target));
        for name in names(&written) {
            let same = std::fs::read(written.join(&name)).unwrap();
            let found = std::fs::read(committed.join(&name)).unwrap_or_default();
            // how a real log cuts its batches depends on the moment
            let same_kind = target == "segments" && !found.is_empty();
            assert!(
                found == same || same_kind,
                "{target}/{name} is stale: write the seeds anew (chaos/fuzz/README.md)"
            );
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}
