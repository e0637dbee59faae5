//! `pseudo`: the command line of the pseudonymisation service. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    pseudo::cli::run()
}
