//! Serde forms of the ids that appear in descriptors and admin messages: numbers as numbers, random ids as hexadecimal.

use crate::{
    DeploymentId, GroupId, Incarnation, NodeId, PrincipalId, RequestId, Revision, TenantId, UnixMillis,
};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! as_number {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Deserialize::deserialize(deserializer).map(Self)
            }
        }
    )*};
}

macro_rules! as_hex {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| D::Error::custom("expected 32 hexadecimal digits"))
            }
        }
    )*};
}

as_number!(GroupId, Incarnation, NodeId, PrincipalId, Revision, TenantId, UnixMillis);
as_hex!(DeploymentId, RequestId);
