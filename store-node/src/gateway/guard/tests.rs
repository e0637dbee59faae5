//! One test per gap that the guard closes.

use http::Request;
use http::request::Parts;
use s3s::S3ErrorCode;

use super::{BodyPlan, check};

const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=TK/20260101/home/s3/aws4_request, \
                      SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=00";
const PRESIGNED: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=TK%2F20260101%2Fhome%2Fs3%2Faws4_request\
                         &X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=00";

fn head(method: &str, target: &str, headers: &[(&str, &[u8])]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn code(parts: &Parts) -> String {
    check(parts).unwrap_err().code().as_str().to_owned()
}

#[test]
fn a_replayed_put_with_an_added_copy_source_is_refused() {
    let with = [("authorization", SIGNED.as_bytes()), ("x-amz-copy-source", b"other/secret".as_slice())];
    assert_eq!(code(&head("PUT", "/bucket/key", &with)), "AccessDenied");
    let target = format!("/bucket/key?{PRESIGNED}&X-Amz-Expires=60");
    assert_eq!(code(&head("PUT", &target, &[("x-amz-copy-source", b"other/secret")])), "AccessDenied");
}

#[test]
fn a_parameter_whose_name_is_written_with_escapes_is_refused() {
    for name in ["X-Amz-%53ignature", "X-Amz-Signatur%65", "%64elete", "upload+Id"] {
        let target = format!(
            "/bucket/key?{}&X-Amz-Expires=60&{name}=00",
            PRESIGNED.replace("&X-Amz-Signature=00", "")
        );
        let with = [("x-amz-copy-source", b"other/secret".as_slice())];
        assert_eq!(code(&head("PUT", &target, &with)), "InvalidArgument", "{name}");
    }
    let escaped_value =
        head("GET", &format!("/bucket?list-type=2&prefix=a%2Fb+c&{PRESIGNED}&X-Amz-Expires=60"), &[]);
    assert!(check(&escaped_value).is_ok());
}

#[test]
fn a_region_that_cannot_be_read_is_told_apart_and_any_other_is_taken() {
    let with = |region: &str| {
        let signed = SIGNED.replace("home", region);
        check(&head("GET", "/bucket", &[("authorization", signed.as_bytes())])).err()
    };
    assert!(with("eu-central-1").is_none());
    for region in ["US", "eu_west", "RegionOne"] {
        assert_eq!(with(region).unwrap().code().as_str(), "AuthorizationHeaderMalformed", "{region}");
    }
}

#[test]
fn headers_that_were_signed_or_need_not_be_pass() {
    let authorization = SIGNED.replace("x-amz-date,", "x-amz-date;x-amz-meta-a,");
    let with = [
        ("authorization", authorization.as_bytes()),
        ("x-amz-date", b"20260101T000000Z"),
        ("x-amz-content-sha256", b"UNSIGNED-PAYLOAD"),
        ("x-amz-meta-a", b"1"),
    ];
    assert_eq!(
        check(&head("PUT", "/b/k", &with)).unwrap(),
        BodyPlan { chunked: false, xml: false, completes: false }
    );
}

#[test]
fn a_signature_without_host_is_refused() {
    let authorization = SIGNED.replace("host;", "");
    assert_eq!(code(&head("GET", "/b/k", &[("authorization", authorization.as_bytes())])), "AccessDenied");
}

#[test]
fn a_header_value_that_is_not_text_is_refused() {
    let authorization = SIGNED.replace("x-amz-date,", "x-amz-date;x-amz-meta-a,");
    let with = [("authorization", authorization.as_bytes()), ("x-amz-meta-a", b"\xff".as_slice())];
    assert_eq!(code(&head("PUT", "/b/k", &with)), "InvalidArgument");
}

#[test]
fn signature_version_two_is_refused_with_advice() {
    for parts in [
        head("GET", "/b/k", &[("authorization", b"AWS TK:c2lnbmF0dXJl")]),
        head("GET", "/b/k?AWSAccessKeyId=TK&Expires=1&Signature=c2ln", &[]),
    ] {
        let error = check(&parts).unwrap_err();
        assert_eq!(error.code(), &S3ErrorCode::InvalidRequest);
        assert!(error.message().unwrap().contains("AWS4-HMAC-SHA256"));
    }
}

#[test]
fn a_presigned_url_lasts_seven_days_at_the_most() {
    for expires in ["604801", "-1", "18446744073709551616", "week", ""] {
        let target = format!("/b/k?{PRESIGNED}&X-Amz-Expires={expires}");
        assert_eq!(code(&head("GET", &target, &[])), "AuthorizationQueryParametersError", "{expires}");
    }
    assert_eq!(code(&head("GET", &format!("/b/k?{PRESIGNED}"), &[])), "AuthorizationQueryParametersError");
    assert!(check(&head("GET", &format!("/b/k?{PRESIGNED}&X-Amz-Expires=604800"), &[])).is_ok());
}

#[test]
fn two_ways_to_authenticate_at_once_are_refused() {
    let target = format!("/b/k?{PRESIGNED}&X-Amz-Expires=60");
    assert_eq!(code(&head("GET", &target, &[("authorization", SIGNED.as_bytes())])), "InvalidArgument");
    let twice = [("authorization", SIGNED.as_bytes()), ("authorization", SIGNED.as_bytes())];
    assert_eq!(code(&head("GET", "/b/k", &twice)), "InvalidArgument");
}

#[test]
fn a_signature_for_another_service_is_refused() {
    let authorization = SIGNED.replace("/s3/", "/sts/");
    let parts = head("GET", "/b/k", &[("authorization", authorization.as_bytes())]);
    assert_eq!(code(&parts), "AuthorizationHeaderMalformed");
}

#[test]
fn form_uploads_are_not_implemented() {
    let form = [("content-type", b"Multipart/Form-Data; boundary=x".as_slice())];
    assert_eq!(code(&head("POST", "/b", &form)), "NotImplemented");
}

#[test]
fn lying_and_conflicting_lengths_are_refused() {
    let over = (5_u64 << 30) + 1;
    let over = over.to_string();
    assert_eq!(code(&head("PUT", "/b/k", &[("content-length", over.as_bytes())])), "EntityTooLarge");
    for wrong in [b"12abc".as_slice(), b"-1", b"", b"99999999999999999999"] {
        assert_eq!(code(&head("PUT", "/b/k", &[("content-length", wrong)])), "InvalidArgument");
    }
    let twice = [("x-amz-decoded-content-length", b"1".as_slice()), ("x-amz-decoded-content-length", b"2")];
    assert_eq!(code(&head("PUT", "/b/k", &twice)), "InvalidArgument");
    let both = [("content-length", b"1".as_slice()), ("transfer-encoding", b"chunked")];
    assert_eq!(code(&head("PUT", "/b/k", &both)), "InvalidRequest");
    let streaming = [
        ("x-amz-content-sha256", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER".as_slice()),
        ("x-amz-decoded-content-length", b"20"),
        ("content-length", b"10"),
    ];
    assert_eq!(code(&head("PUT", "/b/k", &streaming)), "InvalidArgument");
}

#[test]
fn heads_are_bounded() {
    let long = vec![b'a'; 17 << 10];
    assert_eq!(code(&head("GET", "/b/k", &[("x-long", &long)])), "RequestHeaderSectionTooLarge");
    assert_eq!(code(&head("GET", &format!("/b/{}", "k".repeat(9 << 10)), &[])), "InvalidURI");
}

#[test]
fn xml_and_chunked_bodies_are_told_from_their_heads() {
    assert!(check(&head("POST", "/b?delete", &[])).unwrap().xml);
    assert!(check(&head("POST", "/b/k?uploadId=7", &[])).unwrap().xml);
    assert!(check(&head("PUT", "/b?versioning", &[])).unwrap().xml);
    assert!(!check(&head("PUT", "/b/k?uploadId=7&partNumber=1", &[])).unwrap().xml);
    let streaming = [("x-amz-content-sha256", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD".as_slice())];
    assert!(check(&head("PUT", "/b/k", &streaming)).unwrap().chunked);
}
