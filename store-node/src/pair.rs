//! The paired region as a storage node reaches it: under an identity that the other region's authority issued, and
//! under the pair descriptor that both regions signed.

mod endpoints;
mod held;
mod memory;
mod synced;

pub(crate) use endpoints::check as check_endpoints;

use crate::{
    config::{
        PairConfig,
        join::{self, MemberIdentity},
    },
    refusals::RefusalRecord,
    server::{self, ServeError},
};
use replication::{
    pair::Standby,
    peer::{PeerOptions, PeerTls, Peers},
    router::Router,
    service::Service,
};
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};
use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;
use trust::{PairError, VerifiedPair};
use wire::{
    UnixMillis,
    admin::ConnectionOpener,
    descriptor::{PAIR_DESCRIPTOR_BYTES_MAX, PAIR_DESCRIPTOR_FILE, PairHello, RegionDescriptor},
};

/// What to do about all of these.
const ADVICE: &str =
    "bring this node's folder here again, as `twinkeep init --standby-of` or `twinkeep pair make` made it";

/// Why a node may not be paired.
#[derive(Debug, Error)]
pub enum PairingError {
    /// There is no descriptor.
    #[error("{}: no pair descriptor there, and without one no region is paired; {ADVICE}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// This node has held a newer one.
    #[error(
        "{}: its serial is {serial}, and this node has held {held}: an older descriptor may let in whom the newer one keeps out; bring this node's newest folder here, or make a newer one with `twinkeep pair make --serial-above {held}`, and `--members-since` once more if keys have leaked",
        path.display()
    )]
    Older {
        /// The descriptor.
        path: PathBuf,
        /// Its serial.
        serial: u64,
        /// The highest serial that this node has held.
        held: u64,
    },
    /// This node has held another one under the same serial.
    #[error(
        "{}: this node has held another descriptor under the serial {serial}; make a newer one with `twinkeep pair make --serial-above {serial}`, for every node, and `--members-since` once more if keys have leaked",
        path.display()
    )]
    Twice {
        /// The descriptor.
        path: PathBuf,
        /// Its serial.
        serial: u64,
    },
    /// What this node has held cannot be read or written.
    #[error(
        "{}: {problem}; see that pair.descriptor in pair.folder is the newest one (`twinkeep pair verify`), then remove this file, which is made again",
        path.display()
    )]
    Held {
        /// The file that should say.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Requests would be passed on to endpoints that are not the other region's.
    #[error("{}: {problem}; name the authority of the other region under pair.authority, and its endpoints", path.display())]
    Endpoints {
        /// The authority that the endpoints are trusted by.
        path: PathBuf,
        /// Whose it is.
        problem: String,
    },
    /// It is not signed by both, or not of these two regions.
    #[error("{}: {problem}; {ADVICE}", path.display())]
    Refused {
        /// The descriptor.
        path: PathBuf,
        /// Why.
        problem: PairError,
    },
}

/// The other region, known to be the pair of this one.
pub(crate) struct Paired {
    descriptor: RegionDescriptor,
    tls: PeerTls,
    hello: PairHello,
    /// From when on certificates count that members of the other region show here.
    members_since: Option<UnixMillis>,
    /// The keys of both regions' authorities.
    keys: [Vec<u8>; 2],
    /// The node's own folder.
    data: PathBuf,
}

impl Paired {
    /// Reads a folder with an identity in the other region and the pair descriptor, and holds all of it against `own`, and
    /// the descriptor against those that this node has held, as its folder `data` remembers.
    pub(crate) fn load(folder: &Path, data: &Path, own: &MemberIdentity) -> Result<Self, ServeError> {
        let file = |path: PathBuf| {
            std::fs::read(&path).map_err(|source| ServeError::File { path: path.clone(), source })
        };
        let read = |name: &str| file(folder.join(name));
        let text = String::from_utf8_lossy(&read(join::DESCRIPTOR)?).into_owned();
        let descriptor = join::parse_descriptor("the paired region", &text)?;
        let certificate = read(join::CERTIFICATE)?;
        let key = zeroize::Zeroizing::new(read(join::PRIVATE_KEY)?);
        let authority = read(join::AUTHORITY_CERTIFICATE)?;
        let path = folder.join(PAIR_DESCRIPTOR_FILE);
        let refused = |problem: PairError| PairingError::Refused { path: path.clone(), problem };
        let pair = VerifiedPair::verify(&read_pair(&path)?).map_err(refused)?;
        let own_authority = file(own.authority_certificate())?;
        pair.admits((&own.descriptor, &own_authority), (&descriptor, &authority)).map_err(refused)?;
        let hello = pair.hello();
        held::hold(data, &path, &hello)?;
        let tls = PeerTls::from_pem(&certificate, &key, &authority)
            .map_err(|source| ServeError::Tls { folder: folder.to_owned(), source })?
            .with_pair(hello.clone());
        let members_since = pair.members_since(&own.descriptor.region);
        let keys = pair.descriptor().regions.clone().map(|region| region.key);
        Ok(Self { descriptor, tls, hello, members_since, keys, data: data.to_owned() })
    }

    /// What this process says of its pair.
    pub(crate) fn hello(&self) -> PairHello {
        self.hello.clone()
    }

    /// The same for connections that the other region opens: with what the descriptor asks of its members.
    pub(crate) fn welcome(&self, tls: PeerTls) -> PeerTls {
        tls.with_pair(self.hello()).with_pair_members_since(self.members_since)
    }

    /// Follows the other region, at the rate that `settings` allow.
    pub(crate) async fn follow(
        self,
        settings: &PairConfig,
        service: &Arc<Service>,
        own: Arc<Router>,
        refusals: &RefusalRecord,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Standby> {
        let Self { descriptor, tls, hello, data, .. } = self;
        let peers = Peers::new(tls, PeerOptions::default());
        refusals.watch(ConnectionOpener::Here, peers.refused());
        server::find_nodes(&descriptor, &peers, tracker, &stop).await;
        info!(
            region = descriptor.region,
            nodes = descriptor.nodes.len(),
            jurisdiction = hello.jurisdiction,
            serial = hello.serial,
            "paired with another region"
        );
        let nodes = descriptor.nodes.iter().map(|node| node.id);
        let router = Router::start(peers, descriptor.groups, nodes, tracker.clone(), stop.clone());
        let (rate, recalled) = (settings.bytes_per_second_max, synced::recall(&data));
        let standby = Standby::start(service, own, router, rate, recalled, tracker, stop.clone());
        tracker.spawn(synced::keep(data, Arc::clone(&standby), stop));
        standby
    }
}

fn read_pair(path: &Path) -> Result<String, ServeError> {
    // a byte more than one has: then it is not taken for one
    let limit = PAIR_DESCRIPTOR_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(PairingError::Missing { path: path.to_owned() }.into())
        }
        Err(source) => Err(ServeError::File { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
#[path = "pair/tests.rs"]
mod tests;
