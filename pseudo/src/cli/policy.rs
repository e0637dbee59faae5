//! `pseudo policy`: who agreed to a policy as it is, and agreeing.

use super::lint;
use super::output::Output;
use super::verify::Known;
use crate::PseudoError;
use crate::agreement::{self, Found};
use crate::operators::Acting;
use clap::{Args, Subcommand};
use policy::Policy;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Say the hash of a policy, and who agreed to it as it is
    Show {
        #[command(flatten)]
        at: At,
    },
    /// Sign that you read a policy and agree to it; what it takes where a domain needs four eyes
    Agree {
        #[command(flatten)]
        at: At,
        /// The hash of what you read, as `lint` and `policy show` print it: nothing else is agreed to
        #[arg(long, value_name = "HASH")]
        sha256: String,
        #[command(flatten)]
        acting: Acting,
    },
}

/// Which policy.
#[derive(Debug, Args)]
pub(super) struct At {
    /// The policy; agreements lie beside it, in POLICY.agreed
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    known: Known,
}

pub(super) fn run(command: &PolicyCommand, output: &Output) -> Result<(), PseudoError> {
    let (policy, found, at) = match command {
        PolicyCommand::Show { at } => {
            let policy = lint::read(&at.policy)?;
            let found = agreement::read(&at.policy, &policy, &at.known.trust()?)?;
            (policy, found, at)
        }
        PolicyCommand::Agree { at, sha256, acting } => {
            let policy = crate::policies::sound(&at.policy)?;
            let trust = at.known.trust()?;
            let operator = acting.open(&trust)?;
            let found = agreement::sign(&at.policy, &policy, sha256, &operator, &trust)?;
            (policy, found, at)
        }
    };
    let value = json!({
        "policy": policy.name,
        "domain": policy.domain.as_str(),
        "hash": policy.hash_text(),
        "agreed": found.agreed,
        "unusable": found.unusable,
        "enough": found.is_enough(),
    });
    output.either(value, || page(&policy, &found, at.known.has_list()))
}

fn page(policy: &Policy, found: &Found, has_list: bool) -> String {
    let mut text = format!("{} of domain {}, sha256 {}\n", policy.name, policy.domain, policy.hash_text());
    for one in &found.agreed {
        let revoked = if one.counts { "" } else { ", with a key that was revoked since: it does not count" };
        text.push_str(&format!("  {} agreed at {}{revoked}\n", one.operator, one.at));
    }
    for one in &found.unusable {
        text.push_str(&format!("  {} does not count: {}\n", one.file, one.problem));
    }
    text.push_str(&match found.is_enough() {
        true if has_list => "that is enough where four eyes are needed\n".to_owned(),
        true => "that is enough where four eyes are needed, unless one of them was revoked: --revoked was not given\n"
            .to_owned(),
        false => format!("where four eyes are needed, {} people have to agree\n", agreement::PEOPLE),
    });
    text
}
