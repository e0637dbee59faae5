//! ListObjects in both versions, ListObjectVersions, ListMultipartUploads.

pub(crate) mod token;
mod uploads;

use std::sync::Arc;

use bytes::Bytes;
use s3s::dto;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use wire::{Answer, ListAfter, ListRow, ListedVersion, ObjectKey, Query, VersionRef, limits};

use super::shown;
use crate::gateway::checksum::Checksum;
use crate::gateway::context::RequestContext;
use crate::gateway::directory::Bucket;
use crate::gateway::listing::{Listing, Page, after_name, after_row};
use crate::gateway::{Core, bucket_of, context, errors};

pub(super) use uploads::uploads;

/// Rows on one page (S3's own limit).
const PAGE_MAX: usize = 1000;

pub(super) async fn objects(
    core: &Arc<Core>,
    request: S3Request<dto::ListObjectsInput>,
) -> S3Result<S3Response<dto::ListObjectsOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    let input = request.input;
    let limit = page_limit(input.max_keys)?;
    let names = Names::new(input.encoding_type)?;
    let marker = bytes(input.marker.as_deref())?;
    let delimiter = delimiter(input.delimiter.as_deref())?;
    let prefix = bytes(input.prefix.as_deref())?;
    let after = after_name(marker, &prefix, delimiter.as_deref());
    let page = page(core, &context, &bucket, (prefix, delimiter.clone()), after, limit).await?;
    let shown = Shown::of(core, &page, &names, true)?;
    // AWS names where to go on only when names are rolled up; otherwise it is the last key
    let last = page.rows.last().filter(|_| page.truncated && delimiter.is_some());
    Ok(S3Response::new(dto::ListObjectsOutput {
        name: Some(bucket.name.to_string()),
        prefix: Some(names.show(input.prefix.unwrap_or_default())),
        marker: Some(names.show(input.marker.unwrap_or_default())),
        max_keys: i32::try_from(limit).ok(),
        is_truncated: Some(page.truncated),
        contents: Some(shown.objects),
        common_prefixes: Some(shown.prefixes),
        delimiter: input.delimiter.filter(|text| !text.is_empty()).map(|text| names.show(text)),
        next_marker: last.map(|row| names.show(text(row.name()))),
        encoding_type: names.encoding,
        ..Default::default()
    }))
}

pub(super) async fn objects_v2(
    core: &Arc<Core>,
    request: S3Request<dto::ListObjectsV2Input>,
) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    let input = request.input;
    let limit = page_limit(input.max_keys)?;
    let names = Names::new(input.encoding_type)?;
    let delimiter = delimiter(input.delimiter.as_deref())?;
    let prefix = bytes(input.prefix.as_deref())?;
    let after = match input.continuation_token.as_deref() {
        Some(token) => token::decode(token)?,
        None => after_name(bytes(input.start_after.as_deref())?, &prefix, delimiter.as_deref()),
    };
    let page = page(core, &context, &bucket, (prefix, delimiter), after, limit).await?;
    let shown = Shown::of(core, &page, &names, input.fetch_owner.unwrap_or(false))?;
    let count = shown.objects.len() + shown.prefixes.len();
    let last = page.rows.last().filter(|_| page.truncated);
    Ok(S3Response::new(dto::ListObjectsV2Output {
        name: Some(bucket.name.to_string()),
        prefix: Some(names.show(input.prefix.unwrap_or_default())),
        max_keys: i32::try_from(limit).ok(),
        key_count: i32::try_from(count).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.truncated),
        next_continuation_token: last.map(|row| token::encode(&after_object(row))),
        contents: Some(shown.objects),
        common_prefixes: Some(shown.prefixes),
        delimiter: input.delimiter.filter(|text| !text.is_empty()).map(|text| names.show(text)),
        encoding_type: names.encoding.clone(),
        start_after: input.start_after.map(|text| names.show(text)),
        ..Default::default()
    }))
}

pub(super) async fn versions(
    core: &Arc<Core>,
    request: S3Request<dto::ListObjectVersionsInput>,
) -> S3Result<S3Response<dto::ListObjectVersionsOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    let input = request.input;
    let limit = page_limit(input.max_keys)?;
    let names = Names::new(input.encoding_type)?;
    let delimiter = delimiter(input.delimiter.as_deref())?;
    let prefix = bytes(input.prefix.as_deref())?;
    let key_marker = input.key_marker.as_deref().filter(|text| !text.is_empty());
    let version_marker = input.version_id_marker.as_deref().filter(|text| !text.is_empty());
    let after = match (key_marker, version_marker) {
        (None, Some(_)) => {
            return Err(errors::invalid_argument(
                "A version-id marker cannot be specified without a key marker.",
            ));
        }
        (Some(key), Some(version)) => after_version(core, &context, &bucket, key, version).await?,
        (key, None) => after_name(bytes(key)?, &prefix, delimiter.as_deref()),
    };
    let listing = Listing { bucket: bucket.id, prefix, delimiter, after, versions: true, content: false };
    let page = listing.page(core, limit, context.deadline()).await?;
    let mut output = dto::ListObjectVersionsOutput {
        name: Some(bucket.name.to_string()),
        prefix: Some(names.show(input.prefix.unwrap_or_default())),
        key_marker: Some(names.show(input.key_marker.unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        max_keys: i32::try_from(limit).ok(),
        is_truncated: Some(page.truncated),
        delimiter: input.delimiter.filter(|text| !text.is_empty()).map(|text| names.show(text)),
        ..Default::default()
    };
    if let Some(last) = page.rows.last().filter(|_| page.truncated) {
        output.next_key_marker = Some(names.show(text(last.name())));
        if let ListRow::Version(version) = last {
            output.next_version_id_marker = Some(shown::listed_version_id(version.null, version.version));
        }
    }
    let (mut objects, mut markers, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
    for row in &page.rows {
        match row {
            ListRow::Prefix(prefix) => prefixes.push(common_prefix(&names, prefix)),
            ListRow::Version(row) if row.content.is_none() => markers.push(dto::DeleteMarkerEntry {
                is_latest: Some(row.latest),
                key: Some(names.show(text(&row.key))),
                last_modified: Some(shown::timestamp(row.modified)),
                owner: Some(shown::owner(core, row.owner)),
                version_id: Some(shown::listed_version_id(row.null, row.version)),
            }),
            ListRow::Version(row) => objects.push(listed_version(core, &names, row)?),
        }
    }
    output.versions = Some(objects);
    output.delete_markers = Some(markers);
    output.common_prefixes = Some(prefixes);
    output.encoding_type = names.encoding;
    Ok(S3Response::new(output))
}

/// A page of current objects. The delimiter rolls up names behind the prefix.
async fn page(
    core: &Core,
    context: &RequestContext,
    bucket: &Bucket,
    (prefix, delimiter): (Bytes, Option<Bytes>),
    after: ListAfter,
    limit: usize,
) -> S3Result<Page> {
    let listing = Listing { bucket: bucket.id, prefix, delimiter, after, versions: false, content: false };
    listing.page(core, limit, context.deadline()).await
}

/// Behind one version of a name. The null version's place is looked up; one that is gone leaves the name's end.
async fn after_version(
    core: &Core,
    context: &RequestContext,
    bucket: &Bucket,
    key: &str,
    version: &str,
) -> S3Result<ListAfter> {
    let key = bytes(Some(key))?;
    if version != shown::NULL_VERSION {
        let version = VersionRef::parse(version).ok_or_else(shown::invalid_version_id)?;
        return Ok(ListAfter::Version(key, version.sequence));
    }
    let Some(name) = ObjectKey::new(key.clone()) else { return Ok(ListAfter::Key(key)) };
    let group = core.group_of(bucket.id, &name);
    let which = shown::which_version(Some(version))?;
    let query = Query::Version { bucket: bucket.id, key: name, which, body: wire::BodyWanted::Nothing };
    match core.query(group, query, context.deadline()).await?.0 {
        Answer::Version { record: Some(record), .. } => Ok(ListAfter::Version(key, record.version.sequence)),
        Answer::Version { record: None, .. } => Ok(ListAfter::Key(key)),
        _ => Err(errors::unexpected("the answer with a version")),
    }
}

struct Shown {
    objects: Vec<dto::Object>,
    prefixes: Vec<dto::CommonPrefix>,
}

impl Shown {
    fn of(core: &Core, page: &Page, names: &Names, with_owner: bool) -> S3Result<Self> {
        let mut shown = Self { objects: Vec::with_capacity(page.rows.len()), prefixes: Vec::new() };
        for row in &page.rows {
            match row {
                ListRow::Prefix(prefix) => shown.prefixes.push(common_prefix(names, prefix)),
                ListRow::Version(row) => shown.objects.push(listed_object(core, names, row, with_owner)?),
            }
        }
        Ok(shown)
    }
}

fn listed_object(core: &Core, names: &Names, row: &ListedVersion, with_owner: bool) -> S3Result<dto::Object> {
    let content = row.content.as_ref().ok_or_else(|| errors::unexpected("a delete marker among objects"))?;
    let checksum = Checksum::decode(&content.checksum).map_err(|error| errors::undecodable(&error))?;
    Ok(dto::Object {
        key: Some(names.show(text(&row.key))),
        last_modified: Some(shown::timestamp(row.modified)),
        e_tag: Some(shown::etag(&content.etag)),
        size: Some(shown::size(content.size)),
        owner: with_owner.then(|| shown::owner(core, row.owner)),
        storage_class: Some(dto::ObjectStorageClass::from_static(dto::ObjectStorageClass::STANDARD)),
        checksum_type: checksum.as_ref().map(|checksum| checksum.kind.shown()),
        checksum_algorithm: checksum.map(|checksum| vec![shown::algorithm(checksum.algorithm)]),
        ..Default::default()
    })
}

fn listed_version(core: &Core, names: &Names, row: &ListedVersion) -> S3Result<dto::ObjectVersion> {
    let dto::Object { key, last_modified, e_tag, size, owner, checksum_type, checksum_algorithm, .. } =
        listed_object(core, names, row, true)?;
    Ok(dto::ObjectVersion {
        key,
        last_modified,
        e_tag,
        size,
        owner,
        checksum_type,
        checksum_algorithm,
        is_latest: Some(row.latest),
        version_id: Some(shown::listed_version_id(row.null, row.version)),
        storage_class: Some(dto::ObjectVersionStorageClass::from_static(
            dto::ObjectVersionStorageClass::STANDARD,
        )),
        ..Default::default()
    })
}

fn common_prefix(names: &Names, prefix: &Bytes) -> dto::CommonPrefix {
    dto::CommonPrefix { prefix: Some(names.show(text(prefix))) }
}

/// Behind a row of a listing of objects, which shows one version of each name.
fn after_object(row: &ListRow) -> ListAfter {
    match row {
        ListRow::Version(version) => ListAfter::Key(version.key.clone()),
        ListRow::Prefix(_) => after_row(row),
    }
}

/// How names are shown: as they are, or escaped for XML that cannot hold them.
struct Names {
    encoding: Option<dto::EncodingType>,
}

impl Names {
    fn new(encoding: Option<dto::EncodingType>) -> S3Result<Self> {
        match &encoding {
            Some(kind) if kind.as_str() != dto::EncodingType::URL => {
                Err(errors::invalid_argument("Invalid Encoding Method specified in Request"))
            }
            _ => Ok(Self { encoding }),
        }
    }

    fn show(&self, name: String) -> String {
        if self.encoding.is_none() {
            return name;
        }
        let mut shown = String::with_capacity(name.len());
        for byte in name.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => {
                    shown.push(char::from(byte));
                }
                _ => shown.push_str(&format!("%{byte:02X}")),
            }
        }
        shown
    }
}

fn page_limit(limit: Option<i32>) -> S3Result<usize> {
    match limit {
        None => Ok(PAGE_MAX),
        Some(limit) => usize::try_from(limit).map(|limit| limit.min(PAGE_MAX)).map_err(|_| {
            errors::invalid_argument("Argument maxKeys must be an integer between 0 and 2147483647")
        }),
    }
}

/// A prefix, marker or delimiter, which is never longer than a name.
fn bytes(text: Option<&str>) -> S3Result<Bytes> {
    let text = text.unwrap_or("");
    if text.len() > limits::KEY_BYTES_MAX {
        return Err(errors::s3(S3ErrorCode::KeyTooLongError, "Your key is too long"));
    }
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

fn delimiter(text: Option<&str>) -> S3Result<Option<Bytes>> {
    text.filter(|text| !text.is_empty()).map(|text| bytes(Some(text))).transpose()
}

/// Names are UTF-8 when they are stored; a rolled-up prefix may end within a character only if the delimiter does.
fn text(name: &Bytes) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_keep_slashes_and_little_else() {
        let names = Names { encoding: Some(dto::EncodingType::from_static(dto::EncodingType::URL)) };
        assert_eq!(names.show("a b/ä+%\u{1}".into()), "a%20b/%C3%A4%2B%25%01");
        assert_eq!(Names { encoding: None }.show("a b".into()), "a b");
    }
}
