//! Objects over the S3 API: listed, pinned, read as they were pinned, and made where there was none.
//!
//! Calls block. No message names an object by itself: who calls says which one it was, by its place among others.

mod connection;
mod place;

use crate::{PseudoError, clock};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};
use object_store::aws::AmazonS3;
use object_store::client::HttpClient;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read};
use std::sync::Arc;
use tokio::runtime::{Handle, Runtime};

pub(crate) use connection::{Connection, Credentials};
pub(crate) use place::Place;

/// Versions of one object that are deleted, at most: what is made here is made once, so there is one.
const VERSIONS_MAX: usize = 100;

/// How far this machine's clock and the server's may be apart where a day decides, seconds.
const CLOCKS_APART_MAX_SECONDS: u64 = 3600;

/// One server, with one pair of credentials.
pub(crate) struct S3 {
    runtime: Runtime,
    connection: Connection,
    credentials: Credentials,
    buckets: RefCell<HashMap<String, Arc<AmazonS3>>>,
    /// Asks for deletions of single versions, which the library does not know.
    deleting: HttpClient,
}

/// An object as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) key: String,
    pub(crate) etag: Option<String>,
    pub(crate) bytes: u64,
}

/// What an object was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    pub(crate) version_id: Option<String>,
    pub(crate) etag: Option<String>,
    pub(crate) bytes: u64,
}

impl S3 {
    /// Prepares connections; none is made yet.
    pub(crate) fn new(connection: Connection, credentials: Credentials) -> Result<Self, PseudoError> {
        connection.check()?;
        // another provider that was chosen before is as good
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(PseudoError::file("starting threads", "the system".as_ref()))?;
        let deleting = connection.client()?;
        Ok(Self { runtime, connection, credentials, buckets: RefCell::default(), deleting })
    }

    /// Names of the objects below a place, in order; so many at most.
    pub(crate) fn list(&self, place: &Place, most: usize) -> Result<Vec<String>, PseudoError> {
        Ok(self.listed(place, most)?.into_iter().map(|listed| listed.key).collect())
    }

    /// The objects below a place, in the order of their names; so many at most.
    pub(crate) fn listed(&self, place: &Place, most: usize) -> Result<Vec<Listed>, PseudoError> {
        let failed = |error| store(format!("listing {}", place.bucket), &error);
        let folder = Path::parse(&place.prefix).map_err(|_| bad_name(&place.bucket))?;
        let mut listed = self.bucket(&place.bucket)?.list((!place.prefix.is_empty()).then_some(&folder));
        let mut objects = Vec::new();
        while let Some(meta) = self.runtime.block_on(listed.next()) {
            if objects.len() == most {
                let problem = format!("there are more than {most} objects");
                return Err(PseudoError::Store { place: format!("listing {}", place.bucket), problem });
            }
            let meta = meta.map_err(failed)?;
            objects.push(Listed { key: meta.location.to_string(), etag: meta.e_tag, bytes: meta.size });
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    /// Fails if these credentials may not list a place.
    pub(crate) fn may_list(&self, place: &Place) -> Result<(), PseudoError> {
        let folder = Path::parse(&place.prefix).map_err(|_| bad_name(&place.bucket))?;
        let mut listed = self.bucket(&place.bucket)?.list((!place.prefix.is_empty()).then_some(&folder));
        match self.runtime.block_on(listed.next()) {
            Some(Err(error)) => Err(store(format!("listing {}", place.bucket), &error)),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Names of the folders in a place, in order; so many at most.
    pub(crate) fn folders(&self, place: &Place, most: usize) -> Result<Vec<String>, PseudoError> {
        let operation = || format!("listing {}", place.bucket);
        let folder = Path::parse(&place.prefix).map_err(|_| bad_name(&place.bucket))?;
        let folder = (!place.prefix.is_empty()).then_some(&folder);
        let listed = self.runtime.block_on(self.bucket(&place.bucket)?.list_with_delimiter(folder));
        let listed = listed.map_err(|error| store(operation(), &error))?;
        if listed.common_prefixes.len() > most {
            let problem = format!("there are more than {most} folders");
            return Err(PseudoError::Store { place: operation(), problem });
        }
        let name = |path: Path| path.filename().map(str::to_owned);
        let mut names: Vec<String> = listed.common_prefixes.into_iter().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// What an object is now; `None` when there is none.
    pub(crate) fn pin(&self, bucket: &str, key: &str) -> Result<Option<Pin>, PseudoError> {
        let path = path(bucket, key)?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.runtime.block_on(self.bucket(bucket)?.get_opts(&path, options)) {
            Ok(found) => {
                let meta = found.meta;
                Ok(Some(Pin { version_id: meta.version, etag: meta.e_tag, bytes: meta.size }))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(store(format!("looking at an object of {bucket}"), &error)),
        }
    }

    /// Whether an object can still be read as it was pinned.
    pub(crate) fn is_still(&self, bucket: &str, key: &str, pin: &Pin) -> Result<bool, PseudoError> {
        let path = path(bucket, key)?;
        let (version, if_match) = (pin.version_id.clone(), pin.etag.clone());
        let options = GetOptions { head: true, version, if_match, ..GetOptions::default() };
        match self.runtime.block_on(self.bucket(bucket)?.get_opts(&path, options)) {
            Ok(found) => Ok(found.meta.size == pin.bytes),
            Err(object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(store(format!("looking at an object of {bucket}"), &error)),
        }
    }

    /// Reads an object as it was pinned; fails when it is not there any more or is another.
    pub(crate) fn read(&self, bucket: &str, key: &str, pin: &Pin) -> Result<Reading, PseudoError> {
        let path = path(bucket, key)?;
        // a version never changes, but for the one called `null`; so the ETag has to be the same as well
        let (version, if_match) = (pin.version_id.clone(), pin.etag.clone());
        let options = GetOptions { version, if_match, ..GetOptions::default() };
        let found = self.runtime.block_on(self.bucket(bucket)?.get_opts(&path, options));
        let found = found.map_err(|error| store(format!("reading an object of {bucket}"), &error))?;
        if found.meta.size != pin.bytes {
            let problem = "it has another size than when it was listed".to_owned();
            return Err(PseudoError::Store { place: format!("reading an object of {bucket}"), problem });
        }
        let handle = self.runtime.handle().clone();
        Ok(Reading { handle, stream: found.into_stream(), current: Bytes::new() })
    }

    /// A small object, whole; `None` when there is none.
    pub(crate) fn get(&self, bucket: &str, key: &str, most: u64) -> Result<Option<Vec<u8>>, PseudoError> {
        let path = path(bucket, key)?;
        let operation = || format!("reading an object of {bucket}");
        let found = match self.runtime.block_on(self.bucket(bucket)?.get(&path)) {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(store(operation(), &error)),
        };
        if found.meta.size > most {
            let problem = format!("it is larger than {most} bytes");
            return Err(PseudoError::Store { place: operation(), problem });
        }
        let bytes = self.runtime.block_on(found.bytes());
        bytes.map(|bytes| Some(bytes.to_vec())).map_err(|error| store(operation(), &error))
    }

    /// The same where these credentials may not be let in: then nothing is seen.
    pub(crate) fn see(&self, bucket: &str, key: &str, most: u64) -> Result<Option<Vec<u8>>, PseudoError> {
        let found = self.runtime.block_on(self.bucket(bucket)?.head(&path(bucket, key)?));
        if matches!(found, Err(object_store::Error::PermissionDenied { .. })) {
            return Ok(None);
        }
        self.get(bucket, key, most)
    }

    /// Makes an object; `false` when there is one of this name, which stays as it is.
    pub(crate) fn create(&self, bucket: &str, key: &str, content: Vec<u8>) -> Result<bool, PseudoError> {
        let (path, payload) = (path(bucket, key)?, PutPayload::from(content));
        match self.runtime.block_on(self.bucket(bucket)?.put_opts(&path, payload, PutMode::Create.into())) {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(store(format!("making an object in {bucket}"), &error)),
        }
    }

    /// Fails if these credentials may not make an object of this name. An upload in parts is begun and given up: of that nobody sees anything.
    pub(crate) fn may_create(&self, bucket: &str, key: &str) -> Result<(), PseudoError> {
        let (path, store_of) = (path(bucket, key)?, self.bucket(bucket)?);
        let begun = self.runtime.block_on(store_of.put_multipart(&path));
        let mut begun = begun.map_err(|error| store(format!("making an object in {bucket}"), &error))?;
        // one that cannot be given up has no parts, and is nothing
        let _ = self.runtime.block_on(begun.abort());
        Ok(())
    }

    /// Makes an object, or sees that the one of this name is the same: an answer may have been lost, a run killed.
    pub(crate) fn create_or_same(&self, bucket: &str, key: &str, content: &[u8]) -> Result<(), PseudoError> {
        if self.create(bucket, key, content.to_vec())?
            || self.get(bucket, key, content.len() as u64)?.as_deref() == Some(content)
        {
            return Ok(());
        }
        let problem = "there is another of this name".to_owned();
        Err(PseudoError::Store { place: format!("making an object in {bucket}"), problem })
    }

    /// Destroys an object with every version of it that can be seen: where a bucket keeps versions, deleting a name alone would keep the content.
    /// One that is not there is fine.
    pub(crate) fn destroy(&self, bucket: &str, key: &str) -> Result<(), PseudoError> {
        for _ in 0..VERSIONS_MAX {
            let Some(pin) = self.pin(bucket, key)? else { return Ok(()) };
            self.runtime.block_on(self.connection.delete(
                &self.credentials,
                &self.deleting,
                bucket,
                path(bucket, key)?.as_ref(),
                pin.version_id.as_deref(),
            ))?;
        }
        let problem = "it is still there after it was deleted: does the bucket lock objects?".to_owned();
        Err(PseudoError::Store { place: format!("deleting an object of {bucket}"), problem })
    }

    /// Whether this machine's clock and the server's agree as far as days matter.
    pub(crate) fn check_clock(&self, now: i64) -> Result<(), PseudoError> {
        let there = self.runtime.block_on(self.connection.time(&self.deleting))?;
        if there.abs_diff(now) <= CLOCKS_APART_MAX_SECONDS {
            return Ok(());
        }
        let problem = format!("it is {} here and {} at the server", clock::text(now), clock::text(there));
        Err(PseudoError::usage(problem, "set the clocks right: what is deleted by a wrong one is gone"))
    }

    fn bucket(&self, name: &str) -> Result<Arc<AmazonS3>, PseudoError> {
        if let Some(bucket) = self.buckets.borrow().get(name) {
            return Ok(bucket.clone());
        }
        let bucket = Arc::new(self.connection.bucket(name, &self.credentials)?);
        self.buckets.borrow_mut().insert(name.to_owned(), bucket.clone());
        Ok(bucket)
    }
}

/// An object's bytes, in their order.
pub(crate) struct Reading {
    handle: Handle,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    current: Bytes,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.handle.block_on(self.stream.next()) {
                Some(Ok(bytes)) => self.current = bytes,
                Some(Err(error)) => return Err(io::Error::other(reason(&error))),
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

fn path(bucket: &str, key: &str) -> Result<Path, PseudoError> {
    Path::parse(key).ok().filter(|path| path.as_ref() == key).ok_or_else(|| bad_name(bucket))
}

fn bad_name(bucket: &str) -> PseudoError {
    let problem = "a name has an empty part, or a part that is . or ..".to_owned();
    PseudoError::Store { place: format!("an object of {bucket}"), problem }
}

fn store(place: String, error: &object_store::Error) -> PseudoError {
    PseudoError::Store { place, problem: reason(error) }
}

/// Why, without what servers and libraries quote: addresses and names of objects.
fn reason(error: &object_store::Error) -> String {
    use object_store::Error as Known;
    let code = code(error).map(|code| format!(" ({code})")).unwrap_or_default();
    let known = match error {
        Known::NotFound { .. } => "there is no such object or bucket",
        Known::AlreadyExists { .. } => "there is one of this name",
        Known::Precondition { .. } => "it was changed since it was listed",
        Known::PermissionDenied { .. } => "these credentials may not do this",
        Known::Unauthenticated { .. } => "the server does not know these credentials",
        Known::InvalidPath { .. } => "a name has an empty part, or a part that is . or ..",
        _ => "",
    };
    if !known.is_empty() {
        return format!("{known}{code}");
    }
    let mut cause: &(dyn Error + 'static) = error;
    let mut system = None;
    while let Some(source) = cause.source() {
        system = source.downcast_ref::<io::Error>().map(|error| error.kind().to_string()).or(system);
        cause = source;
    }
    // libraries wrap a refused certificate in so many ways that its words are what is left
    if code.is_empty() && cause.to_string().contains("peer certificate") {
        return "the server's certificate is not of a known authority, or not the server's: is it in --ca-file?".into();
    }
    format!("{}{code}", system.unwrap_or_else(|| "the request failed".to_owned()))
}

/// The code in an answer of the server, such as `NoSuchBucket`.
fn code(error: &object_store::Error) -> Option<String> {
    let text = error.to_string();
    let (_, after) = text.split_once("<Code>")?;
    let (code, _) = after.split_once("</Code>")?;
    (code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| code.to_owned())
}
