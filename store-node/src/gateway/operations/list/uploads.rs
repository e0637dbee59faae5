//! ListMultipartUploads: uploads of all groups, by name and then by upload id.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use s3s::dto;
use s3s::{S3Request, S3Response, S3Result};
use wire::{Answer, GroupId, Query, UploadRecord, VersionId};

use super::{Names, PAGE_MAX, bytes, common_prefix, delimiter, page_limit, shown, text};
use crate::gateway::checksum::Announced;
use crate::gateway::context::RequestContext;
use crate::gateway::directory::Bucket;
use crate::gateway::{Core, bucket_of, context, errors};

pub(in crate::gateway::operations) async fn uploads(
    core: &Arc<Core>,
    request: S3Request<dto::ListMultipartUploadsInput>,
) -> S3Result<S3Response<dto::ListMultipartUploadsOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    let input = request.input;
    let limit = page_limit(input.max_uploads)?;
    let names = Names::new(input.encoding_type)?;
    let delimiter = delimiter(input.delimiter.as_deref())?;
    let prefix = bytes(input.prefix.as_deref())?;
    let after = input.key_marker.as_deref().filter(|key| !key.is_empty()).map(|key| -> S3Result<_> {
        // without an upload id, everything of that name has been shown
        let upload = input.upload_id_marker.as_deref().and_then(VersionId::parse);
        Ok((bytes(Some(key))?, upload.unwrap_or(VersionId([0xff; 16]))))
    });
    let after = after.transpose()?;
    let merged = Merged { core, context: &context, bucket: &bucket, prefix: &prefix };
    let (rows, truncated) = merged.page(delimiter.as_deref(), after, limit).await?;
    let (mut shown_uploads, mut prefixes) = (Vec::new(), Vec::new());
    for row in &rows {
        match row {
            Row::Prefix(prefix) => prefixes.push(common_prefix(&names, prefix)),
            Row::Upload(key, record) => shown_uploads.push(shown_upload(core, &names, key, record)?),
        }
    }
    let mut output = dto::ListMultipartUploadsOutput {
        bucket: Some(bucket.name.to_string()),
        prefix: Some(names.show(input.prefix.unwrap_or_default())),
        key_marker: Some(names.show(input.key_marker.unwrap_or_default())),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        max_uploads: i32::try_from(limit).ok(),
        is_truncated: Some(truncated),
        delimiter: input.delimiter.filter(|text| !text.is_empty()).map(|text| names.show(text)),
        ..Default::default()
    };
    match rows.last().filter(|_| truncated) {
        Some(Row::Upload(key, record)) => {
            output.next_key_marker = Some(names.show(text(key)));
            output.next_upload_id_marker = Some(record.upload.to_string());
        }
        Some(Row::Prefix(prefix)) => output.next_key_marker = Some(names.show(text(prefix))),
        None => {}
    }
    output.uploads = Some(shown_uploads);
    output.common_prefixes = Some(prefixes);
    output.encoding_type = names.encoding;
    Ok(S3Response::new(output))
}

enum Row {
    Prefix(Bytes),
    Upload(Bytes, UploadRecord),
}

struct Merged<'a> {
    core: &'a Core,
    context: &'a RequestContext,
    bucket: &'a Bucket,
    prefix: &'a Bytes,
}

type After = Option<(Bytes, VersionId)>;

impl Merged<'_> {
    /// Uploads are few: each round asks every group for a whole page and keeps what comes first.
    async fn page(
        &self,
        delimiter: Option<&[u8]>,
        mut after: After,
        limit: usize,
    ) -> S3Result<(Vec<Row>, bool)> {
        let mut rows: Vec<Row> = Vec::new();
        if limit == 0 {
            return Ok((rows, false));
        }
        let mut skipped: Option<Bytes> = after.as_ref().and_then(|(key, _)| self.rolled_up(key, delimiter));
        loop {
            let asked = self.core.groups().map(|group| self.ask(group, after.clone()));
            let answers = try_join_all(asked).await?;
            // beyond the shortest full answer's end another group may have more
            let more = answers.iter().any(|(_, more)| *more);
            let ends = answers.iter().filter(|(_, more)| *more).filter_map(|(found, _)| found.last());
            let horizon = ends.map(|(key, record)| (key.clone(), record.upload)).min();
            let mut found: Vec<(Bytes, UploadRecord)> =
                answers.into_iter().flat_map(|(found, _)| found).collect();
            found.sort_by(|a, b| (&a.0, a.1.upload).cmp(&(&b.0, b.1.upload)));
            for (key, record) in found {
                let place = (key.clone(), record.upload);
                if horizon.as_ref().is_some_and(|end| place > *end) {
                    break;
                }
                after = Some(place);
                let rolled_up = self.rolled_up(&key, delimiter);
                if rolled_up.is_some() && rolled_up == skipped {
                    continue;
                }
                if rows.len() == limit {
                    return Ok((rows, true));
                }
                skipped.clone_from(&rolled_up);
                rows.push(rolled_up.map_or(Row::Upload(key, record), Row::Prefix));
            }
            if !more {
                return Ok((rows, false));
            }
        }
    }

    async fn ask(&self, group: GroupId, after: After) -> S3Result<(Vec<(Bytes, UploadRecord)>, bool)> {
        let (bucket, prefix) = (self.bucket.id, self.prefix.clone());
        let query = Query::Uploads { bucket, prefix, after, limit: PAGE_MAX as u32 };
        match self.core.query(group, query, self.context.deadline()).await?.0 {
            Answer::Uploads(found, more) => Ok((found, more)),
            _ => Err(errors::unexpected("the answer with uploads")),
        }
    }

    fn rolled_up(&self, key: &Bytes, delimiter: Option<&[u8]>) -> Option<Bytes> {
        let delimiter = delimiter?;
        let rest = key.strip_prefix(&self.prefix[..])?;
        let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
        Some(key.slice(..self.prefix.len() + at + delimiter.len()))
    }
}

fn shown_upload(
    core: &Core,
    names: &Names,
    key: &Bytes,
    record: &UploadRecord,
) -> S3Result<dto::MultipartUpload> {
    let announced = Announced::decode(&record.checksum).map_err(|error| errors::undecodable(&error))?;
    Ok(dto::MultipartUpload {
        key: Some(names.show(text(key))),
        upload_id: Some(record.upload.to_string()),
        initiated: Some(shown::timestamp(record.initiated)),
        owner: Some(shown::owner(core, record.owner)),
        initiator: Some(shown::initiator(core, record.owner)),
        storage_class: Some(dto::StorageClass::from_static(dto::StorageClass::STANDARD)),
        checksum_algorithm: announced.map(|announced| shown::algorithm(announced.algorithm)),
        checksum_type: announced.map(|announced| announced.kind.shown()),
    })
}
