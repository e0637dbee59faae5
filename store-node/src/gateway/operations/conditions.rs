//! `If-Match` and its kin: for reads judged here, for writes handed to the group that applies them.

use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result};
use wire::{EtagMatch, UnixMillis, WriteCondition};

use super::shown::timestamp;
use crate::gateway::errors::precondition_failed;

/// Conditions of a read.
pub(super) struct ReadConditions<'a> {
    pub(super) if_match: Option<&'a ETagCondition>,
    pub(super) if_none_match: Option<&'a ETagCondition>,
    pub(super) if_modified_since: Option<&'a Timestamp>,
    pub(super) if_unmodified_since: Option<&'a Timestamp>,
}

/// What a read's conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    NotModified,
    Failed,
}

impl ReadConditions<'_> {
    /// Judges them in the order that RFC 9110 §13.2.2 sets.
    pub(super) fn judge(&self, etag: &str, modified: UnixMillis) -> Verdict {
        match (self.if_match, self.if_unmodified_since) {
            (Some(condition), _) if !matches(condition, etag) => return Verdict::Failed,
            (None, Some(since)) if seconds(modified) > *since => return Verdict::Failed,
            _ => {}
        }
        match (self.if_none_match, self.if_modified_since) {
            (Some(condition), _) if matches(condition, etag) => Verdict::NotModified,
            (None, Some(since)) if seconds(modified) <= *since => Verdict::NotModified,
            _ => Verdict::Go,
        }
    }

    /// The same for a copy's source, where anything but go is a failure.
    pub(super) fn require(&self, etag: &str, modified: UnixMillis) -> S3Result<()> {
        match self.judge(etag, modified) {
            Verdict::Go => Ok(()),
            _ => Err(precondition_failed()),
        }
    }
}

/// The conditions of a write as the group judges them.
pub(super) fn write_condition(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> WriteCondition {
    WriteCondition { if_match: if_match.map(etag_match), if_none_match: if_none_match.map(etag_match) }
}

/// A 304 with the headers that a cache needs.
pub(super) fn not_modified(etag: &str, modified: UnixMillis) -> S3Error {
    let mut headers = http::HeaderMap::new();
    if let Ok(value) = ETag::Strong(etag.to_owned()).to_http_header() {
        headers.insert(http::header::ETAG, value);
    }
    let mut date = Vec::new();
    let formatted = timestamp(modified).format(s3s::dto::TimestampFormat::HttpDate, &mut date);
    if let (Ok(()), Ok(value)) = (formatted, http::HeaderValue::from_bytes(&date)) {
        headers.insert(http::header::LAST_MODIFIED, value);
    }
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    error.set_headers(headers);
    error
}

fn etag_match(condition: &ETagCondition) -> EtagMatch {
    match condition {
        ETagCondition::Any => EtagMatch::Any,
        ETagCondition::ETag(etag) => EtagMatch::OneOf(vec![etag.value().to_owned()]),
    }
}

fn matches(condition: &ETagCondition, etag: &str) -> bool {
    etag_match(condition).matches(etag)
}

/// HTTP dates have no fractions.
fn seconds(instant: UnixMillis) -> Timestamp {
    timestamp(UnixMillis(instant.0 / 1000 * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(
        if_match: Option<&str>,
        if_none_match: Option<&str>,
        modified_since: Option<u64>,
        unmodified_since: Option<u64>,
    ) -> Verdict {
        let condition = |text: &str| ETagCondition::parse_http_header(text.as_bytes()).unwrap();
        let (if_match, if_none_match) = (if_match.map(condition), if_none_match.map(condition));
        let since = |seconds: u64| timestamp(UnixMillis(seconds * 1000));
        let (modified_since, unmodified_since) = (modified_since.map(since), unmodified_since.map(since));
        ReadConditions {
            if_match: if_match.as_ref(),
            if_none_match: if_none_match.as_ref(),
            if_modified_since: modified_since.as_ref(),
            if_unmodified_since: unmodified_since.as_ref(),
        }
        .judge("abc", UnixMillis(100_500))
    }

    #[test]
    fn conditions_are_judged_as_http_says() {
        assert_eq!(judge(Some("\"abc\""), None, None, None), Verdict::Go);
        assert_eq!(judge(Some("\"abd\""), None, None, None), Verdict::Failed);
        assert_eq!(judge(Some("*"), None, None, None), Verdict::Go);
        assert_eq!(judge(None, Some("\"abc\""), None, None), Verdict::NotModified);
        assert_eq!(judge(None, Some("*"), None, None), Verdict::NotModified);
        assert_eq!(judge(None, None, Some(100), None), Verdict::NotModified);
        assert_eq!(judge(None, None, Some(99), None), Verdict::Go);
        assert_eq!(judge(None, None, None, Some(100)), Verdict::Go);
        assert_eq!(judge(None, None, None, Some(99)), Verdict::Failed);
    }

    #[test]
    fn a_tag_condition_decides_over_its_date() {
        assert_eq!(judge(Some("\"abc\""), None, None, Some(1)), Verdict::Go);
        assert_eq!(judge(None, Some("\"abd\""), Some(200), None), Verdict::Go);
    }
}
