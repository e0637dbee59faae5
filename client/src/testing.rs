//! What tests of several modules need.

use crate::dev::DevOptions;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

/// Options for a development region in `data`, on ports that no other test of this process asks for: tests run side by
/// side, and each looks whether its ports are free. Below the ports that systems give to outgoing connections.
pub(crate) fn dev_options(data: &Path) -> DevOptions {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    DevOptions {
        region: None,
        standby_of: None,
        data: data.to_owned(),
        port_base: Some(NEXT.fetch_add(64, Ordering::Relaxed)),
        nodes: None,
        groups: None,
        store_node: None,
        forward: None,
        pseudo: false,
    }
}
