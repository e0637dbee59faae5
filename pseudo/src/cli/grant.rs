//! What asking, agreeing and using a grant have in common on the command line.

use super::keys::Opened;
use super::lint;
use super::output::Output;
use crate::desk::{Desk, Wish};
use crate::grant::Action;
use crate::keys::hex;
use crate::operators::Acting;
use crate::plain::escaped;
use crate::vault::VaultAt;
use crate::{PseudoError, agreement, clock, files, identify};
use clap::Args;
use custody::ClassName;
use policy::{Policy, Severity, Spec};
use serde_json::json;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A file of tokens or people, bytes: a thousand long ones.
const LIST_BYTES_MAX: usize = 1 << 20;

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
    /// The six digits that your authenticator shows now
    #[arg(long, value_name = "CODE")]
    pub(super) code: String,
}

/// Looking at a request.
#[derive(Debug, Args)]
pub(super) struct Shown {
    /// The grant
    #[arg(value_name = "GRANT")]
    grant: String,
    #[command(flatten)]
    at: At,
    /// A file with a person's identifier per line: how many of the request's people are among them
    #[arg(long, value_name = "FILE")]
    people: Option<PathBuf>,
    /// The class of the identifiers [default: the only one that the policy keeps in the vault]
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
}

/// Agreeing.
#[derive(Debug, Args)]
pub(super) struct Agreed {
    /// The grant
    #[arg(value_name = "GRANT")]
    grant: String,
    #[command(flatten)]
    at: At,
    /// The hash of the request, as `show` printed it: nothing else is agreed to
    #[arg(long, value_name = "HASH")]
    request: String,
    /// The six digits that your authenticator shows now
    #[arg(long, value_name = "CODE")]
    pub(super) code: String,
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
    /// The six digits that your authenticator shows now
    #[arg(long, value_name = "CODE")]
    pub(super) code: String,
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
        let lacks = agreement::lacks(&self.policy, &policy, &keys, service.public())?;
        let operator = self.acting.open_at(&keys, &service)?;
        let (vault, journal) = self.vault.open(keys.path(), &root, &service)?;
        Ok(Desk { policy, lacks, terms, keys, root, service, operator, vault, journal })
    }
}

pub(super) fn request(asked: &Asked, action: Action, output: &Output) -> Result<(), PseudoError> {
    let mut desk = asked.at.open()?;
    let wish = Wish {
        action,
        purpose: asked.purpose.clone(),
        reason: asked.reason.clone(),
        ticket: asked.ticket.clone(),
        tokens: asked.tokens.as_deref().map(tokens).transpose()?.unwrap_or_default(),
        people: people(&desk, asked.people.as_deref(), asked.class.as_deref())?,
    };
    let rows = wish.tokens.len() + wish.people.len();
    let (grant, sha256) = desk.request(wish, &asked.code)?;
    let needed = desk.terms.approvers.max(1);
    let value = json!({
        "grant": grant,
        "request_sha256": sha256,
        "rows": rows,
        "approvers_needed": needed,
        "log_head": desk.journal.head(),
    });
    output.either(value, || {
        format!("grant {grant} is asked for, about {rows} rows; {needed} others have to agree to it\n")
    })
}

pub(super) fn show(shown: &Shown, action: Action, output: &Output) -> Result<(), PseudoError> {
    let mut desk = shown.at.open()?;
    let grant = desk.show(&shown.grant, action)?;
    let request = &grant.request;
    let known: Option<HashSet<String>> = match &shown.people {
        Some(path) => {
            let people = people(&desk, Some(path), shown.class.as_deref())?;
            Some(people.into_iter().flatten().collect())
        }
        None => None,
    };
    let recognised = known.map(|known| {
        request.people.iter().filter(|forms| forms.iter().any(|form| known.contains(form))).count()
    });
    let value = json!({
        "grant": shown.grant,
        "request_sha256": grant.sha256,
        "action": action.name(),
        "requested_by": grant.requester.name,
        "requested_at": clock::text(request.at),
        "policy": request.policy,
        "purpose": request.purpose,
        "reason": request.reason,
        "ticket": request.ticket,
        "tokens": request.tokens,
        "people": request.people.len(),
        "people_recognised": recognised,
    });
    output.either(value, || {
        let tokens: String = request.tokens.iter().map(|token| format!("  {}\n", escaped(token))).collect();
        let recognised =
            recognised.map_or_else(String::new, |count| format!(", {count} of them in your file"));
        format!(
            "{} asks at {} for grant {}: {}\n  purpose: {}\n  reason: {}\n  ticket: {}\n{} tokens\n{tokens}{} people{recognised}\nrequest {}\n",
            grant.requester.name,
            clock::text(request.at),
            shown.grant,
            action.name(),
            escaped(&request.purpose),
            escaped(&request.reason),
            escaped(&request.ticket),
            request.tokens.len(),
            request.people.len(),
            grant.sha256,
        )
    })
}

pub(super) fn approve(agreed: &Agreed, action: Action, output: &Output) -> Result<(), PseudoError> {
    let mut desk = agreed.at.open()?;
    let grant = desk.approve(&agreed.grant, action, &agreed.request, &agreed.code)?;
    let request = &grant.request;
    let names: BTreeSet<&str> = grant.approvals.iter().map(|who| &*who.name).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let value = json!({
        "grant": agreed.grant,
        "requested_by": grant.requester.name,
        "purpose": request.purpose,
        "reason": request.reason,
        "ticket": request.ticket,
        "rows": request.rows(),
        "approved_by": names,
        "log_head": desk.journal.head(),
    });
    output.either(value, || {
        format!(
            "{} agreed to grant {} of {}: {} ({}, {})\n",
            names.join(", "),
            agreed.grant,
            grant.requester.name,
            escaped(&request.purpose),
            escaped(&request.reason),
            escaped(&request.ticket)
        )
    })
}

/// Tokens of a file, each once. What cannot be a token is refused here, before anybody agrees to it.
fn tokens(path: &Path) -> Result<Vec<String>, PseudoError> {
    let mut tokens = BTreeSet::new();
    for (number, line) in (1..).zip(&lines(path)?) {
        if !identify::is_token(line) {
            let problem = format!("row {number} is no token that leads to a person");
            return Err(PseudoError::table(path, problem));
        }
        tokens.insert(line.to_string());
    }
    Ok(tokens.into_iter().collect())
}

/// People of a file, each once, by the handles that their identifier has in the policy's columns.
fn people(desk: &Desk, path: Option<&Path>, class: Option<&str>) -> Result<Vec<Vec<String>>, PseudoError> {
    let mut people = BTreeSet::new();
    for value in path.map(lines).transpose()?.unwrap_or_default() {
        let forms = normal(&desk.policy, class, &value)?;
        let forms: BTreeSet<String> =
            forms.iter().map(|(class, value)| hex(&desk.vault.handle(class, value).0)).collect();
        people.insert(forms.into_iter().collect::<Vec<_>>());
    }
    Ok(people.into_iter().collect())
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
