//! Who may call which operation: the table, and the hooks by which the protocol layer asks.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::host::{S3Host, VirtualHost};
use s3s::{S3Error, S3ErrorCode, S3Result};
use wire::PrincipalId;

use super::context::RequestContext;
use super::directory::{Bucket, Caller, Directory, DirectoryStale, account_id};
use super::errors::{access_denied, no_such_bucket, s3, slow_down};
use super::records::Rights;

/// What an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A known caller.
    Known,
    /// A caller that may create buckets.
    CreateBucket,
    /// Any right on the bucket.
    AnyRight,
    /// These rights on the bucket.
    Rights(Rights),
}

/// Operations with what they need. What is not here needs to own the bucket.
pub(crate) const OPERATIONS: [(&str, Need); 31] = [
    ("GetObject", Need::Rights(Rights::READ)),
    ("PutObject", Need::Rights(Rights::WRITE)),
    ("HeadObject", Need::Rights(Rights::READ)),
    ("DeleteObject", Need::Rights(Rights::DELETE)),
    ("ListObjectsV2", Need::Rights(Rights::LIST)),
    ("ListObjects", Need::Rights(Rights::LIST)),
    ("UploadPart", Need::Rights(Rights::WRITE)),
    ("CompleteMultipartUpload", Need::Rights(Rights::WRITE)),
    ("CreateMultipartUpload", Need::Rights(Rights::WRITE)),
    ("AbortMultipartUpload", Need::Rights(Rights::WRITE)),
    ("UploadPartCopy", Need::Rights(Rights::WRITE)),
    ("CopyObject", Need::Rights(Rights::WRITE)),
    ("DeleteObjects", Need::Rights(Rights::DELETE)),
    ("ListParts", Need::Rights(Rights::WRITE)),
    ("ListMultipartUploads", Need::Rights(Rights::LIST)),
    ("ListObjectVersions", Need::Rights(Rights::LIST)),
    ("GetObjectAttributes", Need::Rights(Rights::READ)),
    ("GetObjectTagging", Need::Rights(Rights::READ)),
    ("ListBuckets", Need::Known),
    ("CreateBucket", Need::CreateBucket),
    ("HeadBucket", Need::AnyRight),
    ("GetBucketLocation", Need::AnyRight),
    ("GetBucketVersioning", Need::Rights(Rights::LIST)),
    ("GetBucketPolicy", Need::Rights(Rights::LIST)),
    ("GetBucketCors", Need::Rights(Rights::LIST)),
    ("GetBucketTagging", Need::Rights(Rights::LIST)),
    ("GetBucketLifecycleConfiguration", Need::Rights(Rights::LIST)),
    ("GetBucketEncryption", Need::Rights(Rights::LIST)),
    ("GetObjectLockConfiguration", Need::Rights(Rights::LIST)),
    ("PutBucketVersioning", Need::Rights(Rights::OWN)),
    ("DeleteBucket", Need::Rights(Rights::OWN)),
];

/// Looks up secrets for signatures, and rights for operations.
#[derive(Clone)]
pub(crate) struct Gatekeeper {
    directory: Arc<Directory>,
}

impl Gatekeeper {
    pub(crate) fn new(directory: Arc<Directory>) -> Self {
        Self { directory }
    }

    async fn check_bucket(&self, caller: &Caller, name: &str, need: Need) -> S3Result<Option<Bucket>> {
        if need == Need::CreateBucket {
            return Ok(None);
        }
        let bucket = self.directory.bucket(name).await.map_err(stale)?.ok_or_else(no_such_bucket)?;
        let rights = self.directory.rights(caller, &bucket);
        let allowed = match need {
            Need::Known | Need::CreateBucket => false,
            Need::AnyRight => rights.any(),
            Need::Rights(wanted) => rights.includes(wanted),
        };
        if allowed { Ok(Some(bucket)) } else { Err(access_denied()) }
    }
}

#[async_trait::async_trait]
impl S3Auth for Gatekeeper {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.directory.secret(access_key).await.map_err(stale)? {
            Some(secret) => Ok(SecretKey::from(secret.as_str())),
            None => Err(s3(
                S3ErrorCode::InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records.",
            )),
        }
    }
}

#[async_trait::async_trait]
impl S3Access for Gatekeeper {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        super::parameters::check(cx.s3_op().name(), cx.uri().query().unwrap_or(""))?;
        let known = OPERATIONS.iter().find(|(operation, _)| *operation == cx.s3_op().name());
        let context = cx.extensions_mut().get::<Arc<RequestContext>>().cloned();
        let context = context.ok_or_else(|| super::errors::unexpected("a request without context"))?;
        if let Some((operation, _)) = known {
            let _ = context.operation.set(operation);
        }
        let Some(credentials) = cx.credentials() else {
            return Err(access_denied());
        };
        let caller = self.directory.caller(&credentials.access_key).await.map_err(stale)?;
        let caller = caller.ok_or_else(access_denied)?;
        let need = known.map_or(Need::Rights(Rights::OWN), |(_, need)| *need);
        if need == Need::CreateBucket && !caller.admin && !caller.create_buckets {
            return Err(access_denied());
        }
        if let Some(bucket) = cx.s3_path().get_bucket_name().map(str::to_owned)
            && let Some(bucket) = self.check_bucket(&caller, &bucket, need).await?
        {
            let expected = cx.headers().get("x-amz-expected-bucket-owner");
            check_owner(expected.map(http::HeaderValue::as_bytes), bucket.owner)?;
            cx.extensions_mut().insert(bucket);
        }
        let _ = context.caller.set(caller);
        Ok(())
    }
}

/// A client may say whose bucket it means.
pub(crate) fn check_owner(expected: Option<&[u8]>, owner: PrincipalId) -> S3Result<()> {
    if expected.is_some_and(|expected| expected != account_id(owner).as_bytes()) {
        return Err(access_denied());
    }
    Ok(())
}

/// Virtual-host addressing under this region's domain and its pair's; everything else is path style.
#[derive(Debug)]
pub(crate) struct Domains {
    // lower case, without port
    names: Vec<String>,
}

impl Domains {
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        let mut names: Vec<String> = names.into_iter().map(plain).collect();
        // below a domain another may lie: the longest that fits is meant
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        Self { names }
    }

    fn bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let before = |name: &String| {
            let (bucket, domain) = host.split_at_checked(host.len().checked_sub(name.len())?)?;
            let fits = domain.eq_ignore_ascii_case(name) && (bucket.is_empty() || bucket.ends_with('.'));
            fits.then(|| bucket.strip_suffix('.').unwrap_or(bucket))
        };
        self.names.iter().find_map(before).filter(|bucket| !bucket.is_empty())
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let parsed = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => parsed.with_bucket(bucket.to_ascii_lowercase()),
            None => parsed,
        })
    }
}

pub(crate) fn stale(error: DirectoryStale) -> S3Error {
    tracing::warn!(error = &error as &dyn std::error::Error, "a request was refused: rights are not known");
    slow_down("The part of the region that holds access rights is changing its leader. Please try again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_below_the_regions_domain_and_its_pairs_are_buckets() {
        let domains = Domains::new(["S3.Example.org.", "other.s3.example.org"]);
        for (host, wanted) in [
            ("photos.s3.example.org", Some("photos")),
            ("photos.s3.example.org:9000", Some("photos")),
            ("PHOTOS.S3.EXAMPLE.ORG", Some("PHOTOS")),
            ("a.b.s3.example.org", Some("a.b")),
            ("s3.example.org", None),
            ("s3.example.org:9000", None),
            ("localhost:9000", None),
            ("evils3.example.org", None),
            ("photos.other.s3.example.org", Some("photos")),
            ("other.s3.example.org", None),
            ("photos.third.example.org", None),
            ("", None),
        ] {
            assert_eq!(domains.bucket(host), wanted, "{host}");
        }
    }

    #[test]
    fn every_operation_is_named_once() {
        for (index, (name, _)) in OPERATIONS.iter().enumerate() {
            assert!(!OPERATIONS[..index].iter().any(|(other, _)| other == name), "{name}");
        }
    }
}
