//! What `twinkeep dev` and `twinkeep init` write is what the server reads.

use client::dev::{DevOptions, Member, prepare};
use store_node::config::{Config, RootKeyConfig, join};
use wire::descriptor::TokenRole;
use wire::{Incarnation, NodeId};

#[test]
fn every_process_of_a_development_region_finds_its_configuration_and_joins() {
    let base = tempfile::tempdir().expect("a folder");
    let options = DevOptions {
        region: None,
        standby_of: None,
        forward: None,
        pseudo: false,
        data: base.path().to_owned(),
        port_base: Some(26_000),
        nodes: None,
        groups: None,
        store_node: None,
    };
    let (folder, _) = prepare(&options).expect("a development region");
    for id in 1..=3 {
        let config = Config::load(&folder.config(Member::Node(id))).expect("a node's configuration");
        assert!(config.exit_on_stdin_eof && config.gateway.is_none());
        let identity = join::identity(&config).expect("a node's identity");
        assert_eq!(identity.role, TokenRole::Node { id: NodeId(id), incarnation: Incarnation(1) });
        let address = &identity.descriptor.node(NodeId(id)).expect("the node itself").peer_address;
        assert_eq!(*address, config.peer.listen.to_string());
    }
    let config = Config::load(&folder.config(Member::Gateway)).expect("the gateway's configuration");
    let identity = join::identity(&config).expect("the gateway's identity");
    assert_eq!(identity.role, TokenRole::Gateway { id: 1 });
    let gateway = config.gateway.expect("the gateway's tables");
    assert!(gateway.tls_certificate.exists() && gateway.tls_private_key.exists());
    let RootKeyConfig::File { file, passphrase } = gateway.root_key else { panic!("not a file") };
    let passphrase = passphrase.read().expect("the passphrase");
    let sealed = std::fs::read(file).expect("the sealed root key");
    assert!(envelope::open_root(passphrase.as_bytes(), &sealed).is_ok());
}
