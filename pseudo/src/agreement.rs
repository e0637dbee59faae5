//! That people agree to a policy as it is: each signs its hash, in a file of their own beside it (`POLICY.NAME.agreed`).
//!
//! Where the custody log asks for four eyes, nothing is made with the keys of its folder, and nobody found again, under a policy to which two people
//! have not agreed. A change of one byte asks for both anew. Who may write the policy can delete these files, and make none.

use crate::custody_log::CustodyLog;
use crate::keys::{KeyFolder, hex};
use crate::manifest::VERSION;
use crate::operators::{self, Operator};
use crate::plain::escaped;
use crate::revoked::Trust;
use crate::signed::{self, Kind};
use crate::{PseudoError, clock, files};
use custody::PublicKey;
use policy::Policy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How many people it takes.
pub(crate) const PEOPLE: usize = 2;

/// One person's file, bytes.
const FILE_BYTES_MAX: usize = 16 << 10;
/// Files in a policy's folder, of any kind.
const NAMES_MAX: usize = 10_000;
/// Agreements to one policy.
const AGREEMENTS_MAX: usize = 64;
/// Files that a message names which do not count: it is written into a log that is signed.
const UNUSABLE_SHOWN_MAX: usize = 3;
/// What the name of such a file ends with.
const SUFFIX: &str = ".agreed";

/// What a person signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Agreement {
    version: u32,
    policy: String,
    policy_sha256: String,
    domain: String,
    at: String,
    /// Their certificate.
    operator: String,
}

/// Somebody who agreed to a policy as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Agreed {
    pub(crate) operator: String,
    pub(crate) key: String,
    pub(crate) at: String,
    /// Whether it counts: the key was not revoked.
    pub(crate) counts: bool,
}

/// A file that says nobody agreed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Unusable {
    pub(crate) file: String,
    pub(crate) problem: String,
}

/// What lies beside a policy.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) agreed: Vec<Agreed>,
    /// Not signed as they should be: nobody of another service, and nobody who writes here, keeps others from agreeing.
    pub(crate) unusable: Vec<Unusable>,
}

impl Found {
    /// Whether enough people agreed: as many names, each with a key of its own.
    pub(crate) fn is_enough(&self) -> bool {
        self.names().len() >= PEOPLE
    }

    fn names(&self) -> BTreeSet<&str> {
        let counting = self.agreed.iter().filter(|one| one.counts);
        counting.map(|one| one.operator.as_str()).collect()
    }
}

/// Who agreed to the policy in this file as it is; what was signed of another form of it is passed over.
pub(crate) fn read(path: &Path, policy: &Policy, trust: &Trust) -> Result<Found, PseudoError> {
    let mut found = Found::default();
    for place in places(path)? {
        let content = files::own::read_signed(&place, FILE_BYTES_MAX);
        let read = content
            .map_err(|error| error.chain())
            .and_then(|content| opened(&content, policy, trust).map_err(|refused| refused.to_string()));
        match read {
            Ok(Some(new)) if found.agreed.iter().all(|one| one.key != new.key) => found.agreed.push(new),
            Ok(_) => {}
            Err(problem) => {
                let shown = |text: &str| escaped(text).into_owned();
                let file = shown(&place.display().to_string());
                found.unusable.push(Unusable { file, problem: shown(&problem) });
            }
        }
    }
    Ok(found)
}

/// One person's file; nothing when it is about another form of the policy.
fn opened(content: &[u8], policy: &Policy, trust: &Trust) -> Result<Option<Agreed>, signed::Refused> {
    let (agreement, key): (Agreement, PublicKey) = signed::open(Kind::Agreement, content)?;
    let (operator, certified) = operators::vouched(&agreement.operator, trust.key)?;
    if certified != key {
        return Err(signed::Refused::OtherKey("agreement"));
    }
    if agreement.version != VERSION {
        return Err(signed::Refused::Unknown("agreement"));
    }
    let is_of_this = agreement.policy_sha256 == policy.hash_text();
    let counts = trust.revoked(key).is_none();
    Ok(is_of_this.then(|| Agreed { operator, key: hex(&key.0), at: agreement.at, counts }))
}

/// Signs that somebody agrees to the policy of this hash, which is what they read. Everybody who did by now.
pub(crate) fn sign(
    path: &Path,
    policy: &Policy,
    sha256: &str,
    operator: &Operator,
    trust: &Trust,
) -> Result<Found, PseudoError> {
    if policy.hash_text() != sha256 {
        let problem = format!("{}: this is not the policy of that hash", path.display());
        return Err(PseudoError::usage(problem, "read it as it is now; `pseudo policy show` says its hash"));
    }
    let found = read(path, policy, trust)?;
    let key = hex(&operator.key.public().0);
    if found.agreed.iter().any(|one| one.key == key) {
        return Ok(found);
    }
    let agreement = Agreement {
        version: VERSION,
        policy: policy.name.clone(),
        policy_sha256: policy.hash_text(),
        domain: policy.domain.to_string(),
        at: clock::text(clock::now()),
        operator: operator.certificate.clone(),
    };
    let sealed = signed::seal(Kind::Agreement, &agreement, &operator.key);
    files::publish(&place(path, &operator.name), &sealed)?;
    read(path, policy, trust)
}

/// What is missing of a policy that needs people to agree to it.
pub(crate) fn lacks(
    path: &Path,
    policy: &Policy,
    folder: &KeyFolder,
    service: PublicKey,
) -> Result<Option<String>, PseudoError> {
    if !CustodyLog::read(folder, service)?.needs_four_eyes() {
        return Ok(None);
    }
    let found = read(path, policy, &folder.trust(service)?)?;
    if found.is_enough() {
        return Ok(None);
    }
    let names: Vec<&str> = found.names().into_iter().collect();
    let by = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    let mut problem = format!(
        "{}: it takes {PEOPLE} people who agree to a policy, and {by} agreed to this one as it is",
        path.display()
    );
    for Unusable { file, problem: why } in found.unusable.iter().take(UNUSABLE_SHOWN_MAX) {
        problem.push_str(&format!("; {file} does not count: {why}"));
    }
    if let Some(more) = found.unusable.len().checked_sub(UNUSABLE_SHOWN_MAX).filter(|more| *more > 0) {
        problem.push_str(&format!("; nor do {more} more files"));
    }
    Ok(Some(problem))
}

/// Refuses a policy that needs people to agree to it, and does not have them. `service` is what the root proved.
pub(crate) fn check(
    path: &Path,
    policy: &Policy,
    folder: &KeyFolder,
    service: PublicKey,
) -> Result<(), PseudoError> {
    let Some(problem) = lacks(path, policy, folder, service)? else { return Ok(()) };
    let (place, hash) = (path.display(), policy.hash_text());
    let advice = format!("`pseudo policy agree {place} --sha256 {hash}`, once they have read it");
    Err(PseudoError::Gate { problem, advice })
}

/// Where a person's agreement to a policy lies: beside it.
fn place(policy: &Path, operator: &str) -> PathBuf {
    let mut name = policy.as_os_str().to_owned();
    name.push(format!(".{operator}{SUFFIX}"));
    name.into()
}

/// Where agreements to a policy lie.
fn places(policy: &Path) -> Result<Vec<PathBuf>, PseudoError> {
    let folder = files::folder_of(policy);
    let name = policy.file_name().unwrap_or_default().to_string_lossy();
    let is_one = |other: &String| {
        let own = other.strip_prefix(&*name).and_then(|rest| rest.strip_prefix('.'));
        own.is_some_and(|own| own.ends_with(SUFFIX))
    };
    let names: Vec<String> = files::names(folder, NAMES_MAX)?.into_iter().filter(is_one).collect();
    if names.len() > AGREEMENTS_MAX {
        let problem = format!("{}: {} files of agreements lie beside it", policy.display(), names.len());
        let advice = format!("take away those that do not count: {AGREEMENTS_MAX} are read");
        return Err(PseudoError::usage(problem, advice));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(operator: &str, key: &str, counts: bool) -> Agreed {
        Agreed { operator: operator.into(), key: key.into(), at: "2026-11-23T06:00:00Z".into(), counts }
    }

    #[test]
    fn two_keys_of_one_person_and_revoked_ones_are_not_two_people() {
        let is_enough = |agreed: Vec<Agreed>| Found { agreed, ..Found::default() }.is_enough();
        assert!(!is_enough(vec![]));
        assert!(!is_enough(vec![agreed("ada", "1", true)]));
        assert!(!is_enough(vec![agreed("ada", "1", true), agreed("ada", "2", true)]));
        assert!(!is_enough(vec![agreed("ada", "1", true), agreed("grace", "2", false)]));
        assert!(is_enough(vec![agreed("ada", "1", true), agreed("grace", "2", true)]));
    }
}
