//! Enrolling that is stopped anywhere; passphrases that are too weak.

use super::*;
use crate::files::fuse;
use custody::RootKey;

#[test]
fn an_enrolment_that_is_stopped_anywhere_leaves_no_certificate_without_an_entry_and_is_gone_on_with() {
    for steps in 1.. {
        let here = tempfile::tempdir().unwrap();
        let root = RootKey::generate(files::random).unwrap();
        let folder = KeyFolder::create(&here.path().join("keys"), root.check()).unwrap();
        let service = folder.add_signing(&root).unwrap();
        let path = here.path().join("ada.operator");
        let key = hex(&create("ada", &path, "a long passphrase of ada").unwrap().0);
        fuse::set(Some(steps));
        let done = enrol(&path, &folder, &service);
        let is_whole = !fuse::is_burnt();
        fuse::set(None);
        assert_eq!(done.is_ok(), is_whole, "{steps} steps");
        let entries = || CustodyLog::read(&folder, service.public()).unwrap().entries;
        let told = || entries().iter().filter(|entry| entry.key.as_ref() == Some(&key)).count();
        if certificate_path(&path).exists() {
            assert_eq!(told(), 1, "a certificate after {steps} steps, and no entry");
        }
        let (certificate, _) = enrol(&path, &folder, &service).unwrap();
        assert_eq!((certificate.key, told()), (key.clone(), 1), "after {steps} steps");
        if is_whole {
            return;
        }
    }
}

#[test]
fn a_new_passphrase_has_fifteen_characters_that_say_more_than_one_thing() {
    for weak in [
        "",
        "secret",
        "fourteen chars",
        "äöüäöüäöüäöüä",
        "aaaaaaaaaaaaaaaaaaaa",
        "abcabcabcabcabcabc",
        "passwordpassword",
        "grace.hopper-2026",
    ] {
        assert!(check_new(weak, "grace.hopper").is_err(), "{weak}");
    }
    for fine in [
        "fifteen letters",
        "corect horse batery",
        "ein längerer Satz",
        "me, grace.hopper, and a long tail of it",
    ] {
        assert!(check_new(fine, "grace.hopper").is_ok(), "{fine}");
    }
}
