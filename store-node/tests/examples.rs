//! The example configurations that are shipped are accepted as they stand, and say what their names say.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::PathBuf;
use store_node::config::{Config, RootKeyConfig};

fn examples() -> Vec<(String, Config)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/config");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let parsed = files.into_iter().map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        let config = Config::parse(&path, &text).unwrap_or_else(|error| panic!("{error}"));
        (path.file_stem().unwrap().to_string_lossy().into_owned(), config)
    });
    parsed.collect()
}

#[test]
fn every_example_is_accepted() {
    let names: Vec<String> = examples().into_iter().map(|(name, _)| name).collect();
    for wanted in ["both", "container-gateway", "container-storage", "gateway", "gateway-pkcs11", "storage"] {
        assert!(names.iter().any(|name| name == wanted), "{wanted} is missing: {names:?}");
    }
}

#[test]
fn an_example_has_the_roles_of_its_name() {
    for (name, config) in examples() {
        let storage = name.contains("storage") || name == "both";
        let gateway = name.contains("gateway") || name == "both";
        assert_eq!((config.roles.storage, config.roles.gateway), (storage, gateway), "{name}");
    }
}

#[test]
fn no_example_takes_its_secret_from_the_environment() {
    // where any child process and any crash report could see it
    for (name, config) in examples() {
        let Some(gateway) = config.gateway else { continue };
        let source = match gateway.root_key {
            RootKeyConfig::File { passphrase, .. } => format!("{passphrase:?}"),
            RootKeyConfig::Pkcs11 { pin, .. } => format!("{pin:?}"),
        };
        assert!(!source.starts_with("Environment"), "{name}: {source}");
    }
}
