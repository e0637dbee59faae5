//! Targets of the engine and of the server, which live beside their decoders.

use replication::fuzz::{peer, segments};
use store_node::fuzz::{config, record};

use crate::Target;

/// All of them.
pub(crate) fn targets() -> [Target; 4] {
    [
        Target { name: "peer", run: peer::run, seeds: peer::seeds },
        Target { name: "segments", run: segments::run, seeds: segments::seeds },
        Target { name: "config", run: config::run, seeds: config::seeds },
        Target { name: "record", run: record::run, seeds: record::seeds },
    ]
}
