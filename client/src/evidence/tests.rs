//! Tests of the signature: what was signed verifies offline, and the canary: no byte of it can be another.

use super::*;
use crate::deployment::Deployment;
use crate::dev::prepare;
use crate::drill::DrillKind;
use crate::drill::testing::report;
use crate::testing::dev_options;

fn deployment(base: &Path) -> Deployment {
    prepare(&dev_options(base)).unwrap();
    Deployment::find(base).unwrap()
}

fn written(base: &Path) -> (PathBuf, IdentityFolder) {
    let deployment = deployment(&base.join("region"));
    let folder = base.join("run");
    prepare_run(&folder, &deployment.identity);
    (folder, deployment.identity)
}

fn prepare_run(folder: &Path, identity: &IdentityFolder) {
    super::prepare(folder, identity).unwrap();
    let report = report(DrillKind::Planned);
    write(folder, Purpose::Drill, &report, report.page(), identity).unwrap();
}

#[test]
fn a_report_verifies_offline_and_says_who_signed_it() {
    let base = tempfile::tempdir().unwrap();
    let (folder, identity) = written(base.path());
    let verified = verify(&folder, &[identity.authority_certificate()]).unwrap();
    assert_eq!((verified.run.as_str(), verified.verdict.as_str()), ("20261122T104946Z-planned", "passed"));
    assert_eq!(verified.kind, Purpose::Drill);
    assert!(verified.signed_by.ends_with("/operator/admin"), "{verified:?}");
    assert!(system_now().0 - verified.signed_at.0 < 60_000);
}

#[test]
fn no_byte_of_the_three_files_can_be_changed() {
    let base = tempfile::tempdir().unwrap();
    let (folder, identity) = written(base.path());
    let authorities = [identity.authority_certificate()];
    for name in [SIGNED[0], SIGNED[1], SIGNATURE] {
        let path = folder.join(name);
        let signed = std::fs::read(&path).unwrap();
        // every byte of the signature's file; of the others, which are hashed whole, some
        let step = if name == SIGNATURE { 1 } else { 97 };
        for at in (0..signed.len()).step_by(step) {
            let mut changed = signed.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            assert!(verify(&folder, &authorities).is_err(), "byte {at} of {name}");
        }
        std::fs::write(&path, [&signed[..], b" "].concat()).unwrap();
        assert!(verify(&folder, &authorities).is_err(), "one byte more in {name}");
        std::fs::write(&path, &signed).unwrap();
    }
    verify(&folder, &authorities).unwrap();
}

#[test]
fn another_authority_and_no_operator_are_refused() {
    let base = tempfile::tempdir().unwrap();
    let (folder, identity) = written(base.path());
    let other = deployment(&base.path().join("other"));
    let refused = verify(&folder, &[other.identity.authority_certificate()]).unwrap_err().to_string();
    assert!(refused.contains("the authority did not issue"), "{refused}");
    // signed well, by somebody else's operator
    prepare_run(&folder, &other.identity);
    assert!(verify(&folder, &[identity.authority_certificate()]).is_err());
    verify(&folder, &[other.identity.authority_certificate()]).unwrap();
}

#[test]
fn a_folder_without_a_report_is_an_error_that_names_the_file() {
    let base = tempfile::tempdir().unwrap();
    let (folder, identity) = written(base.path());
    std::fs::remove_file(folder.join(SIGNED[1])).unwrap();
    let error = verify(&folder, &[identity.authority_certificate()]).unwrap_err().to_string();
    assert!(error.contains("report.md"), "{error}");
}

#[test]
fn a_report_of_one_kind_is_none_of_another() {
    let base = tempfile::tempdir().unwrap();
    let (folder, identity) = written(base.path());
    let report = report(DrillKind::Planned);
    write(&folder, Purpose::Reconciliation, &report, report.page(), &identity).unwrap();
    let verified = verify(&folder, &[identity.authority_certificate()]).unwrap();
    assert_eq!(verified.kind, Purpose::Reconciliation);
}
