//! The table of a vault's bucket keys, wrapped under the root: the one small thing whose destruction erases people.
//!
//! Backups carry people and never this table. To erase somebody, their bucket gets a new key, the others in it are wrapped under that,
//! and the table before is destroyed: what older copies of the bucket hold opens with nothing any more.

use std::fmt;

use aes_siv::siv::Aes256Siv;

use crate::CustodyError;
use crate::frame::{self, Frame};
use crate::person::{BUCKETS, BucketKey, HandleKey, VAULT_ID_BYTES, VaultId};
use crate::root::{CHECK_BYTES, RootCheck, RootKey, expand};
use crate::secret::{KEY_BYTES, Secret};

const KEYS_BYTES: usize = BUCKETS * KEY_BYTES;
const SIV_BYTES: usize = 16;
/// Head 6, zero 2, epoch 8, check 16, vault 16, versions 4 each.
const OPEN_BYTES: usize = frame::HEAD_BYTES + 2 + 8 + CHECK_BYTES + VAULT_ID_BYTES + 4 * BUCKETS;
/// A wrapped table, bytes.
pub const WRAPPED_TABLE_BYTES: usize = OPEN_BYTES + SIV_BYTES + KEYS_BYTES + frame::CHECKSUM_BYTES;
const TABLE: Frame = Frame { what: "table of bucket keys", magic: *b"TKPE", bytes_max: WRAPPED_TABLE_BYTES };
const HANDLE_KEY_LABEL: &[u8] = b"twinkeep pseudo handle key 1";

/// The keys of all buckets of a vault, in one epoch.
pub struct EpochTable {
    vault: VaultId,
    epoch: u64,
    versions: Box<[u32; BUCKETS]>,
    keys: Box<Secret<KEYS_BYTES>>,
}

impl EpochTable {
    /// The first table of a vault, filled by the caller's source of random bytes.
    pub fn generate<E>(vault: VaultId, random: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let keys = Box::new(Secret::fill(random)?);
        Ok(Self { vault, epoch: 1, versions: Box::new([1; BUCKETS]), keys })
    }

    /// The table of the next epoch, in which these buckets have new keys. `random` fills each of them.
    pub fn next<E>(
        &self,
        buckets: &[u8],
        mut random: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let keys = Secret::fill(|bytes| {
            bytes.copy_from_slice(self.keys.bytes());
            for bucket in buckets {
                random(&mut bytes[usize::from(*bucket) * KEY_BYTES..][..KEY_BYTES])?;
            }
            Ok(())
        })?;
        let mut versions = self.versions.clone();
        for bucket in buckets {
            versions[usize::from(*bucket)] = self.versions[usize::from(*bucket)] + 1;
        }
        Ok(Self { vault: self.vault, epoch: self.epoch + 1, versions, keys: Box::new(keys) })
    }

    /// Whose keys these are.
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// Counts erasures, from 1.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Which key a bucket has, from 1.
    pub fn version(&self, bucket: u8) -> u32 {
        self.versions[usize::from(bucket)]
    }

    /// The key of a bucket.
    pub fn bucket(&self, bucket: u8) -> BucketKey {
        let key = &self.keys.bytes()[usize::from(bucket) * KEY_BYTES..];
        let key = key.first_chunk().expect("there is a key for every bucket");
        BucketKey::new(key, self.vault, bucket, self.version(bucket))
    }
}

impl RootKey {
    /// What a vault finds people by.
    pub fn handle_key(&self, vault: VaultId) -> HandleKey {
        let mut key = Secret::zeroed();
        expand(&self.0, &[HANDLE_KEY_LABEL, &vault.0].concat(), key.bytes_mut());
        HandleKey(key)
    }

    /// The bytes of a table under this root.
    pub fn wrap_table(&self, table: &EpochTable) -> Vec<u8> {
        let mut bytes = TABLE.begin();
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&table.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.check().0);
        bytes.extend_from_slice(&table.vault.0);
        table.versions.iter().for_each(|version| bytes.extend_from_slice(&version.to_le_bytes()));
        let mut cipher: Aes256Siv = self.cipher();
        let sealed = cipher.encrypt([&bytes], table.keys.bytes()).expect("one header is below the limit");
        bytes.extend_from_slice(&sealed);
        TABLE.finish(bytes)
    }

    /// The table in bytes that [`RootKey::wrap_table`] gave.
    pub fn unwrap_table(&self, bytes: &[u8]) -> Result<EpochTable, CustodyError> {
        let (what, fields) = (TABLE.what, TABLE.open(bytes)?);
        if bytes.len() != WRAPPED_TABLE_BYTES || fields[..2] != [0; 2] {
            return Err(CustodyError::Damaged { what });
        }
        let fixed = &fields[2..];
        if RootCheck(*fixed[8..].first_chunk().expect("the length was checked")) != self.check() {
            return Err(CustodyError::OtherRoot { what });
        }
        let (associated, sealed) = bytes[..bytes.len() - frame::CHECKSUM_BYTES].split_at(OPEN_BYTES);
        let plain = self.cipher().decrypt([associated], sealed);
        let plain = zeroize::Zeroizing::new(plain.map_err(|_| CustodyError::SealBroken { what })?);
        let keys = Secret::fill(|bytes| {
            bytes.copy_from_slice(&plain);
            Ok::<(), CustodyError>(())
        })?;
        let mut versions = Box::new([0; BUCKETS]);
        for (version, bytes) in
            versions.iter_mut().zip(fixed[8 + CHECK_BYTES + VAULT_ID_BYTES..].as_chunks().0)
        {
            *version = u32::from_le_bytes(*bytes);
        }
        Ok(EpochTable {
            vault: VaultId(*fixed[8 + CHECK_BYTES..].first_chunk().expect("the length was checked")),
            epoch: u64::from_le_bytes(*fixed.first_chunk().expect("the length was checked")),
            versions,
            keys: Box::new(keys),
        })
    }
}

impl fmt::Debug for EpochTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochTable")
            .field("vault", &self.vault)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
