//! Bodies read from a log's folder by a process other than the one that writes it.
//!
//! Nothing is kept open, so that a segment that garbage collection removed gives its room back at once.

use super::{
    header::file_name,
    record::{HEADER_BYTES, PAYLOAD_BYTES_MAX},
    types::Place,
};
use crate::disk::{DiskFile, open_to_read};
use bytes::Bytes;
use std::{io, path::PathBuf};

/// The log of another process on this host.
#[derive(Debug)]
pub(crate) struct OutsideLog {
    folder: PathBuf,
}

impl OutsideLog {
    /// The log in `folder`, which need not be there yet.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The body at `place`; nothing when it is not there (any more) as `place` says.
    pub(crate) async fn read_body(&self, place: &Place) -> io::Result<Option<Bytes>> {
        if place.body_length as usize > PAYLOAD_BYTES_MAX {
            return Ok(None);
        }
        let file = match open_to_read(&self.folder.join(file_name(place.segment))) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let at = u64::from(place.offset) + HEADER_BYTES as u64 + u64::from(place.head_length);
        let mut buffer = vec![0; place.body_length as usize];
        let read = if file.read_at_once(&mut buffer, at)? {
            Ok(buffer)
        } else {
            let read = move || file.read_at(&mut buffer, at).map(|()| buffer);
            tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
        };
        match read {
            Ok(buffer) => Ok((crc32c::crc32c(&buffer) == place.body_crc).then(|| buffer.into())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}
