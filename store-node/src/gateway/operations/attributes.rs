//! GetObjectAttributes: parts of the record, without the body.

use std::sync::Arc;

use s3s::dto;
use s3s::{S3Request, S3Response, S3Result};
use wire::{BodyWanted, ObjectContent};

use super::get::find;
use super::shown::{self, ShownChecksum};
use crate::gateway::checksum::Checksum;
use crate::gateway::{Core, bucket_of, context, errors};

/// Parts on one page.
const PARTS_MAX: usize = 1000;

pub(super) async fn get(
    core: &Arc<Core>,
    request: S3Request<dto::GetObjectAttributesInput>,
) -> S3Result<S3Response<dto::GetObjectAttributesOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    let input = request.input;
    let version_id = input.version_id.as_deref();
    let found = find(core, &context, &bucket, &input.key, version_id, BodyWanted::Nothing).await?;
    let live = found.live()?;
    let content = &live.content;
    // clients put several into one header
    let wanted = input.object_attributes.iter().flat_map(|wanted| wanted.as_str().split(','));
    let wanted: Vec<&str> = wanted.map(str::trim).collect();
    let wants = |name: &str| wanted.contains(&name);
    let checksum = Checksum::decode(&content.checksum).map_err(|error| errors::undecodable(&error))?;
    let shown_checksum = checksum.filter(|_| wants(dto::ObjectAttributes::CHECKSUM)).map(|checksum| {
        // the digest alone: the count of parts is said elsewhere
        let whole = Checksum { kind: crate::gateway::checksum::Kind::FullObject, ..checksum.clone() };
        let ShownChecksum { crc32, crc32c, crc64nvme, sha1, sha256, .. } = ShownChecksum::of(Some(&whole));
        dto::Checksum {
            checksum_crc32: crc32,
            checksum_crc32c: crc32c,
            checksum_crc64nvme: crc64nvme,
            checksum_sha1: sha1,
            checksum_sha256: sha256,
            checksum_type: Some(checksum.kind.shown()),
        }
    });
    let shows_parts = wants(dto::ObjectAttributes::OBJECT_PARTS) && content.multipart;
    let object_parts = if shows_parts {
        let after = input.part_number_marker.unwrap_or(0);
        Some(page_of_parts(content, after, input.max_parts.unwrap_or(PARTS_MAX as i32))?)
    } else {
        None
    };
    Ok(S3Response::new(dto::GetObjectAttributesOutput {
        e_tag: wants(dto::ObjectAttributes::ETAG).then(|| shown::etag(&content.etag)),
        object_size: wants(dto::ObjectAttributes::OBJECT_SIZE).then(|| shown::size(content.size)),
        storage_class: wants(dto::ObjectAttributes::STORAGE_CLASS)
            .then(|| dto::StorageClass::from_static(dto::StorageClass::STANDARD)),
        checksum: shown_checksum,
        object_parts,
        last_modified: Some(shown::timestamp(live.modified)),
        version_id: live.version_id,
        ..Default::default()
    }))
}

fn page_of_parts(content: &ObjectContent, after: i32, limit: i32) -> S3Result<dto::GetObjectAttributesParts> {
    let limit = usize::try_from(limit).unwrap_or(0).min(PARTS_MAX);
    let mut rest = content.parts.iter().filter(|part| i32::from(part.number) > after);
    let mut parts = Vec::new();
    for part in rest.by_ref().take(limit) {
        let checksum = Checksum::decode(&part.checksum).map_err(|error| errors::undecodable(&error))?;
        let ShownChecksum { crc32, crc32c, crc64nvme, sha1, sha256, .. } =
            ShownChecksum::of(checksum.as_ref());
        parts.push(dto::ObjectPart {
            part_number: Some(i32::from(part.number)),
            size: Some(shown::size(part.size)),
            checksum_crc32: crc32,
            checksum_crc32c: crc32c,
            checksum_crc64nvme: crc64nvme,
            checksum_sha1: sha1,
            checksum_sha256: sha256,
        });
    }
    Ok(dto::GetObjectAttributesParts {
        is_truncated: Some(rest.next().is_some()),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: parts.last().and_then(|part| part.part_number),
        part_number_marker: Some(after),
        // AWS lists parts only for objects whose parts have checksums
        parts: Some(parts).filter(|parts| !parts.is_empty() && !content.checksum.is_empty()),
        total_parts_count: i32::try_from(content.parts.len()).ok(),
    })
}
