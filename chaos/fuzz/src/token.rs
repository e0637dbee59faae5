//! What an operator pastes or copies: join tokens, descriptors of regions and pairs; what regions of a pair say to each other of
//! it; and the names in certificates and versions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use wire::descriptor::{
    DESCRIPTOR_FORMAT, GatewayDescriptor, GatewayFiles, JoinToken, NodeDescriptor, PairDescriptor, PairHello,
    PairedRegion, PeerIdentity, RaftTimings, RegionDescriptor, SignedPair, TOKEN_PREFIX, TokenRole,
};
use wire::{
    DeploymentId, Digest, Incarnation, NodeId, RequestId, Sequence, UnixMillis, VersionId, VersionRef,
};
use zeroize::Zeroizing;

use crate::allocation::bounded;
use crate::{Seed, Target, check};

pub(crate) const TARGET: Target = Target { name: "token", run, seeds };

const TOKEN_TEXT: u8 = 0;
const TOKEN_BYTES: u8 = 1;
const DESCRIPTOR: u8 = 2;
const IDENTITY: u8 = 3;
const VERSION: u8 = 4;
const PAIR: u8 = 5;
const PAIR_HELLO: u8 = 6;

fn run(input: &[u8]) {
    let Some((number, rest)) = check::choice(input) else { return };
    if number == TOKEN_BYTES {
        // past base64 and checksum, which random changes never get right
        let text = STANDARD_NO_PAD.encode(check::with_checksum(rest));
        return token(&format!("{TOKEN_PREFIX}{text}"));
    }
    if number == PAIR_HELLO {
        let head = Bytes::copy_from_slice(rest);
        return check::canonical("pair greeting", &head, PairHello::decode, PairHello::encode);
    }
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match number {
        TOKEN_TEXT => token(text),
        DESCRIPTOR => descriptor(text),
        PAIR => {
            if let Ok(pair) = bounded("pair descriptor", text.len(), || SignedPair::parse(text)) {
                assert_eq!(pair.to_text(), text, "a pair descriptor has one spelling");
            }
        }
        IDENTITY => {
            if let Ok(identity) = PeerIdentity::parse(text) {
                assert_eq!(identity.to_string(), text, "an identity has one spelling");
            }
        }
        VERSION => {
            if let Some(version) = VersionRef::parse(text) {
                assert_eq!(VersionRef::parse(&version.to_string()), Some(version));
            }
        }
        _ => {}
    }
}

fn token(text: &str) {
    let Ok(token) = bounded("join token", text.len(), || JoinToken::parse(text)) else { return };
    let packed: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    assert_eq!(*token.to_text(), packed, "a token has one spelling");
}

fn descriptor(text: &str) {
    let Ok(region) = toml::from_str::<RegionDescriptor>(text) else { return };
    if region.validate().is_err() {
        return;
    }
    let written = toml::to_string(&region).expect("a valid descriptor has a TOML form");
    assert_eq!(toml::from_str::<RegionDescriptor>(&written).as_ref(), Ok(&region));
    for node in &region.nodes {
        assert_eq!(region.node(node.id), Some(node), "a node of a valid descriptor has its number alone");
    }
}

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

fn join_token(role: TokenRole, gateway: Option<GatewayFiles>) -> Zeroizing<String> {
    let token = JoinToken {
        id: RequestId([3; 16]),
        role,
        descriptor: "format = 1\n".into(),
        authority_certificate: "authority".into(),
        certificate: "certificate".into(),
        private_key: Zeroizing::new("none".into()),
        gateway,
    };
    token.to_text()
}

fn seeds() -> Vec<Seed> {
    let files = GatewayFiles {
        s3_certificate: "certificate".into(),
        s3_private_key: Zeroizing::new("none".into()),
        sealed_root_key: Bytes::from_static(b"sealed"),
    };
    let node = join_token(TokenRole::Node { id: NodeId(2), incarnation: Incarnation(1) }, None);
    let gateway = join_token(TokenRole::Gateway { id: 1 }, Some(files));
    let paired =
        |name: &str, byte| PairedRegion { name: name.into(), key: vec![byte; 91], members_since: None };
    let descriptor = PairDescriptor {
        deployment: DeploymentId([7; 16]),
        environment: "production".into(),
        jurisdiction: "eu".into(),
        serial: 3,
        issued_at: UnixMillis(1_795_384_644_123),
        regions: [paired("north-europe", 1), paired("west-europe", 2)],
    };
    let mut since = descriptor.clone();
    since.regions[1].members_since = Some(UnixMillis(1_795_384_644_000));
    let [pair, since] = [descriptor, since]
        .map(|descriptor| SignedPair { descriptor, signatures: [vec![3; 70], vec![4; 71]] }.to_text());
    let hello = PairHello { sha256: Digest([5; 32]), serial: 3, jurisdiction: "eu".into() };
    let bytes = |text: &str| STANDARD_NO_PAD.decode(&text[TOKEN_PREFIX.len()..]).expect("just encoded");
    let version = VersionRef { sequence: Sequence(77), version: VersionId([9; 16]) };
    let identity = "twinkeep://07070707070707070707070707070707/test/twin-1/node/2";
    let descriptor = toml::to_string(&region()).expect("a descriptor has a TOML form");
    vec![
        ("token-text", check::chosen(TOKEN_TEXT, node.as_bytes())),
        ("token-node", check::chosen(TOKEN_BYTES, &bytes(&node))),
        ("token-gateway", check::chosen(TOKEN_BYTES, &bytes(&gateway))),
        ("descriptor", check::chosen(DESCRIPTOR, descriptor.as_bytes())),
        ("pair", check::chosen(PAIR, pair.as_bytes())),
        ("pair-since", check::chosen(PAIR, since.as_bytes())),
        ("pair-hello", check::chosen(PAIR_HELLO, &hello.encode())),
        ("identity", check::chosen(IDENTITY, identity.as_bytes())),
        ("version", check::chosen(VERSION, version.to_string().as_bytes())),
    ]
}
