//! The root key in a file, sealed under a passphrase: argon2id (RFC 9106) makes the sealing key.
//!
//! The cost is stored in the file and bounded when read, so that a hostile file takes neither much memory nor much
//! time. A wrong passphrase and an edited cost or salt look alike; damage by accident is told apart by the checksum.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use bytes::{BufMut, Bytes};
use wire::DecodeError;
use zeroize::Zeroize;

use crate::EnvelopeError;
use crate::frame::{Frame, HEAD_BYTES};
use crate::secret::{KEY_BYTES, RootKey, Secret};
use crate::suite::{Cipher, NONCE_BYTES, TAG_BYTES};

/// Salt of a root file, bytes; random, fresh for every sealing.
pub const SALT_BYTES: usize = 16;

/// A passphrase, bytes: longer than anyone types, short enough to hash at once.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;

/// 512 MiB: eight times the standard cost, and still there on the smallest machine that serves.
const MEMORY_KIB_MAX: u32 = 512 << 10;

/// 16: with the most memory a few seconds, after which an operator would rather wait no longer.
const PASSES_MAX: u32 = 16;

/// 16: as many cores as a small server has.
const LANES_MAX: u32 = 16;

/// argon2 needs eight blocks of 1 KiB per lane.
const MEMORY_KIB_PER_LANE_MIN: u32 = 8;

/// What guessing a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl PassphraseCost {
    /// RFC 9106's second recommendation: 64 MiB, 3 passes, 4 lanes.
    pub const STANDARD: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 4 };

    /// A cost within the limits.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, EnvelopeError> {
        let within = |what, found: u32, least: u32, most: u32| {
            let in_range = (least..=most).contains(&found);
            let (found, least, most) = (u64::from(found), u64::from(least), u64::from(most));
            in_range.then_some(()).ok_or(EnvelopeError::OutsideLimits { what, found, least, most })
        };
        within("argon2 lanes", lanes, 1, LANES_MAX)?;
        within("argon2 passes", passes, 1, PASSES_MAX)?;
        within("argon2 memory in KiB", memory_kib, MEMORY_KIB_PER_LANE_MIN * lanes, MEMORY_KIB_MAX)?;
        Ok(Self { memory_kib, passes, lanes })
    }

    /// Memory it takes, KiB.
    pub fn memory_kib(self) -> u32 {
        self.memory_kib
    }
}

/// Head 6, kdf 1, zero 1, memory 4, passes 4, lanes 4, salt 16.
const OPEN_BYTES: usize = HEAD_BYTES + 2 + 12 + SALT_BYTES;

/// The whole file.
const FILE_BYTES: usize = OPEN_BYTES + KEY_BYTES + TAG_BYTES + 4;

const FRAME: Frame = Frame { what: "root key file", magic: *b"TKRK", format: 1, bytes_max: FILE_BYTES };

/// argon2id, version 0x13.
const KDF_ARGON2ID: u8 = 1;

/// The sealing key is fresh with every salt and seals one message, so its nonce need not vary.
const NONCE: [u8; NONCE_BYTES] = [0; NONCE_BYTES];

const LABEL: &[u8] = b"twinkeep-root-01";

/// The bytes of a file that holds `root` sealed under `passphrase`. `salt` is random and used once.
pub fn seal_root(
    passphrase: &[u8],
    cost: PassphraseCost,
    salt: [u8; SALT_BYTES],
    root: &RootKey,
) -> Result<Bytes, EnvelopeError> {
    if passphrase.is_empty() || passphrase.len() > PASSPHRASE_BYTES_MAX {
        let (found, most) = (passphrase.len() as u64, PASSPHRASE_BYTES_MAX as u64);
        return Err(EnvelopeError::OutsideLimits { what: "passphrase in bytes", found, least: 1, most });
    }
    let cipher = passphrase_cipher(passphrase, cost, &salt)?;
    let mut buffer = FRAME.begin(FILE_BYTES - HEAD_BYTES);
    buffer.put_u8(KDF_ARGON2ID);
    buffer.put_u8(0);
    buffer.put_u32_le(cost.memory_kib);
    buffer.put_u32_le(cost.passes);
    buffer.put_u32_le(cost.lanes);
    buffer.put_slice(&salt);
    let associated = [LABEL, &buffer].concat();
    buffer.put_slice(root.0.bytes());
    let tag = cipher.seal(&NONCE, &associated, &mut buffer[OPEN_BYTES..]);
    buffer.put_slice(&tag);
    Ok(FRAME.finish(buffer))
}

/// The root key in a file that [`seal_root`] wrote.
pub fn open_root(passphrase: &[u8], file: &[u8]) -> Result<RootKey, EnvelopeError> {
    // one byte more than a file has, so that a longer one is still seen as longer
    let bounded = Bytes::copy_from_slice(&file[..file.len().min(FILE_BYTES + 1)]);
    let (_, mut fields) = FRAME.open(bounded.clone())?;
    let mut read = || -> Result<_, DecodeError> {
        for known in [KDF_ARGON2ID, 0] {
            let found = fields.u8()?;
            if found != known {
                return Err(fields.unknown(u64::from(found)));
            }
        }
        let cost = (fields.u32()?, fields.u32()?, fields.u32()?);
        let salt: [u8; SALT_BYTES] = fields.array()?;
        let sealed: [u8; KEY_BYTES] = fields.array()?;
        let tag: [u8; TAG_BYTES] = fields.array()?;
        fields.clone().finish()?;
        Ok((cost, salt, sealed, tag))
    };
    let ((memory_kib, passes, lanes), salt, sealed, tag) = read().map_err(|e| FRAME.damaged(e))?;
    let cost = PassphraseCost::new(memory_kib, passes, lanes)?;
    if passphrase.is_empty() || passphrase.len() > PASSPHRASE_BYTES_MAX {
        return Err(EnvelopeError::WrongPassphrase);
    }
    let cipher = passphrase_cipher(passphrase, cost, &salt)?;
    let associated = [LABEL, &bounded[..OPEN_BYTES]].concat();
    let mut root = Secret::zeroed();
    root.bytes_mut().copy_from_slice(&sealed);
    match cipher.open(&NONCE, &associated, root.bytes_mut(), &tag) {
        Ok(()) => Ok(RootKey(root)),
        Err(_) => Err(EnvelopeError::WrongPassphrase),
    }
}

fn passphrase_cipher(
    passphrase: &[u8],
    cost: PassphraseCost,
    salt: &[u8; SALT_BYTES],
) -> Result<Cipher, EnvelopeError> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES))
        .expect("a PassphraseCost is within argon2's own limits");
    let mut memory = Vec::new();
    let blocks = params.block_count();
    memory
        .try_reserve_exact(blocks)
        .map_err(|_| EnvelopeError::OutOfMemory { memory_kib: cost.memory_kib })?;
    memory.resize(blocks, Block::default());
    let mut key = Secret::zeroed();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase, salt, key.bytes_mut(), &mut memory)
        .expect("passphrase, salt and output lengths are within argon2's limits");
    memory.zeroize();
    Ok(Cipher::new(&key))
}
