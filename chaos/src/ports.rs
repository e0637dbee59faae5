//! Blocks of TCP ports that no other running test holds, so that test binaries run side by side.
//!
//! A block is held by a lock on a file, so it is free again when its process dies, however it dies.

use std::fs::File;
use std::net::TcpListener;

use crate::trouble::{Outcome, Trouble};

/// Ports in one block: a region of seven nodes with several listeners each fits.
pub const BLOCK_PORTS: u16 = 64;
/// The first block. Below the kernel's ephemeral range (32,768 and up), so no outgoing connection sits on a listener's port.
const FIRST_PORT: u16 = 10_240;
/// How many blocks there are: up to port 30,720.
const BLOCKS: u16 = 320;

/// A block of ports held by this process.
#[derive(Debug)]
pub struct PortBlock {
    base: u16,
    _lock: File,
}

impl PortBlock {
    /// Takes a free block; starts at a place that differs by process so that few locks are tried.
    pub fn take() -> Outcome<Self> {
        let folder = std::env::temp_dir().join("twinkeep-chaos-ports");
        std::fs::create_dir_all(&folder)
            .map_err(|error| Trouble::file("make the folder", &folder, &error))?;
        let start = (std::process::id() % u32::from(BLOCKS)) as u16;
        for step in 0..BLOCKS {
            let number = (start + step) % BLOCKS;
            let path = folder.join(number.to_string());
            let file = File::create(&path).map_err(|error| Trouble::file("create", &path, &error))?;
            let base = FIRST_PORT + number * BLOCK_PORTS;
            if file.try_lock().is_ok() && block_is_idle(base) {
                return Ok(PortBlock { base, _lock: file });
            }
        }
        Err(Trouble::new(format!(
            "all {BLOCKS} blocks of test ports are taken: other test runs still hold them"
        )))
    }

    /// The first port of the block.
    pub fn base(&self) -> u16 {
        self.base
    }

    /// The port at this place of the block.
    pub fn port(&self, offset: u16) -> u16 {
        assert!(offset < BLOCK_PORTS, "a port outside the block");
        self.base + offset
    }
}

fn block_is_idle(base: u16) -> bool {
    (base..base + BLOCK_PORTS).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blocks_never_overlap() {
        let first = PortBlock::take().unwrap();
        let second = PortBlock::take().unwrap();
        assert!(first.base().abs_diff(second.base()) >= BLOCK_PORTS);
    }
}
