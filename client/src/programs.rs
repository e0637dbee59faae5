//! The other programs of Twinkeep: found beside this one. Under `cargo run`, cargo first brings them up to date, so that
//! an old one never runs beside a new one.
//!
//! It promises that what cargo said about this program does not reach that build (it would build everything anew), and
//! that the build ends with this program when it is told to end.

use crate::{ClientError, signals};
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a build is looked at: the no-op build of every start is not made longer.
const TICK: Duration = Duration::from_millis(10);
/// What a build that is told to end gets to do so by itself.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Finds a program, whose name is also its package's: the one named, else the one beside this program; under cargo it is
/// built before, when `cargo run` runs this program or when it is missing. `advice` is for when there is none.
pub(crate) fn find(name: &str, named: Option<&Path>, advice: &str) -> Result<PathBuf, ClientError> {
    if let Some(path) = named {
        return if path.is_file() {
            Ok(path.to_owned())
        } else {
            Err(ClientError::usage(format!("{} is not there", path.display()), advice))
        };
    }
    let own = std::env::current_exe()
        .map_err(ClientError::file("finding this program", Path::new("/proc/self/exe")))?;
    // tests run from a folder below the one that holds the programs
    let folders: Vec<&Path> = own.ancestors().skip(1).take(2).collect();
    let found = || folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    if let Some(cargo) = std::env::var_os("CARGO")
        && is_built_first(std::env::var_os("CARGO_PKG_NAME").as_deref(), found().is_some())
    {
        eprintln!(
            "twinkeep: `cargo build --release -p {name}` brings {name} up to date; the first time that takes minutes"
        );
        let ending = signals::catch("twinkeep")?;
        let variables = std::env::vars_os().map(|(variable, _)| variable);
        build(build_command(&cargo, name, variables), name, &ending, advice)?;
        // built beside this program, or below the same folder when this one is a debug build
        let release =
            folders.iter().filter_map(|folder| folder.parent()).map(|target| target.join("release"));
        if let Some(path) = release.map(|folder| folder.join(name)).find(|path| path.is_file()) {
            return Ok(path);
        }
    }
    let folder = folders.first().map_or_else(String::new, |folder| folder.display().to_string());
    found().ok_or_else(|| ClientError::state(format!("the program {name} is not in {folder}"), advice))
}

/// Names the pseudonymisation service's binary when it is not beside this program.
const PSEUDO_VARIABLE: &str = "TWINKEEP_PSEUDO";

/// Finds the pseudonymisation service's program.
pub(crate) fn find_pseudo() -> Result<PathBuf, ClientError> {
    let advice = "build it with `cargo build --release -p pseudo`, or name it in TWINKEEP_PSEUDO";
    let named = std::env::var_os(PSEUDO_VARIABLE).map(PathBuf::from);
    find("pseudo", named.as_deref(), advice)
}

/// Whether cargo is asked before a program is used: `package` is the one whose program or tests cargo runs. Programs that
/// tests of other packages start take what is there: those were built together.
fn is_built_first(package: Option<&OsStr>, is_there: bool) -> bool {
    !is_there || package.is_some_and(|package| package == env!("CARGO_PKG_NAME"))
}

/// The build of a package's programs; `variables` are those of this process.
fn build_command(cargo: &OsStr, name: &str, variables: impl Iterator<Item = OsString>) -> Command {
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "-p", name]).stdin(Stdio::null()).stdout(Stdio::null());
    // of its own, so that all of it can be told to end
    command.process_group(0);
    if let Some(folder) = std::env::var_os("CARGO_MANIFEST_DIR") {
        command.current_dir(folder);
    }
    for variable in variables.filter(|variable| variable.to_str().is_some_and(is_about_this_package)) {
        command.env_remove(variable);
    }
    command
}

/// Whether cargo sets a variable for the package that it builds or runs: build scripts that look at one of these run
/// again when it changes, and everything above them is built again.
fn is_about_this_package(variable: &str) -> bool {
    const FAMILIES: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CFG_"];
    const SINGLE: [&str; 4] = ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "OUT_DIR"];
    FAMILIES.iter().any(|family| variable.starts_with(family)) || SINGLE.contains(&variable)
}

fn build(mut command: Command, name: &str, ending: &AtomicBool, advice: &str) -> Result<(), ClientError> {
    let program = PathBuf::from(command.get_program());
    let mut child = command.spawn().map_err(ClientError::file("running", &program))?;
    loop {
        if let Some(status) = child.try_wait().map_err(ClientError::file("waiting for", &program))? {
            return if status.success() {
                Ok(())
            } else {
                Err(ClientError::state(format!("cargo could not build {name}, and said why above"), advice))
            };
        }
        if ending.load(Ordering::Relaxed) {
            end(&mut child);
            return Err(ClientError::state(format!("told to end while cargo built {name}"), ""));
        }
        std::thread::sleep(TICK);
    }
}

/// Ends a build with the compilers that it started.
fn end(child: &mut Child) {
    let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
    let _gone = kill_process_group(group, Signal::TERM);
    let deadline = Instant::now() + END_TIMEOUT;
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(TICK);
    }
    // compilers that did not listen, whether or not cargo did
    let _gone = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_program_that_is_not_where_it_was_said_to_be_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent");
        let error = find("store-node", Some(&path), "look again").unwrap_err();
        assert_eq!((error.exit_code(), error.advice()), (2, "look again"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(find("store-node", Some(&path), "look again").unwrap(), path);
    }

    #[test]
    fn cargo_is_asked_under_its_own_run_and_for_what_is_missing() {
        let [own, other] = ["client", "chaos"].map(|name| Some(OsStr::new(name)));
        assert!(is_built_first(own, true) && is_built_first(other, false) && is_built_first(None, false));
        assert!(!is_built_first(other, true) && !is_built_first(None, true));
    }

    #[test]
    fn a_build_learns_nothing_of_the_package_that_runs() {
        let gone =
            ["CARGO_PKG_NAME", "CARGO_PKG_VERSION_PRE", "CARGO_MANIFEST_DIR", "CARGO_BIN_NAME", "OUT_DIR"];
        let kept =
            ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "RUSTUP_TOOLCHAIN", "PATH"];
        let variables = gone.iter().chain(&kept).map(OsString::from);
        let command = build_command(OsStr::new("cargo"), "store-node", variables);
        let mut removed: Vec<_> =
            command.get_envs().map(|(name, value)| (name.to_owned(), value.is_none())).collect();
        removed.sort();
        let mut expected = gone.map(|name| (OsString::from(name), true));
        expected.sort();
        assert_eq!(removed, expected);
    }

    #[test]
    fn a_build_that_is_told_to_end_ends_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let (cargo, started) = (folder.path().join("cargo"), folder.path().join("started"));
        let script =
            format!("#!/bin/sh\nsleep 60 &\necho $! > {0}.new\nmv {0}.new {0}\nwait\n", started.display());
        std::fs::write(&cargo, script).unwrap();
        std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
        let ending = AtomicBool::new(false);
        let command = build_command(cargo.as_os_str(), "store-node", std::iter::empty());
        let outcome = std::thread::scope(|scope| {
            let build = scope.spawn(|| build(command, "store-node", &ending, ""));
            while !started.exists() {
                std::thread::sleep(TICK);
            }
            ending.store(true, Ordering::Relaxed);
            build.join().unwrap()
        });
        assert!(outcome.unwrap_err().to_string().contains("told to end"));
        let pid = std::fs::read_to_string(&started).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        // whoever inherits it may not have reaped it yet
        assert!(stat.is_empty() || stat.contains(") Z"), "{stat}");
    }

    #[test]
    fn a_build_that_fails_is_said_to() {
        let command = build_command(OsStr::new("false"), "store-node", std::iter::empty());
        let error = build(command, "store-node", &AtomicBool::new(false), "mend it").unwrap_err();
        assert_eq!(error.advice(), "mend it");
        assert!(error.to_string().contains("could not build store-node"), "{error}");
    }
}
