//! `twinkeep`: the operator's command line. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    client::cli::run()
}
