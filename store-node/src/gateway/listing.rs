//! One ordered listing out of many groups: pages are fetched from each as they are needed and merged by name.
//!
//! All versions of a name live in one group, so that only names are compared. Rolled-up prefixes come from several
//! groups and appear once. Where a listing goes on is a position in the order of names, so a token outlives any
//! gateway and any leader.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::future::try_join_all;
use s3s::S3Result;
use tokio::time::Instant;
use wire::{Answer, BucketId, GroupId, ListAfter, ListQuery, ListRow, Query, limits};

use super::Core;
use super::errors;

/// Rows asked for beyond a group's fair share, so that most pages need one round.
const SHARE_MARGIN: usize = 16;

/// What is listed.
pub(crate) struct Listing {
    pub(crate) bucket: BucketId,
    pub(crate) prefix: Bytes,
    pub(crate) delimiter: Option<Bytes>,
    pub(crate) after: ListAfter,
    pub(crate) versions: bool,
    /// Rows carry headers and parts too.
    pub(crate) content: bool,
}

/// A page.
pub(crate) struct Page {
    pub(crate) rows: Vec<ListRow>,
    /// There is at least one more row.
    pub(crate) truncated: bool,
}

struct Source {
    group: GroupId,
    rows: VecDeque<ListRow>,
    // nothing when the group has no more
    resume: Option<ListAfter>,
}

impl Listing {
    /// The next `limit` rows.
    pub(crate) async fn page(&self, core: &Core, limit: usize, deadline: Instant) -> S3Result<Page> {
        if limit == 0 {
            return Ok(Page { rows: Vec::new(), truncated: false });
        }
        let groups = core.region.groups() as usize;
        let share = ((limit + 1).div_ceil(groups) + SHARE_MARGIN).min(limit + 1).min(limits::LIST_ROWS_MAX);
        let first = core.groups().map(|group| async move {
            let mut source = Source { group, rows: VecDeque::new(), resume: Some(self.after.clone()) };
            self.refill(core, &mut source, share, deadline).await.map(|()| source)
        });
        let mut sources = try_join_all(first).await?;
        let mut rows: Vec<ListRow> = Vec::with_capacity(limit.min(limits::LIST_ROWS_MAX));
        loop {
            for source in &mut sources {
                // an empty answer may still go on
                while source.rows.is_empty() && source.resume.is_some() {
                    self.refill(core, source, share, deadline).await?;
                }
            }
            let next = sources
                .iter_mut()
                .filter(|source| !source.rows.is_empty())
                .min_by(|a, b| a.rows[0].name().cmp(b.rows[0].name()));
            let Some(row) = next.and_then(|source| source.rows.pop_front()) else {
                return Ok(Page { rows, truncated: false });
            };
            if let (ListRow::Prefix(prefix), Some(ListRow::Prefix(last))) = (&row, rows.last())
                && prefix == last
            {
                continue;
            }
            if rows.len() == limit {
                return Ok(Page { rows, truncated: true });
            }
            rows.push(row);
        }
    }

    async fn refill(
        &self,
        core: &Core,
        source: &mut Source,
        limit: usize,
        deadline: Instant,
    ) -> S3Result<()> {
        let Some(after) = source.resume.take() else { return Ok(()) };
        let query = Query::List(ListQuery {
            bucket: self.bucket,
            prefix: self.prefix.clone(),
            delimiter: self.delimiter.clone(),
            after,
            limit: limit as u32,
            versions: self.versions,
            content: self.content,
        });
        let (answer, _) = core.query(source.group, query, deadline).await?;
        let Answer::List { rows, resume } = answer else {
            return Err(errors::unexpected("the answer with a listing"));
        };
        source.rows.extend(rows);
        source.resume = resume;
        Ok(())
    }
}

/// Where to go on behind a row.
pub(crate) fn after_row(row: &ListRow) -> ListAfter {
    match row {
        ListRow::Prefix(prefix) => ListAfter::Prefix(prefix.clone()),
        ListRow::Version(version) => ListAfter::Version(version.key.clone(), version.version.sequence),
    }
}

/// Where to go on behind a name that a client gave: behind the whole prefix if the name was or lies in one.
pub(crate) fn after_name(name: Bytes, prefix: &[u8], delimiter: Option<&[u8]>) -> ListAfter {
    if name.is_empty() {
        return ListAfter::Start;
    }
    if let Some(delimiter) = delimiter.filter(|delimiter| !delimiter.is_empty())
        && let Some(rest) = name.strip_prefix(prefix)
        && let Some(at) = rest.windows(delimiter.len()).position(|window| window == delimiter)
    {
        return ListAfter::Prefix(name.slice(..prefix.len() + at + delimiter.len()));
    }
    ListAfter::Key(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_within_a_prefix_goes_on_behind_it() {
        let after = |name: &'static str, prefix: &str, delimiter: Option<&str>| {
            after_name(Bytes::from_static(name.as_bytes()), prefix.as_bytes(), delimiter.map(str::as_bytes))
        };
        assert_eq!(after("a/b", "", Some("/")), ListAfter::Prefix(Bytes::from_static(b"a/")));
        assert_eq!(after("a/", "", Some("/")), ListAfter::Prefix(Bytes::from_static(b"a/")));
        assert_eq!(after("a/b", "a/", Some("/")), ListAfter::Key(Bytes::from_static(b"a/b")));
        assert_eq!(after("a/b", "", None), ListAfter::Key(Bytes::from_static(b"a/b")));
        assert_eq!(after("", "", Some("/")), ListAfter::Start);
    }
}
