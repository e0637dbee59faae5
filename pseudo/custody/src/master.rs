//! Domain masters, and the field keys under them.
//!
//! HKDF-SHA-256 (RFC 5869), expand step only: a master is 32 uniformly random bytes, which is what the extract step would
//! produce (RFC 5869 §3.3). Every name in the info goes with its length, so no two infos are equal.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;

use crate::field::{FieldKey, Purpose, Scope};
use crate::secret::{KEY_BYTES, Secret};
use crate::{ClassName, DatasetName, DomainName, KeyVersion};

/// A key's id, bytes: keys of one deployment are told apart by far fewer.
pub const KEY_ID_BYTES: usize = 8;

const ID_LABEL: &[u8] = b"twinkeep pseudo master id 1";
/// The number at the end changes with the layout of the info.
const LABEL: &[u8] = b"twinkeep pseudo field key 1";

/// One version of one domain's master key.
pub struct MasterKey {
    pub(crate) domain: DomainName,
    pub(crate) version: KeyVersion,
    pub(crate) secret: Secret<KEY_BYTES>,
}

impl MasterKey {
    /// A new key of this name, filled by the caller's source of random bytes.
    pub fn generate<E>(
        domain: DomainName,
        version: KeyVersion,
        random: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        Secret::fill(random).map(|secret| Self { domain, version, secret })
    }

    /// Whose key this is.
    pub fn domain(&self) -> &DomainName {
        &self.domain
    }

    /// Which of the domain's keys this is.
    pub fn version(&self) -> KeyVersion {
        self.version
    }

    /// What manifests call this key. It tells nothing about the key.
    pub fn id(&self) -> [u8; KEY_ID_BYTES] {
        let mut id = [0; KEY_ID_BYTES];
        Hkdf::<Sha256>::from_prk(self.secret.bytes())
            .expect("a key is as long as the hash")
            .expand(ID_LABEL, &mut id)
            .expect("one block of output is far below the limit");
        id
    }

    /// The key of a purpose, class and scope. The data set counts for [`Scope::Dataset`] alone.
    pub fn field_key(
        &self,
        purpose: Purpose,
        class: &ClassName,
        scope: Scope,
        dataset: &DatasetName,
    ) -> FieldKey {
        let dataset = if scope == Scope::Dataset { dataset.as_str() } else { "" };
        let mut secret = Secret::zeroed();
        let names = [self.domain.as_str(), class.as_str(), dataset];
        let lengths = names.map(|name| [u8::try_from(name.len()).expect("a name has at most 63 bytes")]);
        let info = [
            LABEL,
            &[purpose.id(), scope.id()],
            &self.version.get().to_le_bytes(),
            &lengths[0],
            names[0].as_bytes(),
            &lengths[1],
            names[1].as_bytes(),
            &lengths[2],
            names[2].as_bytes(),
        ];
        Hkdf::<Sha256>::from_prk(self.secret.bytes())
            .expect("a key is as long as the hash")
            .expand_multi_info(&info, secret.bytes_mut())
            .expect("two blocks of output are far below the limit");
        FieldKey { version: self.version, scope, secret }
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("domain", &self.domain)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn master(domain: &str, version: u32, byte: u8) -> MasterKey {
        let (domain, version) = (DomainName::new(domain).unwrap(), KeyVersion::new(version).unwrap());
        MasterKey::generate(domain, version, |bytes| {
            bytes.fill(byte);
            Ok::<(), ()>(())
        })
        .unwrap()
    }

    fn class(name: &str) -> ClassName {
        ClassName::new(name).unwrap()
    }

    fn dataset(name: &str) -> DatasetName {
        DatasetName::new(name).unwrap()
    }

    #[test]
    fn every_part_of_the_name_changes_the_key() {
        let mut seen = HashSet::new();
        let mut count = 0;
        for (domain, version, byte) in [("a", 1, 1), ("b", 1, 1), ("a", 2, 1), ("a", 1, 2)] {
            for purpose in [
                Purpose::Token,
                Purpose::Siv,
                Purpose::FormatPreserving,
                Purpose::DateShift,
                Purpose::Count,
                Purpose::Order,
                Purpose::Vault,
            ] {
                for scope in [Scope::Domain, Scope::Dataset, Scope::Record] {
                    for name in ["x", "xy"] {
                        let master = master(domain, version, byte);
                        seen.insert(*master.field_key(purpose, &class(name), scope, &dataset("d")).expose());
                        count += 1;
                    }
                }
            }
        }
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn the_data_set_counts_for_its_scope_alone() {
        let key = |scope, name| {
            *master("a", 1, 1).field_key(Purpose::Token, &class("x"), scope, &dataset(name)).expose()
        };
        assert_eq!(key(Scope::Domain, "d"), key(Scope::Domain, "e"));
        assert_ne!(key(Scope::Dataset, "d"), key(Scope::Dataset, "e"));
    }

    #[test]
    fn no_key_shows_itself_in_debug() {
        let master = master("a", 1, 0xab);
        let field = master.field_key(Purpose::Token, &class("x"), Scope::Domain, &dataset("d"));
        for shown in [format!("{master:?}"), format!("{field:#?}")] {
            for form in ["171", "ab, ", "abab", "0xab"] {
                assert!(!shown.to_lowercase().contains(form), "{shown}");
            }
        }
    }
}
