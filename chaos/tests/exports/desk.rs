//! A region with buckets, people with narrow rights, and a folder of keys: all that an export needs.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use chaos::dev::Dev;
use chaos::run::Run;
use chaos::s3::{Entry, S3};
use chaos::secrets::{Leak, Needle, search_folder};
use chaos::sign::Credentials;
use chaos::tools;
use serde_json::Value;

pub(crate) const POLICY: &str = include_str!("policy.toml");
/// What must never be seen outside the bucket of sources.
pub(crate) const CLEAR: [&str; 3] = ["ada.lovelace", "Ada Lovelace Planted", "secret-of-an-unknown-field"];
pub(crate) const PASSPHRASE: &str = "a passphrase of an operator";

/// The region, the people, the keys.
pub(crate) struct Desk {
    pub(crate) run: Run,
    pub(crate) dev: Dev,
    pub(crate) maker: Credentials,
    pub(crate) approver: Credentials,
    pub(crate) analyst: Credentials,
    /// What the running service may: more than who makes exports by hand, since it deletes them too.
    pub(crate) service: Credentials,
    pub(crate) public_key: String,
    said: Mutex<fs::File>,
}

/// One record of a print job.
pub(crate) fn record(number: usize) -> String {
    let (site, department) = (["berlin", "lyon", "oslo"][number % 3], ["research", "sales"][number % 2]);
    format!(
        "{{\"user\":{{\"email\":\"Ada.Lovelace{}@Example.org\",\"name\":\"Ada Lovelace Planted\"}},\
         \"site\":\"{site}\",\"department\":\"{department}\",\"pages\":{number}}}\n",
        number % 50
    )
}

pub(crate) fn records(numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.map(record).collect::<String>().into_bytes()
}

impl Desk {
    /// Starts everything. `jobs` has versions if asked for.
    pub(crate) fn new(test: &str, versions: bool) -> Self {
        let run = Run::new(test).unwrap();
        let dev = Dev::start(&run).unwrap();
        let mut client = dev.client().unwrap();
        for bucket in ["jobs", "drafts", "analytics"] {
            client.create_bucket(bucket).unwrap();
        }
        if versions {
            client.enable_versioning("jobs").unwrap();
        }
        let user = |name: &str, grants: &[(&str, &str)]| {
            let added: Value =
                serde_json::from_str(&dev.twinkeep(&["user", "add", name, "--json"]).unwrap()).unwrap();
            for (bucket, rights) in grants {
                dev.twinkeep(&["grant", "add", name, bucket, rights]).unwrap();
            }
            let find = |key: &str| {
                let inside = added.as_object().unwrap().values().find_map(|value| value[key].as_str());
                added[key].as_str().or(inside).unwrap().to_owned()
            };
            let region = dev.ready.region.clone();
            Credentials { access_key: find("access_key"), secret_key: find("secret_key"), region }
        };
        let maker = user("maker", &[("jobs", "read,list"), ("drafts", "read,list,write")]);
        let approver = user("approver", &[("drafts", "read,list,write"), ("analytics", "read,list,write")]);
        let analyst = user("analyst", &[("analytics", "read,list")]);
        let service = user(
            "service",
            &[("jobs", "read,list"), ("drafts", "read,list,write,delete"), ("analytics", "read,list,delete")],
        );
        fs::create_dir(run.path("said")).unwrap();
        fs::write(run.path("policy.toml"), POLICY).unwrap();
        let said = Mutex::new(fs::File::create(run.path("said/messages")).unwrap());
        let mut desk = Self { run, dev, maker, approver, analyst, service, public_key: String::new(), said };
        desk.make_keys();
        desk
    }

    fn make_keys(&mut self) {
        let opened = "--keys @keys --share @shares/share-1.txt --share @shares/share-2.txt";
        let nobody = self.maker.clone();
        self.json(&nobody, "keys create --keys @keys --shares @shares --count 3 --threshold 2");
        self.json(&nobody, &format!("keys domain team-usage {opened}"));
        let made = self.json(&nobody, &format!("keys signing {opened}"));
        self.public_key = made["public_key"].as_str().unwrap().to_owned();
        for name in ["maker", "approver"] {
            self.json(&nobody, &format!("keys operator {name} -o @{name}.operator"));
            self.json(&nobody, &format!("keys enrol @{name}.operator {opened}"));
        }
    }

    /// Runs `pseudo` as somebody, words that begin with `@` standing for files of this run. All it says is kept and searched.
    pub(crate) fn pseudo(&self, by: &Credentials, line: &str) -> Output {
        let output = self.command(by, line).output().unwrap();
        let mut said = self.said.lock().unwrap();
        said.write_all(&[line.as_bytes(), &output.stdout, &output.stderr].concat()).unwrap();
        output
    }

    pub(crate) fn spawn(&self, by: &Credentials, line: &str) -> Child {
        self.command(by, line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn command(&self, by: &Credentials, line: &str) -> Command {
        let program = tools::binaries().unwrap().twinkeep.with_file_name("pseudo");
        let word = |word: &str| -> OsString {
            word.strip_prefix('@').map_or_else(|| word.into(), |name| self.path(name).into_os_string())
        };
        let mut command = Command::new(program);
        command.args(line.split(' ').map(word)).stdin(Stdio::null());
        for (name, _) in std::env::vars() {
            if name.starts_with("AWS_") || name.starts_with("PSEUDO_") {
                command.env_remove(name);
            }
        }
        command.env("AWS_ACCESS_KEY_ID", &by.access_key).env("AWS_SECRET_ACCESS_KEY", &by.secret_key);
        command.env("AWS_ENDPOINT_URL", &self.dev.ready.endpoint).env("AWS_REGION", &by.region);
        command.env("PSEUDO_PASSPHRASE", PASSPHRASE).env("NO_PROXY", "127.0.0.1,localhost");
        command
    }

    /// Starts a service whose messages go to a file of this run.
    pub(crate) fn serve(&self, config: &str, messages: &str) -> Child {
        let said = fs::OpenOptions::new().create(true).append(true).open(self.path(messages)).unwrap();
        let mut command = self.command(&self.service, &format!("serve --config @{config}"));
        // all that it needs is in its configuration
        for name in [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_ENDPOINT_URL",
            "AWS_REGION",
            "PSEUDO_PASSPHRASE",
        ] {
            command.env_remove(name);
        }
        command.stdout(Stdio::null()).stderr(said).spawn().unwrap()
    }

    /// What it says when it goes well.
    pub(crate) fn json(&self, by: &Credentials, line: &str) -> Value {
        let output = self.pseudo(by, &format!("{line} --json"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What it says when it goes wrong.
    pub(crate) fn refused(&self, by: &Credentials, line: &str) -> String {
        let output = self.pseudo(by, line);
        assert!(!output.status.success(), "{line} was not refused");
        String::from_utf8(output.stderr).unwrap()
    }

    /// An export's command line.
    pub(crate) fn export(&self, id: &str, more: &str) -> String {
        let opened = "--keys @keys --share @shares/share-1.txt --share @shares/share-2.txt";
        format!(
            "export @policy.toml --to s3://drafts/usage --id {id} {opened} --operator @maker.operator{more}"
        )
    }

    /// A command line of `release` about an export.
    pub(crate) fn release(&self, verb: &str, id: &str, operator: &str) -> String {
        let acting =
            if verb == "status" { String::new() } else { format!(" --operator @{operator}.operator") };
        let reason = if verb == "refuse" { " --reason because" } else { "" };
        format!("release {verb} s3://drafts/usage/{id} --key {}{acting}{reason}", self.public_key)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.run.path(name)
    }

    pub(crate) fn client(&self, who: &Credentials) -> S3 {
        S3::new(self.dev.address().unwrap(), who.clone())
    }

    /// Names of objects below a place, as the region's first user sees them.
    pub(crate) fn names(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let mut client = self.dev.client().unwrap();
        client.list(bucket, prefix).unwrap().into_iter().map(|entry: Entry| entry.key).collect()
    }

    /// Copies all objects of a place into a folder of this run.
    pub(crate) fn download(&self, bucket: &str, prefix: &str, folder: &str) -> PathBuf {
        let mut client = self.dev.client().unwrap();
        for key in self.names(bucket, prefix) {
            let path = self.path(folder).join(key.strip_prefix(prefix).unwrap().trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, client.get(bucket, &key).unwrap().unwrap()).unwrap();
        }
        self.path(folder)
    }

    /// Clear values in a folder of this run.
    pub(crate) fn leaks(&self, folder: &str) -> Vec<Leak> {
        let mut needles: Vec<Needle> =
            CLEAR.iter().map(|clear| Needle::new(clear, clear.as_bytes())).collect();
        needles.push(Needle::new("as it was written", b"Ada.Lovelace"));
        needles.push(Needle::new("the secret key", self.maker.secret_key.as_bytes()));
        needles.push(Needle::new("the service's secret key", self.service.secret_key.as_bytes()));
        let share = fs::read_to_string(self.path("shares/share-1.txt")).unwrap();
        // the end of a share is its secret
        let words: Vec<&str> = share.split_whitespace().collect();
        needles.push(Needle::new("a share", words[words.len() - 5..words.len() - 1].join(" ").as_bytes()));
        needles.push(Needle::new("the passphrase", PASSPHRASE.as_bytes()));
        search_folder(&self.path(folder), &needles).unwrap()
    }
}

/// The day that is so many days from now, in UTC.
pub(crate) fn day_in(days: u32) -> String {
    let output = Command::new("date").args(["-u", "+%F", "-d", &format!("{days} days")]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
