//! From what went wrong to the error that AWS gives for it.
//!
//! Messages say what to do; they never hold names, keys or anything of another principal.

use replication::region::RegionError;
use s3s::{S3Error, S3ErrorCode};
use wire::{DecodeError, Refusal};

/// Seconds after which a client should try again: about as long as a leader change may take.
pub(crate) const RETRY_AFTER_SECONDS: &str = "1";

/// An error of this code with a message.
pub(crate) fn s3(code: S3ErrorCode, message: &'static str) -> S3Error {
    S3Error::with_message(code, message)
}

/// A failure of the engine.
pub(crate) fn region(error: RegionError) -> S3Error {
    match error {
        RegionError::Overloaded => slow_down("Please reduce your request rate."),
        RegionError::Unavailable { .. } => {
            slow_down("The part of the region that holds this is changing its leader. Please try again.")
        }
        RegionError::CutOff { .. } => slow_down(
            "This region reaches neither its witness nor its pair, and acknowledges no writes until it does. Please try again.",
        ),
        RegionError::NotPrimary { .. } => not_primary(),
        RegionError::Full { .. } => {
            let mut error = s3(
                S3ErrorCode::Custom("StorageFull".into()),
                "The region's disks are full. Delete objects or add nodes; trying again will not help.",
            );
            error.set_status_code(http::StatusCode::INSUFFICIENT_STORAGE);
            error
        }
        RegionError::Unreadable { group } => {
            tracing::error!(%group, "a stored chunk cannot be read");
            internal()
        }
        RegionError::Protocol { group } => {
            tracing::error!(%group, "the engine's answer makes no sense");
            internal()
        }
    }
}

/// A refusal that an operation has no meaning of its own for.
pub(crate) fn refusal(refusal: &Refusal) -> S3Error {
    match refusal {
        Refusal::PreconditionFailed => precondition_failed(),
        Refusal::NoSuchKey => no_such_key(),
        Refusal::NoSuchVersion => no_such_version(),
        Refusal::NoSuchUpload => no_such_upload(),
        Refusal::InvalidPart { .. } => s3(
            S3ErrorCode::InvalidPart,
            "One or more of the specified parts could not be found. The part may not have been uploaded, \
             or the specified entity tag may not match the part's entity tag.",
        ),
        Refusal::MissingChunks => slow_down("The upload took too long and was given up. Please try again."),
        Refusal::BucketFrozen => slow_down("The bucket is being deleted. Please try again."),
        Refusal::StaleEpoch { .. } => slow_down("The region is handing over. Please try again."),
        Refusal::Conflict { .. } => {
            s3(S3ErrorCode::OperationAborted, "A conflicting operation is in progress. Please try again.")
        }
        Refusal::PairRole { .. } => not_primary(),
        Refusal::WrongGroup | Refusal::OutOfOrder { .. } => {
            tracing::error!("a command went where it does not belong");
            internal()
        }
    }
}

fn not_primary() -> S3Error {
    let mut error = s3(
        S3ErrorCode::ServiceUnavailable,
        "This region is the standby of its pair and takes no writes: write to the other region.",
    );
    error.set_headers(retry_after());
    error
}

/// A request that another region passed on arrived in one that is not the primary: it ends here.
pub(crate) fn forwarded_twice() -> S3Error {
    let mut error = slow_down(
        "The pair's other region forwarded this request, and this region is not the primary either: it is not passed on a second time. Please try again.",
    );
    let mut headers = error.headers().cloned().unwrap_or_default();
    headers.insert(super::forward::REFUSED, http::HeaderValue::from_static("true"));
    error.set_headers(headers);
    error
}

/// The region stopped being the primary while the request was under way.
pub(crate) fn switching() -> S3Error {
    slow_down("The pair's other region is taking the writes over at this moment. Please try again.")
}

/// A switch is under way, or nobody took over yet.
pub(crate) fn neither_primary() -> S3Error {
    slow_down(
        "Neither region of the pair is the primary at this moment: a switch is under way, or waits for an operator. Nothing was done. Please try again.",
    )
}

/// The request stayed here.
pub(crate) fn other_unreachable() -> S3Error {
    slow_down(
        "This region is the standby of its pair, and the primary's S3 endpoints do not answer: nothing was done. Please try again; an operator may have to fail over.",
    )
}

/// The request left, and no answer came.
pub(crate) fn other_cut() -> S3Error {
    slow_down(
        "This region is the standby of its pair, and no answer came from the primary: whether the request was carried out is not known. Please try again.",
    )
}

/// An outcome or answer of the wrong kind.
pub(crate) fn unexpected(what: &'static str) -> S3Error {
    tracing::error!(what, "the engine answered something else than was asked");
    internal()
}

/// A record that cannot be read.
pub(crate) fn undecodable(error: &DecodeError) -> S3Error {
    tracing::error!(error = error as &dyn std::error::Error, "a record cannot be read");
    internal()
}

/// Something sealed that does not open.
pub(crate) fn sealed(error: &envelope::EnvelopeError) -> S3Error {
    tracing::error!(error = error as &dyn std::error::Error, "something sealed does not open");
    internal()
}

pub(crate) fn internal() -> S3Error {
    s3(S3ErrorCode::InternalError, "We encountered an internal error. Please try again.")
}

pub(crate) fn slow_down(message: &'static str) -> S3Error {
    let mut error = s3(S3ErrorCode::SlowDown, message);
    error.set_headers(retry_after());
    error
}

fn retry_after() -> http::HeaderMap {
    let after = http::HeaderValue::from_static(RETRY_AFTER_SECONDS);
    http::HeaderMap::from_iter([(http::header::RETRY_AFTER, after)])
}

pub(crate) fn access_denied() -> S3Error {
    s3(S3ErrorCode::AccessDenied, "Access Denied")
}

pub(crate) fn invalid_argument(message: &'static str) -> S3Error {
    s3(S3ErrorCode::InvalidArgument, message)
}

pub(crate) fn malformed_xml() -> S3Error {
    s3(
        S3ErrorCode::MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

pub(crate) fn not_implemented(message: &'static str) -> S3Error {
    s3(S3ErrorCode::NotImplemented, message)
}

pub(crate) fn no_such_bucket() -> S3Error {
    s3(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist")
}

pub(crate) fn no_such_key() -> S3Error {
    s3(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
}

pub(crate) fn no_such_version() -> S3Error {
    s3(S3ErrorCode::NoSuchVersion, "The specified version does not exist.")
}

pub(crate) fn no_such_upload() -> S3Error {
    s3(
        S3ErrorCode::NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted \
         or completed.",
    )
}

pub(crate) fn precondition_failed() -> S3Error {
    s3(S3ErrorCode::PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

pub(crate) fn bad_digest() -> S3Error {
    s3(
        S3ErrorCode::BadDigest,
        "The Content-MD5 or checksum value that you specified did not match what we received.",
    )
}
