//! `twinkeep pseudo` is the service's own program: arguments, input, output and exit code are its.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A program that prints its arguments, one a line, then its input, and ends with 7.
fn program(folder: &Path) -> PathBuf {
    let path = folder.join("pseudo");
    std::fs::write(&path, "#!/bin/sh\nfor word in \"$@\"; do echo \"[$word]\"; done\ncat\nexit 7\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn twinkeep(program: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinkeep"));
    command.args(arguments).env("TWINKEEP_PSEUDO", program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn arguments_input_output_and_exit_code_pass_through() {
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        ["pseudo", "risk", "-", "--delimiter", ";", "--data", "d e", "--help", "--json", "--", "x"];
    let output = twinkeep(&program(folder.path()), &arguments, "line\n");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said,
        "[risk]\n[-]\n[--delimiter]\n[;]\n[--data]\n[d e]\n[--help]\n[--json]\n[--]\n[x]\nline\n"
    );
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn help_is_the_programs_own_and_json_may_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    assert_eq!(twinkeep(&program, &["pseudo", "--help"], "").stdout, b"[--help]\n");
    assert_eq!(twinkeep(&program, &["--json", "pseudo", "risk"], "").stdout, b"[--json]\n[risk]\n");
}

#[test]
fn a_program_that_is_not_there_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let output = twinkeep(&folder.path().join("absent"), &["pseudo", "risk"], "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("TWINKEEP_PSEUDO"), "{said}");
}
