//! A person's second factor: time-based one-time passwords (RFC 6238 over RFC 4226), with the secret wrapped under the root.
//!
//! HMAC-SHA-1, six digits, steps of 30 seconds: what every authenticator takes. Which steps were used already is the caller's to keep.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::frame::{self, Frame};
use crate::root::{CHECK_BYTES, RootCheck, RootKey};
use crate::secret::Secret;
use crate::{CustodyError, NAME_BYTES_MAX, OperatorName};

/// A secret, bytes: as long as the hash (RFC 4226, section 4, R6).
pub const TOTP_SECRET_BYTES: usize = 20;
/// Seconds of a step.
pub const TOTP_STEP_SECONDS: u64 = 30;
/// Digits of a code.
pub const TOTP_DIGITS: u32 = 6;
/// Steps to either side of now that count: clocks differ, and people type slowly (RFC 6238, section 5.2).
pub const TOTP_STEPS_ASIDE: u64 = 1;

const SIV_BYTES: usize = 16;
const SEALED_BYTES: usize = SIV_BYTES + TOTP_SECRET_BYTES;
/// Head 6, zero 2, check 16.
const FIXED_BYTES: usize = frame::HEAD_BYTES + 2 + CHECK_BYTES;
/// A wrapped secret, bytes.
pub const WRAPPED_TOTP_BYTES_MAX: usize =
    FIXED_BYTES + 1 + NAME_BYTES_MAX + SEALED_BYTES + frame::CHECKSUM_BYTES;
const TOTP: Frame = Frame { what: "second factor", magic: *b"TKPF", bytes_max: WRAPPED_TOTP_BYTES_MAX };

/// The second factor of an operator.
pub struct TotpSecret {
    operator: OperatorName,
    secret: Secret<TOTP_SECRET_BYTES>,
}

impl TotpSecret {
    /// A new secret, filled by the caller's source of random bytes.
    pub fn generate<E>(
        operator: OperatorName,
        random: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        Ok(Self { operator, secret: Secret::fill(random)? })
    }

    /// Whose it is.
    pub fn operator(&self) -> &OperatorName {
        &self.operator
    }

    /// The code of a step, in so many digits.
    pub fn code(&self, step: u64, digits: u32) -> u32 {
        let mut mac = Hmac::<Sha1>::new_from_slice(self.secret.bytes()).expect("HMAC takes any key");
        mac.update(&step.to_be_bytes());
        let code = mac.finalize().into_bytes();
        let at = usize::from(code[19] & 15);
        let number = u32::from_be_bytes(*code[at..].first_chunk().expect("15 and four are below 20"));
        (number & 0x7fff_ffff) % 10_u32.pow(digits)
    }

    /// The step whose code this is, if it is one that counts now and comes after `used`.
    pub fn accept(&self, code: &str, now: u64, used: Option<u64>) -> Option<u64> {
        let is_code = code.len() == TOTP_DIGITS as usize && code.bytes().all(|digit| digit.is_ascii_digit());
        let code: u32 = code.parse().ok().filter(|_| is_code)?;
        let step = now / TOTP_STEP_SECONDS;
        let mut found = None;
        // all of them, so that time does not tell which
        for step in step.saturating_sub(TOTP_STEPS_ASIDE)..=step + TOTP_STEPS_ASIDE {
            if self.code(step, TOTP_DIGITS) == code && used.is_none_or(|used| step > used) && found.is_none()
            {
                found = Some(step);
            }
        }
        found
    }

    /// What an authenticator takes in: shown once, to the person alone.
    pub fn uri(&self) -> Zeroizing<String> {
        let text = Zeroizing::new(base32(self.secret.bytes()));
        let name = &self.operator;
        Zeroizing::new(format!(
            "otpauth://totp/Twinkeep%20pseudo:{name}?secret={}&issuer=Twinkeep%20pseudo&algorithm=SHA1&digits={TOTP_DIGITS}&period={TOTP_STEP_SECONDS}",
            *text
        ))
    }
}

impl RootKey {
    /// The bytes of a second factor under this root.
    pub fn wrap_totp(&self, totp: &TotpSecret) -> Vec<u8> {
        let name = totp.operator.as_str();
        let mut bytes = TOTP.begin();
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&self.check().0);
        bytes.push(u8::try_from(name.len()).expect("a name has at most 63 bytes"));
        bytes.extend_from_slice(name.as_bytes());
        let sealed = self.cipher().encrypt([&bytes], totp.secret.bytes());
        bytes.extend_from_slice(&sealed.expect("one header is below the limit"));
        TOTP.finish(bytes)
    }

    /// The second factor in bytes that [`RootKey::wrap_totp`] gave.
    pub fn unwrap_totp(&self, bytes: &[u8]) -> Result<TotpSecret, CustodyError> {
        let (what, fields) = (TOTP.what, TOTP.open(bytes)?);
        let damaged = || CustodyError::Damaged { what };
        let (fixed, rest) =
            fields.split_first_chunk::<{ FIXED_BYTES - frame::HEAD_BYTES }>().ok_or_else(damaged)?;
        let (length, rest) = rest.split_first().ok_or_else(damaged)?;
        let (name, sealed) = rest.split_at_checked(usize::from(*length)).ok_or_else(damaged)?;
        if sealed.len() != SEALED_BYTES || fixed[..2] != [0; 2] {
            return Err(damaged());
        }
        if RootCheck(*fixed[2..].first_chunk().expect("the fixed part is longer")) != self.check() {
            return Err(CustodyError::OtherRoot { what });
        }
        let operator = OperatorName::new(std::str::from_utf8(name).map_err(|_| damaged())?)?;
        let associated = &bytes[..bytes.len() - frame::CHECKSUM_BYTES - SEALED_BYTES];
        let plain = self.cipher().decrypt([associated], sealed);
        let plain = Zeroizing::new(plain.map_err(|_| CustodyError::SealBroken { what })?);
        TotpSecret::generate(operator, |bytes| {
            bytes.copy_from_slice(&plain);
            Ok(())
        })
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TotpSecret").field("operator", &self.operator).finish_non_exhaustive()
    }
}

/// RFC 4648, section 6, of whole groups of five bytes.
fn base32(bytes: &[u8; TOTP_SECRET_BYTES]) -> String {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(TOTP_SECRET_BYTES / 5 * 8);
    for group in bytes.chunks_exact(5) {
        let bits = group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        (0..8).rev().for_each(|place| text.push(char::from(DIGITS[(bits >> (5 * place)) as usize & 31])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc() -> TotpSecret {
        let fill = |bytes: &mut [u8]| {
            bytes.copy_from_slice(b"12345678901234567890");
            Ok::<(), ()>(())
        };
        TotpSecret::generate(OperatorName::new("ada").unwrap(), fill).unwrap()
    }

    #[test]
    fn codes_are_those_of_rfc_6238_appendix_b() {
        for (time, code) in [
            (59, 94_287_082),
            (1_111_111_109, 7_081_804),
            (1_111_111_111, 14_050_471),
            (1_234_567_890, 89_005_924),
            (2_000_000_000, 69_279_037),
            (20_000_000_000, 65_353_130),
        ] {
            assert_eq!(rfc().code(time / TOTP_STEP_SECONDS, 8), code, "{time}");
        }
    }

    #[test]
    fn codes_are_those_of_rfc_4226_appendix_d() {
        let codes =
            [755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583, 399_871, 520_489];
        for (step, code) in (0..).zip(codes) {
            assert_eq!(rfc().code(step, 6), code, "{step}");
        }
    }

    #[test]
    fn a_code_counts_once_and_only_around_its_time() {
        let totp = rfc();
        let code = format!("{:06}", totp.code(100, 6));
        for (now, step) in
            [(2969, None), (2970, Some(100)), (3000, Some(100)), (3059, Some(100)), (3060, None)]
        {
            assert_eq!(totp.accept(&code, now, None), step, "{now}");
        }
        assert_eq!(totp.accept(&code, 3000, Some(99)), Some(100));
        assert_eq!(totp.accept(&code, 3000, Some(100)), None, "used");
        for other in ["", "12345", "1234567", "+12345", "      ", "１２３４５６"] {
            assert_eq!(totp.accept(other, 3000, None), None);
        }
    }

    #[test]
    fn the_uri_holds_the_secret_as_authenticators_read_it() {
        let uri = rfc().uri();
        assert!(uri.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&"), "{}", *uri);
        assert_eq!(format!("{:?}", rfc()), "TotpSecret { operator: OperatorName(\"ada\"), .. }");
    }
}
