//! The folder of a run, of a drill, a reconciliation or a comparison: `report.json`, `report.md`, and `report.sig`, which says by whose
//! hand both are as they are.
//!
//! ```text
//! report.sig   one JSON object on one line, exactly as this release writes it:
//!   format       1
//!   algorithm    "ecdsa-p256-sha256"
//!   signed_at    ms since 1970
//!   files        name and SHA-256 (lower-case digits) of each
//!   certificate  DER of the operator's certificate, lower-case digits
//!   signature    ASN.1, lower-case digits: of "twinkeep drill report 1\0" (or "reconciliation", "comparison" instead of "drill") and the
//!                object up to and with `certificate`, as JSON
//! ```
//!
//! It is verified offline against the authority of the region: the certificate is an operator's of this deployment and was
//! valid when it signed, the signature fits, the files have these hashes. No byte of the three files can be changed.

use crate::clock::{system_now, utc_compact};
use crate::deployment::IdentityFolder;
use crate::s3::{hex, sha256_hex};
use crate::{ClientError, files};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::UnixMillis;
use wire::descriptor::PeerRole;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The object and the page.
const SIGNED: [&str; 2] = ["report.json", "report.md"];

const SIGNATURE: &str = "report.sig";

const ALGORITHM: &str = "ecdsa-p256-sha256";

/// A file of a run, bytes: every probe of the longest drill takes 25 MiB, a hundred thousand lost writes 60 MB, 300 with the longest names.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// Runs that may begin in one second.
const RUNS_A_SECOND_MAX: u32 = 99;

/// What a report is of. A signature of one is none of anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A drill.
    Drill,
    /// What was done about the writes that a forced switch lost.
    Reconciliation,
    /// Whether both regions of a pair hold the same.
    Comparison,
}

impl Purpose {
    /// What is signed before the statement.
    fn prefix(self) -> &'static [u8] {
        match self {
            Self::Drill => b"twinkeep drill report 1\0",
            Self::Reconciliation => b"twinkeep reconciliation report 1\0",
            Self::Comparison => b"twinkeep comparison report 1\0",
        }
    }
}

/// What a verified report says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// What it is of.
    pub kind: Purpose,
    /// The run.
    pub run: String,
    /// Who signed: the operator's URI in the certificate.
    pub signed_by: String,
    /// When.
    pub signed_at: UnixMillis,
    /// How it ended.
    pub verdict: String,
}

/// What every report says of itself.
#[derive(Deserialize)]
struct Ended {
    run: String,
    verdict: String,
}

#[derive(Serialize, Deserialize)]
struct Statement {
    format: u32,
    algorithm: String,
    signed_at: UnixMillis,
    files: Vec<SignedFile>,
    certificate: String,
}

#[derive(Serialize, Deserialize)]
struct SignedFile {
    name: String,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Signed {
    #[serde(flatten)]
    statement: Statement,
    signature: String,
}

/// Writes a run's folder, signed under the identity.
pub(crate) fn write(
    folder: &Path,
    purpose: Purpose,
    report: &impl Serialize,
    page: String,
    identity: &IdentityFolder,
) -> Result<(), ClientError> {
    files::make_folder(folder)?;
    let json = serde_json::to_vec_pretty(report).map_err(|error| crypto("writing the report", error))?;
    let contents = [json, page.into_bytes()];
    let mut hashed = Vec::new();
    for (name, content) in SIGNED.iter().zip(&contents) {
        // an unsigned report is better than none: the signature comes last
        files::write(&folder.join(name), content)?;
        hashed.push(SignedFile { name: (*name).to_owned(), sha256: sha256_hex(content) });
    }
    files::write(&folder.join(SIGNATURE), &sign(purpose, hashed, identity)?)
}

/// Makes the folder of a run and sees that its report can be signed, before anything is done that wants reporting.
pub(crate) fn prepare(folder: &Path, identity: &IdentityFolder) -> Result<(), ClientError> {
    files::make_folder(folder)?;
    sign(Purpose::Drill, Vec::new(), identity).map(drop)
}

/// The name of a run that began then, for a folder below `base` that is not there yet: a script may ask twice in a second.
pub(crate) fn name_run(base: &Path, began_at: UnixMillis) -> Result<String, ClientError> {
    let first = utc_compact(began_at);
    let again = (2..=RUNS_A_SECOND_MAX).map(|number| format!("{first}-{number}"));
    let mut names = std::iter::once(first.clone()).chain(again);
    names.find(|name| !base.join(name).exists()).ok_or_else(|| {
        let problem = format!("{} is there already", base.join(&first).display());
        ClientError::state(problem, "other runs began in the same second: ask again")
    })
}

/// Who the certificate says that the operator is.
pub(crate) fn operator(pem: &str) -> Option<String> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    trust::identity_of(&certificate).ok().map(|identity| identity.to_string())
}

/// Whether a run's folder is as an operator of one of these authorities signed it.
pub fn verify(folder: &Path, authorities: &[PathBuf]) -> Result<Verified, ClientError> {
    verified_report(folder, authorities).map(|(verified, _)| verified)
}

/// The same, with `report.json` as it was signed.
pub(crate) fn verified_report(
    folder: &Path,
    authorities: &[PathBuf],
) -> Result<(Verified, Vec<u8>), ClientError> {
    let path = folder.join(SIGNATURE);
    let refuse = |problem: &str| ClientError::Content { path: path.clone(), problem: problem.to_owned() };
    let bytes = read(&path)?;
    let signed: Signed = serde_json::from_slice(&bytes).map_err(|_| refuse("it is no signature"))?;
    // in one way only: otherwise bytes could be changed that nothing compares
    if line(&signed).as_deref() != Some(&bytes[..]) {
        return Err(refuse("its form was changed"));
    }
    let Signed { statement, signature } = &signed;
    if statement.format != 1 || statement.algorithm != ALGORITHM {
        return Err(refuse("it is of a form that this release does not know"));
    }
    let digits = |text: &str| unhex(text).ok_or_else(|| refuse("it holds what is no number"));
    let der = digits(&statement.certificate)?;
    let signed_by = signer(&der, statement.signed_at, authorities).map_err(|problem| refuse(&problem))?;
    let (_, certificate) =
        X509Certificate::from_der(&der).map_err(|_| refuse("its certificate cannot be read"))?;
    let key =
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &certificate.public_key().subject_public_key.data);
    let signature = digits(signature)?;
    let fits = |purpose: &Purpose| {
        message(*purpose, statement).is_some_and(|message| key.verify(&message, &signature).is_ok())
    };
    let kind = [Purpose::Drill, Purpose::Reconciliation, Purpose::Comparison].into_iter().find(fits);
    let kind = kind.ok_or_else(|| refuse("the signature does not fit"))?;
    if !statement.files.iter().map(|file| file.name.as_str()).eq(SIGNED) {
        return Err(refuse("it does not name the report and its page"));
    }
    let mut json = Vec::new();
    for file in &statement.files {
        let path = folder.join(&file.name);
        let content = read(&path)?;
        if sha256_hex(&content) != file.sha256 {
            let problem = "it is not as it was signed: it was changed".to_owned();
            return Err(ClientError::Content { path, problem });
        }
        if file.name == SIGNED[0] {
            json = content;
        }
    }
    let Ended { run, verdict } = serde_json::from_slice(&json)
        .map_err(|_| refuse("it signs a report that this release does not know"))?;
    Ok((Verified { kind, run, signed_by, signed_at: statement.signed_at, verdict }, json))
}

fn sign(purpose: Purpose, files: Vec<SignedFile>, identity: &IdentityFolder) -> Result<Vec<u8>, ClientError> {
    const WHAT: &str = "signing the report";
    let key = files::read(&identity.private_key())?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).map_err(|error| crypto(WHAT, error))?;
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_pkcs8_der(), &random);
    let key = key.map_err(|error| crypto(WHAT, error))?;
    let certificate = files::read(&identity.certificate())?;
    let certificate =
        CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|error| crypto(WHAT, error))?;
    let statement = Statement {
        format: 1,
        algorithm: ALGORITHM.to_owned(),
        signed_at: system_now(),
        files,
        certificate: hex(&certificate),
    };
    let message = message(purpose, &statement).expect("texts and numbers always have a JSON form");
    let signature = key.sign(&random, &message).map_err(|error| crypto(WHAT, error))?;
    let signed = Signed { statement, signature: hex(signature.as_ref()) };
    Ok(line(&signed).expect("texts and numbers always have a JSON form"))
}

/// Whose certificate it is, if one of the authorities issued it to an operator and it was valid then.
fn signer(der: &[u8], at: UnixMillis, authorities: &[PathBuf]) -> Result<String, String> {
    let certificate = CertificateDer::from(der);
    let parsed = ParsedCertificate::try_from(&certificate).map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    for path in authorities {
        let text = files::read(path).map_err(|error| error.to_string())?;
        for root in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let root = root.map_err(|_| format!("{} holds no certificate", path.display()))?;
            roots.add(root).map_err(|error| error.to_string())?;
        }
    }
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let at = UnixTime::since_unix_epoch(Duration::from_millis(at.0));
    verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], at, algorithms.all)
        .map_err(|error| format!("the authority did not issue its certificate: {error}"))?;
    let identity = trust::identity_of(der).map_err(|error| error.to_string())?;
    match identity.role {
        PeerRole::Operator(_) => Ok(identity.to_string()),
        _ => Err("it is signed by who is no operator".to_owned()),
    }
}

fn message(purpose: Purpose, statement: &Statement) -> Option<Vec<u8>> {
    Some([purpose.prefix(), &serde_json::to_vec(statement).ok()?].concat())
}

fn line(signed: &Signed) -> Option<Vec<u8>> {
    let mut line = serde_json::to_vec(signed).ok()?;
    line.push(b'\n');
    Some(line)
}

/// Reads a file of a run.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    files::read_bytes_to(path, FILE_BYTES_MAX)
}

/// Lower-case digits alone.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes.filter(|_| rest.is_empty())
}

fn crypto(what: &'static str, error: impl std::fmt::Display) -> ClientError {
    ClientError::Crypto { what, problem: error.to_string() }
}

#[cfg(test)]
#[path = "evidence/tests.rs"]
mod tests;
