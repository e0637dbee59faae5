//! The fuzzer: libFuzzer around the target that `FUZZ_TARGET` names. Its arguments are libFuzzer's own.
//!
//! With `FUZZ_SEEDS=FOLDER` it writes the seeds of every target to `FOLDER/<target>/<name>` instead, and ends.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

static CHOSEN: OnceLock<Target> = OnceLock::new();

fn choose() -> Target {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| {
        let names: Vec<_> = fuzz::targets().iter().map(|target| target.name).collect();
        eprintln!("FUZZ_TARGET is {name:?}; it must be one of {}, or canary", names.join(", "));
        std::process::exit(2);
    })
}

fn write_seeds_if_asked() {
    let Some(folder) = std::env::var_os("FUZZ_SEEDS") else { return };
    match fuzz::write_seeds(Path::new(&folder)) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("cannot write seeds: {error}");
            std::process::exit(1);
        }
    }
}

fuzz_target!(init: write_seeds_if_asked(), |input: &[u8]| {
    (CHOSEN.get_or_init(choose).run)(input);
});
