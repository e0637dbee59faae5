//! Judges an installation: what is wrong, how bad it is, what to do, with a page per code.
//!
//! Files, certificates, clock, disk and ports are looked at without anyone's help, so that it works when nothing
//! runs; then the region is asked for what only it knows. Nothing is changed.

mod certificates;
mod codes;
mod machine;
mod pair;
mod region;

pub use codes::{CODES, CodePage, page};

use crate::deployment::Deployment;
use crate::dev::DevFolder;
use crate::region::RegionFolder;
use serde::Serialize;
use std::path::Path;
use std::time::SystemTime;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// All is well.
    Ok,
    /// It goes on, but not for ever.
    Warning,
    /// It does not work, or is not safe.
    Failure,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The branch of the tree: `files`, `certificates`, `machine`, `processes`, `region`.
    pub category: &'static str,
    /// How it is.
    pub level: Level,
    /// The code of what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What was found.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

/// Everything that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The worst of the findings.
    pub level: Level,
    /// The findings, category by category.
    pub findings: Vec<Finding>,
}

/// Which categories are looked at.
#[derive(Clone, Debug, Default)]
pub struct CheckScope {
    /// Only these; all when empty.
    pub only: Vec<String>,
    /// Not these.
    pub skip: Vec<String>,
}

/// The categories, in the order they are looked at.
pub const CATEGORIES: [&str; 5] = ["files", "certificates", "machine", "processes", "region"];

impl CheckScope {
    fn has(&self, category: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == category);
        (self.only.is_empty() || named(&self.only)) && !named(&self.skip)
    }
}

/// Looks at the deployment in `data`, as far as there is one.
pub fn run(
    data: &Path,
    deployment: Result<&Deployment, String>,
    scope: &CheckScope,
    now: SystemTime,
) -> CheckReport {
    let mut findings = Findings::default();
    match deployment {
        Err(problem) => {
            let dev = DevFolder::new(data);
            let is_there = [dev.settings(), RegionFolder::new(data).descriptor(), dev.region().descriptor()];
            if is_there.iter().any(|path| path.exists()) {
                let advice = "bring the file back from a backup of the operator's folder; do not make the region again, its data would be lost";
                findings.failure("files", "TK-C002", problem, advice);
            } else {
                let advice = "make a region with `twinkeep dev` or `twinkeep init`, or name its folder with --data DIR";
                findings.failure("files", "TK-C001", problem, advice);
            }
            if scope.has("machine") {
                machine::disk(data, &mut findings);
            }
        }
        Ok(deployment) => {
            if scope.has("files") {
                machine::files(data, deployment, &mut findings);
            }
            if scope.has("certificates") {
                certificates::run(deployment, now, &mut findings);
                pair::run(deployment, &mut findings);
            }
            if scope.has("machine") {
                machine::disk(data, &mut findings);
                machine::clock(deployment, now, &mut findings);
            }
            if scope.has("processes") {
                machine::processes(deployment, &mut findings);
            }
            if scope.has("region") {
                region::run(deployment, now, &mut findings);
            }
        }
    }
    let findings = findings.0;
    let level = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    CheckReport { level, findings }
}

/// Findings as they are gathered.
#[derive(Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, category: &'static str, message: impl Into<String>) {
        self.add(category, Level::Ok, None, message.into(), "");
    }

    fn warning(
        &mut self,
        category: &'static str,
        code: &'static str,
        message: impl Into<String>,
        advice: &str,
    ) {
        self.add(category, Level::Warning, Some(code), message.into(), advice);
    }

    fn failure(
        &mut self,
        category: &'static str,
        code: &'static str,
        message: impl Into<String>,
        advice: &str,
    ) {
        self.add(category, Level::Failure, Some(code), message.into(), advice);
    }

    fn add(
        &mut self,
        category: &'static str,
        level: Level,
        code: Option<&'static str>,
        message: String,
        advice: &str,
    ) {
        self.0.push(Finding { category, level, code, message, advice: advice.to_owned() });
    }
}

#[cfg(test)]
#[path = "check/tests.rs"]
mod tests;
