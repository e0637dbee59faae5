//! Tells systemd that the witness is ready and alive, when systemd asked to be told (`NOTIFY_SOCKET`).

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends `state`, such as `READY=1`; whoever is not there needs none.
pub(super) fn notify(state: &str) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let _ = send(&place, state);
}

fn send(place: &OsStr, state: &str) -> std::io::Result<()> {
    let address = match place.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(place)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_at_the_place_is_told() {
        let base = tempfile::tempdir().unwrap();
        let place = base.path().join("notify");
        let socket = UnixDatagram::bind(&place).unwrap();
        send(place.as_os_str(), "READY=1").unwrap();
        let mut buffer = [0; 16];
        let count = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"READY=1");
        assert!(send(base.path().join("nobody").as_os_str(), "READY=1").is_err());
    }
}
