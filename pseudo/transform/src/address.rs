//! Addresses of the Internet cut to their network: `10.1.0.0/16`.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::within;
use crate::{Clear, Kind, TransformError};

/// Bits of an IPv4 address.
pub const IPV4_BITS: u8 = 32;
/// Bits of an IPv6 address.
pub const IPV6_BITS: u8 = 128;

/// How many bits of an address are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpPrefix {
    keep_v4: u8,
    keep_v6: u8,
}

impl IpPrefix {
    /// Keeps so many leading bits; an address is never kept whole.
    pub fn new(keep_v4: u8, keep_v6: u8) -> Result<Self, TransformError> {
        within("bits kept of an IPv4 address", u64::from(keep_v4), 0, u64::from(IPV4_BITS) - 1)?;
        within("bits kept of an IPv6 address", u64::from(keep_v6), 0, u64::from(IPV6_BITS) - 1)?;
        Ok(Self { keep_v4, keep_v6 })
    }

    /// Whether more bits are left than these.
    pub fn keeps_more_than(&self, v4: u8, v6: u8) -> bool {
        self.keep_v4 > v4 || self.keep_v6 > v6
    }

    /// Appends the network. An IPv4 address in IPv6 form is taken as what it is.
    pub fn apply(&self, value: &Clear<'_>, out: &mut Vec<u8>) -> Result<Kind, TransformError> {
        let text = match value {
            Clear::Null => return Ok(Kind::Null),
            Clear::Text(text) => text,
            _ => return Err(TransformError::Type { technique: "ip-prefix" }),
        };
        let address: IpAddr = text.parse().map_err(|_| TransformError::Form { wanted: "an IP address" })?;
        // writing into memory does not fail
        let _ = match address.to_canonical() {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(u32::from(IPV4_BITS - self.keep_v4)).unwrap_or(0);
                write!(out, "{}/{}", Ipv4Addr::from_bits(address.to_bits() & mask), self.keep_v4)
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(u32::from(IPV6_BITS - self.keep_v6)).unwrap_or(0);
                write!(out, "{}/{}", Ipv6Addr::from_bits(address.to_bits() & mask), self.keep_v6)
            }
        };
        Ok(Kind::Text)
    }
}
