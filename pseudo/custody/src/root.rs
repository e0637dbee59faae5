//! The root key: split among people, put together again for one task, and the wrapping of domain masters under it.
//!
//! Masters are wrapped with AES-256-SIV (RFC 5297), a mode made for wrapping keys: it needs no nonce, so the ceremony needs no
//! randomness but the keys themselves.

use std::fmt;

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::frame::{self, Frame};
use crate::secret::{KEY_BYTES, Secret};
use crate::shamir::{self, Coefficients};
use crate::share::Share;
use crate::{CustodyError, DomainName, KeyVersion, MasterKey, NAME_BYTES_MAX};

/// A check value, bytes.
pub const CHECK_BYTES: usize = 16;
/// Most shares of one root: more people than a ceremony can gather.
pub const SHARES_MAX: u8 = 32;
/// Fewest shares that open a root: one person alone never can.
pub const THRESHOLD_MIN: u8 = 2;

const CHECK_LABEL: &[u8] = b"twinkeep pseudo root check 1";
const WRAP_LABEL: &[u8] = b"twinkeep pseudo wrap key 1";
const WRAP_KEY_BYTES: usize = 64;
const SIV_BYTES: usize = 16;
const SEALED_BYTES: usize = SIV_BYTES + KEY_BYTES;
/// Head 6, zero 2, version 4, check 16.
const FIXED_BYTES: usize = frame::HEAD_BYTES + 2 + 4 + CHECK_BYTES;
/// A wrapped master, bytes.
pub const WRAPPED_MASTER_BYTES_MAX: usize =
    FIXED_BYTES + 1 + NAME_BYTES_MAX + SEALED_BYTES + frame::CHECKSUM_BYTES;
const MASTER: Frame =
    Frame { what: "wrapped domain key", magic: *b"TKPM", bytes_max: WRAPPED_MASTER_BYTES_MAX };

/// Says which root something belongs to, and nothing about the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootCheck(pub [u8; CHECK_BYTES]);

/// The key at the top. It exists only while shares are together.
pub struct RootKey(pub(crate) Secret<KEY_BYTES>);

impl RootKey {
    /// A new key, filled by the caller's source of random bytes.
    pub fn generate<E>(random: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        Secret::fill(random).map(Self)
    }

    /// Which root this is.
    pub fn check(&self) -> RootCheck {
        let mut check = [0; CHECK_BYTES];
        expand(&self.0, CHECK_LABEL, &mut check);
        RootCheck(check)
    }

    /// Splits the key into `count` shares, `threshold` of which give it again. `random` fills `threshold - 1` times 32 bytes.
    pub fn split<E: From<CustodyError>>(
        &self,
        threshold: u8,
        count: u8,
        mut random: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<Vec<Share>, E> {
        let (least, most) = (u64::from(THRESHOLD_MIN), u64::from(SHARES_MAX));
        let within = |what, found: u8, least, most| {
            let (found, inside) = (u64::from(found), (least..=most).contains(&u64::from(found)));
            if inside { Ok(()) } else { Err(CustodyError::OutsideLimits { what, found, least, most }) }
        };
        within("number of shares", count, least, most)?;
        within("shares needed", threshold, least, u64::from(count))?;
        let mut coefficients: Coefficients = Zeroizing::new(vec![[0; KEY_BYTES]; usize::from(threshold - 1)]);
        for row in coefficients.iter_mut() {
            random(row)?;
        }
        let check = self.check();
        let share = |index| Share {
            threshold,
            count,
            index,
            check,
            secret: shamir::share_at(&self.0, &coefficients, index),
        };
        Ok((1..=count).map(share).collect())
    }

    /// The key of these shares: as many as it needs or more, of one root, none twice. A wrong share is found by the check value;
    /// which one it is cannot be told.
    pub fn combine(shares: &[Share]) -> Result<Self, CustodyError> {
        let Some(first) = shares.first() else {
            return Err(CustodyError::TooFewShares { found: 0, needed: usize::from(THRESHOLD_MIN) });
        };
        let key = |share: &Share| (share.threshold, share.count, share.check);
        if shares.iter().any(|share| key(share) != key(first)) {
            return Err(CustodyError::SharesOfDifferentRoots);
        }
        for (place, share) in shares.iter().enumerate() {
            if shares[..place].iter().any(|other| other.index == share.index) {
                return Err(CustodyError::ShareTwice { index: share.index });
            }
        }
        if shares.len() < usize::from(first.threshold) {
            let (found, needed) = (shares.len(), usize::from(first.threshold));
            return Err(CustodyError::TooFewShares { found, needed });
        }
        let points: Vec<_> = shares.iter().map(|share| (share.index, &share.secret)).collect();
        let root = Self(shamir::combine(&points));
        if root.check() != first.check {
            return Err(CustodyError::WrongShare);
        }
        Ok(root)
    }

    /// The bytes of a master under this root.
    pub fn wrap(&self, master: &MasterKey) -> Vec<u8> {
        let mut bytes = MASTER.begin();
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&master.version.get().to_le_bytes());
        bytes.extend_from_slice(&self.check().0);
        let domain = master.domain.as_str();
        bytes.push(u8::try_from(domain.len()).expect("a name has at most 63 bytes"));
        bytes.extend_from_slice(domain.as_bytes());
        let sealed =
            self.cipher().encrypt([&bytes], master.secret.bytes()).expect("one header is below the limit");
        bytes.extend_from_slice(&sealed);
        MASTER.finish(bytes)
    }

    /// The master in bytes that [`RootKey::wrap`] gave.
    pub fn unwrap(&self, bytes: &[u8]) -> Result<MasterKey, CustodyError> {
        let (name, sealed_at) = read(bytes)?;
        if name.root != self.check() {
            return Err(CustodyError::OtherRoot { what: MASTER.what });
        }
        let (associated, sealed) = bytes[..bytes.len() - frame::CHECKSUM_BYTES].split_at(sealed_at);
        let mut plain = self
            .cipher()
            .decrypt([associated], sealed)
            .map_err(|_| CustodyError::SealBroken { what: MASTER.what })?;
        let secret = Secret::fill(|bytes| {
            bytes.copy_from_slice(&plain);
            Ok::<(), CustodyError>(())
        });
        plain.zeroize();
        Ok(MasterKey { domain: name.domain, version: name.version, secret: secret? })
    }

    pub(crate) fn cipher(&self) -> Aes256Siv {
        let mut key = Zeroizing::new([0; WRAP_KEY_BYTES]);
        expand(&self.0, WRAP_LABEL, &mut *key);
        Aes256Siv::new((&*key).into())
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(..)")
    }
}

/// What a wrapped master says of itself without its root. Nothing vouches for it until it is unwrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedName {
    /// Whose key it is.
    pub domain: DomainName,
    /// Which of the domain's keys.
    pub version: KeyVersion,
    /// The root it is under.
    pub root: RootCheck,
}

impl WrappedName {
    /// Reads the name alone.
    pub fn read(bytes: &[u8]) -> Result<Self, CustodyError> {
        read(bytes).map(|(name, _)| name)
    }
}

/// The name in a wrapped master, and where its sealed part begins.
fn read(bytes: &[u8]) -> Result<(WrappedName, usize), CustodyError> {
    let fields = MASTER.open(bytes)?;
    let damaged = CustodyError::Damaged { what: MASTER.what };
    let Some((fixed, rest)) = fields.split_at_checked(FIXED_BYTES - frame::HEAD_BYTES) else {
        return Err(damaged);
    };
    let Some((length, rest)) = rest.split_first() else { return Err(damaged) };
    let Some((domain, sealed)) = rest.split_at_checked(usize::from(*length)) else { return Err(damaged) };
    if sealed.len() != SEALED_BYTES || fixed[..2] != [0; 2] {
        return Err(damaged);
    }
    let version = u32::from_le_bytes(*fixed[2..].first_chunk().expect("the fixed part is longer"));
    let root = RootCheck(*fixed[6..].first_chunk().expect("the fixed part is longer"));
    let domain = DomainName::new(std::str::from_utf8(domain).map_err(|_| damaged.clone())?)?;
    Ok((
        WrappedName { domain, version: KeyVersion::new(version)?, root },
        FIXED_BYTES + 1 + usize::from(*length),
    ))
}

pub(crate) fn expand(key: &Secret<KEY_BYTES>, label: &[u8], out: &mut [u8]) {
    Hkdf::<Sha256>::from_prk(key.bytes())
        .expect("a key is as long as the hash")
        .expand(label, out)
        .expect("two blocks of output are far below the limit");
}
