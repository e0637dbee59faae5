//! Who may do what: a cached view of buckets, principals, access keys and grants from the system group.
//!
//! Promises: nothing is allowed that no record allows; this gateway's own changes are visible at once; another
//! gateway's take effect within a poll (revocation included); what the cache does not know is looked up before it is
//! said not to exist; a view that could not be refreshed for long is not used any more. Changing records is in
//! [`admin`].

pub mod admin;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use replication::region::Region;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::{
    BucketId, DecodeError, PrincipalId, Revision, SystemRecord, SystemTable, UnixMillis, VersioningMode,
};
use zeroize::Zeroizing;

use super::keyring::Keyring;
use super::records::{AccessKeyRecord, BucketRecord, PrincipalRecord, Rights, decode_grant, parse_grant_key};
use super::system::{self, SystemError};

/// How often the system group is asked whether anything changed. Half of the second within which revocation must work.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How long one refresh may wait for the system group.
const REFRESH_HOLD: Duration = Duration::from_secs(5);

/// A view older than this is not used: a gateway that is cut off must not go on honouring revoked keys.
/// 30 s: longer than any leader change, so that one is not noticed here.
const VIEW_AGE_MAX: Duration = Duration::from_secs(30);

/// What secrets of access keys are sealed as.
pub(crate) const SECRET_LABEL: &str = "access key";

/// A bucket as requests need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its identity: another one when it is made again under the same name.
    pub id: BucketId,
    /// Its name.
    pub name: Arc<str>,
    /// Who owns it.
    pub owner: PrincipalId,
    /// When it was made.
    pub created: UnixMillis,
    /// Its versioning.
    pub versioning: VersioningMode,
    /// Since when it is being deleted.
    pub deleting: Option<UnixMillis>,
    /// When its record was changed last.
    pub changed: Revision,
}

/// Who asks, as far as it matters for rights.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub principal: PrincipalId,
    /// Under which name.
    pub name: Arc<str>,
    /// Every right on every bucket.
    pub admin: bool,
    /// May create buckets.
    pub create_buckets: bool,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caller({})", self.principal)
    }
}

/// The view is too old, and the system group does not answer.
#[derive(Debug, thiserror::Error)]
#[error("the directory could not be refreshed")]
pub struct DirectoryStale {
    /// Why.
    #[source]
    pub source: SystemError,
}

/// The cached view.
pub struct Directory {
    region: Arc<dyn Region>,
    keyring: Arc<Keyring>,
    view: RwLock<Arc<View>>,
    // when the last refresh began; whoever holds it refreshes
    refreshing: Mutex<Instant>,
}

struct View {
    revision: Revision,
    /// Whether the keyring has the keys of this revision.
    keys_loaded: bool,
    confirmed: Instant,
    tables: Arc<Tables>,
}

#[derive(Default)]
pub(crate) struct Tables {
    buckets: HashMap<Arc<str>, Bucket>,
    principals: HashMap<PrincipalId, Principal>,
    names: HashMap<Arc<str>, PrincipalId>,
    keys: HashMap<String, AccessKey>,
    grants: HashMap<(PrincipalId, BucketId), Rights>,
}

#[derive(Clone)]
struct Principal {
    caller: Caller,
    created: UnixMillis,
}

struct AccessKey {
    principal: PrincipalId,
    created: UnixMillis,
    secret: Zeroizing<String>,
}

impl Directory {
    /// Loads the view. [`Self::run`] keeps it fresh.
    pub async fn open(region: Arc<dyn Region>, keyring: Arc<Keyring>) -> Result<Self, DirectoryStale> {
        let began = Instant::now();
        let tables = Arc::<Tables>::default();
        let empty = View { revision: Revision(0), keys_loaded: false, confirmed: began, tables };
        let directory =
            Self { region, keyring, view: RwLock::new(Arc::new(empty)), refreshing: Mutex::new(began) };
        directory.load(began + Duration::from_secs(60)).await.map_err(|source| DirectoryStale { source })?;
        Ok(directory)
    }

    /// Polls for changes until cancelled.
    pub async fn run(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match self.refresh().await {
                Ok(()) => failing = false,
                Err(error) if failing => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "still stale")
                }
                Err(error) => {
                    failing = true;
                    tracing::warn!(error = &error as &dyn std::error::Error, "directory not refreshed");
                }
            }
        }
    }

    /// Brings the view to a state no older than this call; callers at the same time share one look.
    pub async fn refresh(&self) -> Result<(), SystemError> {
        let asked = Instant::now();
        let mut began = self.refreshing.lock().await;
        if *began > asked {
            return Ok(());
        }
        let now = Instant::now();
        self.load(now + REFRESH_HOLD).await?;
        *began = now;
        Ok(())
    }

    /// The bucket of that name.
    pub async fn bucket(&self, name: &str) -> Result<Option<Bucket>, DirectoryStale> {
        self.find(|tables| tables.buckets.get(name).cloned()).await
    }

    /// All buckets on which the caller has any right, by name.
    pub async fn buckets_of(&self, caller: &Caller) -> Result<Vec<Bucket>, DirectoryStale> {
        self.refresh().await.map_err(|source| DirectoryStale { source })?;
        let tables = self.tables();
        let allowed = |bucket: &&Bucket| tables.rights(caller, bucket).any();
        let mut buckets: Vec<Bucket> = tables.buckets.values().filter(allowed).cloned().collect();
        buckets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(buckets)
    }

    /// What the caller may do with the bucket.
    pub fn rights(&self, caller: &Caller, bucket: &Bucket) -> Rights {
        self.tables().rights(caller, bucket)
    }

    /// A principal's name, for listings that show owners.
    pub fn name_of(&self, principal: PrincipalId) -> Option<Arc<str>> {
        self.tables().principals.get(&principal).map(|found| found.caller.name.clone())
    }

    /// The secret of an access key, for checking signatures.
    pub(crate) async fn secret(&self, access_key: &str) -> Result<Option<Zeroizing<String>>, DirectoryStale> {
        self.find(|tables| tables.keys.get(access_key).map(|key| key.secret.clone())).await
    }

    /// Whose access key it is.
    pub(crate) async fn caller(&self, access_key: &str) -> Result<Option<Caller>, DirectoryStale> {
        self.find(|tables| {
            let key = tables.keys.get(access_key)?;
            tables.principals.get(&key.principal).map(|found| found.caller.clone())
        })
        .await
    }

    pub(crate) fn tables(&self) -> Arc<Tables> {
        self.current().tables.clone()
    }

    /// Looks in the view; what is not there is looked for in a fresh one.
    async fn find<T>(&self, look: impl Fn(&Tables) -> Option<T>) -> Result<Option<T>, DirectoryStale> {
        let view = self.current();
        if view.confirmed.elapsed() < VIEW_AGE_MAX
            && let Some(found) = look(&view.tables)
        {
            return Ok(Some(found));
        }
        self.refresh().await.map_err(|source| DirectoryStale { source })?;
        Ok(look(&self.tables()))
    }

    fn current(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    async fn load(&self, deadline: Instant) -> Result<(), SystemError> {
        let confirmed = Instant::now();
        let revision = system::revision(&*self.region, deadline).await?;
        let before = self.current();
        let unchanged = revision == before.revision && revision != Revision(0);
        let tables =
            if unchanged { before.tables.clone() } else { Arc::new(self.read_tables(deadline).await?) };
        let mut keys_loaded = unchanged && before.keys_loaded;
        if !keys_loaded {
            // tried again at the next poll: under an old key nothing new must be sealed for long
            match self.keyring.reload().await {
                Ok(_) => keys_loaded = true,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "keys could not be reloaded");
                }
            }
        }
        let view = Arc::new(View { revision, keys_loaded, confirmed, tables });
        *self.view.write().unwrap_or_else(std::sync::PoisonError::into_inner) = view;
        Ok(())
    }

    async fn read_tables(&self, deadline: Instant) -> Result<Tables, SystemError> {
        let mut tables = Tables::default();
        let scan = |table| system::scan(&*self.region, table, Bytes::new(), deadline);
        for record in scan(SystemTable::Bucket).await? {
            tables.insert_bucket(record);
        }
        for record in scan(SystemTable::Principal).await? {
            let id = PrincipalId(record.created.0);
            tables.insert_principal(id, &record.key, PrincipalRecord::decode(record.value));
        }
        for record in scan(SystemTable::AccessKey).await? {
            self.insert_key(&mut tables, &record.key, AccessKeyRecord::decode(record.value));
        }
        for record in scan(SystemTable::Grant).await? {
            match (parse_grant_key(&record.key), decode_grant(record.value)) {
                (Some(key), Ok(rights)) => drop(tables.grants.insert(key, rights)),
                _ => tracing::error!("a grant record cannot be read"),
            }
        }
        Ok(tables)
    }

    fn insert_key(&self, tables: &mut Tables, id: &Bytes, record: Result<AccessKeyRecord, DecodeError>) {
        let opened = record.ok().and_then(|record| {
            let context = key_context(id, record.principal);
            let secret = self.keyring.open_secret(SECRET_LABEL, &context, record.sealed_secret).ok()?;
            let secret = Zeroizing::new(String::from_utf8(secret.to_vec()).ok()?);
            let id = String::from_utf8(id.to_vec()).ok()?;
            Some((id, AccessKey { principal: record.principal, created: record.created, secret }))
        });
        match opened {
            Some((id, key)) => drop(tables.keys.insert(id, key)),
            None => tracing::error!("an access key record cannot be read or opened"),
        }
    }
}

impl Tables {
    fn rights(&self, caller: &Caller, bucket: &Bucket) -> Rights {
        // the caller's own record decides, not what was true when the request began
        match self.principals.get(&caller.principal) {
            None => Rights::NONE,
            Some(found) if found.caller.admin => Rights::OWN,
            Some(_) if bucket.owner == caller.principal => Rights::OWN,
            Some(_) => self.grants.get(&(caller.principal, bucket.id)).copied().unwrap_or_default(),
        }
    }

    fn insert_bucket(&mut self, record: SystemRecord) {
        let (id, changed) = (BucketId(record.created.0), record.changed);
        match (std::str::from_utf8(&record.key), BucketRecord::decode(record.value)) {
            (Ok(name), Ok(record)) => {
                let name: Arc<str> = name.into();
                let BucketRecord { owner, created, versioning, deleting } = record;
                let bucket = Bucket { id, name: name.clone(), owner, created, versioning, deleting, changed };
                self.buckets.insert(name, bucket);
            }
            _ => tracing::error!(bucket = %id, "a bucket record cannot be read"),
        }
    }

    fn insert_principal(
        &mut self,
        id: PrincipalId,
        key: &Bytes,
        record: Result<PrincipalRecord, DecodeError>,
    ) {
        match (std::str::from_utf8(key), record) {
            (Ok(name), Ok(record)) => {
                let name: Arc<str> = name.into();
                let PrincipalRecord { admin, create_buckets, created } = record;
                let caller = Caller { principal: id, name: name.clone(), admin, create_buckets };
                self.names.insert(name, id);
                self.principals.insert(id, Principal { caller, created });
            }
            _ => tracing::error!(principal = %id, "a principal record cannot be read"),
        }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("revision", &self.current().revision).finish_non_exhaustive()
    }
}

/// What a sealed secret is bound to: its key's id and its principal.
pub(crate) fn key_context(id: &[u8], principal: PrincipalId) -> Vec<u8> {
    let mut context = principal.0.to_le_bytes().to_vec();
    context.extend_from_slice(id);
    context
}

/// How clients see a principal's account: 64 hexadecimal digits, as a canonical user id has.
pub(crate) fn account_id(principal: PrincipalId) -> String {
    format!("{:064x}", principal.0)
}
