//! The S3 gateway: authenticates, authorises, seals, and speaks to the region. The only part that holds keys.
//!
//! ```text
//! serve ─▶ service ─▶ guard ─▶ protocol layer (s3s) ─▶ access ─▶ operations ─▶ upload / download ─▶ Region
//!                       │                                directory            keyring
//!                       └─▶ forward ─▶ the other region of the pair, when this one is not the primary
//! ```
//! Promises: nothing without a signature and a right; no plaintext, name or key leaves it but to the client it belongs
//! to; what is acknowledged is durable in the region; everything in flight is bounded. It leaves placement,
//! replication and conditions to the region's groups.

mod access;
mod budget;
mod checksum;
mod context;
mod deletion;
pub mod directory;
mod download;
mod errors;
pub mod forward;
mod guard;
mod hashing;
pub mod keyring;
mod listing;
mod metadata;
pub mod metrics;
mod operations;
mod parameters;
pub mod records;
pub mod rewrap;
mod role;
pub mod serve;
mod service;
mod sync_time;
pub mod system;
mod upload;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use replication::region::{Consistency, Region, RegionError};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3Result};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::{
    Answer, BucketId, Command, CommandMeta, GroupId, ObjectKey, Operation, Outcome, PairRole, Query, Refusal,
    UnixMillis, group_of,
};

use access::{Domains, Gatekeeper};
use budget::Budget;
use context::RequestContext;
use directory::Directory;
use forward::{Forward, ForwardOptions};
use keyring::Keyring;
use metrics::GatewayMetrics;
pub use role::Look;
use role::Role;
use sync_time::SyncTime;
use verify::Verifier;

pub(crate) use context::now;

/// What the fuzzer needs of the modules here.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod decoders {
    pub(crate) use super::checksum::{Announced, Checksum};
    pub(crate) use super::metadata::ObjectMetadata;
    pub(crate) use super::operations::list::token::{decode as decode_token, encode as encode_token};
    pub(crate) use super::rewrap::Progress;
}

/// How often streams that nothing adopted are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// How often deletions of buckets that were left behind are looked for.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(60);

/// Age at which a stream that nothing adopted is given up. A day: longer than any single upload at a useful pace.
const STREAM_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a gateway may use, and how it is addressed.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Name the region is advertised by.
    pub region_name: String,
    /// Domain under which buckets are addressed as hosts, besides path style.
    pub domain: Option<String>,
    /// The same of the other region of the pair, for requests that come by its name.
    pub pair_domain: Option<String>,
    /// Where requests go that this region does not serve.
    pub forward: Option<ForwardOptions>,
    /// Bytes of bodies held at once.
    pub body_bytes_max: usize,
    /// Requests under way at once; others wait briefly and are then told to slow down.
    pub requests_max: usize,
    /// Connections open at once.
    pub connections_max: usize,
    /// Connections from one address at once.
    pub connections_per_address_max: usize,
}

impl GatewayOptions {
    /// The defaults, for a region of this name.
    pub fn new(region_name: impl Into<String>) -> Self {
        Self {
            region_name: region_name.into(),
            domain: None,
            pair_domain: None,
            forward: None,
            // 64 uploads with three chunks each on the way
            body_bytes_max: 192 << 20,
            requests_max: 1024,
            connections_max: 4096,
            connections_per_address_max: 2048,
        }
    }
}

/// The gateway.
#[derive(Clone)]
pub struct Gateway {
    core: Arc<Core>,
    protocol: S3Service,
}

/// What operations work with.
pub(crate) struct Core {
    pub(crate) region: Arc<dyn Region>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) metrics: Arc<GatewayMetrics>,
    pub(crate) options: GatewayOptions,
    pub(crate) budget: Budget,
    pub(crate) tracker: TaskTracker,
    /// Names this gateway in answers, so that its logs can be found.
    pub(crate) host_id: HeaderValue,
    pub(crate) sync_time: SyncTime,
    pub(crate) role: Role,
    pub(crate) forward: Option<Forward>,
    /// Held while objects are moved to the newest version of the tenant's key.
    pub(crate) rewrap: tokio::sync::Mutex<()>,
}

impl Gateway {
    /// A gateway to `region`. [`Self::run_background`] and [`serve::serve`] bring it to life.
    pub fn new(
        region: Arc<dyn Region>,
        keyring: Arc<Keyring>,
        directory: Arc<Directory>,
        options: GatewayOptions,
    ) -> Self {
        let tracker = TaskTracker::new();
        let forward = options.forward.clone();
        let forward = forward.map(|forward| Forward::new(forward, &options.region_name, &tracker));
        let core = Arc::new(Core {
            region,
            keyring,
            directory: directory.clone(),
            metrics: Arc::default(),
            budget: Budget::new(options.body_bytes_max, options.requests_max),
            options,
            tracker,
            host_id: HeaderValue::from_str(&hashing::hex(&crate::random::id()))
                .expect("hexadecimal digits are a header value"),
            sync_time: SyncTime::default(),
            role: Role::default(),
            forward,
            rewrap: tokio::sync::Mutex::default(),
        });
        let mut config = S3Config::default();
        config.xml_max_body_size = guard::XML_BYTES_MAX;
        // forms are refused before they get there
        config.post_object_max_file_size = 0;
        let gatekeeper = Gatekeeper::new(directory.clone());
        let mut builder = S3ServiceBuilder::new(operations::Operations::new(core.clone()));
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.set_auth(gatekeeper.clone());
        builder.set_access(gatekeeper);
        builder.set_route(Verifier::new(directory));
        let mut domains = core.options.domain.iter().chain(&core.options.pair_domain).peekable();
        if domains.peek().is_some() {
            builder.set_host(Domains::new(domains.map(String::as_str)));
        }
        Self { core, protocol: builder.build() }
    }

    /// From here on the nodes are asked which part the region plays in its pair.
    pub fn begin_look(&self) -> Look {
        self.core.role.begin_look()
    }

    /// Says what they answered, if they did.
    pub fn end_look(&self, look: &Look, role: Option<PairRole>) {
        self.core.role.end_look(look, role);
    }

    /// Returns when a request wants to know that part anew.
    pub async fn role_is_wanted(&self) {
        self.core.role.is_wanted().await;
    }

    /// Whether the other region of the pair takes the writes, as far as is known.
    pub(crate) fn follows(&self) -> bool {
        self.core.role.get() != PairRole::Primary
    }

    /// How far the region has what its primary acknowledged, if it is a standby.
    pub(crate) fn set_sync_time(&self, synced: Option<UnixMillis>) {
        self.core.sync_time.set(synced);
    }

    /// Principals, access keys, grants, buckets.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.core.directory
    }

    /// The region's keys.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.core.keyring
    }

    /// The way to the other region of the pair, if requests are passed on.
    pub(crate) fn forward(&self) -> Option<&Forward> {
        self.core.forward.as_ref()
    }

    /// What the gateway counts.
    pub fn metrics(&self) -> &Arc<GatewayMetrics> {
        &self.core.metrics
    }

    /// Keeps the directory fresh and frees streams that nothing adopted, until cancelled.
    pub async fn run_background(&self, stop: CancellationToken) {
        let sweep = async {
            let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                self.core.expire_streams().await;
            }
        };
        let recovery = async {
            let mut ticks = tokio::time::interval(RECOVERY_INTERVAL);
            loop {
                ticks.tick().await;
                deletion::recover(&self.core).await;
            }
        };
        tokio::select! {
            () = self.core.directory.run(stop.clone()) => {}
            () = sweep => {}
            () = recovery => {}
            () = stop.cancelled() => {}
        }
    }
}

impl Core {
    /// Where an object lives.
    pub(crate) fn group_of(&self, bucket: BucketId, key: &ObjectKey) -> GroupId {
        group_of(bucket, key.as_bytes(), self.region.groups())
    }

    /// All data groups.
    pub(crate) fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        (1..=self.region.groups()).map(GroupId)
    }

    /// A new command's who and when.
    pub(crate) fn meta(&self, context: &RequestContext) -> CommandMeta {
        context.meta(self.region.epoch())
    }

    pub(crate) async fn propose(
        &self,
        group: GroupId,
        context: &RequestContext,
        operation: Operation,
        body: Bytes,
        deadline: Instant,
    ) -> S3Result<Outcome> {
        let command = Command { meta: self.meta(context), operation, body };
        let proposed = self.region.propose(group, command, deadline).await;
        if let Ok(Outcome::Refused(Refusal::PairRole { .. })) = &proposed
            && let Some(switching) = self.refused_write()
        {
            return Err(switching);
        }
        proposed.map_err(|error| self.region_error(error))
    }

    /// What a client is told of a region that did not do what it was asked.
    pub(crate) fn region_error(&self, error: RegionError) -> S3Error {
        let is_elsewhere = matches!(error, RegionError::NotPrimary { .. });
        let switching = if is_elsewhere { self.refused_write() } else { None };
        switching.unwrap_or_else(|| errors::region(error))
    }

    /// The other region takes the writes. If that is news and requests are passed on, the next attempt will be.
    pub(crate) fn refused_write(&self) -> Option<S3Error> {
        let is_news = self.role.refused();
        (is_news && self.forward.is_some()).then(errors::switching)
    }

    pub(crate) async fn query(
        &self,
        group: GroupId,
        query: Query,
        deadline: Instant,
    ) -> S3Result<(Answer, Bytes)> {
        self.region.query(group, query, Consistency::Linearizable, deadline).await.map_err(errors::region)
    }

    async fn expire_streams(&self) {
        let age = u64::try_from(STREAM_AGE_MAX.as_millis()).expect("a day in milliseconds fits");
        let created_before = UnixMillis(now().0.saturating_sub(age));
        for group in self.groups() {
            let meta = system::background_meta(&*self.region);
            let operation = Operation::ExpireStreams { created_before };
            let command = Command { meta, operation, body: Bytes::new() };
            let deadline = Instant::now() + context::HOLD;
            if let Err(error) = self.region.propose(group, command, deadline).await {
                tracing::warn!(%group, error = &error as &dyn std::error::Error, "streams not expired");
            }
        }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("region", &self.core.options.region_name).finish_non_exhaustive()
    }
}

/// The bucket that the access check found for this request.
pub(crate) fn bucket_of<T>(request: &s3s::S3Request<T>) -> Result<directory::Bucket, S3Error> {
    let found = request.extensions.get::<directory::Bucket>().cloned();
    found.ok_or_else(|| errors::unexpected("an operation without its bucket"))
}
