//! A folder of domain keys wrapped under a root, and shares of the root in files elsewhere.
//!
//! The folder holds `root.check` (which root its keys are under), `root.token` where a PKCS#11 token sealed the root, one file per domain and version, `DOMAIN.VERSION.key`, and what the
//! service signs with, `signing.wrapped`, and operators' second factors, `NAME.totp`. Nothing
//! in it opens without enough shares or the token; shares belong into the hands of different people, never into this folder.

use crate::custody_log::{self, Ceremony, CustodyLog, Event};
use crate::revoked::{Revoked, RevokedList, Trust};
use crate::{PseudoError, files};
use custody::{
    CustodyError, DomainName, KeyVersion, MasterKey, OperatorName, PublicKey, RootCheck, RootKey,
    SHARE_BYTES, Share, SigningKey, TOKEN_ROOT_BYTES, TotpSecret, WRAPPED_MASTER_BYTES_MAX,
    WRAPPED_SIGNING_BYTES, WRAPPED_TOTP_BYTES_MAX, WrappedName,
};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const CHECK_FILE: &str = "root.check";
const TOKEN_FILE: &str = "root.token";
const REVOKED_FILE: &str = "revoked.json";
const SUFFIX: &str = "key";
const SIGNING_FILE: &str = "signing.wrapped";
const TOTP_SUFFIX: &str = "totp";
/// A share as text with as much space as anyone types, bytes.
pub(crate) const SHARE_TEXT_BYTES_MAX: usize = 8 * SHARE_BYTES;
/// Files of one folder: every version of a hundred domains.
const FILES_MAX: usize = 100_000;

/// A folder of wrapped keys.
pub(crate) struct KeyFolder {
    path: PathBuf,
    root: RootCheck,
}

impl KeyFolder {
    /// Makes the folder for the keys of a root.
    pub(crate) fn create(path: &Path, root: RootCheck) -> Result<Self, PseudoError> {
        files::make_folder(path)?;
        files::write(&path.join(CHECK_FILE), format!("{}\n", hex(&root.0)).as_bytes())?;
        Ok(Self { path: path.to_owned(), root })
    }

    /// Opens a folder.
    pub(crate) fn open(path: &Path) -> Result<Self, PseudoError> {
        let file = path.join(CHECK_FILE);
        let text = files::read_text(&file, 256)?;
        let root =
            unhex(text.trim()).ok_or_else(|| PseudoError::table(&file, "not the check value of a root"))?;
        Ok(Self { path: path.to_owned(), root: RootCheck(root) })
    }

    /// Which root the keys are under.
    pub(crate) fn root(&self) -> RootCheck {
        self.root
    }

    /// Whether this is the root that the keys are under.
    pub(crate) fn check(&self, root: &RootKey) -> Result<(), PseudoError> {
        if root.check() == self.root {
            return Ok(());
        }
        let other = CustodyError::OtherRoot { what: "folder of keys" };
        Err(PseudoError::custody(self.path.display().to_string())(other))
    }

    /// Keeps the root as a token sealed it. There is one token for a folder.
    pub(crate) fn add_token_root(&self, sealed: &[u8]) -> Result<(), PseudoError> {
        files::write(&self.path.join(TOKEN_FILE), sealed)
    }

    /// The root as a token sealed it.
    pub(crate) fn token_root(&self) -> Result<Zeroizing<Vec<u8>>, PseudoError> {
        if !self.has_token() {
            let advice = "`pseudo keys token` has a token seal it; until then it takes shares";
            return Err(PseudoError::usage("no token has sealed the root of this folder", advice));
        }
        files::secret::read(&self.path.join(TOKEN_FILE), TOKEN_ROOT_BYTES)
    }

    /// Whether a token has sealed the root.
    pub(crate) fn has_token(&self) -> bool {
        self.path.join(TOKEN_FILE).exists()
    }

    /// Where the keys lie.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All keys, by domain and version.
    pub(crate) fn list(&self) -> Result<Vec<WrappedName>, PseudoError> {
        let mut names = Vec::new();
        let entries = fs::read_dir(&self.path).map_err(PseudoError::file("listing", &self.path))?;
        for entry in entries.take(FILES_MAX) {
            let path = entry.map_err(PseudoError::file("listing", &self.path))?.path();
            if path.extension().is_some_and(|extension| extension == SUFFIX) {
                let bytes = files::secret::read(&path, WRAPPED_MASTER_BYTES_MAX)?;
                let place = path.display().to_string();
                names.push(WrappedName::read(&bytes).map_err(PseudoError::custody(place))?);
            }
        }
        names.sort_by(|a, b| (&a.domain, a.version).cmp(&(&b.domain, b.version)));
        Ok(names)
    }

    /// Makes the next key of a domain.
    pub(crate) fn add(&self, root: &RootKey, domain: &DomainName) -> Result<MasterKey, PseudoError> {
        let newest = self.newest(domain)?.map_or(0, KeyVersion::get);
        let place = || domain.to_string();
        let version = KeyVersion::new(newest + 1).map_err(PseudoError::custody(place()))?;
        let master = MasterKey::generate(domain.clone(), version, files::random)?;
        files::write(&self.file(domain, version), &root.wrap(&master))?;
        Ok(master)
    }

    /// A key of a domain; the newest if none is named.
    pub(crate) fn master(
        &self,
        root: &RootKey,
        domain: &DomainName,
        version: Option<KeyVersion>,
    ) -> Result<MasterKey, PseudoError> {
        let missing = || {
            let advice = format!("`pseudo keys domain {domain}` makes one");
            PseudoError::usage(format!("there is no such key of domain {domain}"), advice)
        };
        let version =
            version.map_or_else(|| self.newest(domain), |version| Ok(Some(version)))?.ok_or_else(missing)?;
        self.master_if_there(root, domain, version)?.ok_or_else(missing)
    }

    /// A key of a domain, unless it was destroyed. That it cannot be read is an error.
    pub(crate) fn master_if_there(
        &self,
        root: &RootKey,
        domain: &DomainName,
        version: KeyVersion,
    ) -> Result<Option<MasterKey>, PseudoError> {
        let path = self.file(domain, version);
        if !path.try_exists().map_err(PseudoError::file("reading", &path))? {
            return Ok(None);
        }
        let bytes = files::secret::read(&path, WRAPPED_MASTER_BYTES_MAX)?;
        let master = root.unwrap(&bytes).map_err(PseudoError::custody(path.display().to_string()))?;
        if (master.domain(), master.version()) != (domain, version) {
            return Err(PseudoError::table(&path, "the key inside has another name than its file"));
        }
        Ok(Some(master))
    }

    /// Makes what the service signs with. There is one for a folder.
    pub(crate) fn add_signing(&self, root: &RootKey) -> Result<SigningKey, PseudoError> {
        let key = SigningKey::generate(files::random)?;
        files::write(&self.path.join(SIGNING_FILE), &root.wrap_signing(&key))?;
        Ok(key)
    }

    /// The public half of what the service signs with, as far as the folder says it by itself: only the root proves it.
    pub(crate) fn signing_public(&self) -> Result<Option<PublicKey>, PseudoError> {
        let path = self.path.join(SIGNING_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = files::secret::read(&path, WRAPPED_SIGNING_BYTES)?;
        PublicKey::of_wrapped(&bytes).map(Some).map_err(PseudoError::custody(path.display().to_string()))
    }

    /// What the service signs with.
    pub(crate) fn signing(&self, root: &RootKey) -> Result<SigningKey, PseudoError> {
        let path = self.path.join(SIGNING_FILE);
        if !path.exists() {
            let advice = "`pseudo keys signing` makes one";
            return Err(PseudoError::usage("the folder has no key to sign with", advice));
        }
        let bytes = files::secret::read(&path, WRAPPED_SIGNING_BYTES)?;
        root.unwrap_signing(&bytes).map_err(PseudoError::custody(path.display().to_string()))
    }

    /// Makes an operator's second factor. There is one for a name: a lost one is replaced by removing its file.
    pub(crate) fn add_totp(
        &self,
        root: &RootKey,
        operator: &OperatorName,
    ) -> Result<TotpSecret, PseudoError> {
        let totp = TotpSecret::generate(operator.clone(), files::random)?;
        files::write(&self.path.join(format!("{operator}.{TOTP_SUFFIX}")), &root.wrap_totp(&totp))?;
        Ok(totp)
    }

    /// An operator's second factor.
    pub(crate) fn totp(&self, root: &RootKey, operator: &str) -> Result<TotpSecret, PseudoError> {
        let path = self.path.join(format!("{operator}.{TOTP_SUFFIX}"));
        if !path.exists() {
            let advice = "`pseudo keys totp` makes one";
            return Err(PseudoError::usage(format!("{operator} has no second factor"), advice));
        }
        let place = || path.display().to_string();
        let totp = root.unwrap_totp(&files::secret::read(&path, WRAPPED_TOTP_BYTES_MAX)?);
        let totp = totp.map_err(PseudoError::custody(place()))?;
        if totp.operator().as_str() == operator {
            return Ok(totp);
        }
        Err(PseudoError::table(&path, "the second factor inside is another operator's"))
    }

    /// Whose word counts, by the custody log and the list of revoked operators that it names.
    pub(crate) fn trust(&self, service: PublicKey) -> Result<Trust, PseudoError> {
        let log = CustodyLog::read(self, service)?;
        let (list, sha256) = self.revoked(service)?;
        if log.revoked() == sha256.as_deref() {
            return Ok(Trust::with(service, list));
        }
        let problem = "it is not the list of revoked operators that the custody log names: put the newest one back, or revoke again";
        let place = self.path.join(REVOKED_FILE).display().to_string();
        Err(PseudoError::Signed { place, problem: problem.to_owned() })
    }

    /// Revokes a key. The custody log is first: if this is interrupted, nobody is trusted until it is done again.
    pub(crate) fn revoke(&self, service: &SigningKey, one: Revoked) -> Result<String, PseudoError> {
        // from reading the list to writing it: of two at once the second would forget whom the first revoked
        let ceremony = Ceremony::begin(self)?;
        let log = CustodyLog::read(self, service.public())?;
        let (mut list, _) = self.revoked(service.public())?;
        // one that was interrupted, or is done again for more that stands
        list.revoked.retain(|known| known.key != one.key);
        let is_there = |key: &String| *key == one.key || list.revoked.iter().any(|known| known.key == *key);
        if !log.revoked_keys().iter().all(is_there) {
            let place = self.path.join(REVOKED_FILE).display().to_string();
            let problem = "it lacks somebody whom the custody log says was revoked: put the newest one back";
            return Err(PseudoError::Signed { place, problem: problem.to_owned() });
        }
        let (subject, key, reason) = (one.operator.clone(), one.key.clone(), one.reason.clone());
        let sealed = list.with(one, service);
        let sha256 = Some(hex(&Sha256::digest(&sealed)));
        let (key, reason) = (Some(key), Some(reason.as_str()));
        let said = custody_log::Said { event: Event::Revoked, subject: &subject, key, reason, sha256 };
        let head = custody_log::note_within(&ceremony, self, service, said)?;
        files::replace(&self.path.join(REVOKED_FILE), &sealed)?;
        Ok(head)
    }

    fn revoked(&self, service: PublicKey) -> Result<(RevokedList, Option<String>), PseudoError> {
        let path = self.path.join(REVOKED_FILE);
        if !files::own::is_there(&path) {
            return Ok((RevokedList::default(), None));
        }
        RevokedList::read(&path, service).map(|(list, sha256)| (list, Some(sha256)))
    }

    /// Removes a key. Copies elsewhere stay.
    pub(crate) fn destroy(&self, domain: &DomainName, version: KeyVersion) -> Result<(), PseudoError> {
        let path = self.file(domain, version);
        fs::remove_file(&path).map_err(PseudoError::file("removing", &path))?;
        files::sync_folder(&self.path)
    }

    fn newest(&self, domain: &DomainName) -> Result<Option<KeyVersion>, PseudoError> {
        Ok(self.list()?.into_iter().filter(|name| name.domain == *domain).map(|name| name.version).max())
    }

    fn file(&self, domain: &DomainName, version: KeyVersion) -> PathBuf {
        self.path.join(format!("{domain}.{version}.{SUFFIX}"))
    }
}

/// The root of shares in files.
pub(crate) fn gather(paths: &[PathBuf]) -> Result<RootKey, PseudoError> {
    RootKey::combine(&gather_shares(paths)?).map_err(PseudoError::custody("shares"))
}

/// Shares in files.
pub(crate) fn gather_shares(paths: &[PathBuf]) -> Result<Vec<Share>, PseudoError> {
    let share = |path: &PathBuf| {
        let text = files::secret::read_text(path, SHARE_TEXT_BYTES_MAX)?;
        Share::from_text(&text).map_err(PseudoError::custody(path.display().to_string()))
    };
    paths.iter().map(share).collect()
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// So many bytes of hexadecimal.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Vec<u8> =
        text.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    bytes.try_into().ok().filter(|_| digits.len() == 2 * N)
}
