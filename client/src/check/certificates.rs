//! Certificates in the operator's folder: readable, of this region, not about to end.

use super::Findings;
use crate::deployment::Deployment;
use crate::files;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use x509_parser::prelude::{FromDer, X509Certificate};

const OURS: &str = "certificates";
const DAY_SECONDS: i64 = 86_400;
/// A month: long enough for an office that renews by hand.
const WARNING_DAYS: i64 = 30;

pub(super) fn run(deployment: &Deployment, now: SystemTime, findings: &mut Findings) {
    let now =
        now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    one("the region's authority", &deployment.identity.authority_certificate(), now, findings);
    if let Some(der) = one("the operator", &deployment.identity.certificate(), now, findings) {
        let of_region = trust::identity_of(&der).is_ok_and(|identity| {
            identity.deployment == deployment.descriptor.deployment
                && identity.environment == deployment.descriptor.environment
                && identity.region == deployment.descriptor.region
        });
        if !of_region {
            let message = "the operator's certificate is not of the region in the descriptor";
            findings.failure(
                OURS,
                "TK-C010",
                message,
                "use the `operator` folder that was made with this region",
            );
        }
    }
    if let Some(region) = &deployment.region {
        one("the S3 endpoint", &region.s3_certificate(), now, findings);
    }
}

fn one(whose: &str, path: &Path, now: i64, findings: &mut Findings) -> Option<CertificateDer<'static>> {
    let parsed = files::read(path).ok().and_then(|text| CertificateDer::from_pem_slice(text.as_bytes()).ok());
    let Some(der) = parsed else {
        let message = format!("the certificate of {whose} cannot be read: {}", path.display());
        findings.failure(OURS, "TK-C010", message, "bring it back from the backup of this folder");
        return None;
    };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
        let message = format!("{} holds no certificate", path.display());
        findings.failure(OURS, "TK-C010", message, "bring it back from the backup of this folder");
        return None;
    };
    let validity = certificate.validity();
    judge(whose, validity.not_before.timestamp(), validity.not_after.timestamp(), now, findings);
    Some(der)
}

/// Judges one certificate's time; also for those that the region reports.
pub(super) fn judge(whose: &str, not_before: i64, not_after: i64, now: i64, findings: &mut Findings) {
    let days = (not_after - now) / DAY_SECONDS;
    let advice = "`twinkeep explain TK-C011` says how for each kind";
    if now < not_before {
        let message = format!("the certificate of {whose} is not valid yet");
        findings.failure(OURS, "TK-C006", message, "the clock of this machine is wrong: set it");
    } else if now >= not_after {
        findings.failure(OURS, "TK-C011", format!("the certificate of {whose} has expired"), advice);
    } else if days < WARNING_DAYS {
        findings.warning(
            OURS,
            "TK-C011",
            format!("the certificate of {whose} expires in {days} days"),
            advice,
        );
    } else {
        findings.ok(OURS, format!("the certificate of {whose} is valid for {days} days"));
    }
}
