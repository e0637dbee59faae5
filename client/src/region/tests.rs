//! Tests of `init`: what it writes, with which rights, and that all of it fits together.

use super::*;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use wire::NodeId;
use wire::descriptor::RaftTimings;
use x509_parser::prelude::{FromDer, X509Certificate};

fn plan(gateways: Vec<GatewayPlan>) -> RegionPlan {
    let node = |id: u16| NodePlan {
        id: NodeId(id),
        peer_address: format!("node-{id}.example:7600"),
        zone: format!("zone-{id}"),
    };
    RegionPlan {
        region: "twin-1".into(),
        environment: "test".into(),
        jurisdiction: "eu".into(),
        groups: None,
        nodes: (1..=3).map(node).collect(),
        gateways,
        s3_names: vec!["s3.example.org".into(), "192.0.2.7".into()],
        timings: RaftTimings::default(),
        root: RootPlan::GeneratedPassphrase,
        standby_of: None,
    }
}

fn gateway() -> Vec<GatewayPlan> {
    vec![GatewayPlan { id: 1, peer_address: "gate.example:7600".into() }]
}

fn der(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(files::read(path).unwrap().as_bytes()).unwrap()
}

fn token(folder: &RegionFolder, role: TokenRole) -> JoinToken {
    JoinToken::parse(&files::read(&folder.token(role)).unwrap()).unwrap()
}

fn node(id: u16) -> TokenRole {
    TokenRole::Node { id: NodeId(id), incarnation: Incarnation(1) }
}

#[test]
fn a_new_region_is_complete_and_only_its_owners() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("region");
    let made = init(&root, &plan(vec![]), SystemTime::now()).unwrap();
    let folder = RegionFolder::new(&root);
    assert_eq!(folder.read_descriptor().unwrap(), made);
    assert_eq!((made.groups, made.region.as_str()), (64, "twin-1"));
    let mut count = 0;
    let mut rest = vec![root.clone()];
    while let Some(path) = rest.pop() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            assert_eq!(mode, 0o700, "{}", path.display());
            rest.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert_eq!(mode, 0o600, "{}", path.display());
            count += 1;
        }
    }
    assert_eq!(count, 14);
    assert!(!base.path().join("region.partial").exists());
}

#[test]
fn every_certificate_is_signed_by_the_authority_and_names_its_holder() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("region");
    let made = init(&root, &plan(vec![]), SystemTime::now()).unwrap();
    let folder = RegionFolder::new(&root);
    let authority = der(&folder.authority_certificate());
    let (_, authority) = X509Certificate::from_der(&authority).unwrap();
    let operator = der(&folder.operator().join("member.pem"));
    let node_token = token(&folder, node(2));
    let member = CertificateDer::from_pem_slice(node_token.certificate.as_bytes()).unwrap();
    let s3 = der(&folder.s3_certificate());
    for certificate in [&operator, &member, &s3] {
        let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
        assert_eq!(certificate.issuer(), authority.subject());
        assert!(!certificate.is_ca() && certificate.validity().is_valid());
    }
    let identity = trust::identity_of(&member).unwrap();
    assert_eq!(identity.to_string(), format!("twinkeep://{}/test/twin-1/node/2", made.deployment));
    assert_eq!(trust::identity_of(&operator).unwrap().role, PeerRole::Operator("admin".into()));
    assert!(trust::identity_of(&s3).is_err());
}

#[test]
fn the_root_key_opens_with_the_generated_passphrase_and_with_no_other() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("region");
    init(&root, &plan(vec![]), SystemTime::now()).unwrap();
    let folder = RegionFolder::new(&root);
    let passphrase = files::read(&folder.root_passphrase()).unwrap();
    let sealed = files::read_bytes(&folder.root_key()).unwrap();
    assert!(envelope::open_root(passphrase.trim_end().as_bytes(), &sealed).is_ok());
    assert!(envelope::open_root(b"another", &sealed).is_err());
}

#[test]
fn with_gateways_apart_storage_nodes_get_no_keys() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("region");
    init(&root, &plan(gateway()), SystemTime::now()).unwrap();
    let folder = RegionFolder::new(&root);
    assert!(token(&folder, node(1)).gateway.is_none());
    let files = token(&folder, TokenRole::Gateway { id: 1 }).gateway.unwrap();
    assert_eq!(files.sealed_root_key.as_ref(), files::read_bytes(&folder.root_key()).unwrap());
}

#[test]
fn a_region_is_never_made_over_something_else() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("region");
    fs::create_dir(&root).unwrap();
    init(&root, &plan(vec![]), SystemTime::now()).unwrap();
    let before = files::read_bytes(&root.join("ca/ca.key")).unwrap();
    assert!(matches!(init(&root, &plan(vec![]), SystemTime::now()), Err(ClientError::State { .. })));
    assert_eq!(files::read_bytes(&root.join("ca/ca.key")).unwrap(), before);
}

#[test]
fn a_plan_that_makes_no_region_leaves_nothing_behind() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("region");
    let two_nodes = RegionPlan { nodes: plan(vec![]).nodes[..2].to_vec(), ..plan(vec![]) };
    assert_eq!(init(&root, &two_nodes, SystemTime::now()).unwrap_err().exit_code(), 2);
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
}

#[test]
fn a_token_made_later_is_signed_by_the_same_authority() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("region");
    let mut made = init(&root, &plan(vec![]), SystemTime::now()).unwrap();
    let folder = RegionFolder::new(&root);
    let fresh = NodeDescriptor {
        id: NodeId(4),
        zone: "zone-4".into(),
        peer_address: "node-4.example:7600".into(),
        incarnation: Incarnation(1),
    };
    made.nodes.push(fresh.clone());
    let later = SystemTime::now() + Duration::from_secs(3600);
    let (id, path) = issue_node_token(&folder, &made, &fresh, true, later).unwrap();
    let token = JoinToken::parse(&files::read(&path).unwrap()).unwrap();
    assert_eq!((token.id, token.role), (id, node(4)));
    let authority = der(&folder.authority_certificate());
    let (_, authority) = X509Certificate::from_der(&authority).unwrap();
    let member = CertificateDer::from_pem_slice(token.certificate.as_bytes()).unwrap();
    let (_, member) = X509Certificate::from_der(&member).unwrap();
    assert_eq!(member.issuer(), authority.subject());
    let key_of = |certificate: &X509Certificate<'_>, wanted_authority: bool| {
        certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(id) if wanted_authority => {
                id.key_identifier.as_ref().map(|id| id.0.to_vec())
            }
            x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) if !wanted_authority => {
                Some(id.0.to_vec())
            }
            _ => None,
        })
    };
    assert!(key_of(&member, true).is_some());
    assert_eq!(key_of(&member, true), key_of(&authority, false));
}

#[test]
fn nodes_are_read_as_they_are_typed() {
    let parsed = NodePlan::parse("2=10.0.0.2:7600,zone=rack-b").unwrap();
    assert_eq!((parsed.id, parsed.zone.as_str()), (NodeId(2), "rack-b"));
    assert_eq!(NodePlan::parse("7=[::1]:7600").unwrap().zone, "zone-7");
    for wrong in ["", "2", "x=host:1", "2=host", "2=host:0", "2=host:1,rack=b"] {
        assert!(NodePlan::parse(wrong).is_err(), "{wrong}");
    }
}
