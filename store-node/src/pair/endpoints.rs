//! Whether the endpoints that requests are passed on to can be the other region's, as far as this process can tell.
//!
//! An endpoint is whose certificate says so, and the certificate is believed when one of the authorities in `pair.authority`
//! signed it. Where one of these is a region's own authority, its name and key tell which region's. An authority that you
//! brought yourself, or a public one, tells nothing, and is left to whoever named it.

use super::{Paired, PairingError};
use crate::config::{ForwardConfig, join::MemberIdentity};
use crate::server::ServeError;

/// Refuses endpoints that are trusted by the authority of a region which is no part of this pair, or of this region alone.
pub(crate) fn check(
    forward: &ForwardConfig,
    own: &MemberIdentity,
    pair: Option<&Paired>,
) -> Result<(), ServeError> {
    // plain HTTP within this machine: nothing says whose it is
    let Some(path) = &forward.authority else { return Ok(()) };
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|source| ServeError::File { path: path.to_owned(), source })
    };
    let refuse = |problem: String| Err(PairingError::Endpoints { path: path.clone(), problem }.into());
    // one that cannot be read is for whoever makes TLS of it
    let Some((found, others)) = trust::region_authorities(&read(path)?) else { return Ok(()) };
    let own_keys = trust::public_keys(&read(&own.authority_certificate())?).unwrap_or_default();
    let region = &own.descriptor.region;
    for authority in &found {
        if authority.deployment != own.descriptor.deployment {
            let problem =
                format!("the authority of a region of another deployment, {}", authority.deployment);
            return refuse(problem);
        }
        let is_named = |pair: &Paired| pair.keys.contains(&authority.key);
        if pair.is_some_and(|pair| !is_named(pair)) {
            return refuse("the authority of a region that the pair descriptor does not name".to_owned());
        }
    }
    if others == 0 && found.iter().all(|authority| own_keys.contains(&authority.key)) {
        return refuse(format!("the authority of {region}, which is this region itself"));
    }
    Ok(())
}
