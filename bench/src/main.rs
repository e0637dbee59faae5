//! The benchmark's command line; everything else is in the library.

use std::process::ExitCode;

use bench::command::{Arguments, run};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One worker: the client's CPU time is then that of one core at most, and comparable between runs.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(arguments.client_threads.max(1))
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bench: cannot start its threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        let mut terminate = match signal(SignalKind::terminate()) {
            Ok(terminate) => terminate,
            Err(error) => return Err(format!("cannot listen for signals: {error}")),
        };
        // Leaving this block drops what runs, and with it every server that was started.
        tokio::select! {
            result = Box::pin(run(arguments)) => result.map_err(|error| error.chain()),
            _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
            _ = terminate.recv() => Err("terminated".to_owned()),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("bench: {line}");
            ExitCode::FAILURE
        }
    }
}
