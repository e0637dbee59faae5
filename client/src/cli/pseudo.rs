//! `twinkeep pseudo`: hands everything to the pseudonymisation service's own program.
//!
//! The two share no code on purpose: what opens pseudonyms is nowhere in this program.

use crate::{ClientError, programs};
use clap::Args;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct PseudoArguments {
    /// What the service's own command line takes; `twinkeep pseudo --help` shows it
    #[arg(value_name = "ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Becomes that program, so that input, output, signals and exit code are its own. Returns only when it cannot.
pub(super) fn run(json: bool, arguments: &PseudoArguments) -> Result<(), ClientError> {
    let program = programs::find_pseudo()?;
    let mut command = Command::new(&program);
    // given before the arguments began, where this program's own options are
    command.args(json.then_some("--json")).args(&arguments.arguments);
    Err(ClientError::file("starting", &program)(command.exec()))
}
