//! Root keys in a file and on a real PKCS#11 token (SoftHSM2).
//!
//! SoftHSM2 finds its tokens through an environment variable and keeps one state per process. So each test on a token
//! starts this program again for itself alone, with a token folder of its own.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use envelope::{
    EnvelopeError, KeyVersion, Nonce, PassphraseCost, RegionKey, RegionKeyName, RegionName, RootKey,
    seal_root,
};
use pkcs11::TokenError;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use store_node::config::{RootKeyConfig, SecretSource, TokenName};
use store_node::root_key::{RootKeyError, create_on_token, open};
use wire::DeploymentId;

const FOLDER: &str = "TWINKEEP_TEST_TOKEN_FOLDER";
const LABEL: &str = "twinkeep test";
const PIN: &str = "493817";
const KEY: &str = "root";

/// Where distributions put the driver.
const DRIVERS: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
];

#[test]
fn a_region_key_wrapped_on_a_token_comes_back_the_same() {
    on_a_token("a_region_key_wrapped_on_a_token_comes_back_the_same", |token| {
        create_on_token(&token.config()).unwrap();
        let root = open(&token.config()).unwrap();
        let key = region_key("here-1", 1, 0x5c);
        let wrapped = root.wrap(&key, nonce()).unwrap();
        // a second root stands for the process after a restart
        let unwrapped = open(&token.config()).unwrap().unwrap(key.name(), &wrapped).unwrap();
        assert_eq!(unwrapped.expose(), key.expose());
        assert_eq!(unwrapped.name(), key.name());
        let holds_it = wrapped.windows(8).any(|window| window == &key.expose()[..8]);
        assert!(!holds_it, "the wrapped form shows the key");
    });
}

#[test]
fn the_root_key_can_be_neither_read_nor_exported() {
    on_a_token("the_root_key_can_be_neither_read_nor_exported", |token| {
        create_on_token(&token.config()).unwrap();
        let session = token.session();
        let wanted = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(KEY.into())];
        let [key] = session.find_objects(&wanted).unwrap()[..] else { panic!("not one key") };
        let flags = [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::NeverExtractable];
        let flags = session.get_attributes(key, &flags).unwrap();
        for right in
            [Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::NeverExtractable(true)]
        {
            assert!(flags.contains(&right), "{flags:?}");
        }
        let value = session.get_attribute_info(key, &[AttributeType::Value]).unwrap();
        assert!(matches!(value[..], [AttributeInfo::Sensitive]), "{value:?}");
    });
}

#[test]
fn every_bit_of_a_wrapped_region_key_counts() {
    on_a_token("every_bit_of_a_wrapped_region_key_counts", |token| {
        create_on_token(&token.config()).unwrap();
        let root = open(&token.config()).unwrap();
        let key = region_key("here-1", 1, 0x5c);
        let wrapped = root.wrap(&key, nonce()).unwrap();
        for at in 0..wrapped.len() - 4 {
            let mut edited = wrapped.to_vec();
            edited[at] ^= 1;
            assert!(root.unwrap(key.name(), &edited).is_err(), "byte {at}, checksum left");
            let body = edited.len() - 4;
            let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &edited[..body]) as u32;
            edited[body..].copy_from_slice(&sum.to_le_bytes());
            assert!(root.unwrap(key.name(), &edited).is_err(), "byte {at}, checksum forged");
        }
        assert!(root.unwrap(key.name(), &wrapped).is_ok(), "the token no longer works after refusals");
    });
}

#[test]
fn a_token_refuses_a_region_key_under_another_name() {
    on_a_token("a_token_refuses_a_region_key_under_another_name", |token| {
        create_on_token(&token.config()).unwrap();
        let root = open(&token.config()).unwrap();
        let key = region_key("here-1", 1, 0x5c);
        let wrapped = root.wrap(&key, nonce()).unwrap();
        let other_deployment = RegionKeyName { deployment: DeploymentId([9; 16]), ..key.name().clone() };
        for other in [name("here-2", 1), other_deployment] {
            assert!(root.unwrap(&other, &wrapped).is_err(), "{other:?}");
        }
        let other_version = root.unwrap(&name("here-1", 2), &wrapped).map(|_| ());
        assert!(matches!(other_version, Err(EnvelopeError::OtherOwner { .. })));
    });
}

#[test]
fn a_region_key_of_another_root_key_does_not_open() {
    on_a_token("a_region_key_of_another_root_key_does_not_open", |token| {
        let other = RootKeyConfig::Pkcs11 {
            module: driver(),
            token: TokenName::Label(LABEL.into()),
            key_label: "other".into(),
            pin: token.pin(),
        };
        create_on_token(&token.config()).unwrap();
        create_on_token(&other).unwrap();
        let key = region_key("here-1", 1, 0x5c);
        let wrapped = open(&other).unwrap().wrap(&key, nonce()).unwrap();
        assert!(open(&token.config()).unwrap().unwrap(key.name(), &wrapped).is_err());
    });
}

#[test]
fn a_wrong_pin_is_called_that_and_not_repeated_in_the_error() {
    on_a_token("a_wrong_pin_is_called_that_and_not_repeated_in_the_error", |token| {
        std::fs::write(token.folder.join("pin"), "777111").unwrap();
        let error = open(&token.config()).map(|_| ()).unwrap_err();
        assert!(matches!(error, RootKeyError::Token(TokenError::WrongPin)), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("777111"));
    });
}

#[test]
fn a_missing_token_is_named_beside_those_that_are_there() {
    on_a_token("a_missing_token_is_named_beside_those_that_are_there", |token| {
        let elsewhere = token.config_for(TokenName::Label("elsewhere".into()), KEY);
        let message = open(&elsewhere).map(|_| ()).unwrap_err().to_string();
        assert_eq!(message, format!("no token called elsewhere; the driver shows {LABEL}"));
        let no_slot = token.config_for(TokenName::Slot(u64::from(u32::MAX) - 1), KEY);
        assert!(matches!(open(&no_slot), Err(RootKeyError::Token(TokenError::NoToken { .. }))));
    });
}

#[test]
fn a_missing_key_is_called_that() {
    on_a_token("a_missing_key_is_called_that", |token| {
        create_on_token(&token.config()).unwrap();
        let wrong = token.config_for(TokenName::Label(LABEL.into()), "rooot");
        let message = open(&wrong).map(|_| ()).unwrap_err().to_string();
        assert_eq!(message, "the token has no secret key called rooot");
    });
}

#[test]
fn a_token_is_found_by_its_slot() {
    on_a_token("a_token_is_found_by_its_slot", |token| {
        create_on_token(&token.config()).unwrap();
        let slot = loaded().get_slots_with_initialized_token().unwrap()[0].id();
        assert!(open(&token.config_for(TokenName::Slot(slot), KEY)).is_ok());
    });
}

#[test]
fn a_second_key_of_the_same_label_is_neither_made_nor_guessed() {
    on_a_token("a_second_key_of_the_same_label_is_neither_made_nor_guessed", |token| {
        create_on_token(&token.config()).unwrap();
        assert!(matches!(
            create_on_token(&token.config()),
            Err(RootKeyError::Token(TokenError::KeyExists { .. }))
        ));
        token.make_key(false);
        assert!(matches!(
            open(&token.config()),
            Err(RootKeyError::Token(TokenError::ManyKeys { count: 2, .. }))
        ));
    });
}

#[test]
fn a_key_that_may_leave_the_token_is_no_root_key() {
    on_a_token("a_key_that_may_leave_the_token_is_no_root_key", |token| {
        token.make_key(true);
        let message = open(&token.config()).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("CKA_EXTRACTABLE"), "{message}");
    });
}

#[test]
fn the_command_makes_the_root_key_once_and_says_how_it_is() {
    on_a_token("the_command_makes_the_root_key_once_and_says_how_it_is", |token| {
        let config = token.folder.join("gateway.toml");
        std::fs::write(&config, gateway_config(&token.folder)).unwrap();
        let run = |what: &str| store_node(&["root-key", what, "--config", config.to_str().unwrap()]);
        let on_token = format!("root key {KEY} on the token called {LABEL}");

        assert_eq!(run("status"), (1, format!("the token has no secret key called {KEY}\n")));
        let made = format!("{on_token}: made; copy it by the token's own backup procedure\n");
        assert_eq!(run("create"), (0, made));
        assert_eq!(run("status"), (0, format!("{on_token}: opens and is fit for use\n")));
        let (code, again) = run("create");
        assert!(code == 1 && again.contains("already has a key"), "{code}: {again}");
        assert!(open(&token.config()).is_ok(), "the key that the command made opens no more");

        std::fs::write(token.folder.join("pin"), "777111").unwrap();
        let (code, refused) = run("status");
        assert!(code == 1 && refused.contains("PIN") && !refused.contains("777111"), "{code}: {refused}");
    });
}

#[test]
fn the_command_makes_no_key_where_the_configuration_names_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let create = || store_node(&["root-key", "create", "--config", config.to_str().unwrap()]);
    std::fs::write(&config, "roles = [\"storage\"]\ndata = \"data\"\n").unwrap();
    let (code, said) = create();
    assert!(code == 2 && said.contains("only gateways have a root key"), "{code}: {said}");

    let sealed = "roles = [\"gateway\"]\ndata = \"data\"\n[s3]\nlisten_tls = \"127.0.0.1:9000\"\n\
        [root_key]\nfile = \"root.key\"\npassphrase_file = \"passphrase\"\n";
    std::fs::write(&config, sealed).unwrap();
    let (code, said) = create();
    assert!(code == 1 && said.contains("names a file, not a token"), "{code}: {said}");
}

#[test]
fn a_driver_that_is_not_there_is_named() {
    let module = PathBuf::from("/nowhere/driver.so");
    let token = TokenName::Label(LABEL.into());
    let pin = SecretSource::Environment("PATH".into());
    let error = open(&RootKeyConfig::Pkcs11 { module, token, key_label: KEY.into(), pin }).map(|_| ());
    assert!(error.unwrap_err().to_string().starts_with("/nowhere/driver.so: this PKCS#11 driver"));
}

#[test]
fn a_sealed_file_opens_with_its_passphrase_only() {
    let folder = tempfile::tempdir().unwrap();
    let (file, passphrase) = (folder.path().join("root.key"), folder.path().join("passphrase"));
    let root = RootKey::generate(fill(0x42)).unwrap();
    let cost = PassphraseCost::new(64, 1, 1).unwrap();
    std::fs::write(&file, seal_root(b"right", cost, [1; 16], &root).unwrap()).unwrap();
    std::fs::write(&passphrase, "right\n").unwrap();
    let config =
        RootKeyConfig::File { file: file.clone(), passphrase: SecretSource::File(passphrase.clone()) };

    let key = region_key("here-1", 1, 0x5c);
    let wrapped = open(&config).unwrap().wrap(&key, nonce()).unwrap();
    assert_eq!(open(&config).unwrap().unwrap(key.name(), &wrapped).unwrap().expose(), key.expose());

    std::fs::write(&passphrase, "wrong\n").unwrap();
    let wrong = open(&config).map(|_| ());
    assert!(matches!(wrong, Err(RootKeyError::Sealed { source: EnvelopeError::WrongPassphrase, .. })));
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(open(&config), Err(RootKeyError::File { .. })));
    assert!(matches!(create_on_token(&config), Err(RootKeyError::NotOnToken { .. })));
}

/// A token of one test's own, in the process that was started for it.
struct TestToken {
    folder: PathBuf,
}

impl TestToken {
    fn pin(&self) -> SecretSource {
        SecretSource::File(self.folder.join("pin"))
    }

    fn config(&self) -> RootKeyConfig {
        self.config_for(TokenName::Label(LABEL.into()), KEY)
    }

    fn config_for(&self, token: TokenName, key_label: &str) -> RootKeyConfig {
        RootKeyConfig::Pkcs11 { module: driver(), token, key_label: key_label.into(), pin: self.pin() }
    }

    fn session(&self) -> Session {
        let driver = loaded();
        let slot = driver.get_slots_with_initialized_token().unwrap()[0];
        let session = driver.open_rw_session(slot).unwrap();
        session.login(UserType::User, Some(&AuthPin::from(PIN))).unwrap();
        session
    }

    /// Makes a key beside the ways of `create_on_token`.
    fn make_key(&self, extractable: bool) {
        let key = [
            Attribute::Label(KEY.into()),
            Attribute::Token(true),
            Attribute::ValueLen(32.into()),
            Attribute::Sensitive(true),
            Attribute::Extractable(extractable),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        self.session().generate_key(&Mechanism::AesKeyGen, &key).unwrap();
    }
}

/// The configuration of a gateway with its root key on the test's token.
fn gateway_config(folder: &Path) -> String {
    let (module, pin) = (driver(), folder.join("pin"));
    format!(
        "roles = [\"gateway\"]\ndata = \"data\"\n[s3]\nlisten_tls = \"127.0.0.1:9000\"\n[root_key.pkcs11]\n\
         module = {module:?}\ntoken_label = {LABEL:?}\nkey_label = {KEY:?}\npin_file = {pin:?}\n"
    )
}

/// What the server's command answers: exit code, and all that it says.
fn store_node(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_store-node")).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// Runs `body` in a process of its own that has one fresh token and nothing else.
fn on_a_token(test: &str, body: fn(&TestToken)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return body(&TestToken { folder: folder.into() });
    }
    driver();
    let folder = tempfile::tempdir().unwrap();
    let (settings, tokens) = (folder.path().join("softhsm2.conf"), folder.path().join("tokens"));
    std::fs::create_dir(&tokens).unwrap();
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
    std::fs::write(&settings, text).unwrap();
    std::fs::write(folder.path().join("pin"), PIN).unwrap();
    let init = ["--init-token", "--free", "--label", LABEL, "--so-pin", "11223344", "--pin", PIN];
    run(Command::new("softhsm2-util").args(init).env("SOFTHSM2_CONF", &settings));
    let this = std::env::current_exe().unwrap();
    let again = ["--exact", test, "--nocapture", "--test-threads=1"];
    run(Command::new(this).args(again).env("SOFTHSM2_CONF", &settings).env(FOLDER, folder.path()));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        panic!("{command:?}: {}\n{out}\n{err}", output.status);
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

fn loaded() -> Pkcs11 {
    let driver = Pkcs11::new(driver()).unwrap();
    // the first to come initializes it for the process
    let _already = driver.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    driver
}

fn name(region: &str, version: u32) -> RegionKeyName {
    let (deployment, version) = (DeploymentId([1; 16]), KeyVersion(version));
    RegionKeyName { deployment, region: RegionName::parse(region).unwrap(), version }
}

fn region_key(region: &str, version: u32, byte: u8) -> RegionKey {
    RegionKey::generate(name(region, version), fill(byte)).unwrap()
}

fn nonce() -> Nonce {
    Nonce::generate(fill(3)).unwrap()
}

fn fill(byte: u8) -> impl FnOnce(&mut [u8]) -> Result<(), Infallible> {
    move |key| {
        key.fill(byte);
        Ok(())
    }
}
