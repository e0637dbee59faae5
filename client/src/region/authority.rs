//! The region's own certificate authority: ECDSA P-256, members named by URI, the S3 endpoint by DNS name and address.

use super::RegionFolder;
use crate::{ClientError, files};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SigningKey, date_time_ymd,
};
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::UnixMillis;
use wire::descriptor::{PeerIdentity, RegionDescriptor};
use zeroize::Zeroizing;

const DAY: Duration = Duration::from_secs(86_400);

/// The authority outlives several generations of members.
const AUTHORITY_DAYS: u32 = 20 * 365;
/// A member's certificate lasts as long as its hardware; `check` warns before it ends.
const MEMBER_DAYS: u32 = 5 * 365;
/// 825 days: the longest that common TLS clients accept from a private authority.
const S3_DAYS: u32 = 825;
/// Clocks of machines that have just booted may be behind by up to this.
const BACKDATE: Duration = Duration::from_secs(3600);

/// The region's certificate authority, with its private key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its private key, both PEM.
pub struct IssuedCertificate {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS#8).
    pub private_key: Zeroizing<String>,
}

impl Authority {
    /// A new authority for a new region.
    pub fn create(descriptor: &RegionDescriptor, now: SystemTime) -> Result<Self, ClientError> {
        let key = new_key()?;
        let mut params = params(&authority_name(descriptor));
        set_validity(&mut params, now, AUTHORITY_DAYS, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(failed("making the authority"))?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The authority in an operator's folder.
    pub fn load(folder: &RegionFolder, descriptor: &RegionDescriptor) -> Result<Self, ClientError> {
        if !folder.authority_key().exists() {
            let problem = format!("{} is not there", folder.authority_key().display());
            return Err(ClientError::state(
                problem,
                "bring the authority's folder `ca` back from where it is kept offline",
            ));
        }
        let key = KeyPair::from_pem(&files::read(&folder.authority_key())?)
            .map_err(failed("reading the authority's key"))?;
        let certificate = files::read(&folder.authority_certificate())?.to_string();
        let mut params = params(&authority_name(descriptor));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Whether the key is that of the certificate: what another one signs holds nowhere.
    pub fn is_whole(&self) -> bool {
        let own = self.issuer.key().subject_public_key_info();
        trust::public_keys(self.certificate.as_bytes()).is_some_and(|keys| keys.contains(&own))
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its private key, PEM.
    pub fn private_key(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// Its signature (ECDSA P-256 over SHA-256, ASN.1) of a statement that begins like none of its certificates.
    pub fn sign(&self, statement: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.issuer.key().sign(statement).map_err(failed("signing as the authority"))
    }

    /// A certificate for a node, gateway or operator.
    pub fn issue_member(
        &self,
        identity: &PeerIdentity,
        now: SystemTime,
    ) -> Result<IssuedCertificate, ClientError> {
        self.issue_member_since(identity, now, None)
    }

    /// The same, valid from no earlier time than `since`, which is not later than `now`.
    pub fn issue_member_since(
        &self,
        identity: &PeerIdentity,
        now: SystemTime,
        since: Option<UnixMillis>,
    ) -> Result<IssuedCertificate, ClientError> {
        let mut params = params(&identity.role.to_string());
        let uri = Ia5String::try_from(identity.to_string()).map_err(failed("naming a member"))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, now, MEMBER_DAYS, since)
    }

    /// A certificate for the S3 endpoint under these names and addresses.
    pub fn issue_s3(&self, names: &[String], now: SystemTime) -> Result<IssuedCertificate, ClientError> {
        let mut params = params("Twinkeep S3 endpoint");
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(
                    Ia5String::try_from(name.as_str()).map_err(failed("naming the S3 endpoint"))?,
                ),
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, now, S3_DAYS, None)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        now: SystemTime,
        days: u32,
        since: Option<UnixMillis>,
    ) -> Result<IssuedCertificate, ClientError> {
        set_validity(&mut params, now, days, since);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed("issuing a certificate"))?;
        Ok(IssuedCertificate {
            certificate: certificate.pem(),
            private_key: Zeroizing::new(key.serialize_pem()),
        })
    }
}

fn authority_name(descriptor: &RegionDescriptor) -> String {
    // within the 64 characters that a common name may have
    format!("{}{}", trust::AUTHORITY_NAME, descriptor.deployment)
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn set_validity(params: &mut CertificateParams, now: SystemTime, days: u32, since: Option<UnixMillis>) {
    let epoch = date_time_ymd(1970, 1, 1);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = Duration::from_millis(since.map_or(0, |since| since.0));
    params.not_before = epoch + now.saturating_sub(BACKDATE).max(since);
    params.not_after = epoch + now + DAY * days;
}

fn new_key() -> Result<KeyPair, ClientError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed("making a key pair"))
}

fn failed(what: &'static str) -> impl Fn(rcgen::Error) -> ClientError {
    move |error| ClientError::Crypto { what, problem: error.to_string() }
}
