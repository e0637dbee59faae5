//! A configuration file of any text: refused with an error that can be shown, or one that contradicts nothing.

use super::Seed;
use crate::config::Config;
use std::path::Path;

/// Reads the input as a configuration file.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let path = Path::new("fuzz.toml");
    let config = match Config::parse(path, text) {
        Ok(config) => config,
        Err(error) => return assert!(!error.to_string().is_empty(), "a refusal says why"),
    };
    assert!(config.roles.storage || config.roles.gateway, "a process without a role");
    assert_eq!(
        config.roles.storage,
        config.storage.is_some(),
        "the storage role and its settings go together"
    );
    assert_eq!(
        config.roles.gateway,
        config.gateway.is_some(),
        "the gateway role and its settings go together"
    );
    if let Some(gateway) = &config.gateway {
        let plain = gateway.listen_plain;
        assert!(plain.is_none_or(|address| address.ip().is_loopback()), "plain HTTP beyond this host");
        assert!(plain.or(gateway.listen_tls).is_some(), "a gateway that listens nowhere");
    }
    let again = Config::parse(path, text).map(|again| format!("{again:?}"));
    assert_eq!(again.ok(), Some(format!("{config:?}")), "the same text means the same");
}

/// The example configurations of `deploy/`.
pub fn seeds() -> Vec<Seed> {
    let files = [
        ("both", include_str!("../../../deploy/config/both.toml")),
        ("gateway", include_str!("../../../deploy/config/gateway.toml")),
        ("gateway-pkcs11", include_str!("../../../deploy/config/gateway-pkcs11.toml")),
        ("storage", include_str!("../../../deploy/config/storage.toml")),
    ];
    // comments say nothing to a parser and would only make the seeds long
    let code = |text: &str| {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| format!("{line}\n")).collect::<String>().into_bytes()
    };
    files.map(|(name, text)| (name, code(text))).to_vec()
}
