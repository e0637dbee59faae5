//! A vault with its keys, and people with second factors.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use custody::{OperatorName, TOTP_STEP_SECONDS, TotpSecret};
use serde_json::Value;

/// People whose values must never be seen where nobody asked for them.
pub(crate) const VALUES: [&str; 5] = [
    "Ada.Lovelace@Example.org",
    "Grace.Hopper@example.org",
    "Edith.Clarke@example.org",
    "Mary.Somerville@example.org",
    "Emmy.Noether@example.org",
];
const OPERATORS: [&str; 6] = ["ada", "grace", "edith", "mary", "alan", "kurt"];

pub(crate) const POLICY: &str = r#"
policy = "usage"
version = 1
domain = "team-usage"
purpose = "capacity planning"
legal_basis = "Art. 6(1)(f)"
owner = "dpo"
unknown_field = "stop"
bad_record = "stop"

[source]
format = "ndjson"

[target]
format = "ndjson"

[retention]
anonymise_after = "P24M"
delete_after = "P36M"

[gate]
quasi_identifiers = ["pages"]
k = 2

[reidentify]
approvers = 1
second_factor = true
reasons = ["security-incident", "data-subject-request"]
window = "PT4H"
max_rows = 50

[[field]]
path = "$.email"
technique = "prf+vault"
class = "person.email"
normalise = ["nfc", "email"]

[[field]]
path = "$.pages"
technique = "top-code"
most = 500
type = "integer"
"#;

pub(crate) struct Desk {
    folder: tempfile::TempDir,
    pub(crate) public: String,
    secrets: Vec<(String, String)>,
    /// Variables that name a server, for what goes over S3.
    pub(crate) server: Vec<(&'static str, String)>,
}

pub(crate) fn record(email: &str, pages: usize) -> String {
    format!("{{\"email\":\"{email}\",\"pages\":{pages}}}\n")
}

impl Desk {
    /// Keys, six operators and an empty vault.
    pub(crate) fn new() -> Self {
        let mut desk = Self {
            folder: tempfile::tempdir().unwrap(),
            public: String::new(),
            secrets: Vec::new(),
            server: Vec::new(),
        };
        desk.write("policy.toml", POLICY);
        desk.write(
            "jobs.ndjson",
            &(1..).zip(VALUES).map(|(pages, value)| record(value, pages)).collect::<String>(),
        );
        desk.write("pass.txt", "a long passphrase");
        fs::set_permissions(desk.path("pass.txt"), fs::Permissions::from_mode(0o600)).unwrap();
        desk.json("keys create --keys @keys --shares @shares --count 3 --threshold 2");
        desk.json("keys domain team-usage @OPENED");
        desk.public = desk.json("keys signing @OPENED")["public_key"].as_str().unwrap().to_owned();
        for name in OPERATORS {
            desk.json(&format!("keys operator {name} -o @{name}.key --passphrase-file @pass.txt"));
            desk.json(&format!("keys enrol @{name}.key @OPENED"));
            let uri =
                desk.json(&format!("keys totp @{name}.key @OPENED"))["uri"].as_str().unwrap().to_owned();
            desk.secrets.push((name.to_owned(), uri));
        }
        desk.json("vault create @OPENED @VAULT");
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// `pseudo` with these words, `@` standing for files here.
    pub(crate) fn command(&self, line: &str) -> Command {
        let line = line
            .replace("@OPENED", "--keys @keys --share @shares/share-1.txt --share @shares/share-2.txt")
            .replace("@VAULT", "--vault @vault --epoch @epoch-1 --epoch @epoch-2");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pseudo"));
        command.args(line.split(' ').map(|word| match word.strip_prefix('@') {
            Some(name) => self.path(name).into_os_string(),
            None => word.into(),
        }));
        for variable in ["PSEUDO_KEYS", "PSEUDO_VAULT", "PSEUDO_EPOCH", "PSEUDO_OPERATOR"] {
            command.env_remove(variable);
        }
        command
            .envs(self.server.iter().map(|(name, value)| (name, value)))
            .env("NO_PROXY", "127.0.0.1,localhost");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, line: &str) -> Output {
        let output = self.command(line).output().unwrap();
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8_lossy(&said).to_lowercase();
        for value in VALUES {
            assert!(!said.contains(&value.to_lowercase()), "{line} shows {value}: {said}");
        }
        output
    }

    pub(crate) fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn error(&self, line: &str) -> (i32, String) {
        let output = self.run(line);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Pseudonymises the jobs. The tokens, in the order of [`VALUES`].
    pub(crate) fn run_job(&self, output: &str) -> Vec<String> {
        self.json(&format!("run @policy.toml @jobs.ndjson -o @{output} @OPENED @VAULT"));
        tokens_of(&self.path(output))
    }

    /// A code of an operator, so many steps ahead.
    pub(crate) fn code(&self, name: &str, ahead: u64) -> String {
        let (_, uri) = self.secrets.iter().find(|(known, _)| known == name).unwrap();
        let text = uri.split_once("secret=").unwrap().1.split('&').next().unwrap();
        let digit = |letter: u8| match letter {
            b'A'..=b'Z' => letter - b'A',
            _ => letter - b'2' + 26,
        };
        let bits: Vec<u8> = text
            .bytes()
            .flat_map(|letter| (0..5).rev().map(move |place| digit(letter) >> place & 1))
            .collect();
        let bytes: Vec<u8> =
            bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect();
        let totp = TotpSecret::generate(OperatorName::new(name).unwrap(), |secret| {
            secret.copy_from_slice(&bytes);
            Ok::<(), ()>(())
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        format!("{:06}", totp.unwrap().code(now / TOTP_STEP_SECONDS + ahead, 6))
    }

    /// Asking.
    pub(crate) fn asked(&self, what: &str, who: &str, about: &str, ahead: u64) -> String {
        let words = "--purpose investigation --reason security-incident --ticket INC-7";
        let code = self.code(who, ahead);
        format!("{what} request @policy.toml {about} {words} --code {code} @OPENED @VAULT {}", acting(who))
    }

    pub(crate) fn request(&self, what: &str, who: &str, about: &str) -> String {
        self.json(&self.asked(what, who, about, 0))["grant"].as_str().unwrap().to_owned()
    }

    /// What somebody who may agree is shown.
    pub(crate) fn shown(&self, what: &str, grant: &str, who: &str) -> Value {
        self.json(&format!("{what} show {grant} @policy.toml @OPENED @VAULT {}", acting(who)))
    }

    /// Agreeing to what was shown.
    pub(crate) fn agreed(&self, what: &str, grant: &str, who: &str, code: &str) -> String {
        let shown = self.shown(what, grant, who);
        let request = shown["request_sha256"].as_str().unwrap();
        format!(
            "{what} approve {grant} @policy.toml --request {request} --code {code} @OPENED @VAULT {}",
            acting(who)
        )
    }

    pub(crate) fn approve(&self, what: &str, grant: &str, who: &str) -> Value {
        self.json(&self.agreed(what, grant, who, &self.code(who, 0)))
    }

    /// Using.
    pub(crate) fn used(&self, what: &str, grant: &str, who: &str, output: &str, ahead: u64) -> String {
        let code = self.code(who, ahead);
        format!("{what} run {grant} @policy.toml -o @{output} --code {code} @OPENED @VAULT {}", acting(who))
    }
}

fn acting(who: &str) -> String {
    format!("--operator @{who}.key --passphrase-file @pass.txt")
}

/// Tokens by their row's pages.
pub(crate) fn tokens_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let mut rows: Vec<(u64, String)> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|row| (row["pages"].as_u64().unwrap(), row["email"].as_str().unwrap().to_owned()))
        .collect();
    rows.sort();
    rows.into_iter().map(|(_, token)| token).collect()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() { copy(&path, &to) } else { fs::copy(&path, &to).map(|_| ()).unwrap() }
    }
}
