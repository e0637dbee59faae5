//! Tests of what a node asks of its pair folder, against folders that the operator's side made.

use super::*;
use client::region::{NodePlan, RegionFolder, RegionPlan, RootPlan, init, introduce, standby_plan};
use std::fs;
use std::time::SystemTime;
use wire::descriptor::{JoinToken, RaftTimings, TokenRole};
use wire::{Incarnation, NodeId};

const FIRST: TokenRole = TokenRole::Node { id: NodeId(1), incarnation: Incarnation(1) };

fn plan(region: &str) -> RegionPlan {
    let node = |id: u16| NodePlan {
        id: NodeId(id),
        peer_address: format!("node-{id}.{region}.example:7600"),
        zone: format!("zone-{id}"),
    };
    RegionPlan {
        region: region.into(),
        environment: "production".into(),
        jurisdiction: "eu".into(),
        groups: None,
        nodes: (1..=3).map(node).collect(),
        gateways: Vec::new(),
        s3_names: Vec::new(),
        timings: RaftTimings::default(),
        root: RootPlan::Hardware,
        standby_of: None,
    }
}

/// Two regions below `base`, paired.
fn pair(base: &Path) -> [RegionFolder; 2] {
    let now = SystemTime::now();
    let [one, other] = ["west", "north"].map(|name| RegionFolder::new(&base.join(name)));
    init(one.root(), &plan("west"), now).unwrap();
    init(other.root(), &standby_plan(&one, plan("north")).unwrap(), now).unwrap();
    introduce(&one, &other, now).unwrap();
    [one, other]
}

/// Node 1 of a region, joined.
fn member(region: &RegionFolder) -> MemberIdentity {
    let folder = region.root().join("node-1-identity");
    let token = JoinToken::parse(&fs::read_to_string(region.token(FIRST)).unwrap()).unwrap();
    join::unpack_join_token(&folder, token, false).unwrap();
    join::load(&folder).unwrap()
}

fn refusal(folder: &Path, own: &MemberIdentity) -> String {
    match Paired::load(folder, own) {
        Err(ServeError::Pairing(error)) => {
            let said = error.to_string();
            assert!(said.contains("pair.descriptor") && said.contains("twinkeep pair make"), "{said}");
            said
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the folder was taken"),
    }
}

#[test]
fn a_node_is_paired_by_the_folder_that_was_made_for_it_and_says_so_to_the_other_region() {
    let base = tempfile::tempdir().unwrap();
    let [one, other] = pair(base.path());
    let hellos = [&one, &other].map(|region| {
        let paired = Paired::load(&region.pair_node(NodeId(1)), &member(region)).unwrap();
        assert_eq!(paired.tls.identity().role.to_string(), "pair/1");
        paired.hello()
    });
    assert_eq!((hellos[0].serial, hellos[0].jurisdiction.as_str()), (1, "eu"));
    assert_eq!(hellos[0].agrees(&hellos[1]), Ok(()));
}

#[test]
fn a_descriptor_that_is_missing_changed_signed_by_one_or_of_another_pair_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let [one, _] = pair(&base.path().join("first"));
    let [stranger, _] = pair(&base.path().join("second"));
    let (folder, own) = (one.pair_node(NodeId(1)), member(&one));
    let path = folder.join(PAIR_DESCRIPTOR_FILE);
    let text = fs::read_to_string(&path).unwrap();

    fs::remove_file(&path).unwrap();
    assert!(refusal(&folder, &own).contains("no pair descriptor there"));

    for (from, to) in [("jurisdiction eu", "jurisdiction us"), ("environment production", "environment test")]
    {
        fs::write(&path, text.replace(from, to)).unwrap();
        assert!(refusal(&folder, &own).contains("not signed by the authority of"));
    }
    // the signature of the first region in the place of the second's as well
    let signatures: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("signature ")).collect();
    let [first, second] = [signatures[0], signatures[1]].map(|line| line.split_once(' ').unwrap().1);
    fs::write(&path, text.replace(second, first)).unwrap();
    assert!(refusal(&folder, &own).contains("not signed by the authority of west"));

    fs::copy(stranger.pair_descriptor(), &path).unwrap();
    assert!(refusal(&folder, &own).contains("not that of west and north in this deployment"));

    fs::write(&path, "x".repeat(1 << 20)).unwrap();
    assert!(refusal(&folder, &own).contains("no pair descriptor"));

    fs::write(&path, &text).unwrap();
    assert!(Paired::load(&folder, &own).is_ok());
    // a second authority beside the one that the descriptor names could issue certificates for the other region
    let authority = fs::read_to_string(folder.join("ca.pem")).unwrap();
    let foreign = fs::read_to_string(stranger.authority_certificate()).unwrap();
    fs::write(folder.join("ca.pem"), authority + &foreign).unwrap();
    assert!(refusal(&folder, &own).contains("the authority of north is not the one"));
}

#[test]
fn a_region_that_says_of_itself_that_it_is_elsewhere_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let [one, _] = pair(base.path());
    let (folder, own) = (one.pair_node(NodeId(1)), member(&one));
    let path = folder.join(join::DESCRIPTOR);
    let text = fs::read_to_string(&path).unwrap();
    for (what, from, to) in
        [("jurisdiction", "\"eu\"", "\"us\""), ("environment", "\"production\"", "\"test\"")]
    {
        fs::write(&path, text.replace(&format!("{what} = {from}"), &format!("{what} = {to}"))).unwrap();
        assert!(refusal(&folder, &own).contains(&format!("north is of {what}")), "{what}");
    }
}
