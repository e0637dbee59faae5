//! What asking, agreeing and using a grant have in common on the command line.

use super::keys::Opened;
use super::lint;
use super::output::Output;
use crate::desk::{Desk, Wish};
use crate::grant::{Action, Grant};
use crate::identify;
use crate::journal::Journal;
use crate::keys::hex;
use crate::operators::Acting;
use crate::vault::{Vault, VaultAt};
use crate::{PseudoError, files};
use clap::Args;
use custody::ClassName;
use policy::{Policy, Severity, Spec};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A file of tokens or people, bytes: a thousand long ones.
const LIST_BYTES_MAX: usize = 1 << 20;
/// What is said of a request in words, bytes.
const WORDS_BYTES_MAX: usize = 1024;

/// Who acts, on which vault, under which policy.
#[derive(Debug, Args)]
pub(super) struct At {
    /// The policy whose exports have the tokens; its section reidentify says what is allowed
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    opened: Opened,
    #[command(flatten)]
    vault: VaultAt,
    #[command(flatten)]
    acting: Acting,
    /// The six digits that your authenticator shows now
    #[arg(long, value_name = "CODE")]
    pub(super) code: String,
}

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Asked {
    #[command(flatten)]
    at: At,
    /// A file with a token per line
    #[arg(long, value_name = "FILE", required_unless_present = "people")]
    tokens: Option<PathBuf>,
    /// A file with a person's identifier per line, in the clear; the request will have keyed hashes of them
    #[arg(long, value_name = "FILE")]
    people: Option<PathBuf>,
    /// The class of the identifiers [default: the only one that the policy keeps in the vault]
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    purpose: String,
    /// Which of the policy's reasons it is
    #[arg(long, value_name = "REASON")]
    reason: String,
    /// The ticket or case it belongs to
    #[arg(long, value_name = "TEXT")]
    ticket: String,
}

/// Agreeing.
#[derive(Debug, Args)]
pub(super) struct Agreed {
    /// The grant
    #[arg(value_name = "GRANT")]
    grant: String,
    #[command(flatten)]
    at: At,
}

/// Using.
#[derive(Debug, Args)]
pub(super) struct Used {
    /// The grant
    #[arg(value_name = "GRANT")]
    pub(super) grant: String,
    #[command(flatten)]
    pub(super) at: At,
    /// The file to make, for its owner alone
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: PathBuf,
}

impl At {
    /// Opens everything.
    pub(super) fn open(&self) -> Result<Desk, PseudoError> {
        let policy = lint::read(&self.policy)?;
        if policy.lint(None).iter().any(|finding| finding.severity == Severity::Error) {
            let problem = format!("{}: the policy has errors", self.policy.display());
            return Err(PseudoError::usage(problem, "`pseudo lint` says which"));
        }
        let Some(terms) = policy.reidentify.clone() else {
            let advice = "without its section reidentify nobody may ask";
            return Err(PseudoError::usage("the policy lets nobody be identified again", advice));
        };
        let (keys, root) = self.opened.open()?;
        let service = keys.signing(&root)?;
        let operator = self.acting.open(service.public())?;
        let (path, places) = self.vault.places()?;
        let vault = Vault::open(&path, places, &root)?;
        let journal = Journal::open(&path, vault.id(), &vault.places, service.public())?;
        Ok(Desk { policy, terms, keys, root, service, operator, path, vault, journal })
    }
}

impl Used {
    /// Refuses a place for the result where something is.
    pub(super) fn check(&self) -> Result<(), PseudoError> {
        if self.output.exists() {
            return Err(PseudoError::usage("the output is there already", "name a file that is not"));
        }
        Ok(())
    }
}

pub(super) fn request(asked: &Asked, action: Action, output: &Output) -> Result<(), PseudoError> {
    for words in [&asked.purpose, &asked.reason, &asked.ticket] {
        if words.trim().is_empty() || words.len() > WORDS_BYTES_MAX {
            let problem = "purpose, reason and ticket have 1 to 1024 bytes each";
            return Err(PseudoError::usage(problem, "say it shorter, or at all"));
        }
    }
    let mut desk = asked.at.open()?;
    let lines =
        |path: &Option<PathBuf>| path.as_deref().map(lines).transpose().map(Option::unwrap_or_default);
    let tokens: BTreeSet<String> = lines(&asked.tokens)?.iter().map(|token| token.to_string()).collect();
    let mut people = BTreeSet::new();
    for value in lines(&asked.people)? {
        for (class, value) in normal(&desk.policy, asked.class.as_deref(), &value)? {
            people.insert(hex(&desk.vault.handle(&class, &value).0));
        }
    }
    let wish = Wish {
        action,
        purpose: asked.purpose.clone(),
        reason: asked.reason.clone(),
        ticket: asked.ticket.clone(),
        tokens: tokens.into_iter().collect(),
        people: people.into_iter().collect(),
    };
    let rows = wish.tokens.len() + wish.people.len();
    let grant = desk.request(wish, &asked.at.code)?;
    let needed = desk.terms.approvers.max(1);
    let value =
        json!({ "grant": grant, "rows": rows, "approvers_needed": needed, "log_head": desk.journal.head() });
    output.either(value, || {
        format!("grant {grant} is asked for, about {rows} rows; {needed} others have to agree to it\n")
    })
}

pub(super) fn approve(agreed: &Agreed, action: Action, output: &Output) -> Result<(), PseudoError> {
    let mut desk = agreed.at.open()?;
    let grant = desk.approve(&agreed.grant, action, &agreed.at.code)?;
    let value = json!({
        "grant": agreed.grant,
        "requested_by": grant.requester.name,
        "purpose": grant.request.purpose,
        "reason": grant.request.reason,
        "ticket": grant.request.ticket,
        "rows": grant.request.tokens.len() + grant.request.people.len(),
        "approved_by": approvers(&grant),
        "log_head": desk.journal.head(),
    });
    output.either(value, || {
        format!(
            "{} agreed to grant {} of {}: {} ({}, {})\n",
            approvers(&grant).join(", "),
            agreed.grant,
            grant.requester.name,
            grant.request.purpose,
            grant.request.reason,
            grant.request.ticket
        )
    })
}

/// Names of everybody who agreed, in order.
pub(super) fn approvers(grant: &Grant) -> Vec<String> {
    let names: BTreeSet<String> = grant.approvals.iter().map(|(who, _)| who.name.clone()).collect();
    names.into_iter().collect()
}

fn lines(path: &Path) -> Result<Vec<Zeroizing<String>>, PseudoError> {
    let text = files::read_text(path, LIST_BYTES_MAX)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(|line| Zeroizing::new(line.to_owned())).collect())
}

/// A person's identifier as each column of its class would have it.
fn normal(
    policy: &Policy,
    class: Option<&str>,
    value: &str,
) -> Result<Vec<(ClassName, Zeroizing<String>)>, PseudoError> {
    let classes = identify::classes(policy);
    let class = match class {
        Some(class) => ClassName::new(class).map_err(PseudoError::custody("--class"))?,
        None if classes.len() == 1 => classes.first().cloned().expect("there is one"),
        None => {
            return Err(PseudoError::usage(
                "the policy keeps several classes, or none",
                "name one with --class",
            ));
        }
    };
    let mut forms = Vec::new();
    for rule in policy.columns() {
        if !matches!(rule.spec, Spec::Vault(_)) || rule.class != class {
            continue;
        }
        let (mut text, mut room) = (Zeroizing::new(value.to_owned()), String::new());
        for normaliser in &rule.normalisers {
            normaliser.apply(&text, &mut room).map_err(|error| {
                PseudoError::usage(
                    format!("an identifier cannot be normalised: {error}"),
                    "write it as the records have it",
                )
            })?;
            text = Zeroizing::new(std::mem::take(&mut room));
        }
        forms.push((class.clone(), text));
    }
    if forms.is_empty() {
        let problem = format!("the policy keeps no class {class} in the vault");
        return Err(PseudoError::usage(problem, "name one that it has with --class"));
    }
    Ok(forms)
}
