//! The region's keys as records of the system group, and unwrapped in memory.
//!
//! Keys are created conditionally, so that gateways that start together agree on one; a rotation adds a version of
//! the tenant's key, which new objects use at once. It leaves moving old objects to the new version to [`super::rewrap`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use envelope::{
    EnvelopeError, KeyVersion, ObjectHeader, ObjectKey, ObjectPlace, RegionKey, RegionKeyName, RegionName,
    RootWrap, TenantKey, TenantKeyName, WrappedKey, open_value, seal_value,
};
use replication::region::{Region, RegionError};
use thiserror::Error;
use tokio::time::Instant;
use wire::{DeploymentId, SystemExpect, SystemRecord, SystemTable, TenantId};
use zeroize::Zeroizing;

use super::system::{self, SystemError};
use crate::random;

/// How long opening the keys may wait for the system group. A region that starts has elections first.
const OPEN_HOLD: Duration = Duration::from_secs(60);

/// How long a reload may wait.
const RELOAD_HOLD: Duration = Duration::from_secs(10);

/// Whose keys these are.
#[derive(Clone, Debug)]
pub struct KeyringOptions {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The region.
    pub region: RegionName,
    /// The tenant; a region has one for now.
    pub tenant: TenantId,
}

/// Why keys are not at hand.
#[derive(Debug, Error)]
pub enum KeyringError {
    /// The system group did not answer.
    #[error("the system group did not answer while keys were being {operation}")]
    Region {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: RegionError,
    },
    /// A key does not open or cannot be made.
    #[error("a key cannot be {operation}")]
    Envelope {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: EnvelopeError,
    },
    /// A record under a name that is none of ours, or an answer that makes no sense.
    #[error("the wrapped key record {name:?} makes no sense")]
    Record {
        /// The record's key.
        name: String,
    },
}

/// The region's keys.
pub struct Keyring {
    region: Arc<dyn Region>,
    options: KeyringOptions,
    region_key: RegionKey,
    tenant_keys: RwLock<BTreeMap<KeyVersion, Arc<TenantKey>>>,
}

impl Keyring {
    /// Opens the keys; makes the first ones when there are none.
    pub async fn open(
        region: Arc<dyn Region>,
        root: &dyn RootWrap,
        options: KeyringOptions,
    ) -> Result<Self, KeyringError> {
        let deadline = Instant::now() + OPEN_HOLD;
        let name = RegionKeyName {
            deployment: options.deployment,
            region: options.region.clone(),
            version: KeyVersion(1),
        };
        let record_key = region_record_key(name.version);
        let record = match get(&*region, &record_key, deadline).await? {
            Some(record) => record,
            None => {
                let Ok(key) = RegionKey::generate(name.clone(), random::source);
                let wrapped = root.wrap(&key, random::nonce()).map_err(failed("wrapped"))?;
                create(&*region, &record_key, wrapped, deadline).await?;
                require(&*region, &record_key, deadline).await?
            }
        };
        let region_key = root.unwrap(&name, &record.value).map_err(failed("unwrapped"))?;
        let keyring = Self { region, options, region_key, tenant_keys: RwLock::default() };
        keyring.load(deadline).await?;
        if keyring.versions().is_empty() {
            keyring.create_tenant_key(KeyVersion(1), deadline).await?;
            keyring.load(deadline).await?;
        }
        Ok(keyring)
    }

    /// Whose keys these are.
    pub fn options(&self) -> &KeyringOptions {
        &self.options
    }

    /// Versions of the tenant's key at hand, oldest first.
    pub fn versions(&self) -> Vec<KeyVersion> {
        self.read(|keys| keys.keys().copied().collect())
    }

    /// The version that new objects use.
    pub fn current_version(&self) -> KeyVersion {
        self.current().name().version
    }

    /// Adds a version of the tenant's key; new objects use it from now on.
    pub async fn rotate(&self) -> Result<KeyVersion, KeyringError> {
        let deadline = Instant::now() + RELOAD_HOLD;
        self.load(deadline).await?;
        let next = KeyVersion(self.current_version().0 + 1);
        self.create_tenant_key(next, deadline).await?;
        self.load(deadline).await?;
        tracing::info!(version = %next, "tenant key rotated");
        Ok(next)
    }

    /// Takes in versions that other gateways added.
    pub async fn reload(&self) -> Result<(), KeyringError> {
        self.load(Instant::now() + RELOAD_HOLD).await
    }

    /// A fresh key for the object at `place`, and the header that keeps it.
    pub(crate) fn new_object(&self, place: &ObjectPlace) -> Result<(ObjectKey, Bytes), EnvelopeError> {
        let Ok(key) = ObjectKey::generate(random::source);
        let tenant_key = self.current();
        let header = ObjectHeader::seal(place, &key, vec![(&tenant_key, random::nonce())])?;
        Ok((key, header.encode()))
    }

    /// The key of the object at `place`. Takes in new versions of the tenant's key when its is not known yet.
    pub(crate) async fn open_object(
        &self,
        place: &ObjectPlace,
        header: &Bytes,
    ) -> Result<ObjectKey, EnvelopeError> {
        let header = ObjectHeader::decode(header.clone())?;
        match self.open_header(place, &header) {
            Err(EnvelopeError::KeyMissing { tenant }) => {
                if let Err(error) = self.reload().await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "keys could not be reloaded");
                    return Err(EnvelopeError::KeyMissing { tenant });
                }
                self.open_header(place, &header)
            }
            done => done,
        }
    }

    /// The header under the current version; nothing when it is already.
    pub(crate) fn rewrapped(
        &self,
        place: &ObjectPlace,
        header: &Bytes,
    ) -> Result<Option<Bytes>, EnvelopeError> {
        let decoded = ObjectHeader::decode(header.clone())?;
        let new = self.current();
        let Some(version) = decoded.key_version(&self.options.region) else {
            return Err(EnvelopeError::KeyMissing { tenant: self.options.tenant });
        };
        if version == new.name().version {
            return Ok(None);
        }
        let old = self
            .read(|keys| keys.get(&version).cloned())
            .ok_or(EnvelopeError::KeyMissing { tenant: self.options.tenant })?;
        Ok(Some(decoded.rewrap(place, &old, &new, random::nonce())?.encode()))
    }

    /// Seals a small secret of the region.
    pub(crate) fn seal_secret(
        &self,
        label: &str,
        context: &[u8],
        secret: &[u8],
    ) -> Result<Bytes, EnvelopeError> {
        seal_value(&self.region_key, label, context, secret, random::nonce())
    }

    /// Opens what [`Self::seal_secret`] sealed.
    pub(crate) fn open_secret(
        &self,
        label: &str,
        context: &[u8],
        sealed: Bytes,
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        open_value(&self.region_key, label, context, sealed)
    }

    fn open_header(&self, place: &ObjectPlace, header: &ObjectHeader) -> Result<ObjectKey, EnvelopeError> {
        header.open(place, |region, tenant, version| {
            if *region != self.options.region || tenant != self.options.tenant {
                return None;
            }
            self.read(|keys| keys.get(&version).cloned())
        })
    }

    fn read<T>(&self, read: impl FnOnce(&BTreeMap<KeyVersion, Arc<TenantKey>>) -> T) -> T {
        read(&self.tenant_keys.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn current(&self) -> Arc<TenantKey> {
        self.read(|keys| keys.last_key_value().map(|(_, key)| key.clone()))
            .expect("a keyring that was opened has at least one tenant key")
    }

    async fn create_tenant_key(&self, version: KeyVersion, deadline: Instant) -> Result<(), KeyringError> {
        let KeyringOptions { deployment, region, tenant } = self.options.clone();
        let name = TenantKeyName { deployment, region, tenant, version };
        let Ok(key) = TenantKey::generate(name, random::source);
        let wrapped = self.region_key.wrap_tenant_key(&key, random::nonce()).map_err(failed("wrapped"))?;
        create(&*self.region, &tenant_record_key(tenant, version), wrapped.encode(), deadline).await
    }

    async fn load(&self, deadline: Instant) -> Result<(), KeyringError> {
        let prefix = Bytes::from(format!("tenant/{}/", self.options.tenant));
        let records = system::scan(&*self.region, SystemTable::WrappedKey, prefix, deadline)
            .await
            .map_err(|error| region_failed("loaded", error))?;
        let known = self.versions();
        let mut added = Vec::new();
        for record in records {
            let wrapped = WrappedKey::decode(&record.value).map_err(failed("read"))?;
            if known.contains(&wrapped.version()) {
                continue;
            }
            let key = self
                .region_key
                .unwrap_tenant_key(self.options.tenant, &wrapped)
                .map_err(failed("unwrapped"))?;
            added.push((wrapped.version(), Arc::new(key)));
        }
        let mut keys = self.tenant_keys.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        keys.extend(added);
        Ok(())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("versions", &self.versions()).finish_non_exhaustive()
    }
}

fn region_record_key(version: KeyVersion) -> Bytes {
    Bytes::from(format!("region/{:010}", version.0))
}

fn tenant_record_key(tenant: TenantId, version: KeyVersion) -> Bytes {
    Bytes::from(format!("tenant/{tenant}/{:010}", version.0))
}

fn failed(operation: &'static str) -> impl Fn(EnvelopeError) -> KeyringError {
    move |source| KeyringError::Envelope { operation, source }
}

fn region_failed(operation: &'static str, error: SystemError) -> KeyringError {
    match error {
        SystemError::Region(source) => KeyringError::Region { operation, source },
        _ => KeyringError::Record { name: operation.into() },
    }
}

async fn get(
    region: &dyn Region,
    key: &Bytes,
    deadline: Instant,
) -> Result<Option<SystemRecord>, KeyringError> {
    system::get(region, SystemTable::WrappedKey, key.clone(), deadline)
        .await
        .map_err(|error| region_failed("read", error))
}

async fn require(region: &dyn Region, key: &Bytes, deadline: Instant) -> Result<SystemRecord, KeyringError> {
    get(region, key, deadline)
        .await?
        .ok_or_else(|| KeyringError::Record { name: String::from_utf8_lossy(key).into_owned() })
}

/// Creates a record unless somebody else was first, which is as good.
async fn create(
    region: &dyn Region,
    key: &Bytes,
    value: Bytes,
    deadline: Instant,
) -> Result<(), KeyringError> {
    let change = system::put(SystemTable::WrappedKey, key.clone(), SystemExpect::Absent, value);
    match system::change(region, system::background_meta(region), vec![change], deadline).await {
        Ok(_) | Err(SystemError::Conflict { .. }) => Ok(()),
        Err(error) => Err(region_failed("created", error)),
    }
}
