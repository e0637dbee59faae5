//! The people who make and release exports: a key of their own each, in a file under a passphrase, and the service's word for it.
//!
//! A certificate is signed with the service's key, which opens with enough shares only: nobody enrols a second person alone. The custody log is
//! first: an interrupted enrolment leaves an entry without a certificate, which enrolling again makes, and never a certificate that no entry tells of.
//! Whoever has one from before there was a log gets their entry at the first command that opens the service's key beside it.

use crate::custody_log::{self, Ceremony, CustodyLog, Event, Said};
use crate::keys::{KeyFolder, hex, unhex};
use crate::manifest::{Certificate, VERSION};
use crate::revoked::Trust;
use crate::signed::{self, Kind};
use crate::{PseudoError, clock, files};
use clap::Args;
use custody::{
    OPERATOR_BYTES_MAX, OperatorKey, OperatorName, OperatorSeal, PASSPHRASE_BYTES_MAX, PassphraseCost,
    PublicKey, SALT_BYTES, SigningKey,
};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A certificate, bytes.
const CERTIFICATE_BYTES_MAX: usize = 4096;
const PASSPHRASE_VARIABLE: &str = "PSEUDO_PASSPHRASE";
/// A new passphrase, characters: what NIST SP 800-63B-4 (section 3.1.1.2) asks of a password that protects by itself. Whoever has a copy of the file
/// guesses offline, and no second factor stands in the way.
const PASSPHRASE_CHARACTERS_MIN: usize = 15;

/// What opens an operator's file.
#[derive(Debug, Args)]
pub(crate) struct Passphrase {
    /// A file whose first line is the operator's passphrase [default: PSEUDO_PASSPHRASE in the environment]
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// Who acts.
#[derive(Debug, Args)]
pub(crate) struct Acting {
    /// The operator's file; its certificate lies beside it
    #[arg(long, value_name = "FILE", env = "PSEUDO_OPERATOR")]
    pub(crate) operator: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

/// An operator, known to the service.
pub(crate) struct Operator {
    pub(crate) name: String,
    pub(crate) key: SigningKey,
    /// The signed certificate, as it goes into what they sign.
    pub(crate) certificate: String,
}

impl Passphrase {
    pub(crate) fn read(&self) -> Result<Zeroizing<String>, PseudoError> {
        let Some(path) = &self.passphrase_file else {
            let missing = || {
                let advice = "set PSEUDO_PASSPHRASE, or name a file with --passphrase-file";
                PseudoError::usage("the operator's passphrase is not there", advice)
            };
            return std::env::var(PASSPHRASE_VARIABLE).map(Zeroizing::new).map_err(|_| missing());
        };
        let text = files::secret::read_text(path, PASSPHRASE_BYTES_MAX + 2)?;
        Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
    }
}

impl Acting {
    /// Opens the operator's key, and sees that the service vouches for it and it counts still.
    pub(crate) fn open(&self, trust: &Trust) -> Result<Operator, PseudoError> {
        let place = self.operator.display().to_string();
        let bytes = files::secret::read(&self.operator, OPERATOR_BYTES_MAX)?;
        let opened = OperatorKey::open(self.passphrase.read()?.as_bytes(), &bytes);
        let OperatorKey { name, key } = opened.map_err(PseudoError::custody(&*place))?;
        let path = certificate_path(&self.operator);
        let certificate = files::read_text(&path, CERTIFICATE_BYTES_MAX)?.to_string();
        let (certified, public) = vouched(&certificate, trust.key)
            .map_err(|refused| PseudoError::signed(path.display().to_string())(refused))?;
        if public != key.public() || certified != name.as_str() {
            let problem = "this certificate is of another operator's key".to_owned();
            return Err(PseudoError::Signed { place: path.display().to_string(), problem });
        }
        if let Some(revoked) = trust.revoked(public) {
            return Err(PseudoError::Gate {
                problem: format!("this key of {certified} was revoked at {}", revoked.revoked),
                advice: "it signs nothing that counts: whoever may act is enrolled with another key"
                    .to_owned(),
            });
        }
        Ok(Operator { name: certified, key, certificate })
    }

    /// The same where enough shares opened the service's key: who is in no custody log is in it from then on.
    pub(crate) fn open_at(&self, folder: &KeyFolder, service: &SigningKey) -> Result<Operator, PseudoError> {
        let operator = self.open(&folder.trust(service.public())?)?;
        adopt(&Ceremony::begin(folder)?, folder, service, &operator.name, operator.key.public())?;
        Ok(operator)
    }
}

/// Makes an operator's file; its public key.
pub(crate) fn create(name: &str, path: &Path, passphrase: &str) -> Result<PublicKey, PseudoError> {
    let name = OperatorName::new(name).map_err(PseudoError::custody("operator"))?;
    check_new(passphrase, name.as_str())?;
    let key = SigningKey::generate(files::random)?;
    let (public, mut salt) = (key.public(), [0; SALT_BYTES]);
    files::random(&mut salt)?;
    let sealed = OperatorKey { name, key }.seal(passphrase.as_bytes(), PassphraseCost::DEFAULT, salt);
    files::write(path, &sealed.map_err(PseudoError::custody("operator"))?)?;
    Ok(public)
}

/// Refuses a passphrase for a new file that is guessed too soon. One that a file has already opens it as it did.
fn check_new(passphrase: &str, name: &str) -> Result<(), PseudoError> {
    let characters: Vec<char> = passphrase.chars().collect();
    let count = characters.len();
    let repeats = |period: usize| characters.iter().zip(&characters[period..]).all(|(one, next)| one == next);
    let problem = if count < PASSPHRASE_CHARACTERS_MIN {
        format!("the passphrase has {count} characters, and {PASSPHRASE_CHARACTERS_MIN} are the fewest")
    } else if (1..=count / 2).any(repeats) {
        "the passphrase says one thing again and again".to_owned()
    } else if count < PASSPHRASE_CHARACTERS_MIN + name.chars().count() && passphrase.contains(name) {
        "the passphrase has its owner's name, and little else".to_owned()
    } else {
        return Ok(());
    };
    let advice = "take four words that nobody would put together, or what a password manager draws; capitals, digits and signs are not asked for";
    Err(PseudoError::usage(problem, advice))
}

/// Writes an operator into the custody log, then signs their certificate and puts it beside their file. What was interrupted is gone on with,
/// and one who has a certificate of this service keeps it.
pub(crate) fn enrol(
    path: &Path,
    folder: &KeyFolder,
    service: &SigningKey,
) -> Result<(Certificate, PathBuf), PseudoError> {
    let seal = seal_of(path)?;
    let ceremony = Ceremony::begin(folder)?;
    if folder.trust(service.public())?.revoked(seal.public).is_some() {
        let problem = format!("this key of {} was revoked", seal.name);
        return Err(PseudoError::usage(problem, "`pseudo keys operator` makes another"));
    }
    let (place, name, key) = (certificate_path(path), seal.name.to_string(), hex(&seal.public.0));
    if files::own::is_there(&place) {
        let there = files::read_text(&place, CERTIFICATE_BYTES_MAX)?;
        let there = signed::open_by::<Certificate>(Kind::Certificate, there.as_bytes(), service.public());
        let certificate = there.ok().filter(|there| (&there.operator, &there.key) == (&name, &key));
        // of another service, or another's: it is not written over, and nobody is enrolled beside it
        let exists = || PseudoError::file("making", &place)(io::Error::from(ErrorKind::AlreadyExists));
        let certificate = certificate.ok_or_else(exists)?;
        adopt(&ceremony, folder, service, &name, seal.public)?;
        return Ok((certificate, place));
    }
    if !CustodyLog::read(folder, service.public())?.keys_of(&name).contains(&key) {
        let said = Said { key: Some(key.clone()), ..Said::of(Event::Enrolled, &name) };
        custody_log::note_within(&ceremony, folder, service, said)?;
    }
    let enrolled = clock::text(clock::now());
    let certificate = Certificate { version: VERSION, operator: name, key, enrolled };
    files::write(&place, &signed::seal(Kind::Certificate, &certificate, service))?;
    Ok((certificate, place))
}

/// Who an operator's file says it is of; its passphrase is not asked for.
pub(crate) fn seal_of(path: &Path) -> Result<OperatorSeal, PseudoError> {
    let bytes = files::secret::read(path, OPERATOR_BYTES_MAX)?;
    OperatorSeal::read(&bytes).map_err(PseudoError::custody(path.display().to_string()))
}

/// Writes whom the service vouches for into the custody log, if no entry tells of them.
fn adopt(
    ceremony: &Ceremony,
    folder: &KeyFolder,
    service: &SigningKey,
    name: &str,
    key: PublicKey,
) -> Result<(), PseudoError> {
    let key = hex(&key.0);
    if CustodyLog::read(folder, service.public())?.keys_of(name).contains(&key) {
        return Ok(());
    }
    let said = Said { key: Some(key), ..Said::of(Event::Adopted, name) };
    custody_log::note_within(ceremony, folder, service, said).map(|_| ())
}

/// The operator and key of a certificate that the service signed.
pub(crate) fn vouched(certificate: &str, service: PublicKey) -> Result<(String, PublicKey), signed::Refused> {
    let unknown = signed::Refused::Unknown("certificate");
    let found: Certificate = signed::open_by(Kind::Certificate, certificate.as_bytes(), service)?;
    let key = unhex(&found.key).map(PublicKey).filter(|_| found.version == VERSION).ok_or(unknown)?;
    Ok((found.operator, key))
}

fn certificate_path(operator: &Path) -> PathBuf {
    let mut name = operator.as_os_str().to_owned();
    name.push(".certificate");
    name.into()
}

#[cfg(test)]
mod tests;
