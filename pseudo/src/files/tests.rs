//! Files that are made, destroyed and swept up, among links and what others left.

use super::*;

#[test]
fn what_is_left_of_making_a_file_is_destroyed_and_a_file_that_has_its_name_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table");
    write(&path, b"keys").unwrap();
    let (named, other) = (folder.path().join("table.7.partial"), folder.path().join("table.8.partial"));
    fs::hard_link(&path, &named).unwrap();
    fs::write(&other, b"keys").unwrap();
    let kept = folder.path().join("kept");
    fs::hard_link(&other, &kept).unwrap();
    sweep(&named).unwrap();
    sweep(&other).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"keys");
    assert_eq!(fs::read(&kept).unwrap(), [0; 4], "what had no name was overwritten");
    assert_eq!(names(folder.path(), 10).unwrap(), ["kept", "table"]);
}

#[test]
fn what_a_link_leads_to_is_not_overwritten_and_not_taken_for_destroyed() {
    let folder = tempfile::tempdir().unwrap();
    let (other, link) = (folder.path().join("other"), folder.path().join("table.gone"));
    fs::write(&other, b"somebody else's").unwrap();
    std::os::unix::fs::symlink(&other, &link).unwrap();
    assert!(destroy(&link).unwrap_err().to_string().contains("a link"));
    assert_eq!(names(folder.path(), 10).unwrap(), ["other", "table.gone"]);
    wipe(&link).unwrap();
    assert_eq!(names(folder.path(), 10).unwrap(), ["other"]);
    assert_eq!(fs::read(&other).unwrap(), b"somebody else's");
}

#[test]
fn all_of_a_long_file_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("long"), folder.path().join("kept"));
    fs::write(&path, vec![7; 2 * WIPE_BYTES + 5]).unwrap();
    fs::hard_link(&path, &kept).unwrap();
    destroy(&path).unwrap();
    assert_eq!(fs::read(&kept).unwrap(), vec![0; 2 * WIPE_BYTES + 5]);
}

#[test]
fn what_killed_programs_left_of_an_output_is_destroyed_when_it_is_made_again_and_what_is_being_made_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.ndjson");
    let left = folder.path().join("people.ndjson.0123456789abcdef.partial");
    fs::write(&left, b"ada@example.org").unwrap();
    // held open, to see what became of it without its name
    let kept = File::open(&left).unwrap();
    for other in ["people.ndjson.partial", "people.ndjson.2.0123456789abcdef.partial"] {
        fs::write(folder.path().join(other), b"somebody else's").unwrap();
    }
    let (first, second) = (Fresh::output(&path).unwrap(), Fresh::output(&path).unwrap());
    assert!(!left.exists());
    assert_eq!(content(&kept), [0; 15]);
    first.keep_with(b"one").unwrap();
    assert!(second.keep_with(b"two").is_err(), "one of them is the output");
    assert_eq!(fs::read(&path).unwrap(), b"one");
    assert_eq!(
        names(folder.path(), 10).unwrap(),
        ["people.ndjson", "people.ndjson.2.0123456789abcdef.partial", "people.ndjson.partial"]
    );
}

#[test]
fn an_output_that_got_its_name_is_whole_whoever_makes_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.ndjson");
    // killed after it had its name and before it lost the other
    fs::write(&path, b"one").unwrap();
    let left = folder.path().join("people.ndjson.0123456789abcdef.partial");
    fs::hard_link(&path, &left).unwrap();
    assert!(Fresh::output(&path).is_err(), "it is there already");
    assert_eq!((fs::read(&path).unwrap(), left.exists()), (b"one".to_vec(), false));
    // and while it is made another program is kept off until both names are settled
    fs::remove_file(&path).unwrap();
    let fresh = Fresh::output(&path).unwrap();
    let names = names(folder.path(), 10).unwrap();
    let held = File::open(folder.path().join(&names[0])).unwrap();
    fuse::set(Some(5));
    assert!(fresh.keep_with(b"two").is_err(), "killed before it lost the other name");
    fuse::set(None);
    assert!(held.try_lock().is_ok());
    assert_eq!(fs::read(&path).unwrap(), b"two");
}

#[test]
fn what_is_another_file_too_or_no_file_is_no_output_that_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let (path, live) = (folder.path().join("out"), folder.path().join("live"));
    fs::write(&live, b"somebody else's").unwrap();
    fs::hard_link(&live, folder.path().join("out.0123456789abcdef.partial")).unwrap();
    fs::create_dir(folder.path().join("out.1123456789abcdef.partial")).unwrap();
    Fresh::output(&path).unwrap().keep_with(b"out").unwrap();
    assert_eq!(fs::read(&live).unwrap(), b"somebody else's");
    assert!(
        Fresh::output(&folder.path().join(".."))
            .is_err_and(|error| error.to_string().contains("not the name"))
    );
}

#[test]
fn an_output_that_failed_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = Fresh::output(&folder.path().join("out")).unwrap();
    write_all(fresh.file(), b"ada@example.org").unwrap();
    let held = File::open(folder.path().join(&names(folder.path(), 10).unwrap()[0])).unwrap();
    drop(fresh);
    assert_eq!(content(&held), [0; 15]);
    assert!(names(folder.path(), 10).unwrap().is_empty());
}

fn content(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn one_file_may_be_made_after_another_program_of_this_number_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("certificate");
    fuse::set(Some(3));
    assert!(write(&path, b"one").is_err());
    fuse::set(None);
    assert_eq!(names(folder.path(), 10).unwrap().len(), 1, "nobody removed it");
    write(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
}
