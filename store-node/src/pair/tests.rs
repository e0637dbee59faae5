//! Tests of what a node asks of its pair folder, against folders that the operator's side made.

use super::*;
use crate::config::ForwardConfig;
use client::region::{
    NodePlan, RegionFolder, RegionPlan, Renewal, RootPlan, end_pair, init, introduce, introduce_anew,
    standby_plan,
};
use std::fs;
use std::time::SystemTime;
use wire::descriptor::{JoinToken, RaftTimings, TokenRole};
use wire::{Incarnation, NodeId};

/// The authority of somebody's own, made with `openssl req -x509`.
const PRIVATE_AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBkDCCATWgAwIBAgIUP+IMMnMf5pmwxd8AXfeTr91ZP0gwCgYIKoZIzj0EAwIw\n\
HDEaMBgGA1UEAwwRUHJpdmF0ZSBhdXRob3JpdHkwIBcNMjYxMTIzMDIwNTQzWhgP\n\
MjEyNjEwMzAwMjA1NDNaMBwxGjAYBgNVBAMMEVByaXZhdGUgYXV0aG9yaXR5MFkw\n\
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvl5Hm6ivjyueuwdH6V6zfHTxtG1pAuRJ\n\
AJE4XzGJ9bsR/l3eAleVvHD9NNfobOLIujNOoXkf+S/z+AXoZr1uv6NTMFEwHQYD\n\
VR0OBBYEFEtg3eyd625cL2O/wWAOeASw8uCrMB8GA1UdIwQYMBaAFEtg3eyd625c\n\
L2O/wWAOeASw8uCrMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIh\n\
ALvr1ojI1cg4YANQdM5WcRDIjI55H9vxeGJb2oK2A2tvAiEAisaWU8yH031BE9vf\n\
z/IUiRYUNT3maRCjEPRhYt1x5fk=\n\
-----END CERTIFICATE-----\n";

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

/// As a node does whose data folder lies beside its identity.
fn load(folder: &Path, own: &MemberIdentity) -> Result<Paired, ServeError> {
    Paired::load(folder, &own.folder.with_extension("data"), own)
}

fn refusal(folder: &Path, own: &MemberIdentity) -> String {
    match load(folder, own) {
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
        let paired = load(&region.pair_node(NodeId(1)), &member(region)).unwrap();
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
    assert!(load(&folder, &own).is_ok());
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

#[test]
fn a_descriptor_older_than_one_that_the_node_has_held_is_refused_with_what_to_do() {
    let base = tempfile::tempdir().unwrap();
    let [one, other] = pair(base.path());
    let (folder, own) = (one.pair_node(NodeId(1)), member(&one));
    let backup = base.path().join("backup");
    fs::create_dir(&backup).unwrap();
    let copy = |from: &Path, to: &Path| {
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    };
    copy(&folder, &backup);
    assert!(load(&folder, &own).is_ok());
    introduce(&one, &other, SystemTime::now()).unwrap();
    assert_eq!(load(&folder, &own).unwrap().hello().serial, 2);
    // brought back from a backup
    copy(&backup, &folder);
    let said = refusal(&folder, &own);
    assert!(said.contains("serial is 1, and this node has held 2"), "{said}");
    // an operator whose folder is old makes the second one again: it is another one, and the advice helps
    fs::copy(backup.join(PAIR_DESCRIPTOR_FILE), one.pair_descriptor()).unwrap();
    fs::copy(backup.join(PAIR_DESCRIPTOR_FILE), other.pair_descriptor()).unwrap();
    introduce(&one, &other, SystemTime::now()).unwrap();
    let said = refusal(&folder, &own);
    assert!(
        said.contains("another descriptor under the serial 2") && said.contains("--serial-above 2"),
        "{said}"
    );
    let renewal = Renewal { serial_above: 2, ..Renewal::default() };
    introduce_anew(&one, &other, &renewal, SystemTime::now()).unwrap();
    assert_eq!(load(&folder, &own).unwrap().hello().serial, 3);
}

#[test]
fn endpoints_under_the_authority_of_a_region_outside_the_pair_are_refused() {
    let base = tempfile::tempdir().unwrap();
    let [one, other] = pair(&base.path().join("first"));
    let [stranger, _] = pair(&base.path().join("second"));
    let own = member(&one);
    let paired = load(&one.pair_node(NodeId(1)), &own).unwrap();
    let file = base.path().join("authority.pem");
    let check = |pair: Option<&Paired>, authorities: &[&Path]| {
        let text: String = authorities.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        fs::write(&file, text).unwrap();
        let endpoints = vec!["https://s3.example.org".parse().unwrap()];
        let forward = ForwardConfig { reads: true, endpoints, authority: Some(file.clone()) };
        check_endpoints(&forward, &own, pair).map_err(|error| match error {
            ServeError::Pairing(error) => error.to_string(),
            other => panic!("{other:?}"),
        })
    };
    let [own_pem, other_pem, foreign] = [&one, &other, &stranger].map(RegionFolder::authority_certificate);
    // an authority of somebody's own says nothing of regions
    let private = base.path().join("private.pem");
    fs::write(&private, PRIVATE_AUTHORITY).unwrap();
    for pair in [Some(&paired), None] {
        assert_eq!(check(pair, &[&other_pem]), Ok(()));
        assert_eq!(check(pair, &[&private]), Ok(()));
        assert_eq!(check(pair, &[&own_pem, &other_pem]), Ok(()));
        assert!(check(pair, &[&foreign]).unwrap_err().contains("of another deployment"));
        assert!(check(pair, &[&other_pem, &foreign]).unwrap_err().contains("of another deployment"));
        assert!(
            check(pair, &[&own_pem]).unwrap_err().contains("the authority of west, which is this region")
        );
    }
    // a third region of the same deployment: only the descriptor tells
    end_pair(&one).unwrap();
    let third = RegionFolder::new(&base.path().join("south"));
    init(third.root(), &standby_plan(&one, plan("south")).unwrap(), SystemTime::now()).unwrap();
    let third = third.authority_certificate();
    assert!(check(Some(&paired), &[&third]).unwrap_err().contains("does not name"));
    assert_eq!(check(None, &[&third]), Ok(()));
}
