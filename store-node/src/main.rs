//! `store-node`: one process of a region. Reads its configuration, starts telemetry, runs until it is told to stop.

use std::{path::PathBuf, process::ExitCode};
use store_node::{
    config::{Config, RootKeyConfig, keys},
    probe,
    root_key::{self, RootKeyError},
    server, telemetry,
};

/// Chunks are a megabyte and come and go by the thousand: the system's allocator gives each back to the kernel and takes
/// fresh pages for the next, which costs more than sealing it (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "store-node: one process of a Twinkeep region

usage:
  store-node --config FILE          run
  store-node health HOST:PORT       ask a running process whether it is ready; exit code 1 when not
  store-node config check FILE      say whether FILE would be accepted
  store-node config list            all configuration keys
  store-node config explain KEY     what a key means
  store-node root-key create --config FILE
                                    make the root key on the PKCS#11 token that FILE names, once for a region
  store-node root-key status --config FILE
                                    say whether the root key that FILE names opens and is fit for use
  store-node --version";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--config", file] => run(file.into()),
        ["health", address] => health(address),
        ["config", "check", file] => check(file.into()),
        ["config", "list"] => say(&keys::list()),
        ["config", "explain", key] => match keys::explain(key) {
            Ok(text) => say(&text),
            Err(error) => fail(2, &error.to_string()),
        },
        ["root-key", "create", "--config", file] => root_key(
            file.into(),
            root_key::create_on_token,
            "made; copy it by the token's own backup procedure",
        ),
        ["root-key", "status", "--config", file] => {
            root_key(file.into(), |config| root_key::open(config).map(drop), "opens and is fit for use")
        }
        ["--version"] => say(concat!("store-node ", env!("CARGO_PKG_VERSION"))),
        ["--help" | "-h"] => say(USAGE),
        _ => fail(2, USAGE),
    }
}

fn run(file: PathBuf) -> ExitCode {
    let config = match Config::load(&file) {
        Ok(config) => config,
        Err(error) => return fail(2, &chain(&error)),
    };
    if let Err(error) = telemetry::start(&config.log) {
        return fail(2, &error.to_string());
    }
    // a huge page per thread and size of allocation triples what an idle process takes, and saves no time that shows
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.worker_threads {
        runtime.worker_threads(threads);
    }
    let runtime = match runtime.enable_all().thread_name("store-node").build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start the runtime: {error}")),
    };
    match runtime.block_on(server::run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "stopped");
            fail(1, &chain(&error))
        }
    }
}

fn health(address: &str) -> ExitCode {
    match address.parse().map(probe::ready) {
        Ok(Ok(report)) => say(&report),
        Ok(Err(error)) => fail(1, &chain(&error)),
        Err(_) => fail(2, &format!("{address} is not an address with port, such as 127.0.0.1:9100")),
    }
}

fn check(file: PathBuf) -> ExitCode {
    match Config::load(&file) {
        Ok(_) => say(&format!("{}: accepted", file.display())),
        Err(error) => fail(1, &chain(&error)),
    }
}

/// Does something with the root key that a configuration names, and says that it is done.
fn root_key(
    file: PathBuf,
    act: impl FnOnce(&RootKeyConfig) -> Result<(), RootKeyError>,
    done: &str,
) -> ExitCode {
    let config = match Config::load(&file) {
        Ok(config) => config,
        Err(error) => return fail(2, &chain(&error)),
    };
    let Some(gateway) = config.gateway else {
        return fail(2, &format!("{}: only gateways have a root key", file.display()));
    };
    match act(&gateway.root_key) {
        Ok(()) => say(&format!("{}: {done}", gateway.root_key)),
        Err(error) => fail(1, &chain(&error)),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n  because: {error}"));
        cause = error.source();
    }
    text
}

fn say(text: &str) -> ExitCode {
    use std::io::Write;
    // a closed pipe is the reader's choice
    let _reader_may_be_gone = writeln!(std::io::stdout(), "{}", text.trim_end()).is_err();
    ExitCode::SUCCESS
}

fn fail(code: u8, text: &str) -> ExitCode {
    use std::io::Write;
    let _reader_may_be_gone = writeln!(std::io::stderr(), "{text}").is_err();
    ExitCode::from(code)
}
