//! UploadPart, UploadPartCopy, ListParts.

use std::sync::Arc;

use s3s::dto;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use wire::{Answer, Operation, PutPart, Query, limits};

use super::conditions::ReadConditions;
use super::copy::Source;
use super::get::Opened;
use super::multipart::{Upload, done};
use super::put::{body_bytes, body_stream};
use super::requested::{Requested, refuse_extras};
use super::shown::{self, ShownChecksum};
use crate::gateway::checksum::{Algorithm, Checksum};
use crate::gateway::context::RequestContext;
use crate::gateway::directory::Bucket;
use crate::gateway::download::Download;
use crate::gateway::upload::{StoredStream, Target, store};
use crate::gateway::{Core, bucket_of, context, errors};

/// Parts on one page (S3's own limit).
const PAGE_MAX: i32 = 1000;

pub(super) async fn upload(
    core: &Arc<Core>,
    mut request: S3Request<dto::UploadPartInput>,
) -> S3Result<S3Response<dto::UploadPartOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    refuse_extras(&request.headers)?;
    let number = part_number(request.input.part_number)?;
    let requested = Requested::of(&request)?;
    let bytes = body_bytes(&request.headers, request.input.content_length)?;
    let body = body_stream(request.input.body.take());
    let input = request.input;
    let upload = Upload::find(core, &context, &bucket, &input.key, &input.upload_id).await?;
    let algorithms = algorithms(&upload, requested.algorithm)?;
    let new = NewPart { core, context: &context, bucket: &bucket, upload: &upload, number };
    let (stored, announced) = new.store(body, bytes, &algorithms).await?;
    let client = requested.verify(&stored)?.or_else(|| announced.clone());
    let etag = new.adopt(stored, announced.as_ref()).await?;
    let ShownChecksum { crc32, crc32c, crc64nvme, sha1, sha256, .. } = ShownChecksum::of(client.as_ref());
    Ok(S3Response::new(dto::UploadPartOutput {
        e_tag: Some(shown::etag(&etag)),
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_crc64nvme: crc64nvme,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
        ..Default::default()
    }))
}

pub(super) async fn copy(
    core: &Arc<Core>,
    request: S3Request<dto::UploadPartCopyInput>,
) -> S3Result<S3Response<dto::UploadPartCopyOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    refuse_extras(&request.headers)?;
    let input = request.input;
    let number = part_number(input.part_number)?;
    let upload = Upload::find(core, &context, &bucket, &input.key, &input.upload_id).await?;
    let expected_owner = input.expected_source_bucket_owner.as_deref();
    let source = Source::find(core, &context, &input.copy_source, expected_owner).await?;
    ReadConditions {
        if_match: input.copy_source_if_match.as_ref(),
        if_none_match: input.copy_source_if_none_match.as_ref(),
        if_modified_since: input.copy_source_if_modified_since.as_ref(),
        if_unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
    }
    .require(&source.live.content.etag, source.live.modified)?;
    let (start, length) = copy_range(input.copy_source_range.as_deref(), source.live.content.size)?;
    let source_version = source.live.version_id.clone();
    let Opened { object, first, .. } = source.live.open(core, &source.bucket).await?;
    let body = Download::new(core.clone(), object, start, length, first);
    let new = NewPart { core, context: &context, bucket: &bucket, upload: &upload, number };
    let (stored, announced) = new.store(body, length, &[upload.announced.algorithm]).await?;
    let etag = new.adopt(stored, announced.as_ref()).await?;
    let ShownChecksum { crc32, crc32c, crc64nvme, sha1, sha256, .. } = ShownChecksum::of(announced.as_ref());
    let result = dto::CopyPartResult {
        e_tag: Some(shown::etag(&etag)),
        last_modified: Some(shown::timestamp(context::now())),
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_crc64nvme: crc64nvme,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
    };
    Ok(S3Response::new(dto::UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: source_version,
        ..Default::default()
    }))
}

pub(super) async fn list(
    core: &Arc<Core>,
    request: S3Request<dto::ListPartsInput>,
) -> S3Result<S3Response<dto::ListPartsOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    let input = request.input;
    let limit = input.max_parts.unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let limit_rows = u32::try_from(limit).map_err(|_| {
        errors::invalid_argument("Argument max-parts must be an integer between 0 and 2147483647")
    })?;
    let marker = u16::try_from(input.part_number_marker.unwrap_or(0)).map_err(|_| {
        errors::invalid_argument("Argument part-number-marker must be an integer up to 10000")
    })?;
    let upload = Upload::find(core, &context, &bucket, &input.key, &input.upload_id).await?;
    let (parts, more) = if limit_rows == 0 {
        (Vec::new(), false)
    } else {
        let query = Query::Parts {
            bucket: bucket.id,
            key: upload.key.clone(),
            upload: upload.record.upload,
            after: marker,
            limit: limit_rows,
        };
        let Answer::Parts(page) = core.query(upload.group, query, context.deadline()).await?.0 else {
            return Err(errors::unexpected("the answer with parts"));
        };
        page.ok_or_else(errors::no_such_upload)?
    };
    let mut shown_parts = Vec::with_capacity(parts.len());
    for record in &parts {
        let checksum =
            Checksum::decode(&record.part.checksum).map_err(|error| errors::undecodable(&error))?;
        let ShownChecksum { crc32, crc32c, crc64nvme, sha1, sha256, .. } =
            ShownChecksum::of(checksum.as_ref());
        shown_parts.push(dto::Part {
            part_number: Some(i32::from(record.part.number)),
            e_tag: Some(shown::etag(&record.part.etag)),
            size: Some(shown::size(record.part.size)),
            last_modified: Some(shown::timestamp(record.modified)),
            checksum_crc32: crc32,
            checksum_crc32c: crc32c,
            checksum_crc64nvme: crc64nvme,
            checksum_sha1: sha1,
            checksum_sha256: sha256,
        });
    }
    let announced = upload.client_announced.then_some(upload.announced);
    Ok(S3Response::new(dto::ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        owner: Some(shown::owner(core, upload.record.owner)),
        initiator: Some(shown::initiator(core, upload.record.owner)),
        storage_class: Some(dto::StorageClass::from_static(dto::StorageClass::STANDARD)),
        part_number_marker: Some(i32::from(marker)),
        next_part_number_marker: Some(parts.last().map_or(0, |last| i32::from(last.part.number))),
        max_parts: Some(limit),
        is_truncated: Some(more),
        parts: Some(shown_parts),
        checksum_algorithm: announced.map(|announced| shown::algorithm(announced.algorithm)),
        checksum_type: announced.map(|announced| announced.kind.shown()),
        ..Default::default()
    }))
}

/// A part about to be written.
struct NewPart<'a> {
    core: &'a Arc<Core>,
    context: &'a RequestContext,
    bucket: &'a Bucket,
    upload: &'a Upload,
    number: u16,
}

impl NewPart<'_> {
    /// Seals and stores the body; gives the checksum that the upload wants of its parts.
    async fn store<S>(
        &self,
        body: S,
        bytes: u64,
        algorithms: &[Algorithm],
    ) -> S3Result<(StoredStream, Option<Checksum>)>
    where
        S: futures_util::Stream<Item = S3Result<bytes::Bytes>> + Unpin + Send,
    {
        let Self { core, context, bucket, upload, number } = self;
        let place = upload.place(core, bucket);
        let key = core.keyring.open_object(&place, &upload.record.header).await;
        let key = key.map_err(|error| errors::sealed(&error))?;
        let target = Target { group: upload.group, place: &place, key: &key, part: *number };
        let stored = store(core, context, target, body, bytes, algorithms).await?;
        let wanted = upload.announced.algorithm;
        let announced = stored.checksums.iter().find(|sum| sum.algorithm == wanted).cloned();
        Ok((stored, announced))
    }

    /// Makes the stream the upload's part; gives its ETag.
    async fn adopt(&self, mut stored: StoredStream, checksum: Option<&Checksum>) -> S3Result<String> {
        let part = stored.part(self.number, checksum);
        let etag = part.etag.clone();
        let operation = Operation::PutPart(PutPart {
            bucket: self.bucket.id,
            key: self.upload.key.clone(),
            upload: self.upload.record.upload,
            part,
        });
        let body = stored.inline.take().unwrap_or_default();
        let deadline = self.context.deadline_after_body();
        done(self.core.propose(self.upload.group, self.context, operation, body, deadline).await?)?;
        stored.adopted();
        Ok(etag)
    }
}

/// What to compute: the upload's checksum, and the client's own if it announced none for the upload.
fn algorithms(upload: &Upload, client: Option<Algorithm>) -> S3Result<Vec<Algorithm>> {
    let wanted = upload.announced.algorithm;
    match client {
        Some(client) if client != wanted && upload.client_announced => Err(errors::s3(
            S3ErrorCode::InvalidRequest,
            "Checksum Type mismatch occurred: the part's checksum is of another type than the upload's.",
        )),
        Some(client) if client != wanted => Ok(vec![wanted, client]),
        _ => Ok(vec![wanted]),
    }
}

fn part_number(number: i32) -> S3Result<u16> {
    u16::try_from(number).ok().filter(|number| (1..=limits::PART_NUMBER_MAX).contains(number)).ok_or_else(
        || errors::invalid_argument("Part number must be an integer between 1 and 10000, inclusive"),
    )
}

/// `bytes=first-last`, both there and both within the source.
fn copy_range(range: Option<&str>, size: u64) -> S3Result<(u64, u64)> {
    let Some(range) = range else {
        return if size > limits::PUT_BYTES_MAX {
            Err(errors::s3(
                S3ErrorCode::InvalidRequest,
                "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
            ))
        } else {
            Ok((0, size))
        };
    };
    let parsed =
        range.strip_prefix("bytes=").and_then(|rest| rest.split_once('-')).and_then(|(first, last)| {
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            let (first, last) = (
                digits(first).then(|| first.parse::<u64>().ok())??,
                digits(last).then(|| last.parse::<u64>().ok())??,
            );
            (first <= last).then_some((first, last))
        });
    let (first, last) = parsed.ok_or_else(|| {
        errors::invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )
    })?;
    if last >= size || last - first >= limits::PUT_BYTES_MAX {
        return Err(errors::invalid_argument("Range specified is not valid for source object"));
    }
    Ok((first, last - first + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_range_names_both_ends_within_the_source() {
        assert_eq!(copy_range(None, 10).unwrap(), (0, 10));
        assert_eq!(copy_range(Some("bytes=2-4"), 10).unwrap(), (2, 3));
        for wrong in ["bytes=2-", "bytes=-4", "2-4", "bytes=4-2", "bytes=0-10", "bytes=a-b", "bytes=+1-2"] {
            assert!(copy_range(Some(wrong), 10).is_err(), "{wrong}");
        }
    }
}
