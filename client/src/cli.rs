//! The `twinkeep` command line: what it takes, and from there to the library.
//!
//! Conventions: results on standard output, everything else on standard error; `--json` gives one object with
//! `schema_version` (errors too); exit codes 0 ok, 1 failed, 2 usage, 3 degraded, 4 unreachable, 5 denied,
//! and of drills and reconciliations 6 not ready, 7 failed, 8 aborted.

mod access;
mod check;
mod compare;
mod dev;
mod drill;
mod env;
mod init;
mod jobs;
mod node;
mod output;
mod pair;
mod pairing;
mod pseudo;
mod reconcile;
mod status;
mod witness;

use crate::ClientError;
use crate::deployment::Deployment;
use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use output::Output;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

/// Twinkeep: an S3-compatible object store that keeps every object three times, encrypted.
#[derive(Debug, Parser)]
#[command(name = "twinkeep", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failed, 2 usage, 3 degraded, 4 unreachable, 5 denied; drills and reconciliations: 6 not ready, 7 failed, 8 aborted.";

#[derive(Debug, Args)]
struct Common {
    /// The folder that `twinkeep dev` or `twinkeep init` made
    #[arg(long, global = true, value_name = "DIR", env = "TWINKEEP_DATA")]
    data: Option<PathBuf>,
    /// Ask this process instead of those in the descriptor
    #[arg(long, global = true, value_name = "HOST:PORT", env = "TWINKEEP_ADMIN")]
    admin: Option<String>,
    /// The operator's identity to ask under, with --admin
    #[arg(long, global = true, value_name = "DIR", env = "TWINKEEP_IDENTITY")]
    identity: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole region on this machine, for development
    Dev(dev::DevArguments),
    /// Make a region: authority, certificates, root key, join tokens
    Init(init::InitArguments),
    /// Show nodes, groups, leaders, capacity and under-replication
    Status(status::StatusArguments),
    /// Say what is wrong with an installation and what to do
    Check(check::CheckArguments),
    /// Explain a code of `check`
    Explain {
        /// The code, such as TK-C001
        code: String,
    },
    /// Principals
    #[command(subcommand)]
    User(access::UserCommand),
    /// Access keys and the tenant key
    #[command(subcommand)]
    Key(access::KeyCommand),
    /// Rights on buckets
    #[command(subcommand)]
    Grant(access::GrantCommand),
    /// Storage nodes of a live region
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Read and check everything stored, and repair from good copies
    Scrub(jobs::ScrubArguments),
    /// Free mostly-dead segments now
    Gc(jobs::GcArguments),
    /// What makes two regions a pair, and who was turned away
    #[command(subcommand)]
    Pair(pairing::PairCommand),
    /// Show how far the standby of a pair is behind its primary
    Lag {
        /// Also bucket by bucket: reads what the standby lacks from the primary's log
        #[arg(long)]
        buckets: bool,
    },
    /// Say whether both regions of a pair hold the same
    Compare(compare::CompareArguments),
    /// Let the other region of a pair take the writes
    Failover(pair::FailoverArguments),
    /// The third party of a pair: vouches for the region that reigns, and lets the other one take over
    #[command(subcommand)]
    Witness(witness::WitnessCommand),
    /// Look whether a failure could be borne, bring one about, measure, and keep signed evidence
    #[command(subcommand)]
    Drill(drill::DrillCommand),
    /// Print what S3 clients need, as shell exports or an AWS profile
    Env(env::EnvArguments),
    /// The pseudonymisation service's own commands: measure risk
    Pseudo(pseudo::PseudoArguments),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Common {
    fn deployment(&self) -> Result<Deployment, ClientError> {
        Deployment::resolve(self.data.as_deref(), self.admin.as_deref(), self.identity.as_deref())
    }
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let arguments = match parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && std::env::args_os().any(|word| word == "--json") => {
            return Output::new(true).failure(&misunderstood(&error));
        }
        Err(error) => {
            // help and version are no errors; a closed pipe is none either
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let output = Output::new(arguments.common.json);
    match dispatch(&arguments, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.failure(&error),
    }
}

/// Reads a command line.
fn parse(words: impl Iterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let command = without_empty_variables(Arguments::command());
    Arguments::from_arg_matches(&command.try_get_matches_from(words)?)
}

/// A variable of the environment that is empty is none.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |variable: &OsStr| std::env::var_os(variable).is_some_and(|value| value.is_empty());
    let given = |argument: clap::Arg| match argument.get_env() {
        Some(variable) if is_empty(variable) => argument.env(Resettable::Reset),
        _ => argument,
    };
    command.mut_args(given).mut_subcommands(without_empty_variables)
}

/// What clap says for people, as an error like all others.
fn misunderstood(error: &clap::Error) -> ClientError {
    let text = error.to_string();
    let in_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts: Vec<String> = text.split("\n\n").map(in_one_line).collect();
    let problem = match error.kind() {
        // clap answers with the whole page of help
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing after this one",
        _ => parts.first().map_or("", |part| part.trim_start_matches("error: ")),
    };
    let is_advice = |part: &&String| part.starts_with("tip:") || part.starts_with("Usage:");
    let advice: Vec<&str> = parts.iter().filter(is_advice).map(String::as_str).collect();
    ClientError::usage(problem, advice.join("; "))
}

fn dispatch(arguments: &Arguments, output: &Output) -> Result<(), ClientError> {
    let common = &arguments.common;
    match &arguments.command {
        Command::Dev(arguments) => dev::run(common, arguments, output),
        Command::Init(arguments) => init::run(arguments, output),
        Command::Status(arguments) => status::run(common, arguments, output),
        Command::Check(arguments) => check::run(common, arguments, output),
        Command::Explain { code } => check::explain(code, output),
        Command::User(command) => access::user(common, command, output),
        Command::Key(command) => access::key(common, command, output),
        Command::Grant(command) => access::grant(common, command, output),
        Command::Node(command) => node::run(common, command, output),
        Command::Scrub(arguments) => jobs::scrub(common, arguments, output),
        Command::Gc(arguments) => jobs::gc(common, arguments, output),
        Command::Pair(command) => pairing::run(common, command, output),
        Command::Lag { buckets } => pair::lag(common, *buckets, output),
        Command::Compare(arguments) => compare::run(common, arguments, output),
        Command::Failover(arguments) => pair::failover(common, arguments, output),
        Command::Witness(command) => witness::run(common, command, output),
        Command::Drill(command) => drill::run(common, command, output),
        Command::Env(arguments) => env::run(common, arguments, output),
        Command::Pseudo(arguments) => pseudo::run(common.json, arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "twinkeep", &mut script);
            output.text(&String::from_utf8_lossy(&script))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_not_understood_is_one_line_each_for_programs() {
        let of = |line: &str| {
            let words = std::iter::once("twinkeep").chain(line.split(' ')).map(OsString::from);
            let error = misunderstood(&parse(words).unwrap_err());
            (error.to_string(), error.advice().to_owned(), error.exit_code())
        };
        let (problem, usage, code) = of("pair make --json");
        assert_eq!(code, 2);
        assert!(problem.starts_with("the following required arguments"), "{problem}");
        assert!(usage.starts_with("Usage: twinkeep pair make"), "{usage}");
        let (problem, ..) = of("lag --jsn --json");
        assert!(problem.starts_with("unexpected argument '--jsn'"), "{problem}");
    }

    #[test]
    fn options_for_all_commands_do_not_collide_with_those_of_one() {
        for line in [
            "user add mara --full-access --data d --json",
            "key rewrap --wait --data d",
            "grant add mara jobs read,write --admin h:1 --identity i",
            "node add 4 --address h:1 --zone z --wait --timeout 5 --data d",
            "node remove 4 --lost --json",
            "dev --data d --port-base 9000 --nodes 3 --groups 8 --json",
            "dev kill 1 --data d",
            "dev kill twin-1/2 --data d --json",
            "check --only files,machine --skip region --data d --json",
            "status --watch --groups --admin h:1 --identity i",
            "scrub --node 1 --report --data d",
            "env --profile x --tls --data d",
            "lag --data d --json",
            "pair make --data d --other e --json",
            "pair verify f --ca-file a --ca-file b --json",
            "pair verify --data d",
            "pair refused --data d --json",
            "init f --pair-plan p --region r --node 1=h:1 --standby-of g",
            "compare --data d --json",
            "compare --bucket b --repair --yes --output o --data d",
            "failover --planned --data d --json",
            "failover --force --to twin-2 --yes --data d",
            "failover reconcile --policy keep-both --preview --bucket b --prefix p --data d --json",
            "failover reconcile --policy manual --plan f --yes --accept-incomplete --endpoint twin-1=https://h --output o",
            "failover rejoin --discard --output o --json",
            "dev --pair --automatic-failover --data d --json",
            "dev stop witness --data d",
            "dev --pseudo --data d --json",
            "dev kill pseudo --data d",
            "witness make --data d --other e --output w --name hill --json",
            "witness run w --automatic --exit-on-stdin-eof",
            "witness status w --json",
            "drill planned --dry-run --data d --json",
            "drill forced --yes --discard --rto-max-ms 3000 --endpoint twin-1=https://h --admin h:1 --identity i --output o",
            "drill node --yes --node 2 --data d",
            "drill restore --dry-run --node twin-2/2 --data d",
            "drill verify folder --ca-file f --json",
            "drill history --output o --json",
            "pseudo risk table.csv --quasi a,b --data d --json --help",
            "pseudo --help",
        ] {
            let words = std::iter::once("twinkeep").chain(line.split(' '));
            assert!(Arguments::try_parse_from(words).is_ok(), "{line}");
        }
    }
}
