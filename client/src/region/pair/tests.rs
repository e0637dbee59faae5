//! Tests of making pairs: what both folders get, and which regions are refused.

use super::*;
use crate::region::{self, NodePlan, PairPlan};
use std::path::PathBuf;
use wire::NodeId;
use wire::descriptor::RaftTimings;

fn plan(region: &str, environment: &str, jurisdiction: &str) -> RegionPlan {
    let node = |id: u16| NodePlan {
        id: NodeId(id),
        peer_address: format!("node-{id}.{region}.example:7600"),
        zone: format!("zone-{id}"),
    };
    RegionPlan {
        region: region.into(),
        environment: environment.into(),
        jurisdiction: jurisdiction.into(),
        groups: None,
        nodes: (1..=3).map(node).collect(),
        gateways: Vec::new(),
        s3_names: Vec::new(),
        timings: RaftTimings::default(),
        root: RootPlan::Hardware,
        standby_of: None,
    }
}

fn made(base: &Path, plan: &RegionPlan) -> RegionFolder {
    let folder = base.join(&plan.region);
    region::init(&folder, plan, SystemTime::now()).unwrap();
    RegionFolder::new(&folder)
}

fn standby(base: &Path, primary: &RegionFolder, plan: RegionPlan) -> Result<RegionFolder, ClientError> {
    standby_plan(primary, plan).map(|plan| made(base, &plan))
}

/// A region and its standby, introduced to each other.
fn pair(base: &Path) -> [RegionFolder; 2] {
    let one = made(base, &plan("west", "production", "eu"));
    let other = standby(base, &one, plan("north", "", "")).unwrap();
    introduce(&one, &other, SystemTime::now()).unwrap();
    [one, other]
}

fn text(folder: &RegionFolder) -> String {
    read_pair(&folder.pair_descriptor()).unwrap()
}

#[test]
fn both_regions_and_each_of_their_nodes_get_one_descriptor_that_both_signed() {
    let base = tempfile::tempdir().unwrap();
    let [one, other] = pair(base.path());
    assert_eq!(text(&one), text(&other));
    for folder in [&one, &other] {
        for node in 1..=3 {
            let copy = folder.pair_node(NodeId(node)).join(PAIR_DESCRIPTOR_FILE);
            assert_eq!(read_pair(&copy).unwrap(), text(&one));
        }
        let verified = verify_pair(&folder.pair_descriptor(), &PairCheck::Region(folder)).unwrap();
        let descriptor = verified.descriptor();
        let names: Vec<&str> = descriptor.regions.iter().map(|region| region.name.as_str()).collect();
        assert_eq!((names, descriptor.serial), (vec!["north", "west"], 1));
        assert_eq!((&*descriptor.jurisdiction, &*descriptor.environment), ("eu", "production"));
    }
    // made again, in whatever order: the next one
    assert_eq!(introduce(&other, &one, SystemTime::now()).unwrap().serial, 2);
    assert_eq!(text(&one), text(&other));
    files::write(&one.pair_descriptor(), b"damaged").unwrap();
    assert_eq!(introduce(&one, &other, SystemTime::now()).unwrap().serial, 3);
}

#[test]
fn regions_of_two_jurisdictions_or_environments_are_no_pair_and_nothing_is_written() {
    let base = tempfile::tempdir().unwrap();
    let one = made(base.path(), &plan("west", "production", "eu"));
    for (spoil, what) in [
        (
            plan("east", "", "us"),
            "the primary is of jurisdiction eu, this region is to be of jurisdiction us",
        ),
        (plan("east", "test", ""), "the primary is of environment production"),
    ] {
        let error = standby(base.path(), &one, spoil).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains(what), "{error}");
    }
    // regions that are there, and were changed since
    let other = standby(base.path(), &one, plan("north", "production", "eu")).unwrap();
    let was = other.read_descriptor().unwrap();
    for (spoilt, what) in [
        (RegionDescriptor { jurisdiction: "us".into(), ..was.clone() }, "jurisdiction"),
        (RegionDescriptor { environment: "test".into(), ..was.clone() }, "environment"),
    ] {
        other.write_descriptor(&spoilt).unwrap();
        for sides in [[&one, &other], [&other, &one]] {
            let error = introduce(sides[0], sides[1], SystemTime::now()).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(what), "{error}");
        }
    }
    other.write_descriptor(&was).unwrap();
    // a region of its own, and one with itself
    let stranger = made(base.path(), &plan("south", "production", "eu"));
    for sides in [[&one, &stranger], [&one, &one]] {
        assert_eq!(introduce(sides[0], sides[1], SystemTime::now()).unwrap_err().exit_code(), 2);
    }
    assert!(!one.pair().exists() && !other.pair().exists() && !stranger.pair().exists());
}

#[test]
fn an_authority_with_another_key_than_its_certificates_signs_nothing() {
    let base = tempfile::tempdir().unwrap();
    let one = made(base.path(), &plan("west", "production", "eu"));
    let other = standby(base.path(), &one, plan("north", "", "")).unwrap();
    let key = files::read_bytes(&one.authority_key()).unwrap();
    files::write(&other.authority_key(), &key).unwrap();
    let error = introduce(&one, &other, SystemTime::now()).unwrap_err();
    assert!(error.to_string().contains("north"), "{error}");
    assert!(!one.pair().exists() && !other.pair().exists());
}

/// From when on the certificate that node 1 of a region shows in the other one is valid.
fn valid_since(folder: &RegionFolder) -> UnixMillis {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let path = folder.pair_node(NodeId(1)).join("member.pem");
    trust::valid_since(&CertificateDer::from_pem_file(path).unwrap()).unwrap()
}

#[test]
fn certificates_of_a_region_are_made_worthless_by_a_time_that_no_later_descriptor_takes_back() {
    let base = tempfile::tempdir().unwrap();
    let [one, other] = pair(base.path());
    let leaked = valid_since(&one);
    let asked = |since| Renewal { members_since: vec![("west".into(), since)], serial_above: 0 };
    let now = SystemTime::now();
    let since = UnixMillis(leaked.0 + 3_599_123);
    let made = introduce_anew(&one, &other, &asked(since), now).unwrap();
    let whole = UnixMillis(since.0 / 1000 * 1000);
    assert_eq!(made.sides("west").unwrap().0.members_since, Some(whole));
    assert_eq!(made.sides("north").unwrap().0.members_since, None);
    // what west's nodes have now counts, what they had does not; those of north are as ever
    assert!(leaked < whole && valid_since(&one) >= whole, "{leaked:?} {:?}", valid_since(&one));
    assert!(valid_since(&other) < whole);
    let verified = verify_pair(&one.pair_descriptor(), &PairCheck::Region(&one)).unwrap();
    assert_eq!((verified.members_since("north"), verified.members_since("west")), (Some(whole), None));
    // made anew, also with an earlier time, and by a folder that lost its copy
    std::fs::remove_file(other.pair_descriptor()).unwrap();
    for renewal in [Renewal::default(), asked(UnixMillis(1000))] {
        let made = introduce_anew(&other, &one, &renewal, now).unwrap();
        assert_eq!(made.sides("west").unwrap().0.members_since, Some(whole));
    }
    let ahead = UnixMillis(since.0 + 7_200_000);
    for (renewal, said) in [
        (asked(ahead), "a time on that has not come"),
        (Renewal { members_since: vec![("east".into(), since)], serial_above: 0 }, "east is neither"),
        (Renewal { serial_above: u64::MAX, ..Renewal::default() }, "no serial above"),
    ] {
        let error = introduce_anew(&one, &other, &renewal, now).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains(said), "{error}");
    }
    let above = Renewal { serial_above: 40, ..Renewal::default() };
    assert_eq!(introduce_anew(&one, &other, &above, now).unwrap().serial, 41);
}

#[test]
fn a_region_whose_pair_has_ended_is_given_another_standby_under_a_serial_of_its_own() {
    let base = tempfile::tempdir().unwrap();
    let [one, other] = pair(base.path());
    let refused = standby(base.path(), &one, plan("south", "", "")).err().unwrap().to_string();
    assert!(refused.contains("west is one of a pair already"), "{refused}");
    let (ended, kept) = end_pair(&one).unwrap();
    assert_eq!((ended.serial, read_pair(&kept.join(PAIR_DESCRIPTOR_FILE)).unwrap()), (1, text(&other)));
    assert!(!one.pair().exists());
    let again = standby(base.path(), &one, plan("south", "", "")).unwrap();
    assert_eq!(introduce(&one, &again, SystemTime::now()).unwrap().serial, 2);
    // and once more
    end_pair(&one).unwrap();
    let third = standby(base.path(), &one, plan("east", "", "")).unwrap();
    assert_eq!(introduce(&one, &third, SystemTime::now()).unwrap().serial, 3);
}

#[test]
fn a_standby_is_not_begun_without_the_authority_of_its_primary() {
    let base = tempfile::tempdir().unwrap();
    let one = made(base.path(), &plan("west", "production", "eu"));
    let stranger = made(base.path(), &plan("south", "production", "eu"));
    let begun = || standby_plan(&one, plan("north", "", "")).map(drop).map_err(|error| error.to_string());
    assert_eq!(begun(), Ok(()));
    let key = files::read_bytes(&one.authority_key()).unwrap();
    files::write(&one.authority_key(), &files::read_bytes(&stranger.authority_key()).unwrap()).unwrap();
    assert!(begun().unwrap_err().contains("the authority of west cannot sign"));
    std::fs::remove_file(one.authority_key()).unwrap();
    assert!(begun().unwrap_err().contains("is not there"));
    files::write(&one.authority_key(), &key).unwrap();
    assert_eq!(begun(), Ok(()));
}

#[test]
fn what_is_not_the_descriptor_of_these_regions_does_not_verify() {
    let base = tempfile::tempdir().unwrap();
    let [one, other] = pair(&base.path().join("first"));
    let [two, _] = pair(&base.path().join("second"));
    let path = one.pair_descriptor();
    let authorities = |folders: [&RegionFolder; 2]| folders.map(RegionFolder::authority_certificate);
    let known = authorities([&one, &other]);
    assert!(verify_pair(&path, &PairCheck::Authorities(&known)).is_ok());
    // the authorities of another pair, one authority alone, and another pair's descriptor
    let foreign = authorities([&one, &two]);
    let refused = verify_pair(&path, &PairCheck::Authorities(&foreign)).unwrap_err().to_string();
    assert!(refused.contains("north by another authority"), "{refused}");
    assert!(verify_pair(&path, &PairCheck::Authorities(&known[..1])).is_err());
    assert!(verify_pair(&two.pair_descriptor(), &PairCheck::Region(&one)).is_err());
    assert!(verify_pair(&two.pair_descriptor(), &PairCheck::Itself).is_ok(), "it is one, of others");
    // one byte
    let changed = text(&one).replace("jurisdiction eu", "jurisdiction ch");
    files::write(&path, changed.as_bytes()).unwrap();
    let refused = verify_pair(&path, &PairCheck::Itself).unwrap_err().to_string();
    assert!(refused.contains("not signed by the authority of"), "{refused}");
}

#[test]
fn a_pair_plan_says_which_region_comes_next() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("plan.toml");
    let text = "jurisdiction = \"eu\"\nenvironment = \"production\"\n[[regions]]\nname = \"west\"\nplace = \"A\"\n[[regions]]\nname = \"north\"\nplace = \"B\"\n";
    files::write(&path, text.as_bytes()).unwrap();
    let plan = PairPlan::read(&path).unwrap();
    let region = |named, primary| plan.region(named, primary).ok();
    assert_eq!(region(None, None).as_deref(), Some("west"));
    assert_eq!(region(Some("north"), None).as_deref(), Some("north"));
    assert_eq!(region(None, Some("west")).as_deref(), Some("north"));
    assert_eq!(region(None, Some("north")).as_deref(), Some("west"));
    assert_eq!(region(Some("south"), None), None);
    assert_eq!(region(Some("west"), Some("west")), None);
    assert_eq!(region(Some("west"), Some("south")), None);
    for (from, to) in [
        ("eu", "EU"),
        ("name = \"north\"", "name = \"west\""),
        ("[[regions]]\nname = \"west\"\nplace = \"A\"\n", ""),
        ("place = \"B\"", "place = \"B\"\njurisdiction = \"us\""),
        ("environment = \"production\"\n", ""),
    ] {
        files::write(&path, text.replacen(from, to, 1).as_bytes()).unwrap();
        assert!(PairPlan::read(&path).is_err(), "{from} -> {to}");
    }
}

#[test]
fn the_pairs_that_are_shipped_are_each_inside_one_jurisdiction_and_can_be_made() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pairs");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(shipped)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    paths.sort();
    let plans: Vec<PairPlan> = paths.iter().map(|path| PairPlan::read(path).unwrap()).collect();
    let jurisdictions: Vec<&str> = plans.iter().map(|plan| plan.jurisdiction.as_str()).collect();
    assert_eq!(jurisdictions, ["asia", "au", "ca", "eu", "jp", "uk", "us"]);
    let base = tempfile::tempdir().unwrap();
    let mut primaries = Vec::new();
    for pair in &plans {
        let folder = base.path().join(&pair.jurisdiction);
        let first = pair.region(None, None).unwrap();
        let one = made(&folder, &plan(&first, &pair.environment, &pair.jurisdiction));
        let second = pair.region(None, Some(&first)).unwrap();
        let other = standby(&folder, &one, plan(&second, &pair.environment, &pair.jurisdiction)).unwrap();
        let made = introduce(&one, &other, SystemTime::now()).unwrap();
        assert_eq!((made.jurisdiction, made.environment), (pair.jurisdiction.clone(), "production".into()));
        verify_pair(&other.pair_descriptor(), &PairCheck::Region(&other)).unwrap();
        primaries.push(one);
    }
    // one region of each file with one of the next
    for (primary, pair) in primaries.iter().zip(plans.iter().cycle().skip(1)) {
        let region = pair.region(None, None).unwrap();
        let mixed = plan(&region, &pair.environment, &pair.jurisdiction);
        let refused = standby_plan(primary, mixed).err().map(|error| error.to_string()).unwrap();
        assert!(refused.contains("jurisdiction"), "{refused}");
    }
}
