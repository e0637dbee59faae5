//! Tests of pair descriptors with real authorities.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey};
use wire::descriptor::{DESCRIPTOR_FORMAT, NodeDescriptor, RaftTimings};
use wire::{DeploymentId, Incarnation, NodeId, UnixMillis};

struct Authority {
    key: KeyPair,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { key, pem }
    }

    fn public(&self) -> Vec<u8> {
        public_keys(self.pem.as_bytes()).unwrap().remove(0)
    }
}

fn region(name: &str) -> RegionDescriptor {
    let node = |id: u16| NodeDescriptor {
        id: NodeId(id),
        zone: format!("zone-{id}"),
        peer_address: format!("node-{id}.{name}.example:7600"),
        incarnation: Incarnation(1),
    };
    RegionDescriptor {
        format: DESCRIPTOR_FORMAT,
        deployment: DeploymentId([7; 16]),
        environment: "production".into(),
        jurisdiction: "eu".into(),
        region: name.into(),
        groups: 8,
        standby_of: None,
        replication: 3,
        initial_members: (1..=3).map(NodeId).collect(),
        timings: RaftTimings::default(),
        nodes: (1..=3).map(node).collect(),
        gateways: Vec::new(),
    }
}

fn descriptor(one: &Authority, two: &Authority) -> PairDescriptor {
    let side = |name: &str, authority: &Authority| PairedRegion {
        name: name.into(),
        key: authority.public(),
        members_since: None,
    };
    PairDescriptor {
        deployment: DeploymentId([7; 16]),
        environment: "production".into(),
        jurisdiction: "eu".into(),
        serial: 1,
        issued_at: UnixMillis(1),
        regions: [side("north-europe", one), side("west-europe", two)],
    }
}

fn signed(descriptor: PairDescriptor, by: [&Authority; 2]) -> String {
    let statement = descriptor.statement();
    let signatures = by.map(|authority| authority.key.sign(statement.as_bytes()).unwrap());
    SignedPair { descriptor, signatures }.to_text()
}

#[test]
fn a_descriptor_that_both_authorities_signed_admits_its_two_regions_and_no_others() {
    let [one, two, stranger] = [(); 3].map(|()| Authority::new());
    let pair = VerifiedPair::verify(&signed(descriptor(&one, &two), [&one, &two])).unwrap();
    let (north, west) = (region("north-europe"), region("west-europe"));
    let [north_pem, west_pem, stranger_pem] =
        [&one, &two, &stranger].map(|authority| authority.pem.as_bytes());
    assert_eq!(pair.admits((&north, north_pem), (&west, west_pem)), Ok(()));
    assert_eq!(pair.admits((&west, west_pem), (&north, north_pem)), Ok(()));

    let elsewhere = region("east-us");
    let other_pair = |own: &RegionDescriptor, other: &RegionDescriptor| {
        matches!(pair.admits((own, north_pem), (other, west_pem)), Err(PairError::OtherPair { .. }))
    };
    assert!(other_pair(&north, &elsewhere) && other_pair(&elsewhere, &west) && other_pair(&north, &north));
    assert!(other_pair(&north, &RegionDescriptor { deployment: DeploymentId([8; 16]), ..west.clone() }));

    for (spoil, what) in [
        (RegionDescriptor { jurisdiction: "us".into(), ..west.clone() }, "jurisdiction"),
        (RegionDescriptor { environment: "test".into(), ..west.clone() }, "environment"),
    ] {
        let refused = pair.admits((&north, north_pem), (&spoil, west_pem)).unwrap_err();
        assert!(matches!(&refused, PairError::Mixed { what: found, .. } if *found == what), "{refused}");
        let refused = pair.admits((&spoil, west_pem), (&north, north_pem)).unwrap_err();
        assert!(matches!(&refused, PairError::Mixed { what: found, .. } if *found == what), "{refused}");
    }

    let foreign = |own: &[u8], other: &[u8]| pair.admits((&north, own), (&west, other)).unwrap_err();
    assert_eq!(foreign(stranger_pem, west_pem), PairError::Authority { region: "north-europe".into() });
    assert_eq!(foreign(north_pem, stranger_pem), PairError::Authority { region: "west-europe".into() });
    // no second authority beside the one that is named
    let both = [west_pem, stranger_pem].concat();
    assert_eq!(foreign(north_pem, &both), PairError::Authority { region: "west-europe".into() });
    assert_eq!(foreign(north_pem, b"none"), PairError::Certificate { region: "west-europe".into() });
}

#[test]
fn a_descriptor_with_a_changed_byte_is_refused_wherever_it_is() {
    let [one, two] = [(); 2].map(|()| Authority::new());
    let text = signed(descriptor(&one, &two), [&one, &two]);
    assert!(VerifiedPair::verify(&text).is_ok());
    for at in 0..text.len() {
        for change in [0x01, 0x02, 0x20] {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= change;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            assert!(VerifiedPair::verify(&changed).is_err(), "byte {at} changed: {changed}");
        }
    }
}

#[test]
fn a_descriptor_needs_the_signatures_of_both() {
    let [one, two, stranger] = [(); 3].map(|()| Authority::new());
    for (by, missing) in [
        ([&one, &one], "west-europe"),
        ([&two, &two], "north-europe"),
        ([&two, &one], "north-europe"),
        ([&one, &stranger], "west-europe"),
        ([&stranger, &two], "north-europe"),
    ] {
        let refused = VerifiedPair::verify(&signed(descriptor(&one, &two), by));
        assert_eq!(refused, Err(PairError::Signature { region: missing.into() }));
    }
    // the signatures of one descriptor are none under another
    let first = signed(descriptor(&one, &two), [&one, &two]);
    let signatures = SignedPair::parse(&first).unwrap().signatures;
    let newer = PairDescriptor { serial: 2, ..descriptor(&one, &two) };
    let taken = SignedPair { descriptor: newer, signatures }.to_text();
    assert!(matches!(VerifiedPair::verify(&taken), Err(PairError::Signature { .. })));
}

#[test]
fn what_a_member_says_of_its_descriptor_does_not_depend_on_who_drew_the_signatures() {
    let [one, two] = [(); 2].map(|()| Authority::new());
    let [first, second] =
        [(); 2].map(|()| VerifiedPair::verify(&signed(descriptor(&one, &two), [&one, &two])).unwrap());
    assert_eq!(first.hello().agrees(&second.hello()), Ok(()));
    let newer = PairDescriptor { serial: 2, ..descriptor(&one, &two) };
    let newer = VerifiedPair::verify(&signed(newer, [&one, &two])).unwrap();
    assert!(first.hello().agrees(&newer.hello()).is_err());
}
