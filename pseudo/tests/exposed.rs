//! Files that are secret: made for their owner alone, and refused once others may read them, whatever they are.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod here;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use here::pseudo;
use serde_json::Value;

const OPENED: &str = "--keys @keys --share @shares/share-1.txt --share @shares/share-2.txt";
const PASSPHRASE: &str = "a passphrase of ada's";

struct Here {
    folder: tempfile::TempDir,
    public_key: String,
}

impl Here {
    /// Keys, and ada who is enrolled, with a second factor.
    fn new() -> Self {
        let mut here = Self { folder: tempfile::tempdir().unwrap(), public_key: String::new() };
        here.secret("passphrase", PASSPHRASE);
        here.secret("access", "AWS_ACCESS_KEY_ID=nobody\nAWS_SECRET_ACCESS_KEY=nothing\n");
        here.json("keys create --keys @keys --shares @shares --count 2 --threshold 2");
        here.json(&format!("keys domain early {OPENED}"));
        let made = here.json(&format!("keys signing {OPENED}"));
        here.public_key = made["public_key"].as_str().unwrap().to_owned();
        here.json("keys operator ada -o @ada.operator --passphrase-file @passphrase");
        here.json(&format!("keys enrol @ada.operator {OPENED}"));
        here.json(&format!("keys totp @ada.operator {OPENED}"));
        here
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn secret(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        allow(&self.path(name), 0o600);
    }

    fn command(&self, line: &str) -> Command {
        let mut command = pseudo(self.folder.path(), line);
        for name in ["PSEUDO_KEYS", "PSEUDO_PASSPHRASE", "PSEUDO_REVOKED", "AWS_ENDPOINT_URL"] {
            command.env_remove(name);
        }
        command
    }

    fn json(&self, line: &str) -> Value {
        let output = self.command(&format!("{line} --json")).output().unwrap();
        assert!(output.status.success(), "{line}: {}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Deciding about an export where no server is: all secrets are read before it is asked.
    fn decide(&self) -> String {
        format!(
            "release approve s3://drafts/x --endpoint http://127.0.0.1:9 --key {} --operator @ada.operator \
             --passphrase-file @passphrase --credentials @access",
            self.public_key
        )
    }
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_secret_that_others_may_read_is_refused_with_the_command_that_mends_it() {
    let here = Here::new();
    let (decide, verify) = (here.decide(), format!("keys verify {OPENED}"));
    let enrol = format!("keys enrol @ada.operator {OPENED}");
    let cases = [
        ("shares/share-1.txt", &verify),
        ("keys/early.1.key", &verify),
        ("keys/signing.wrapped", &verify),
        ("passphrase", &decide),
        ("ada.operator", &decide),
        ("ada.operator", &enrol),
        ("access", &decide),
    ];
    for (name, line) in cases {
        let path = here.path(name);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{name} as it was made");
        for mode in [0o640, 0o604, 0o660] {
            allow(&path, mode);
            let output = here.command(line).output().unwrap();
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{name}, {mode:o}: {said}");
            assert!(said.contains(&format!("chmod 600 {}", path.display())), "{name}, {mode:o}: {said}");
        }
        allow(&path, 0o600);
        assert!(!said(&here.command(line).output().unwrap()).contains("chmod"), "{name}");
    }
}

#[test]
fn what_systemd_hands_over_is_read_though_its_mode_shows_a_group() {
    let here = Here::new();
    fs::create_dir(here.path("handed over")).unwrap();
    let passphrase = here.path("handed over/passphrase");
    fs::copy(here.path("passphrase"), &passphrase).unwrap();
    let asked = |mode: u32| {
        allow(&passphrase, mode);
        let line = here.decide().replace("--passphrase-file @passphrase", "--json");
        let mut command = here.command(&line);
        command.arg("--passphrase-file").arg(&passphrase);
        command.env("CREDENTIALS_DIRECTORY", here.path("handed over"));
        said(&command.output().unwrap())
    };
    assert!(!asked(0o440).contains("chmod"));
    assert!(asked(0o444).contains("chmod 600 '"), "a path with a space is one word");
}
