//! Tests of the supervisor with programs that never become ready.

use super::*;
use crate::testing::dev_options;
use std::os::unix::fs::PermissionsExt;

/// A supervisor of a new region whose processes run `script`.
fn supervisor(base: &Path, script: &str) -> Supervisor {
    let program = base.join("store-node");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (folder, settings) = prepare(&dev_options(&base.join("region"))).unwrap();
    let members: Vec<Member> =
        setup::members(&folder).unwrap().into_iter().map(|(member, _)| member).collect();
    Supervisor::new(folder, settings.ports().unwrap(), program, Arc::default(), &members)
}

#[test]
fn processes_get_their_time_however_long_the_build_before_took() {
    let base = tempfile::tempdir().unwrap();
    let mut supervisor = supervisor(base.path(), "exec sleep 60");
    let ending = Arc::clone(&supervisor.ending);
    let gateway = supervisor.folder.record(Member::Gateway);
    let long_ago = Instant::now().checked_sub(2 * READY_TIMEOUT).unwrap();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until(END_TIMEOUT, || gateway.exists());
            ending.store(true, Ordering::Relaxed);
        });
        supervisor.serve(long_ago, |_| Ok(()))
    });
    supervisor.end_all();
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn a_gateway_that_is_not_ready_in_time_is_said_to_be_so_with_a_reason() {
    let base = tempfile::tempdir().unwrap();
    let mut supervisor = supervisor(base.path(), "exec sleep 60");
    let error = supervisor.wait_ready(Instant::now()).unwrap_err().to_string();
    supervisor.end_all();
    let health = supervisor.ports.health(Member::Gateway);
    assert!(error.ends_with(&format!(": nothing answers at {health} yet")), "{error}");
}

#[test]
fn the_cause_of_a_failed_start_is_what_was_said_last_and_is_no_news() {
    let news = r#"{"timestamp":"t","level":"INFO","fields":{"message":"connection ended"}}"#;
    let error = r#"{"timestamp":"t","level":"ERROR","fields":{"message":"stopped"}}"#;
    assert_eq!(
        cause(&format!("{news}\n{error}\nstore-node: the disk is full\n{news}\n")),
        "store-node: the disk is full"
    );
    assert_eq!(cause(&format!("{error}\n{news}\n\n")), error);
    assert_eq!(cause(news), news);
    assert_eq!(cause(""), "it said nothing");
}

#[test]
fn a_process_that_ends_at_once_is_named_with_its_last_words() {
    let base = tempfile::tempdir().unwrap();
    let mut supervisor = supervisor(base.path(), "echo 'store-node: no room' >&2; exit 1");
    let error = supervisor.wait_ready(Instant::now() + READY_TIMEOUT).unwrap_err().to_string();
    supervisor.end_all();
    assert!(error.ends_with(" does not start: store-node: no room"), "{error}");
}
