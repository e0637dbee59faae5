//! Newtypes for everything that is counted or named, so that two integers cannot be swapped.
//!
//! Random ids are drawn by the caller (this crate draws nothing); text forms are lowercase hexadecimal.

use std::fmt;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

/// The first primary's epoch; a group that was never written to does not know it yet.
pub const FIRST_EPOCH: Epoch = Epoch(1);

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for byte in self.0 {
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl $name {
            /// Parses 32 hexadecimal digits.
            pub fn parse(text: &str) -> Option<Self> {
                parse_hex16(text).map(Self)
            }
        }
    };
}

number_id! {
    /// One storage node of a region, 1 to 65,535; given at `init` or `node add`, never reused.
    NodeId(u16)
}
number_id! {
    /// How often a node's disk began anew: a wiped node comes back under the next incarnation.
    Incarnation(u16)
}
number_id! {
    /// A replica in Raft's eyes: node and incarnation together, so that a wiped disk never votes under its old identity.
    ReplicaId(u64)
}
number_id! {
    /// One Raft group. 0 is the system group, 1 to G hold objects.
    GroupId(u32)
}
number_id! {
    /// Number of the current primary's reign over the pair.
    Epoch(u64)
}
number_id! {
    /// A bucket: the revision at which it was created, so that a bucket made again under the same name is another one.
    BucketId(u64)
}
number_id! {
    /// A person or a service: the revision at which it was registered.
    PrincipalId(u64)
}
number_id! {
    /// A tenant: keys, names and quotas are apart per tenant.
    TenantId(u64)
}
number_id! {
    /// Position of a version's commit in its group's log: the one total order of a key's versions.
    Sequence(u64)
}
number_id! {
    /// Position of a change in the system group's log.
    Revision(u64)
}

random_id! {
    /// One version of one object; chosen by the gateway before sealing, since chunks are bound to it.
    VersionId
}
random_id! {
    /// One run of sealed chunks: the body of a PUT, or one attempt at one part.
    StreamId
}
random_id! {
    /// One request of a client; a command keeps it through every retry, so that it applies once.
    RequestId
}
random_id! {
    /// One region pair in one environment; peers of another deployment are refused.
    DeploymentId
}

impl GroupId {
    /// The group that holds buckets, principals, grants, wrapped keys and the node map.
    pub const SYSTEM: Self = Self(0);
}

impl ReplicaId {
    /// The replica that `node` runs in its `incarnation`.
    pub const fn new(node: NodeId, incarnation: Incarnation) -> Self {
        // widening casts: `From` is not const
        Self(((node.0 as u64) << 16) | incarnation.0 as u64)
    }

    /// The node that runs this replica.
    pub const fn node(self) -> NodeId {
        NodeId((self.0 >> 16) as u16)
    }

    /// The disk's incarnation under which it runs.
    pub const fn incarnation(self) -> Incarnation {
        Incarnation(self.0 as u16)
    }
}

/// A version as clients name it: its place in the key's order and its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionRef {
    /// Where it stands in the order.
    pub sequence: Sequence,
    /// Which one it is.
    pub version: VersionId,
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{}", self.sequence.0, self.version)
    }
}

impl VersionRef {
    /// Parses the 48 hexadecimal digits of [`fmt::Display`].
    pub fn parse(text: &str) -> Option<Self> {
        let (sequence, version) = text.split_at_checked(16)?;
        if !sequence.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        Some(Self {
            sequence: Sequence(u64::from_str_radix(sequence, 16).ok()?),
            version: VersionId::parse(version)?,
        })
    }
}

/// The data group that holds every version of `key`: 1 to `groups`, which is a power of two.
pub fn group_of(bucket: BucketId, key: &[u8], groups: u32) -> GroupId {
    assert!(groups.is_power_of_two(), "a region's group count is a power of two");
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bucket.0.to_le_bytes()), key);
    // CRC is linear: neighbouring keys differ in few bits. The finaliser of SplitMix64 spreads them.
    let mut mixed = u64::from(checksum).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    GroupId(1 + (mixed & u64::from(groups - 1)) as u32)
}

fn parse_hex16(text: &str) -> Option<[u8; 16]> {
    let digits = text.as_bytes();
    if digits.len() != 32 {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high * 16 + low) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_reference_survives_its_text_form() {
        let reference = VersionRef { sequence: Sequence(77), version: VersionId([9; 16]) };
        assert_eq!(VersionRef::parse(&reference.to_string()), Some(reference));
        for wrong in ["", "null", "+00000000000004d", &"é".repeat(24), &"0".repeat(47)] {
            assert_eq!(VersionRef::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_replica_id_holds_node_and_incarnation() {
        let replica = ReplicaId::new(NodeId(513), Incarnation(7));
        assert_eq!((replica.node(), replica.incarnation()), (NodeId(513), Incarnation(7)));
    }

    #[test]
    fn keys_spread_over_groups_and_stay_where_they_were() {
        let mut counts = [0_u32; 8];
        for number in 0..8_000 {
            let group = group_of(BucketId(3), format!("job-{number:08}").as_bytes(), 8);
            counts[group.0 as usize - 1] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        // golden: placement is part of the format
        assert_eq!(group_of(BucketId(3), b"job-1", 256), GroupId(67));
    }
}
