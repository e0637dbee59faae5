//! The `pseudo` command line, which `twinkeep pseudo` hands its arguments to.
//!
//! Conventions are those of `twinkeep`: results on standard output, everything else on standard error; `--json` gives one
//! object with `schema_version` (errors too); exit codes 0 ok, 1 failed, 2 usage.

mod erase;
mod export;
mod grant;
mod honey;
mod init;
mod keys;
mod lint;
mod output;
mod policy;
mod record;
mod reidentify;
mod rekey;
mod release;
mod retention;
mod revoke;
mod risk;
mod run;
mod serve;
mod subject;
mod vault;
mod verify;

use clap::{Parser, Subcommand};
use output::Output;
use std::process::ExitCode;

/// Twinkeep's pseudonymisation service.
#[derive(Debug, Parser)]
#[command(name = "pseudo", bin_name = "twinkeep pseudo", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failed, 2 usage.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Propose a policy from a sample of a file
    Init(init::InitArguments),
    /// Say what is wrong with a policy
    Lint(lint::LintArguments),
    /// Agree to a policy as a person, and see who did
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Pseudonymise files under a policy
    Run(Box<run::RunArguments>),
    /// Pseudonymise stored objects into an export: objects in, objects out, and a signed manifest
    Export(Box<export::ExportArguments>),
    /// Check a manifest, or what was released, and its files
    Verify(Box<verify::VerifyArguments>),
    /// Decide as a second person whether an export goes to its readers
    #[command(subcommand)]
    Release(Box<release::ReleaseCommand>),
    /// List the exports of a place: for whom, why, until when, and what was decided
    Register(Box<release::RegisterArguments>),
    /// Write the record of processing activities (Art. 30 GDPR) of a policy, and of the exports made under it
    ProcessingRecord(Box<record::RecordArguments>),
    /// Delete the exports of a place whose day has come, with a signed record of each
    Retention(Box<retention::RetentionArguments>),
    /// Make exports of an older key again under the newest, so that the older can be destroyed
    #[command(subcommand)]
    Rekey(Box<rekey::RekeyCommand>),
    /// Find out which export a file comes from, by the made-up persons in it
    #[command(subcommand)]
    Honey(Box<honey::HoneyCommand>),
    /// Run the service: exports by schedule, deletions when their day has come
    Serve(serve::ServeArguments),
    /// Bring a share to a service that runs; with enough of them it opens its keys
    Unlock(serve::UnlockArguments),
    /// Keys: the root in shares, the domain keys under it, what signs
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// The identity vault: who is behind tokens of `prf+vault`
    #[command(subcommand)]
    Vault(vault::VaultCommand),
    /// Learn who is behind tokens: one person asks, another agrees, both with a second factor
    #[command(subcommand)]
    Reidentify(reidentify::ReidentifyCommand),
    /// Erase people, so that no token leads to them again, with a certificate
    #[command(subcommand)]
    Erase(erase::EraseCommand),
    /// Say what is held about a person, in which exports and why
    #[command(subcommand)]
    SubjectReport(subject::SubjectCommand),
    /// Measure the risk that a table's people are found again, or find the levels that bring it down
    Risk(Box<risk::RiskArguments>),
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // help and version are no errors; a closed pipe is none either
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let output = Output::new(arguments.json);
    let done = match &arguments.command {
        Command::Init(arguments) => init::run(arguments, &output),
        Command::Lint(arguments) => lint::run(arguments, &output),
        Command::Policy(command) => policy::run(command, &output),
        Command::Run(arguments) => run::run(arguments, &output),
        Command::Export(arguments) => export::run(arguments, &output),
        Command::Verify(arguments) => verify::run(arguments, &output),
        Command::Release(command) => release::run(command, &output),
        Command::Register(arguments) => release::register(arguments, &output),
        Command::ProcessingRecord(arguments) => record::run(arguments, &output),
        Command::Retention(arguments) => retention::run(arguments, &output),
        Command::Rekey(command) => rekey::run(command, &output),
        Command::Honey(command) => honey::run(command, &output),
        Command::Serve(arguments) => serve::run(arguments, &output),
        Command::Unlock(arguments) => serve::unlock(arguments, &output),
        Command::Keys(command) => keys::run(command, &output),
        Command::Vault(command) => vault::run(command, &output),
        Command::Reidentify(command) => reidentify::run(command, &output),
        Command::Erase(command) => erase::run(command, &output),
        Command::SubjectReport(command) => subject::run(command, &output),
        Command::Risk(arguments) => risk::run(arguments, &output),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.failure(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_holds_together() {
        Arguments::command().debug_assert();
    }
}
