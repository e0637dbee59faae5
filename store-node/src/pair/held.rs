//! The newest pair descriptor that this node has held, in its data folder: an older one, brought back with a backup or by
//! somebody who likes it better, is refused.
//!
//! ```text
//! pair.held
//!   twinkeep pair held 1
//!   serial 3
//!   sha256 0505...
//! ```
//!
//! It promises that a serial is on disk before the node acts under it. A data folder that is new, or itself an old copy, does
//! not know: what the other nodes have then decides, whom a node with an older serial does not reach.

use super::{PairingError, memory};
use std::path::Path;
use wire::Digest;
use wire::descriptor::PairHello;

const FILE: &str = "pair.held";
const TITLE: &str = "twinkeep pair held 1";

/// The file, bytes: twice what the longest one takes.
const BYTES_MAX: u64 = 256;

/// Whether the node may act under the descriptor at `path`; from then on it is the newest one that it has held.
pub(super) fn hold(data: &Path, path: &Path, pair: &PairHello) -> Result<(), PairingError> {
    let broken = |problem: &str| PairingError::Held { path: data.join(FILE), problem: problem.to_owned() };
    let known =
        memory::read(data, FILE, BYTES_MAX).map_err(|error| broken(&format!("cannot be read ({error})")))?;
    let known = known.map(|text| parse(&text).ok_or_else(|| broken("is damaged"))).transpose()?;
    match known {
        Some((held, _)) if held > pair.serial => {
            Err(PairingError::Older { path: path.to_owned(), serial: pair.serial, held })
        }
        Some((held, sha256)) if held == pair.serial && sha256 != pair.sha256.to_string() => {
            Err(PairingError::Twice { path: path.to_owned(), serial: held })
        }
        Some((held, _)) if held == pair.serial => Ok(()),
        _ => {
            let written = memory::write(data, FILE, &text(pair.serial, pair.sha256));
            written.map_err(|error| broken(&format!("cannot be written ({error})")))
        }
    }
}

fn text(serial: u64, sha256: Digest) -> String {
    format!("{TITLE}\nserial {serial}\nsha256 {sha256}\n")
}

/// The serial, and SHA-256 of what was signed, in lower-case digits.
fn parse(text: &str) -> Option<(u64, String)> {
    let mut lines = text.lines();
    (lines.next()? == TITLE).then_some(())?;
    let serial = lines.next()?.strip_prefix("serial ")?;
    let sha256 = lines.next()?.strip_prefix("sha256 ")?;
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    let serial: u64 = serial.parse().ok().filter(|_| is_digest)?;
    // one spelling, and all of it
    (text == format!("{TITLE}\nserial {serial}\nsha256 {sha256}\n")).then(|| (serial, sha256.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn pair(serial: u64, byte: u8) -> PairHello {
        PairHello { sha256: Digest([byte; 32]), serial, jurisdiction: "eu".into() }
    }

    #[test]
    fn what_was_held_is_kept_and_only_newer_ones_follow() {
        let base = tempfile::tempdir().unwrap();
        let data = base.path().join("data");
        let hold = |pair: &PairHello| hold(&data, Path::new("pair.descriptor"), pair);
        hold(&pair(3, 5)).unwrap();
        let golden = format!("twinkeep pair held 1\nserial 3\nsha256 {}\n", "05".repeat(32));
        assert_eq!(fs::read_to_string(data.join(FILE)).unwrap(), golden);
        hold(&pair(3, 5)).unwrap();
        assert!(matches!(hold(&pair(2, 4)), Err(PairingError::Older { serial: 2, held: 3, .. })));
        assert!(matches!(hold(&pair(3, 6)), Err(PairingError::Twice { serial: 3, .. })));
        assert_eq!(fs::read_to_string(data.join(FILE)).unwrap(), golden);
        hold(&pair(9, 7)).unwrap();
        let said = hold(&pair(3, 5)).unwrap_err().to_string();
        assert!(said.contains("--serial-above 9"), "{said}");
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    }

    #[test]
    fn a_memory_that_is_damaged_is_no_memory_to_go_by() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join(FILE);
        let good = text(3, Digest([5; 32]));
        for spoilt in [
            String::new(),
            good.replace("serial 3", "serial 03"),
            good.replace("held 1", "held 2"),
            format!("{good} "),
            good[..good.len() - 1].to_owned(),
            "x".repeat(100_000),
        ] {
            fs::write(&path, &spoilt).unwrap();
            let refused = hold(base.path(), Path::new("pair.descriptor"), &pair(4, 5)).unwrap_err();
            assert!(refused.to_string().contains("is damaged"), "{refused}");
        }
        fs::write(&path, &good).unwrap();
        hold(base.path(), Path::new("pair.descriptor"), &pair(4, 5)).unwrap();
    }
}
