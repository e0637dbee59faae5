//! The other programs of Twinkeep: found beside this one, built when this one runs under cargo and they are missing.

use crate::ClientError;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Finds a program, whose name is also its package's: the one named, else the one beside this program; under `cargo run`
/// it is built when missing. `advice` is for when there is none.
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
    if let Some(path) = found() {
        return Ok(path);
    }
    if let Some(cargo) = std::env::var_os("CARGO") {
        eprintln!("twinkeep: {name} is not built yet; running `cargo build --release -p {name}`");
        let built = Command::new(cargo)
            .args(["build", "--release", "-p", name])
            .current_dir(
                std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        if built.is_ok_and(|status| status.success()) {
            let release = folders
                .first()
                .and_then(|folder| folder.parent())
                .map(|target| target.join("release").join(name));
            if let Some(path) = found().or_else(|| release.filter(|path| path.is_file())) {
                return Ok(path);
            }
        }
    }
    let folder = folders.first().map_or_else(String::new, |folder| folder.display().to_string());
    Err(ClientError::state(format!("the program {name} is not in {folder}"), advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_where_it_was_said_to_be_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent");
        let error = find("store-node", Some(&path), "look again").unwrap_err();
        assert_eq!((error.exit_code(), error.advice()), (2, "look again"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(find("store-node", Some(&path), "look again").unwrap(), path);
    }
}
