//! `pseudo serve` and `pseudo unlock`: the running service, and the people who open its keys.

use super::output::Output;
use crate::PseudoError;
use crate::serve::{self, Checked, Config};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    /// What it does
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    config: Option<PathBuf>,
    /// Look at all that the configuration names (policies, keys, the operator, places and rights), and do nothing
    #[arg(long)]
    check: bool,
    /// End when standard input ends: for who starts it and is not to be outlived
    #[arg(long)]
    exit_on_stdin_eof: bool,
    /// List all keys of a configuration
    #[arg(long, conflicts_with_all = ["config", "check"])]
    list: bool,
}

#[derive(Debug, Args)]
pub(super) struct UnlockArguments {
    /// The service's socket, as its configuration names it
    #[arg(long, value_name = "PATH", env = "PSEUDO_CONTROL")]
    control: PathBuf,
    /// The share; `-` is standard input
    #[arg(long, value_name = "FILE")]
    share: PathBuf,
}

pub(super) fn run(arguments: &ServeArguments, output: &Output) -> Result<(), PseudoError> {
    let Some(path) = &arguments.config else {
        return output.either(serve::keys_as_json(), serve::keys_as_text);
    };
    let config = Config::load(path)?;
    if !arguments.check {
        return serve::run(config, arguments.exit_on_stdin_eof);
    }
    let jobs: Vec<&str> = config.jobs.iter().map(|job| job.name.as_str()).collect();
    let found = serve::check(&config);
    let problems = found.iter().filter(|checked| checked.problem.is_some()).count();
    output.either(json!({ "jobs": jobs, "checked": found }), || {
        let mut text: String = found.iter().map(line).collect();
        if problems == 0 {
            text.push_str(&format!("{}: ready, with the jobs {}\n", path.display(), jobs.join(", ")));
        }
        text
    })?;
    if problems == 0 {
        return Ok(());
    }
    Err(PseudoError::usage(
        format!("{problems} things stand in the way"),
        "each is named above, with what to do",
    ))
}

fn line(checked: &Checked) -> String {
    let Checked { what, problem, advice } = checked;
    match problem {
        None => format!("ok      {what}\n"),
        Some(problem) if advice.is_empty() => format!("not ok  {what}: {problem}\n"),
        Some(problem) => format!("not ok  {what}: {problem}\n        {advice}\n"),
    }
}

pub(super) fn unlock(arguments: &UnlockArguments, output: &Output) -> Result<(), PseudoError> {
    let answer = serve::unlock(&arguments.control, &arguments.share)?;
    let text = match (answer["open"].as_bool(), answer["given"].as_u64()) {
        (Some(true), Some(0)) => "the keys are open\n".to_owned(),
        _ => format!("{} of {} shares were brought\n", answer["given"], answer["needed"]),
    };
    output.either(answer, || text)
}
