//! The S3 operations, each in a file of its kind. What is not here answers `NotImplemented` by the protocol layer.

mod attributes;
mod buckets;
mod conditions;
mod copy;
mod delete;
mod get;
pub(crate) mod list;
mod multipart;
mod parts;
mod put;
mod requested;
mod shown;
mod unset;

use std::sync::Arc;

use s3s::dto;
use s3s::{S3, S3Request, S3Response, S3Result};

use super::Core;

/// The protocol layer's way to the operations.
pub(crate) struct Operations {
    core: Arc<Core>,
}

impl Operations {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

/// Forwards each operation to the function that does it.
macro_rules! forward {
    ($($name:ident($input:ident) -> $output:ident = $path:path;)*) => {
        #[async_trait::async_trait]
        impl S3 for Operations {
            $(async fn $name(&self, request: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
                $path(&self.core, request).await
            })*
        }
    };
}

forward! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list;
    create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::location;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = buckets::versioning;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = buckets::set_versioning;
    put_object(PutObjectInput) -> PutObjectOutput = put::put;
    get_object(GetObjectInput) -> GetObjectOutput = get::get;
    head_object(HeadObjectInput) -> HeadObjectOutput = get::head;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = attributes::get;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = delete::delete;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = delete::delete_many;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copy::copy;
    list_objects(ListObjectsInput) -> ListObjectsOutput = list::objects;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = list::objects_v2;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = list::versions;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = multipart::create;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = multipart::complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort;
    upload_part(UploadPartInput) -> UploadPartOutput = parts::upload;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = parts::copy;
    list_parts(ListPartsInput) -> ListPartsOutput = parts::list;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = list::uploads;
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = unset::policy;
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = unset::cors;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = unset::bucket_tagging;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput)
        -> GetBucketLifecycleConfigurationOutput = unset::lifecycle;
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = unset::encryption;
    get_object_lock_configuration(GetObjectLockConfigurationInput)
        -> GetObjectLockConfigurationOutput = unset::object_lock;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = unset::object_tagging;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput = unset::nothing;
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput = unset::nothing;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = unset::nothing;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput = unset::nothing;
}
