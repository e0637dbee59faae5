//! Which query parameters an operation takes.
//!
//! The protocol layer chooses the operation by the parameters that it knows and passes over all others: a rename, an
//! append or a part without its upload would be carried out as an upload of the whole object. So what changes something
//! takes only the parameters that belong to it, and what reads passes over everything but the names of other operations.

use s3s::{S3Error, S3Result};

use super::errors::{invalid_argument, not_implemented};
use super::guard::parameters;

/// Parameters of every request: the client's name for the operation, and presigned signatures.
fn is_common(name: &str) -> bool {
    name == "x-id" || name.get(..6).is_some_and(|begin| begin.eq_ignore_ascii_case("x-amz-"))
}

/// Operations that change something, with their parameters. Operations that are not here are not served or only read.
const CHANGING: [(&str, &[&str]); 12] = [
    ("PutObject", &[]),
    ("CopyObject", &[]),
    ("DeleteObject", &["versionId"]),
    ("DeleteObjects", &["delete"]),
    ("CreateMultipartUpload", &["uploads"]),
    ("UploadPart", &["partNumber", "uploadId"]),
    ("UploadPartCopy", &["partNumber", "uploadId"]),
    ("CompleteMultipartUpload", &["uploadId"]),
    ("AbortMultipartUpload", &["uploadId"]),
    ("CreateBucket", &[]),
    ("DeleteBucket", &[]),
    ("PutBucketVersioning", &["versioning"]),
];

/// Operations that answer what the protocol layer takes for a plain read or list.
const READING: [&str; 5] = ["GetObject", "HeadObject", "ListObjects", "ListObjectsV2", "HeadBucket"];

/// Names of operations that a plain read or list is not.
const OTHERS: [&str; 12] = [
    "delete",
    "restore",
    "select",
    "select-type",
    "torrent",
    "renameObject",
    "append",
    "metadataTable",
    "metadataConfiguration",
    "abac",
    "publicAccessBlock",
    "policyStatus",
];

/// Refuses parameters that would make `operation` another one than the client means.
pub(crate) fn check(operation: &str, query: &str) -> S3Result<()> {
    let names = || parameters(query).map(|(name, _)| name);
    if let Some((_, own)) = CHANGING.iter().find(|(name, _)| *name == operation) {
        let strange = names().find(|name| !own.contains(name) && !is_common(name));
        return strange.map_or(Ok(()), |name| Err(stranger(operation, name)));
    }
    if READING.contains(&operation) {
        if let Some(name) = names().find(|name| OTHERS.contains(name)) {
            return Err(stranger(operation, name));
        }
        let unknown_list = |(name, value)| name == "list-type" && !matches!(value, "1" | "2");
        if parameters(query).any(unknown_list) {
            return Err(invalid_argument("Invalid List Type specified in Request"));
        }
    }
    Ok(())
}

fn stranger(operation: &str, name: &str) -> S3Error {
    if matches!(name, "uploadId" | "partNumber") {
        return invalid_argument("partNumber and uploadId must come together, with an upload of a part.");
    }
    tracing::debug!(operation, name, "a parameter that is not known");
    not_implemented("A query parameter of this request belongs to an operation that is not implemented.")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn code(operation: &str, query: &str) -> Option<String> {
        check(operation, query).err().map(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn what_belongs_to_another_operation_is_not_taken_for_an_upload() {
        for query in ["renameObject", "restore", "append&position=8", "encryption=", "x-id=PutObject&legal"] {
            assert_eq!(code("PutObject", query).as_deref(), Some("NotImplemented"), "{query}");
        }
        for query in ["uploadId=abc", "partNumber=1"] {
            assert_eq!(code("PutObject", query).as_deref(), Some("InvalidArgument"), "{query}");
        }
    }

    #[test]
    fn what_belongs_to_it_and_signatures_pass() {
        for (operation, query) in [
            ("PutObject", ""),
            ("PutObject", "x-id=PutObject&X-Amz-Signature=00&x-amz-date=1"),
            ("UploadPart", "partNumber=1&uploadId=abc&x-id=UploadPart"),
            ("DeleteObject", "versionId=null"),
            ("GetObject", "versionId=1&response-content-type=a&partNumber=1&cache-buster"),
            ("ListObjectsV2", "list-type=2&prefix=delete"),
            ("GetBucketAcl", "acl"),
        ] {
            assert_eq!(code(operation, query), None, "{operation} {query}");
        }
    }

    #[test]
    fn a_read_is_not_taken_for_another_operation() {
        for (operation, query) in
            [("GetObject", "torrent"), ("GetObject", "select"), ("ListObjects", "delete")]
        {
            assert_eq!(code(operation, query).as_deref(), Some("NotImplemented"), "{operation} {query}");
        }
        assert_eq!(code("ListObjects", "list-type=3").as_deref(), Some("InvalidArgument"));
    }
}
