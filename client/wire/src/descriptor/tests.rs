//! Tests of descriptors, identities and join tokens.

use super::*;
use crate::RequestId;
use bytes::Bytes;
use zeroize::Zeroizing;

fn region() -> RegionDescriptor {
    let node = |id: u16| NodeDescriptor {
        id: NodeId(id),
        zone: format!("zone-{id}"),
        peer_address: format!("node-{id}.example:7600"),
        incarnation: Incarnation(1),
    };
    RegionDescriptor {
        format: DESCRIPTOR_FORMAT,
        deployment: DeploymentId([7; 16]),
        environment: "test".into(),
        jurisdiction: "eu".into(),
        region: "twin-1".into(),
        groups: 64,
        standby_of: None,
        replication: 3,
        initial_members: vec![NodeId(1), NodeId(2), NodeId(3)],
        timings: RaftTimings::default(),
        nodes: (1..=3).map(node).collect(),
        gateways: vec![GatewayDescriptor { id: 1, peer_address: "[::1]:7601".into() }],
    }
}

fn token() -> JoinToken {
    JoinToken {
        id: RequestId([3; 16]),
        role: TokenRole::Node { id: NodeId(2), incarnation: Incarnation(1) },
        descriptor: "format = 1\n".into(),
        authority_certificate: "authority".into(),
        certificate: "certificate".into(),
        private_key: Zeroizing::new("private".into()),
        gateway: Some(GatewayFiles {
            s3_certificate: "s3".into(),
            s3_private_key: Zeroizing::new("s3 private".into()),
            sealed_root_key: Bytes::from_static(b"sealed"),
        }),
    }
}

#[test]
fn a_descriptor_survives_its_toml_form() {
    let region = region();
    let text = toml::to_string(&region).unwrap();
    assert_eq!(toml::from_str::<RegionDescriptor>(&text).unwrap(), region);
    assert_eq!(region.validate(), Ok(()));
    assert!(text.contains("deployment = \"07070707070707070707070707070707\""), "{text}");
}

#[test]
fn every_contradiction_in_a_descriptor_is_named() {
    type Spoil = fn(&mut RegionDescriptor);
    let cases: [(Spoil, &str); 13] = [
        (|r| r.format = 2, "format 2"),
        (|r| r.environment = "Test".into(), "environment"),
        (|r| r.jurisdiction = String::new(), "jurisdiction"),
        (|r| r.region = "-x".into(), "region"),
        (|r| r.groups = 48, "power of two"),
        (|r| r.replication = 2, "replication"),
        (|r| r.nodes.truncate(2), "nodes"),
        (|r| r.nodes[1].id = NodeId(1), "node 1"),
        (|r| r.nodes[1].peer_address = "node".into(), "HOST:PORT"),
        (|r| r.nodes[1].peer_address = r.nodes[0].peer_address.clone(), "address"),
        (|r| r.nodes[2].zone = String::new(), "zone"),
        (|r| r.initial_members[0] = NodeId(2), "initial member 2"),
        (|r| r.timings.heartbeat_ms = 80, "heartbeat_ms"),
    ];
    for (spoil, word) in cases {
        let mut spoiled = region();
        spoil(&mut spoiled);
        let error = spoiled.validate().unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn a_token_survives_its_text_form_even_when_wrapped() {
    let text = token().to_text();
    let wrapped: String = text
        .as_bytes()
        .chunks(60)
        .map(|line| format!("{}\r\n", std::str::from_utf8(line).unwrap()))
        .collect();
    let read = JoinToken::parse(&wrapped).unwrap();
    assert_eq!(read.id, RequestId([3; 16]));
    assert_eq!(read.role, TokenRole::Node { id: NodeId(2), incarnation: Incarnation(1) });
    assert_eq!(read.private_key.as_str(), "private");
    assert_eq!(read.gateway.unwrap().sealed_root_key.as_ref(), b"sealed");
}

#[test]
fn a_tampered_or_cut_token_is_refused() {
    let text = token().to_text();
    for place in TOKEN_PREFIX.len()..text.len() {
        let mut tampered = text.as_bytes().to_vec();
        tampered[place] = if tampered[place] == b'A' { b'B' } else { b'A' };
        assert!(JoinToken::parse(std::str::from_utf8(&tampered).unwrap()).is_err(), "changed at {place}");
        assert!(JoinToken::parse(&text[..place]).is_err(), "cut at {place}");
    }
    assert_eq!(JoinToken::parse("hello").unwrap_err(), TokenError::NotAToken);
}

#[test]
fn a_token_does_not_show_its_key() {
    assert!(!format!("{:?}", token()).contains("private"));
}

#[test]
fn the_token_layout_is_golden() {
    let text = JoinToken { gateway: None, ..token() }.to_text();
    assert_eq!(
        text.as_str(),
        "twinkeep-join-1.VEtKVAEAAwMDAwMDAwMDAwMDAwMDAwECAAEACwAAAGZvcm1hdCA9IDEKCQAAAGF1dGhvcml0eQsAAABjZXJ0aWZpY2F0ZQcAAABwcml2YXRlAFdblck"
    );
}
