//! TLS towards a region: the other end must be a node or gateway of the region in the descriptor. Names and addresses
//! play no part.

use crate::deployment::IdentityFolder;
use crate::{ClientError, files};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::path::Path;
use thiserror::Error;
use trust::{Credentials, CredentialsError, IdentityError, Presented};
use wire::descriptor::{ForeignPeer, PeerIdentity, PeerRole, RegionDescriptor};

/// Why the other end is not the region.
#[derive(Debug, Error)]
enum NotOurs {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Foreign(#[from] ForeignPeer),
    #[error("an operator answers instead of a node or gateway")]
    Role,
}

/// A TLS configuration for asking the region under the identity.
pub(super) fn client_config(
    identity: &IdentityFolder,
    descriptor: &RegionDescriptor,
) -> Result<ClientConfig, ClientError> {
    let [chain, key, authority] =
        [identity.certificate(), identity.private_key(), identity.authority_certificate()];
    let read = |path: &Path| files::read(path);
    let credentials =
        Credentials::from_pem(read(&chain)?.as_bytes(), read(&key)?.as_bytes(), read(&authority)?.as_bytes());
    let credentials = credentials.map_err(|error| match error {
        CredentialsError::Pem { what } => {
            let path = match what {
                "key" => key,
                "authority" => authority,
                _ => chain,
            };
            ClientError::Content { path, problem: error.to_string() }
        }
        CredentialsError::Refused { source } => refused(source),
    })?;
    // whom the region's members must resemble; the role is judged apart
    let region = PeerIdentity {
        deployment: descriptor.deployment,
        environment: descriptor.environment.clone(),
        region: descriptor.region.clone(),
        role: PeerRole::Operator(String::new()),
    };
    let judge = move |found: Result<PeerIdentity, IdentityError>, _name: &ServerName<'_>, _: Presented| {
        let found = found?;
        region.accepts(&found)?;
        match found.role {
            PeerRole::Node(_) | PeerRole::Gateway(_) => Ok(()),
            PeerRole::Pair(_) | PeerRole::Witness(_) | PeerRole::Operator(_) => Err(NotOurs::Role),
        }
    };
    trust::client_config(&credentials, Box::new(judge)).map_err(refused)
}

/// TLS asks for a name; it is neither sent nor compared.
pub(super) fn placeholder_name() -> ServerName<'static> {
    ServerName::try_from("twinkeep").expect("letters are a DNS label")
}

fn refused(error: rustls::Error) -> ClientError {
    ClientError::Crypto { what: "using the operator's certificate", problem: error.to_string() }
}
