//! What a person signs with: a signing key in a file of their own, sealed under a passphrase by argon2id (RFC 9106).

use std::fmt;

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::{Zeroize, Zeroizing};

use crate::frame::{self, Frame};
use crate::sign::{PUBLIC_KEY_BYTES, PublicKey, SEALED_BYTES, SigningKey};
use crate::{CustodyError, NAME_BYTES_MAX, OperatorName};

/// Salt of a passphrase, bytes.
pub const SALT_BYTES: usize = 16;
/// Longest passphrase, bytes.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;
const SEAL_KEY_BYTES: usize = 64;
/// argon2id, version 0x13.
const KDF_ARGON2ID: u8 = 1;
/// Head 6, kdf 1, zero 1, memory 4, passes 4, lanes 4, salt 16.
const FIXED_BYTES: usize = frame::HEAD_BYTES + 2 + 12 + SALT_BYTES;
/// An operator's file, bytes.
pub const OPERATOR_BYTES_MAX: usize =
    FIXED_BYTES + 1 + NAME_BYTES_MAX + PUBLIC_KEY_BYTES + SEALED_BYTES + frame::CHECKSUM_BYTES;
const OPERATOR: Frame = Frame { what: "operator key", magic: *b"TKPO", bytes_max: OPERATOR_BYTES_MAX };
/// 1 GiB, 16 and 16: a file that asks for more is no file of ours, but an attack on the machine that opens it.
const COST_MAX: PassphraseCost = PassphraseCost { memory_kib: 1 << 20, passes: 16, lanes: 16 };
/// argon2 needs eight blocks of 1 KiB per lane.
const MEMORY_KIB_PER_LANE_MIN: u32 = 8;

/// How much a guess at a passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl PassphraseCost {
    /// The second choice of RFC 9106: a fraction of a second on any machine.
    pub const DEFAULT: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 4 };

    fn check(self) -> Result<Self, CustodyError> {
        let within = |what, found: u32, least: u32, most: u32| {
            let (found, least, most) = (u64::from(found), u64::from(least), u64::from(most));
            let inside = (least..=most).contains(&found);
            if inside { Ok(()) } else { Err(CustodyError::OutsideLimits { what, found, least, most }) }
        };
        within("argon2 lanes", self.lanes, 1, COST_MAX.lanes)?;
        within("argon2 passes", self.passes, 1, COST_MAX.passes)?;
        let least = MEMORY_KIB_PER_LANE_MIN * self.lanes;
        within("argon2 memory in KiB", self.memory_kib, least, COST_MAX.memory_kib)?;
        Ok(self)
    }
}

/// A person's key, open.
pub struct OperatorKey {
    /// Who.
    pub name: OperatorName,
    /// What they sign with.
    pub key: SigningKey,
}

/// What an operator's file says of itself without its passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorSeal {
    /// Who.
    pub name: OperatorName,
    /// The public half of their key.
    pub public: PublicKey,
}

impl OperatorKey {
    /// The bytes of the key sealed under a passphrase. `salt` is random and used once.
    pub fn seal(
        &self,
        passphrase: &[u8],
        cost: PassphraseCost,
        salt: [u8; SALT_BYTES],
    ) -> Result<Vec<u8>, CustodyError> {
        let mut cipher = cipher(passphrase, cost.check()?, &salt)?;
        let mut bytes = OPERATOR.begin();
        bytes.extend_from_slice(&[KDF_ARGON2ID, 0]);
        for number in [cost.memory_kib, cost.passes, cost.lanes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&salt);
        let name = self.name.as_str();
        bytes.push(u8::try_from(name.len()).expect("a name has at most 63 bytes"));
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&self.key.public().0);
        let sealed = cipher.encrypt([&bytes], self.key.seed()).expect("one header is below the limit");
        bytes.extend_from_slice(&sealed);
        Ok(OPERATOR.finish(bytes))
    }

    /// The key in bytes that [`OperatorKey::seal`] gave.
    pub fn open(passphrase: &[u8], bytes: &[u8]) -> Result<Self, CustodyError> {
        let parts = read(bytes)?;
        let mut cipher = cipher(passphrase, parts.cost.check()?, parts.salt)?;
        let (associated, sealed) = bytes[..bytes.len() - frame::CHECKSUM_BYTES].split_at(parts.sealed_at);
        let wrong = CustodyError::WrongPassphrase { what: OPERATOR.what };
        let plain = cipher.decrypt([associated], sealed).map_err(|_| wrong.clone())?;
        let key = SigningKey::of_seed(plain);
        if key.public() != parts.seal.public {
            return Err(wrong);
        }
        Ok(Self { name: parts.seal.name, key })
    }
}

impl OperatorSeal {
    /// Reads who it is. Nothing vouches for it until it is opened.
    pub fn read(bytes: &[u8]) -> Result<Self, CustodyError> {
        read(bytes).map(|parts| parts.seal)
    }
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorKey").field("name", &self.name).finish_non_exhaustive()
    }
}

struct Parts<'a> {
    seal: OperatorSeal,
    cost: PassphraseCost,
    salt: &'a [u8; SALT_BYTES],
    sealed_at: usize,
}

fn read(bytes: &[u8]) -> Result<Parts<'_>, CustodyError> {
    let fields = OPERATOR.open(bytes)?;
    let damaged = CustodyError::Damaged { what: OPERATOR.what };
    let Some((fixed, rest)) = fields.split_first_chunk::<{ FIXED_BYTES - frame::HEAD_BYTES }>() else {
        return Err(damaged);
    };
    let Some((length, rest)) = rest.split_first() else { return Err(damaged) };
    let Some((name, rest)) = rest.split_at_checked(usize::from(*length)) else { return Err(damaged) };
    let Some((public, sealed)) = rest.split_first_chunk::<PUBLIC_KEY_BYTES>() else { return Err(damaged) };
    if sealed.len() != SEALED_BYTES || fixed[..2] != [KDF_ARGON2ID, 0] {
        return Err(damaged);
    }
    let number =
        |at: usize| u32::from_le_bytes(*fixed[at..].first_chunk().expect("the fixed part is longer"));
    let name = OperatorName::new(std::str::from_utf8(name).map_err(|_| damaged.clone())?)?;
    Ok(Parts {
        seal: OperatorSeal { name, public: PublicKey(*public) },
        cost: PassphraseCost { memory_kib: number(2), passes: number(6), lanes: number(10) },
        salt: fixed[14..].first_chunk().expect("the fixed part is longer"),
        sealed_at: FIXED_BYTES + 1 + usize::from(*length) + PUBLIC_KEY_BYTES,
    })
}

fn cipher(
    passphrase: &[u8],
    cost: PassphraseCost,
    salt: &[u8; SALT_BYTES],
) -> Result<Aes256Siv, CustodyError> {
    if passphrase.is_empty() || passphrase.len() > PASSPHRASE_BYTES_MAX {
        let (found, most) = (passphrase.len() as u64, PASSPHRASE_BYTES_MAX as u64);
        return Err(CustodyError::OutsideLimits { what: "passphrase in bytes", found, least: 1, most });
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(SEAL_KEY_BYTES))
        .expect("the cost is within argon2's own limits");
    let mut memory = Vec::new();
    let blocks = params.block_count();
    let no_memory = |_| CustodyError::NoMemory { memory_kib: cost.memory_kib };
    memory.try_reserve_exact(blocks).map_err(no_memory)?;
    memory.resize(blocks, Block::default());
    let mut key = Zeroizing::new([0; SEAL_KEY_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase, salt, &mut *key, &mut memory)
        .expect("passphrase, salt and output lengths are within argon2's limits");
    memory.zeroize();
    Ok(Aes256Siv::new((&*key).into()))
}
