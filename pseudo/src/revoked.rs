//! Operators whose keys count no more: a list that the service signs.
//!
//! It lies in the folder of keys as `revoked.json`, where the custody log names its hash, so that an older one is refused; and it is given to
//! whoever checks, with the service's public key. A key is revoked, not a name: its owner may be enrolled with another one.
//!
//! From then on the key signs nothing that counts. What was decided with it before counts if the list names it, by its hash: the time
//! that a signature claims is what its owner wrote, so it is not asked. Manifests are signed by the service, and stay what they are.

use crate::keys::{hex, unhex};
use crate::manifest::VERSION;
use crate::signed::{self, Kind};
use crate::{PseudoError, files};
use custody::{PublicKey, SigningKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

/// The list, bytes: some hundred operators with all that they ever decided.
pub(crate) const REVOKED_BYTES_MAX: usize = 64 << 20;

/// One key that counts no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revoked {
    pub(crate) operator: String,
    pub(crate) key: String,
    /// Since when.
    pub(crate) revoked: String,
    pub(crate) reason: String,
    /// SHA-256 of the decisions that stand: each as it lay among the drafts when the key was revoked.
    pub(crate) decisions: Vec<String>,
}

/// The list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokedList {
    version: u32,
    pub(crate) revoked: Vec<Revoked>,
}

/// Whose word counts: the service's key, and who was taken off since.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    pub(crate) key: PublicKey,
    list: RevokedList,
}

impl RevokedList {
    /// Reads a list that the service signed; and its hash.
    pub(crate) fn read(path: &Path, service: PublicKey) -> Result<(Self, String), PseudoError> {
        let bytes = files::read_signed(path, REVOKED_BYTES_MAX)?;
        let place = path.display().to_string();
        let list: Self =
            signed::open_by(Kind::Revoked, &bytes, service).map_err(PseudoError::signed(&*place))?;
        let is_sane = |one: &Revoked| unhex::<{ custody::PUBLIC_KEY_BYTES }>(&one.key).is_some();
        if list.version != VERSION || !list.revoked.iter().all(is_sane) {
            let problem = "it is of a form that this release does not know".to_owned();
            return Err(PseudoError::Signed { place, problem });
        }
        Ok((list, hex(&Sha256::digest(&bytes))))
    }

    /// The list with one more, signed.
    pub(crate) fn with(mut self, one: Revoked, service: &SigningKey) -> Vec<u8> {
        self.version = VERSION;
        self.revoked.push(one);
        signed::seal(Kind::Revoked, &self, service)
    }
}

impl Trust {
    /// Everybody counts whom the service vouches for.
    pub(crate) fn of(key: PublicKey) -> Self {
        Self { key, list: RevokedList::default() }
    }

    /// But those on a list.
    pub(crate) fn with(key: PublicKey, list: RevokedList) -> Self {
        Self { key, list }
    }

    /// Since when and why a key counts no more.
    pub(crate) fn revoked(&self, key: PublicKey) -> Option<&Revoked> {
        let digits = hex(&key.0);
        self.list.revoked.iter().find(|one| one.key == digits)
    }

    /// Whether a decision that this key signed counts.
    pub(crate) fn stands(&self, key: PublicKey, decision: &[u8]) -> bool {
        let Some(revoked) = self.revoked(key) else { return true };
        let sha256 = hex(&Sha256::digest(decision));
        revoked.decisions.contains(&sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signed::tests::key;

    #[test]
    fn of_a_revoked_key_what_is_named_stands_and_nothing_else_whatever_time_it_claims() {
        let (service, ada, grace) = (key(1), key(2).public(), key(3).public());
        let one = Revoked {
            operator: "ada".into(),
            key: hex(&ada.0),
            revoked: "2026-11-23T06:00:00Z".into(),
            reason: "left".into(),
            decisions: vec![hex(&Sha256::digest(b"before"))],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revoked.json");
        let sealed = RevokedList::default().with(one, &service);
        std::fs::write(&path, &sealed).unwrap();
        let (list, sha256) = RevokedList::read(&path, service.public()).unwrap();
        assert_eq!(sha256, hex(&Sha256::digest(&sealed)));
        assert!(RevokedList::read(&path, key(9).public()).is_err(), "a list of somebody else");
        let trust = Trust::with(service.public(), list);
        assert_eq!(trust.revoked(ada).unwrap().reason, "left");
        assert!(trust.revoked(grace).is_none());
        assert!(
            trust.stands(ada, b"before") && !trust.stands(ada, b"after") && trust.stands(grace, b"after")
        );
        assert!(Trust::of(service.public()).stands(ada, b"after"));
    }
}
