//! Running `pseudo` as somebody would who has all files in one folder.

use std::path::Path;
use std::process::Command;

/// `pseudo` with the words of a line; those that begin with `@` stand for files in the folder.
pub(crate) fn pseudo(folder: &Path, line: &str) -> Command {
    let word = |word: &str| match word.strip_prefix('@') {
        Some(name) => folder.join(name).into_os_string(),
        None => word.into(),
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_pseudo"));
    command.args(line.split(' ').map(word));
    command
}
