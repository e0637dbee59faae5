//! A root that a PKCS#11 token seals (SoftHSM2): made, opened with its PIN, beside shares or instead of them.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod here;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use here::pseudo;
use serde_json::Value;

const LABEL: &str = "twinkeep pseudo test";
const PIN: &str = "493817";
/// Where distributions put the driver.
const DRIVERS: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
];

/// A folder with a token of one test's own.
struct Here {
    folder: tempfile::TempDir,
}

impl Here {
    fn new() -> Self {
        let here = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(here.path("tokens")).unwrap();
        let text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\n", here.path("tokens").display());
        fs::write(here.path("softhsm2.conf"), text).unwrap();
        let driver = driver();
        let init = ["--init-token", "--free", "--label", LABEL, "--so-pin", "11223344", "--pin", PIN];
        let mut command = Command::new("softhsm2-util");
        let output = command.args(init).env("SOFTHSM2_CONF", here.path("softhsm2.conf")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        here.secret("pin", &format!("{PIN}\n"));
        let token = |key: &str, pin: &str| {
            format!("module = {driver:?}\ntoken_label = {LABEL:?}\nkey_label = {key:?}\npin_file = {pin:?}\n")
        };
        fs::write(here.path("token.toml"), token("pseudo-root", "pin")).unwrap();
        fs::write(here.path("other.toml"), token("other-root", "pin")).unwrap();
        here.secret("wrong", "777111\n");
        fs::write(here.path("wrong.toml"), token("pseudo-root", "wrong")).unwrap();
        here
    }

    fn secret(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, line: &str) -> Output {
        let mut command = pseudo(self.folder.path(), line);
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command.env_remove("PSEUDO_KEYS").output().unwrap()
    }

    fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json"));
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(!output.status.success(), "{line} was not refused");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// The driver's path; installs SoftHSM2 first where this process may.
fn driver() -> PathBuf {
    static DRIVER: OnceLock<PathBuf> = OnceLock::new();
    let found = || DRIVERS.iter().map(Path::new).find(|path| path.exists()).map(Path::to_owned);
    let install = || {
        // without root this fails at once, and the sentence below says what to do
        let _output = Command::new("apt-get").args(["install", "-y", "softhsm2"]).output();
        found().expect("these tests need SoftHSM2: run `apt-get install softhsm2` as root")
    };
    DRIVER.get_or_init(|| found().unwrap_or_else(install)).clone()
}

#[test]
fn a_token_and_its_pin_open_what_it_sealed_and_nothing_else_does() {
    let here = Here::new();
    let made = here.json("keys create --keys @keys --token @token.toml");
    assert_eq!(
        (&made["token"], &made["shares"], &made["threshold"]),
        (&true.into(), &Value::Null, &Value::Null)
    );
    here.json("keys domain team-usage --keys @keys --token @token.toml");
    let signing = here.json("keys signing --keys @keys --token @token.toml");
    let verified = here.json("keys verify --keys @keys --token @token.toml");
    assert_eq!(
        (&verified["opened"], &verified["public_key"], &verified["root"]),
        (&1.into(), &signing["public_key"], &made["root"])
    );
    assert_eq!(here.json("keys list --keys @keys")["token"], true);

    let said = here.refused("keys verify --keys @keys --token @wrong.toml");
    assert!(said.contains("refuses the PIN") && !said.contains("777111"), "{said}");
    let said = here.refused("keys verify --keys @keys --token @other.toml");
    assert!(said.contains("no secret key called other-root"), "{said}");
    // another key of the same token, and another root under this one
    here.json("keys create --keys @others --token @other.toml");
    let said = here.refused("keys verify --keys @keys --token @other.toml");
    assert!(said.contains("does not open") || said.contains("seal is broken"), "{said}");
    here.json("keys create --keys @thirds --token @token.toml");
    fs::copy(here.path("thirds/root.token"), here.path("keys/root.token")).unwrap();
    let said = here.refused("keys verify --keys @keys --token @token.toml");
    assert!(said.contains("another root"), "{said}");

    fs::set_permissions(here.path("pin"), fs::Permissions::from_mode(0o640)).unwrap();
    let said = here.refused("keys verify --keys @thirds --token @token.toml");
    assert!(said.contains("chmod 600"), "{said}");
}

#[test]
fn shares_open_the_same_root_beside_a_token_and_without_it() {
    let here = Here::new();
    here.json("keys create --keys @keys --shares @shares --count 3 --threshold 2 --token @token.toml");
    let shares = "--share @shares/share-1.txt --share @shares/share-3.txt";
    here.json(&format!("keys domain team-usage --keys @keys {shares}"));
    assert_eq!(here.json("keys verify --keys @keys --token @token.toml")["opened"], 1);
    // the token is lost
    fs::remove_dir_all(here.path("tokens")).unwrap();
    fs::create_dir(here.path("tokens")).unwrap();
    let said = here.refused("keys verify --keys @keys --token @token.toml");
    assert!(said.contains("no token called twinkeep pseudo test"), "{said}");
    assert_eq!(here.json(&format!("keys verify --keys @keys {shares}"))["opened"], 1);
}

#[test]
fn a_folder_that_takes_shares_gets_a_token_by_enough_of_them() {
    let here = Here::new();
    here.json("keys create --keys @keys --shares @shares --count 3 --threshold 2");
    let said = here.refused("keys verify --keys @keys --token @token.toml");
    assert!(said.contains("no token has sealed the root"), "{said}");
    let said = here.refused("keys token @token.toml --keys @keys --share @shares/share-1.txt");
    assert!(said.contains("1 shares are here, 2 are needed"), "{said}");
    let shares = "--share @shares/share-1.txt --share @shares/share-2.txt";
    here.json(&format!("keys token @token.toml --keys @keys {shares}"));
    here.json("keys domain team-usage --keys @keys --token @token.toml");
    assert_eq!(here.json(&format!("keys verify --keys @keys {shares}"))["opened"], 1);
    let said = here.refused(&format!("keys verify --keys @keys --token @token.toml {shares}"));
    assert!(said.contains("cannot be used with"), "{said}");
    let said = here.refused("keys create --keys @more");
    assert!(said.contains("--shares"), "{said}");
}
