//! Tests of what a drill finds around a deployment, with nothing running.

use super::*;
use crate::dev::{DevOptions, prepare};
use crate::testing::dev_options;

/// Folders of a development pair, as `twinkeep dev --pair` makes them.
fn pair_in(base: &Path) {
    let [one, two] = pair::REGIONS.map(|name| (name, base.join(name)));
    prepare(&DevOptions { region: Some(one.0), ..dev_options(&one.1) }).unwrap();
    let standby_of = Some(one.1);
    prepare(&DevOptions { region: Some(two.0), standby_of, ..dev_options(&two.1) }).unwrap();
}

fn find(data: &Path, options: &TargetOptions) -> Result<Target, ClientError> {
    Target::find(Deployment::find(data).unwrap(), options)
}

fn names(target: &Target) -> Vec<&str> {
    target.regions.iter().map(|region| region.name.as_str()).collect()
}

#[test]
fn a_pair_on_this_machine_is_found_from_its_folder_and_from_either_regions() {
    let base = tempfile::tempdir().unwrap();
    pair_in(base.path());
    for (data, expected) in [("", ["twin-1", "twin-2"]), ("twin-2", ["twin-2", "twin-1"])] {
        let target = find(&base.path().join(data), &TargetOptions::default()).unwrap();
        assert_eq!(names(&target), expected);
        assert_eq!(target.folder, base.path().join("drills"), "one history for both");
        assert!(target.regions.iter().all(|region| region.dev.is_some()));
        let (side, other) = target.sides("twin-1").unwrap();
        assert_eq!((side.region.as_str(), other.region.as_str()), ("twin-1", "twin-2"));
        // nothing ran here yet
        assert!(target.regions.iter().all(|region| region.access.is_err()));
    }
}

#[test]
fn a_single_region_has_no_sides() {
    let base = tempfile::tempdir().unwrap();
    prepare(&dev_options(base.path())).unwrap();
    let target = find(base.path(), &TargetOptions::default()).unwrap();
    assert_eq!((target.regions.len(), target.pair().is_err()), (1, true));
    assert_eq!(target.folder, base.path().join("drills"));
}

#[test]
fn endpoints_that_are_named_need_a_key_and_a_region_of_the_pair() {
    let base = tempfile::tempdir().unwrap();
    pair_in(base.path());
    let credentials = Some(("key".to_owned(), SecretText::new("secret".to_owned())));
    let with = |endpoint: &str, credentials: &Option<(String, SecretText)>| {
        let (endpoints, credentials) = (vec![endpoint.to_owned()], credentials.clone());
        find(base.path(), &TargetOptions { endpoints, credentials, ..TargetOptions::default() })
    };
    let target = with("twin-2=https://s3.two.example", &credentials).unwrap();
    assert_eq!(target.regions.iter().map(|region| region.access.is_ok()).collect::<Vec<_>>(), [false, true]);
    for (endpoint, credentials) in [
        ("twin-2=https://s3.two.example", &None),
        ("twin-3=https://s3.three.example", &credentials),
        ("https://s3.two.example", &credentials),
        ("twin-1=http://s3.one.example", &credentials),
    ] {
        let error = with(endpoint, credentials).err().map(|error| error.exit_code());
        assert_eq!(error, Some(2), "{endpoint}");
    }
}
