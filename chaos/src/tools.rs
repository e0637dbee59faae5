//! Makes what a fresh machine lacks: the binaries under test, the Python clients, the Debian packages.
//!
//! Each is made once and guarded by a file lock, so that test binaries may run side by side. What cannot be made is an
//! error that says how to make it by hand: a test that lacks its tool fails, it never passes silently.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use crate::trouble::{Outcome, Trouble};

/// The binaries under test.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The command line.
    pub twinkeep: PathBuf,
    /// The server.
    pub store_node: PathBuf,
}

/// The root of the source tree.
pub fn source_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies inside the workspace")
}

/// The folder cargo builds into, found from where this test binary lies.
pub fn target_folder() -> Outcome<PathBuf> {
    let own = std::env::current_exe()
        .map_err(|error| Trouble::new(format!("no path of the test binary: {error}")))?;
    let release = own.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "release"));
    let target = release.and_then(Path::parent);
    target
        .map(Path::to_owned)
        .ok_or_else(|| Trouble::new("run these tests with --release: they break real binaries"))
}

/// The folder of binaries to break instead of building them: for trying an installed version.
const BINARIES_VARIABLE: &str = "CHAOS_BINARIES";

/// Builds both binaries once per test process, with the features the test build already has, so little is compiled twice.
/// `CHAOS_BINARIES=DIR` takes those in a folder instead.
pub fn binaries() -> Outcome<Binaries> {
    static BUILT: OnceLock<Outcome<Binaries>> = OnceLock::new();
    BUILT.get_or_init(build_binaries).clone()
}

fn build_binaries() -> Outcome<Binaries> {
    let given = std::env::var_os(BINARIES_VARIABLE).map(PathBuf::from);
    let release = target_folder()?.join("release");
    if given.is_none() {
        let _guard = lock("build")?;
        let arguments = ["build", "--release", "--quiet", "--workspace", "--bins", "--test", "house"];
        expect_success(cargo().args(arguments), "build the binaries under test")?;
    }
    let release = given.unwrap_or(release);
    let binaries = Binaries { twinkeep: release.join("twinkeep"), store_node: release.join("store-node") };
    for path in [&binaries.twinkeep, &binaries.store_node] {
        if !path.is_file() {
            return Err(Trouble::new(format!("there is no {}", path.display())));
        }
    }
    Ok(binaries)
}

/// Cargo itself, in the source root, without the variables that the outer cargo sets for tests: with them
/// build scripts that watch these variables would run again.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_CRATE_NAME"
        {
            command.env_remove(name);
        }
    }
    command.current_dir(source_root()).stdin(Stdio::null());
    command
}

/// The folder of programs of a Python environment with the pinned clients, made under `target/venv`.
pub fn python_clients() -> Outcome<PathBuf> {
    static MADE: OnceLock<Outcome<PathBuf>> = OnceLock::new();
    MADE.get_or_init(|| python_environment("venv", "chaos/clients/requirements.txt")).clone()
}

/// The folder of programs of a Python environment of this name, made under `target` with what a file of the source tree
/// asks for.
pub fn python_environment(name: &str, requirements: &str) -> Outcome<PathBuf> {
    let environment = target_folder()?.join(name);
    let requirements = source_root().join(requirements);
    let wanted = read_text(&requirements)?;
    let stamp = environment.join("requirements.installed");
    let programs = environment.join("bin");
    let _guard = lock(name)?;
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(programs);
    }
    let advice = "make a Python environment (needs python3 with venv: apt-get install python3-venv, and a package index)";
    if !Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        debian(&[("", "python3"), ("", "python3-venv")])?;
    }
    expect_success(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment), advice)?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    expect_success(Command::new(programs.join("python")).args(pip).arg(&requirements), advice)?;
    std::fs::write(&stamp, wanted).map_err(|error| Trouble::file("write", &stamp, &error))?;
    Ok(programs)
}

/// Sees to it that these programs are there: pairs of a program and the Debian package that holds it. An empty program
/// name asks for the package alone.
pub fn debian(wanted: &[(&str, &str)]) -> Outcome<()> {
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| program.is_empty() || !on_path(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install {}", missing.join(" "));
    if !is_root() || !on_path("apt-get") {
        return Err(Trouble::new(format!(
            "this test needs programs that are missing; install them: {by_hand}"
        )));
    }
    let _guard = lock("apt")?;
    eprintln!("installing {} from Debian", missing.join(" "));
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).arg("-qq");
        command
    };
    let install = |packages: &[&str]| {
        let mut command = apt();
        expect_success(command.args(["install", "--yes", "--no-install-recommends"]).args(packages), &by_hand)
    };
    if install(&missing).is_ok() {
        return Ok(());
    }
    expect_success(apt().arg("update"), "apt-get update")?;
    install(&missing).map(drop)
}

/// Whether the tests run as root, which namespaces, mounts and packages need.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fails unless the tests run as root.
pub fn require_root(purpose: &str) -> Outcome<()> {
    if is_root() {
        return Ok(());
    }
    Err(Trouble::new(format!("{purpose} needs root: run the tests as root, in a container if you like")))
}

/// Whether a program is on the path, or in the folders where Debian keeps root's programs.
pub fn on_path(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).any(|folder| Path::new(folder).join(program).is_file())
}

/// Runs a command to its end; an error carries its last output and says what it was for.
pub fn expect_success(command: &mut Command, purpose: &str) -> Outcome<Output> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        Trouble::new(format!("cannot {purpose}: cannot start {:?}: {error}", command.get_program()))
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let from = said.char_indices().rev().nth(4000).map_or(0, |(index, _)| index);
    Err(Trouble::new(format!(
        "cannot {purpose}: {:?} ended with {}:\n{}",
        command.get_program(),
        output.status,
        &said[from..]
    )))
}

/// Reads a text file.
pub fn read_text(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| Trouble::file("read", path, &error))
}

/// Holds a named lock until the file is dropped; waits for another process that holds it.
fn lock(name: &str) -> Outcome<File> {
    let path = target_folder()?.join(format!("chaos-{name}.lock"));
    let file = File::create(&path).map_err(|error| Trouble::file("create", &path, &error))?;
    file.lock().map_err(|error| Trouble::file("lock", &path, &error))?;
    Ok(file)
}
