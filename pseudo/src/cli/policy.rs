//! `pseudo policy`: who agreed to a policy as it is, and agreeing.

use super::lint;
use super::output::Output;
use super::verify::Known;
use crate::PseudoError;
use crate::agreement::{self, Agreed};
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
    let (policy, agreed) = match command {
        PolicyCommand::Show { at } => {
            let policy = lint::read(&at.policy)?;
            let agreed = agreement::read(&at.policy, &policy, &at.known.trust()?)?;
            (policy, agreed)
        }
        PolicyCommand::Agree { at, sha256, acting } => {
            let policy = crate::policies::sound(&at.policy)?;
            let trust = at.known.trust()?;
            let operator = acting.open(&trust)?;
            let agreed = agreement::sign(&at.policy, &policy, sha256, &operator, &trust)?;
            (policy, agreed)
        }
    };
    let is_enough = agreement::is_enough(&agreed);
    let value = json!({
        "policy": policy.name,
        "domain": policy.domain.as_str(),
        "hash": policy.hash_text(),
        "agreed": agreed,
        "enough": is_enough,
    });
    output.either(value, || page(&policy, &agreed, is_enough))
}

fn page(policy: &Policy, agreed: &[Agreed], is_enough: bool) -> String {
    let mut text = format!("{} of domain {}, sha256 {}\n", policy.name, policy.domain, policy.hash_text());
    for one in agreed {
        let revoked = if one.counts { "" } else { ", with a key that was revoked since: it does not count" };
        text.push_str(&format!("  {} agreed at {}{revoked}\n", one.operator, one.at));
    }
    text.push_str(&match is_enough {
        true => "that is enough where four eyes are needed\n".to_owned(),
        false => format!("where four eyes are needed, {} people have to agree\n", agreement::PEOPLE),
    });
    text
}
