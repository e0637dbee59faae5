//! `twinkeep check` and `twinkeep explain`: a tree of findings, and the page of a code.

use super::Common;
use super::output::{Output, Tint};
use crate::check::{self, CATEGORIES, CheckReport, CheckScope, Level};
use crate::{ClientError, dev};
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::fmt::Write;
use std::time::SystemTime;

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Look at these only
    #[arg(long, value_delimiter = ',', value_name = "CATEGORY", value_parser = PossibleValuesParser::new(CATEGORIES))]
    only: Vec<String>,
    /// Do not look at these
    #[arg(long, value_delimiter = ',', value_name = "CATEGORY", value_parser = PossibleValuesParser::new(CATEGORIES))]
    skip: Vec<String>,
}

pub(super) fn run(common: &Common, arguments: &CheckArguments, output: &Output) -> Result<(), ClientError> {
    let data = match (&common.data, &common.identity) {
        (Some(data), _) => data.clone(),
        (None, Some(identity)) => identity.clone(),
        (None, None) => dev::default_folder()?,
    };
    let deployment = common.deployment();
    if let Err(ClientError::Usage { problem, advice }) = deployment {
        return Err(ClientError::Usage { problem, advice });
    }
    let scope = CheckScope { only: arguments.only.clone(), skip: arguments.skip.clone() };
    let found = deployment.as_ref().map_err(ToString::to_string);
    let report = check::run(&data, found, &scope, SystemTime::now());
    output.either(&report, || page(&report, output))?;
    match report.level {
        Level::Ok => Ok(()),
        Level::Warning => Err(ClientError::Degraded { problem: summary(&report) }),
        Level::Failure => Err(ClientError::Unwell { problem: summary(&report) }),
    }
}

pub(super) fn explain(code: &str, output: &Output) -> Result<(), ClientError> {
    let Some(found) = check::page(code) else {
        let known: Vec<&str> = check::CODES.iter().map(|page| page.code).collect();
        return Err(ClientError::usage(
            format!("there is no code {code:?}"),
            format!("known: {}", known.join(", ")),
        ));
    };
    let object = serde_json::json!({ "code": found.code, "title": found.title, "page": found.page });
    output.either(&object, || found.page.to_owned())
}

fn page(report: &CheckReport, output: &Output) -> String {
    let mut text = String::new();
    for category in CATEGORIES {
        let findings = || report.findings.iter().filter(|finding| finding.category == category);
        if findings().next().is_none() {
            continue;
        }
        let _ = writeln!(text, "{category}");
        let last = findings().count() - 1;
        for (position, finding) in findings().enumerate() {
            let (branch, below) = if position == last { ("└─", "  ") } else { ("├─", "│ ") };
            let mark = match finding.level {
                Level::Ok => output.tint(Tint::Good, "ok     "),
                Level::Warning => output.tint(Tint::Warning, "warning"),
                Level::Failure => output.tint(Tint::Bad, "failure"),
            };
            let code = finding.code.map_or_else(String::new, |code| format!(" [{code}]"));
            let _ = writeln!(text, "{branch} {mark}  {}{code}", finding.message);
            if !finding.advice.is_empty() {
                let _ = writeln!(text, "{below}          {}", output.tint(Tint::Faint, &finding.advice));
            }
        }
    }
    if report.level != Level::Ok {
        text.push_str("\n`twinkeep explain CODE` says more about a code.\n");
    }
    text
}

fn summary(report: &CheckReport) -> String {
    let count = |level| report.findings.iter().filter(|finding| finding.level == level).count();
    format!("{} failures, {} warnings", count(Level::Failure), count(Level::Warning))
}
