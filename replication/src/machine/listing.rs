//! Listings: a page of a bucket's names or versions, in order.
//!
//! Rows are judged in place and only copied when they are listed. Rolled-up names and long runs of old versions are
//! passed over by seeking, and one query looks at a bounded number of rows: a page may be short, or empty, and still
//! say where to go on.

use super::{MachineError, key, row::ListedRow, transaction::Transaction, versions};
use crate::index::Index;
use bytes::Bytes;
use wire::{Answer, ListAfter, ListQuery, ListRow, Sequence, limits};

/// Index rows that one query looks at. 20,000: some 20 ms, so that a listing over deleted names holds nobody up.
const WORK_ROWS_MAX: u32 = 20_000;

/// Rows of one answer, bytes. 3 MiB: one more row of a 10,000-part object still fits a frame's head.
pub(super) const LIST_BYTES_MAX: usize = 3 << 20;

/// Older versions of a name that are walked over before seeking past them: a seek costs as much as some ten steps.
const WALKED_VERSIONS_MAX: u32 = 10;

/// Where a scan goes on from a row.
enum Next {
    Row,
    Seek(Vec<u8>),
    /// The page is full.
    Stop,
}

struct Listing<'q> {
    query: &'q ListQuery,
    rows: Vec<ListRow>,
    bytes: usize,
    /// Everything up to here was looked at.
    resume: ListAfter,
    /// The escaped name of the row before.
    name: Vec<u8>,
    walked: u32,
}

/// The page that `query` asks for.
pub(super) fn list(index: &impl Index, query: &ListQuery) -> Result<Answer, MachineError> {
    let mut listing = Listing {
        query,
        rows: Vec::new(),
        bytes: 0,
        resume: query.after.clone(),
        name: Vec::new(),
        walked: 0,
    };
    let prefix = key::name_prefix(key::table::VERSION, query.bucket, &query.prefix);
    let end = key::after(prefix.clone());
    let mut start = listing.start(index)?.max(prefix);
    let mut work = 0;
    'seek: loop {
        for found in index.scan(&start..&end, true) {
            if work == WORK_ROWS_MAX {
                return Ok(listing.answer(true));
            }
            work += 1;
            let (row_key, value) = found?;
            match listing.step(&ListedRow::new(&row_key, &value)?, value.len())? {
                Next::Row => {}
                Next::Stop => return Ok(listing.answer(true)),
                Next::Seek(to) => {
                    start = to;
                    continue 'seek;
                }
            }
        }
        return Ok(listing.answer(false));
    }
}

impl Listing<'_> {
    /// Where the scan begins.
    fn start(&mut self, index: &impl Index) -> Result<Vec<u8>, MachineError> {
        let bucket = self.query.bucket;
        Ok(match &self.query.after {
            ListAfter::Start => Vec::new(),
            ListAfter::Key(name) => key::after(key::name(key::table::VERSION, bucket, name)),
            ListAfter::Prefix(prefix) => key::after(key::name_prefix(key::table::VERSION, bucket, prefix)),
            ListAfter::Version(name, sequence) => {
                let transaction = Transaction::new(index);
                let newest = versions::newest(&transaction, versions::Name { bucket, object: name })?;
                // what comes next is not the latest if something newer is still there
                if newest.is_some_and(|newest| newest.record.version.sequence >= *sequence) {
                    let prefix = key::name_prefix(key::table::VERSION, bucket, name);
                    self.name = prefix[9..].to_vec();
                }
                match sequence.0.checked_sub(1) {
                    Some(older) => key::version(bucket, name, Sequence(older)),
                    None => key::after(key::name(key::table::VERSION, bucket, name)),
                }
            }
        })
    }

    fn step(&mut self, row: &ListedRow<'_>, value_bytes: usize) -> Result<Next, MachineError> {
        let same_name = self.name == row.escaped_name();
        if !same_name {
            self.name.clear();
            self.name.extend_from_slice(row.escaped_name());
            self.walked = 0;
        }
        if !self.query.versions && (same_name || row.is_delete_marker()) {
            return Ok(self.pass_over(same_name));
        }
        if self.rows.len() >= limits::LIST_ROWS_MAX.min(self.query.limit as usize) {
            return Ok(Next::Stop);
        }
        if let Some(prefix) = self.rolled_up() {
            let past = key::after(key::name_prefix(key::table::VERSION, self.query.bucket, &prefix));
            self.bytes += prefix.len();
            self.resume = ListAfter::Prefix(prefix.clone());
            self.rows.push(ListRow::Prefix(prefix));
            return Ok(Next::Seek(past));
        }
        let bytes = row.escaped_name().len() + if self.query.content { value_bytes } else { 256 };
        if self.bytes + bytes > LIST_BYTES_MAX && !self.rows.is_empty() {
            return Ok(Next::Stop);
        }
        self.bytes += bytes;
        let listed = row.listed(!same_name, self.query.content)?;
        self.resume = if self.query.versions {
            ListAfter::Version(listed.key.clone(), row.sequence())
        } else {
            ListAfter::Key(listed.key.clone())
        };
        self.rows.push(ListRow::Version(listed));
        Ok(Next::Row)
    }

    /// A row that is not listed: an older version, or a delete marker.
    fn pass_over(&mut self, same_name: bool) -> Next {
        if !same_name {
            self.resume = ListAfter::Key(key::unescape_bytes(&self.name));
        }
        self.walked += 1;
        if self.walked <= WALKED_VERSIONS_MAX {
            return Next::Row;
        }
        let mut past = key::name_prefix(key::table::VERSION, self.query.bucket, &[]);
        past.extend_from_slice(&self.name);
        past.extend_from_slice(&[0, 1]);
        Next::Seek(past)
    }

    /// The name up to the first delimiter after the prefix, if there is one.
    fn rolled_up(&self) -> Option<Bytes> {
        let delimiter = self.query.delimiter.as_ref().filter(|delimiter| !delimiter.is_empty())?;
        let name = key::unescape(&self.name);
        let rest = name.get(self.query.prefix.len()..)?;
        let at = rest.windows(delimiter.len()).position(|window| window == &delimiter[..])?;
        Some(Bytes::copy_from_slice(&name[..self.query.prefix.len() + at + delimiter.len()]))
    }

    fn answer(self, more: bool) -> Answer {
        Answer::List { rows: self.rows, resume: more.then_some(self.resume) }
    }
}
