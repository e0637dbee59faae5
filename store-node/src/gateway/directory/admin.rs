//! Changing principals, access keys, grants and buckets. Every change is one command: all of it or nothing.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::Instant;
use wire::{
    CommandMeta, PrincipalId, Revision, SystemChange, SystemExpect, SystemTable, UnixMillis, VersioningMode,
    limits,
};
use zeroize::Zeroizing;

use super::{Bucket, Directory, SECRET_LABEL, key_context};
use crate::gateway::context;
use crate::gateway::records::{
    AccessKeyRecord, BucketRecord, PrincipalRecord, Rights, decode_grant, encode_grant, grant_key,
};
use crate::gateway::system::{self, SystemError, put, remove};
use crate::random;

/// Access keys of one principal. Two are enough to rotate without a gap; eight leave room for services.
pub const ACCESS_KEYS_MAX: usize = 8;

/// A principal's name, characters.
pub const PRINCIPAL_NAME_CHARS_MAX: usize = 64;

/// How long a change may wait for the system group.
const CHANGE_HOLD: Duration = Duration::from_secs(20);

/// How often a grant is looked at again because somebody else changed it meanwhile.
const GRANT_TRIES: u32 = 10;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Why a change was not made.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The system group did not do it.
    #[error("the system group did not make the change")]
    System {
        /// Why.
        #[from]
        source: SystemError,
    },
    /// The secret cannot be sealed.
    #[error("the secret cannot be sealed")]
    Seal {
        /// Why.
        #[from]
        source: envelope::EnvelopeError,
    },
    /// A name that is not allowed.
    #[error("a principal's name is 1 to 64 characters of a-z, A-Z, 0-9, '.', '_', '-', '@'")]
    InvalidName,
    /// Somebody is called so already.
    #[error("there is a principal of that name already")]
    PrincipalExists,
    /// Nobody is called so.
    #[error("there is no principal of that name")]
    NoSuchPrincipal,
    /// There is no such access key.
    #[error("there is no such access key")]
    NoSuchKey,
    /// The principal has as many keys as allowed.
    #[error("a principal has at most {ACCESS_KEYS_MAX} access keys: remove one first")]
    TooManyKeys,
    /// There is no such bucket.
    #[error("there is no bucket of that name")]
    NoSuchBucket,
    /// There is a bucket of that name.
    #[error("there is a bucket of that name already")]
    BucketExists,
    /// Somebody else changed or is deleting the bucket.
    #[error("the bucket is being changed by somebody else")]
    BucketChanged,
    /// The principal owns buckets.
    #[error("the principal owns {count} buckets: delete them first, or take its access keys away instead")]
    OwnsBuckets {
        /// How many.
        count: usize,
    },
}

/// A new access key; the secret is shown this once.
pub struct NewAccessKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: Zeroizing<String>,
}

/// A principal as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalInfo {
    /// Its number.
    pub id: PrincipalId,
    /// Its name.
    pub name: String,
    /// Every right on every bucket.
    pub admin: bool,
    /// May create buckets.
    pub create_buckets: bool,
    /// When it was registered.
    pub created: UnixMillis,
    /// Ids of its access keys and when they were made, oldest first.
    pub access_keys: Vec<(String, UnixMillis)>,
}

/// A grant as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantInfo {
    /// To whom.
    pub principal: String,
    /// On which bucket.
    pub bucket: String,
    /// What.
    pub rights: Rights,
}

impl Directory {
    /// Registers a principal.
    pub async fn create_principal(
        &self,
        name: &str,
        admin: bool,
        create_buckets: bool,
    ) -> Result<PrincipalId, AdminError> {
        if !is_principal_name(name) {
            return Err(AdminError::InvalidName);
        }
        let record = PrincipalRecord { admin, create_buckets, created: context::now() };
        let key = Bytes::copy_from_slice(name.as_bytes());
        let change = put(SystemTable::Principal, key, SystemExpect::Absent, record.encode());
        match self.change(vec![change]).await {
            Err(SystemError::Conflict { .. }) => return Err(AdminError::PrincipalExists),
            done => done.map(|_| ())?,
        }
        let id = self.principal(name).ok_or(AdminError::NoSuchPrincipal)?;
        tracing::info!(principal = %id, admin, "principal registered");
        Ok(id)
    }

    /// Removes a principal with its access keys and grants. One that owns buckets stays.
    pub async fn remove_principal(&self, name: &str) -> Result<(), AdminError> {
        self.refresh().await?;
        let id = self.principal(name).ok_or(AdminError::NoSuchPrincipal)?;
        let tables = self.tables();
        let count = tables.buckets.values().filter(|bucket| bucket.owner == id).count();
        if count > 0 {
            return Err(AdminError::OwnsBuckets { count });
        }
        let key = Bytes::copy_from_slice(name.as_bytes());
        // the principal goes first: nothing is allowed to a key without one
        let mut changes = vec![remove(SystemTable::Principal, key, SystemExpect::Present)];
        for (key_id, _) in tables.keys.iter().filter(|(_, key)| key.principal == id) {
            changes.push(remove(SystemTable::AccessKey, key_id.clone().into(), SystemExpect::Any));
        }
        for (principal, bucket) in tables.grants.keys().filter(|(principal, _)| *principal == id) {
            changes.push(remove(SystemTable::Grant, grant_key(*principal, *bucket), SystemExpect::Any));
        }
        for batch in changes.chunks(limits::SYSTEM_CHANGES_MAX) {
            self.change(batch.to_vec()).await?;
        }
        tracing::info!(principal = %id, "principal removed");
        Ok(())
    }

    /// Makes an access key for a principal.
    pub async fn add_key(&self, name: &str) -> Result<NewAccessKey, AdminError> {
        self.refresh().await?;
        let principal = self.principal(name).ok_or(AdminError::NoSuchPrincipal)?;
        if self.tables().keys.values().filter(|key| key.principal == principal).count() >= ACCESS_KEYS_MAX {
            return Err(AdminError::TooManyKeys);
        }
        let id = format!("TK{}", random_text::<18, 32>(BASE32).as_str());
        let secret = random_text::<40, 64>(SECRET_ALPHABET);
        self.write_key(principal, &id, &secret).await?;
        tracing::info!(%principal, "access key made");
        Ok(NewAccessKey { id, secret })
    }

    /// Removes an access key.
    pub async fn remove_key(&self, id: &str) -> Result<(), AdminError> {
        let change = remove(SystemTable::AccessKey, id.to_owned().into(), SystemExpect::Present);
        match self.change(vec![change]).await {
            Err(SystemError::Conflict { .. }) => Err(AdminError::NoSuchKey),
            done => done.map(|_| ()).map_err(AdminError::from),
        }
    }

    /// Adds rights on a bucket.
    pub async fn grant(&self, name: &str, bucket: &str, rights: Rights) -> Result<(), AdminError> {
        self.change_grant(name, bucket, |before| before.with(rights)).await
    }

    /// Takes rights on a bucket away.
    pub async fn revoke(&self, name: &str, bucket: &str, rights: Rights) -> Result<(), AdminError> {
        self.change_grant(name, bucket, |before| before.without(rights)).await
    }

    /// All principals by name.
    pub async fn list_principals(&self) -> Result<Vec<PrincipalInfo>, AdminError> {
        self.refresh().await?;
        let tables = self.tables();
        let mut all: Vec<PrincipalInfo> = tables
            .principals
            .iter()
            .map(|(id, found)| {
                let mut access_keys: Vec<(String, UnixMillis)> = tables
                    .keys
                    .iter()
                    .filter(|(_, key)| key.principal == *id)
                    .map(|(key_id, key)| (key_id.clone(), key.created))
                    .collect();
                access_keys.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
                PrincipalInfo {
                    id: *id,
                    name: found.caller.name.to_string(),
                    admin: found.caller.admin,
                    create_buckets: found.caller.create_buckets,
                    created: found.created,
                    access_keys,
                }
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// All grants by bucket and principal; owners are not listed, they need none.
    pub async fn list_grants(&self) -> Result<Vec<GrantInfo>, AdminError> {
        self.refresh().await?;
        let tables = self.tables();
        let mut all: Vec<GrantInfo> = tables
            .grants
            .iter()
            .filter_map(|((principal, bucket), rights)| {
                let principal = tables.principals.get(principal)?.caller.name.to_string();
                let bucket = tables.buckets.values().find(|found| found.id == *bucket)?.name.to_string();
                Some(GrantInfo { principal, bucket, rights: *rights })
            })
            .collect();
        all.sort_by(|a, b| (&a.bucket, &a.principal).cmp(&(&b.bucket, &b.principal)));
        Ok(all)
    }

    /// All buckets by name.
    pub async fn list_buckets(&self) -> Result<Vec<Bucket>, AdminError> {
        self.refresh().await?;
        let mut all: Vec<Bucket> = self.tables().buckets.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Registers an access key whose id and secret the caller chose (for tests and for moving from another store).
    pub async fn import_key(&self, name: &str, id: &str, secret: &str) -> Result<(), AdminError> {
        self.refresh().await?;
        let principal = self.principal(name).ok_or(AdminError::NoSuchPrincipal)?;
        let usable = |text: &str, most: usize| {
            (8..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !usable(id, 128) || !usable(secret, 128) || id.contains(['/', ',', '=']) {
            return Err(AdminError::NoSuchKey);
        }
        self.write_key(principal, id, secret).await
    }

    /// Registers a bucket.
    pub(crate) async fn create_bucket(
        &self,
        meta: CommandMeta,
        name: &str,
        owner: PrincipalId,
    ) -> Result<Bucket, AdminError> {
        let (created, versioning) = (meta.time, VersioningMode::Off);
        let record = BucketRecord { owner, created, versioning, deleting: None };
        let key = Bytes::copy_from_slice(name.as_bytes());
        let change = put(SystemTable::Bucket, key, SystemExpect::Absent, record.encode());
        match self.change_as(meta, vec![change]).await {
            Err(SystemError::Conflict { .. }) => return Err(AdminError::BucketExists),
            done => done.map(|_| ())?,
        }
        self.tables().buckets.get(name).cloned().ok_or(AdminError::NoSuchBucket)
    }

    /// Changes a bucket's versioning.
    pub(crate) async fn set_versioning(
        &self,
        bucket: &Bucket,
        versioning: VersioningMode,
    ) -> Result<(), AdminError> {
        if bucket.deleting.is_some() {
            return Err(AdminError::BucketChanged);
        }
        let record = BucketRecord { versioning, ..record_of(bucket) };
        self.change_bucket(bucket, bucket.changed, Some(record)).await.map(|_| ())
    }

    /// Marks a bucket as being deleted from now on.
    pub(crate) async fn lock_bucket(&self, bucket: &Bucket) -> Result<Revision, AdminError> {
        let record = BucketRecord { deleting: Some(context::now()), ..record_of(bucket) };
        self.change_bucket(bucket, bucket.changed, Some(record)).await
    }

    /// Takes that mark away.
    pub(crate) async fn unlock_bucket(&self, bucket: &Bucket, lock: Revision) -> Result<(), AdminError> {
        let record = BucketRecord { deleting: None, ..record_of(bucket) };
        self.change_bucket(bucket, lock, Some(record)).await.map(|_| ())
    }

    /// Removes a bucket's record and its grants.
    pub(crate) async fn remove_bucket(&self, bucket: &Bucket, lock: Revision) -> Result<(), AdminError> {
        self.change_bucket(bucket, lock, None).await?;
        let tables = self.tables();
        let grants: Vec<SystemChange> = tables
            .grants
            .keys()
            .filter(|(_, granted)| *granted == bucket.id)
            .map(|(principal, granted)| {
                remove(SystemTable::Grant, grant_key(*principal, *granted), SystemExpect::Any)
            })
            .collect();
        for batch in grants.chunks(limits::SYSTEM_CHANGES_MAX) {
            self.change(batch.to_vec()).await?;
        }
        Ok(())
    }

    async fn change_bucket(
        &self,
        bucket: &Bucket,
        at: Revision,
        record: Option<BucketRecord>,
    ) -> Result<Revision, AdminError> {
        let change = SystemChange {
            table: SystemTable::Bucket,
            key: Bytes::copy_from_slice(bucket.name.as_bytes()),
            expect: SystemExpect::At(at),
            value: record.map(|record| record.encode()),
        };
        match self.change(vec![change]).await {
            Err(SystemError::Conflict { .. }) => Err(AdminError::BucketChanged),
            done => Ok(done?),
        }
    }

    async fn write_key(&self, principal: PrincipalId, id: &str, secret: &str) -> Result<(), AdminError> {
        let context = key_context(id.as_bytes(), principal);
        let sealed_secret = self.keyring.seal_secret(SECRET_LABEL, &context, secret.as_bytes())?;
        let record = AccessKeyRecord { principal, created: context::now(), sealed_secret };
        let key = id.to_owned().into();
        let change = put(SystemTable::AccessKey, key, SystemExpect::Absent, record.encode());
        self.change(vec![change]).await?;
        Ok(())
    }

    async fn change_grant(
        &self,
        name: &str,
        bucket: &str,
        next: impl Fn(Rights) -> Rights,
    ) -> Result<(), AdminError> {
        self.refresh().await?;
        let principal = self.principal(name).ok_or(AdminError::NoSuchPrincipal)?;
        let tables = self.tables();
        let bucket = tables.buckets.get(bucket).ok_or(AdminError::NoSuchBucket)?.id;
        let key = grant_key(principal, bucket);
        let mut tries = 0;
        loop {
            // as it is now, and changed only if it still is: somebody else may be revoking what this one saw
            let deadline = Instant::now() + CHANGE_HOLD;
            let found = system::get(&*self.region, SystemTable::Grant, key.clone(), deadline).await?;
            let (expect, before) = match found {
                None => (SystemExpect::Absent, Rights::NONE),
                Some(record) => {
                    let rights = decode_grant(record.value).map_err(|_| SystemError::Protocol)?;
                    (SystemExpect::At(record.changed), rights)
                }
            };
            let rights = next(before);
            let change = match (rights.any(), expect) {
                (true, expect) => put(SystemTable::Grant, key.clone(), expect, encode_grant(rights)),
                (false, SystemExpect::Absent) => return Ok(()),
                (false, expect) => remove(SystemTable::Grant, key.clone(), expect),
            };
            match self.change(vec![change]).await {
                Err(SystemError::Conflict { .. }) if tries < GRANT_TRIES => tries += 1,
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    tracing::info!(%principal, %bucket, rights = ?rights.names(), "grant changed");
                    return Ok(());
                }
            }
        }
    }

    fn principal(&self, name: &str) -> Option<PrincipalId> {
        self.tables().names.get(name).copied()
    }

    async fn change(&self, changes: Vec<SystemChange>) -> Result<Revision, SystemError> {
        self.change_as(system::background_meta(&*self.region), changes).await
    }

    async fn change_as(
        &self,
        meta: CommandMeta,
        changes: Vec<SystemChange>,
    ) -> Result<Revision, SystemError> {
        let deadline = Instant::now() + CHANGE_HOLD;
        let done = system::change(&*self.region, meta, changes, deadline).await;
        // seen at once here, also what somebody else changed before us
        self.refresh().await?;
        done
    }
}

impl std::fmt::Debug for NewAccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewAccessKey").finish_non_exhaustive()
    }
}

fn record_of(bucket: &Bucket) -> BucketRecord {
    let Bucket { owner, created, versioning, deleting, .. } = *bucket;
    BucketRecord { owner, created, versioning, deleting }
}

fn is_principal_name(name: &str) -> bool {
    (1..=PRINCIPAL_NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte))
}

/// Uniform: the alphabet's length divides 256.
fn random_text<const LENGTH: usize, const LETTERS: usize>(alphabet: &[u8; LETTERS]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0_u8; LENGTH]);
    random::fill(&mut *bytes);
    let letters = bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % LETTERS]));
    Zeroizing::new(letters.collect())
}
