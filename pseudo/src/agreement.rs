//! That people agree to a policy as it is: each signs its hash, in a file beside it (`POLICY.agreed`).
//!
//! Where the custody log says that a domain needs four eyes, nothing is made with its keys, and nobody found again, under a policy to which two people
//! have not agreed. A change of one byte asks for both anew. Who may write the policy can delete or cut the file, and not add to it.

use crate::custody_log::CustodyLog;
use crate::keys::{KeyFolder, hex};
use crate::manifest::VERSION;
use crate::operators::{self, Operator};
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

/// The file, bytes: some hundred agreements.
const FILE_BYTES_MAX: usize = 1 << 20;

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

/// Who agreed to the policy in this file as it is; what was signed of another form of it is passed over.
pub(crate) fn read(path: &Path, policy: &Policy, trust: &Trust) -> Result<Vec<Agreed>, PseudoError> {
    let path = place(path);
    if !files::own::is_there(&path) {
        return Ok(Vec::new());
    }
    let content = files::read_signed(&path, FILE_BYTES_MAX)?;
    let mut agreed: Vec<Agreed> = Vec::new();
    // what a kill left without its line end was never signed
    let lines = content.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    for (number, line) in lines.enumerate() {
        let place = format!("{}, line {}", path.display(), number + 1);
        let found = opened(line, policy, trust).map_err(PseudoError::signed(place))?;
        agreed.extend(found.filter(|new| !agreed.iter().any(|one| one.key == new.key)));
    }
    Ok(agreed)
}

/// One line; nothing when it is about another form of the policy.
fn opened(line: &[u8], policy: &Policy, trust: &Trust) -> Result<Option<Agreed>, signed::Refused> {
    let (agreement, key): (Agreement, PublicKey) = signed::open(Kind::Agreement, line)?;
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
) -> Result<Vec<Agreed>, PseudoError> {
    if policy.hash_text() != sha256 {
        let problem = format!("{}: this is not the policy of that hash", path.display());
        return Err(PseudoError::usage(problem, "read it as it is now; `pseudo policy show` says its hash"));
    }
    let mut agreed = read(path, policy, trust)?;
    let key = hex(&operator.key.public().0);
    if agreed.iter().any(|one| one.key == key) {
        return Ok(agreed);
    }
    let at = clock::text(clock::now());
    let agreement = Agreement {
        version: VERSION,
        policy: policy.name.clone(),
        policy_sha256: policy.hash_text(),
        domain: policy.domain.to_string(),
        at: at.clone(),
        operator: operator.certificate.clone(),
    };
    let path = place(path);
    let mut content = match files::own::is_there(&path) {
        true => files::read_signed(&path, FILE_BYTES_MAX)?,
        false => Vec::new(),
    };
    content.truncate(content.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    let line = signed::seal(Kind::Agreement, &agreement, &operator.key);
    if content.len() + line.len() > FILE_BYTES_MAX {
        let problem = format!("{}: it is full", path.display());
        return Err(PseudoError::usage(problem, "keep it elsewhere, and begin a new one"));
    }
    files::append(&path, content.len() as u64, &line)?;
    agreed.push(Agreed { operator: operator.name.clone(), key, at, counts: true });
    Ok(agreed)
}

/// Whether enough people agreed: as many names, each with a key of its own.
pub(crate) fn is_enough(agreed: &[Agreed]) -> bool {
    let counting = || agreed.iter().filter(|one| one.counts);
    let names: BTreeSet<&str> = counting().map(|one| one.operator.as_str()).collect();
    names.len() >= PEOPLE
}

/// Refuses a policy that needs people to agree to it, and does not have them.
pub(crate) fn check(path: &Path, policy: &Policy, folder: &KeyFolder) -> Result<(), PseudoError> {
    // without a key that signs there is no log that could ask for it
    let Some(service) = folder.signing_public()? else { return Ok(()) };
    let domain = policy.domain.as_str();
    if !CustodyLog::read(folder, service)?.needs_four_eyes(domain) {
        return Ok(());
    }
    let agreed = read(path, policy, &folder.trust(service)?)?;
    if is_enough(&agreed) {
        return Ok(());
    }
    let names: Vec<&str> = agreed.iter().filter(|one| one.counts).map(|one| one.operator.as_str()).collect();
    let by = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    let hash = policy.hash_text();
    Err(PseudoError::Gate {
        problem: format!(
            "{}: domain {domain} needs {PEOPLE} people who agree to its policies, and {by} agreed to this one as it is",
            path.display()
        ),
        advice: format!("`pseudo policy agree {} --sha256 {hash}`, once they have read it", path.display()),
    })
}

/// The file beside a policy.
fn place(policy: &Path) -> PathBuf {
    let mut name = policy.as_os_str().to_owned();
    name.push(".agreed");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(operator: &str, key: &str, counts: bool) -> Agreed {
        Agreed { operator: operator.into(), key: key.into(), at: "2026-11-23T06:00:00Z".into(), counts }
    }

    #[test]
    fn two_keys_of_one_person_and_revoked_ones_are_not_two_people() {
        assert!(!is_enough(&[]));
        assert!(!is_enough(&[agreed("ada", "1", true)]));
        assert!(!is_enough(&[agreed("ada", "1", true), agreed("ada", "2", true)]));
        assert!(!is_enough(&[agreed("ada", "1", true), agreed("grace", "2", false)]));
        assert!(is_enough(&[agreed("ada", "1", true), agreed("grace", "2", true)]));
    }
}
