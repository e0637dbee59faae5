//! A region made as on real hosts: `twinkeep init`, then `store-node --config` on each host with its join token.
//!
//! The hosts are network namespaces on a bridge of their own, or just three processes on loopback. It promises to use only the
//! commands of the README, and to remove its namespaces and end its processes when dropped.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::dev::signal;
use crate::network;
use crate::ports::PortBlock;
use crate::run::Run;
use crate::s3::S3;
use crate::sign::Credentials;
use crate::tools::{self, Binaries};
use crate::trouble::{Outcome, Trouble};

/// Hosts of a region: one for each copy.
pub const HOSTS: usize = 3;
/// The root key's passphrase; distinctive, so that a search for leaks finds it.
pub const PASSPHRASE: &str = "correct-horse-battery-staple-of-a-test-region";
/// How long the command line may be refused while the region forms.
const FORM_TIMEOUT: Duration = Duration::from_secs(90);

/// Where the hosts of a region run.
#[derive(Debug)]
enum Place {
    /// Each in a network namespace of its own, on a bridge in a further one.
    Namespaces { prefix: String },
    /// All on loopback, on ports of a block.
    Loopback { ports: PortBlock },
}

/// What a region is the standby of.
struct Standby<'a> {
    name: &'a str,
    /// The operator's folder of that one.
    primary: &'a Path,
}

/// One host.
#[derive(Debug)]
pub struct Host {
    /// Its number, from one.
    pub number: usize,
    /// Its data folder.
    pub data: PathBuf,
    /// Its log.
    pub log: PathBuf,
    config: PathBuf,
    /// What its configuration says, but for the pair.
    text: String,
    child: Option<Child>,
}

/// A region of three hosts.
#[derive(Debug)]
pub struct Hosts {
    /// The hosts.
    pub hosts: Vec<Host>,
    /// The operator's folder that `twinkeep init` made.
    pub folder: PathBuf,
    place: Place,
    binaries: Binaries,
}

impl Hosts {
    /// Three hosts in network namespaces.
    pub fn in_namespaces(run: &Run) -> Outcome<Self> {
        Self::make(run, Place::Namespaces { prefix: network::fresh_name()? }, "info", None)
    }

    /// Three hosts on loopback, logging at this level.
    pub fn on_loopback(run: &Run, log_level: &str) -> Outcome<Self> {
        Self::make(run, Place::Loopback { ports: PortBlock::take()? }, log_level, None)
    }

    /// Three more on loopback, which are to follow `primary` as the region `name`.
    pub fn standby(run: &Run, primary: &Self, name: &str) -> Outcome<Self> {
        let standby = Standby { name, primary: &primary.folder };
        Self::make(run, Place::Loopback { ports: PortBlock::take()? }, "info", Some(standby))
    }

    fn make(run: &Run, place: Place, log_level: &str, standby: Option<Standby<'_>>) -> Outcome<Self> {
        let home = standby.as_ref().map_or_else(|| run.path(""), |standby| run.path(standby.name));
        let folder = home.join("operator");
        let mut hosts = Hosts { hosts: Vec::new(), folder, place, binaries: tools::binaries()? };
        hosts.make_namespaces()?;
        let mut init = hosts.command(None, &hosts.binaries.twinkeep);
        init.arg("init").arg(&hosts.folder);
        match &standby {
            None => init.args(["--environment", "test", "--jurisdiction", "eu", "--groups", "8"]),
            Some(Standby { name, primary }) => init.args(["--region", name, "--standby-of"]).arg(primary),
        };
        for number in 1..=HOSTS {
            init.args(["--node", &format!("{number}={},zone=zone-{number}", hosts.peer_address(number))]);
        }
        tools::expect_success(
            init.env("TWINKEEP_ROOT_PASSPHRASE", PASSPHRASE),
            "make a region (twinkeep init)",
        )?;
        for number in 1..=HOSTS {
            let host = hosts.prepare(&home, number, log_level)?;
            hosts.hosts.push(host);
            if standby.is_some() {
                hosts.configure(number, true)?;
            }
            hosts.start(number)?;
        }
        Ok(hosts)
    }

    /// Starts a host again, with its identity in the other region of a pair or without any.
    pub fn restart(&mut self, number: usize, paired: bool) -> Outcome<()> {
        self.configure(number, paired)?;
        self.kill(number);
        self.start(number)
    }

    fn configure(&self, number: usize, paired: bool) -> Outcome<()> {
        let Host { config, text, .. } = &self.hosts[number - 1];
        let folder = self.folder.join("pair").join(format!("node-{number}"));
        let pair = if paired { format!("\n[pair]\nfolder = {folder:?}\n") } else { String::new() };
        std::fs::write(config, format!("{text}{pair}"))
            .map_err(|error| Trouble::file("write", config, &error))
    }

    /// Starts the process of a host.
    pub fn start(&mut self, number: usize) -> Outcome<()> {
        let mut command = self.command(Some(number), &self.binaries.store_node);
        let host = &mut self.hosts[number - 1];
        let log = File::options().create(true).append(true).open(&host.log);
        let log = log.map_err(|error| Trouble::file("open", &host.log, &error))?;
        command.arg("--config").arg(&host.config).env("TWINKEEP_ROOT_PASSPHRASE", PASSPHRASE);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child =
            command.spawn().map_err(|error| Trouble::new(format!("cannot start host {number}: {error}")))?;
        host.child = Some(child);
        Ok(())
    }

    /// SIGKILLs the process of a host.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.hosts[number - 1].child.take() {
            signal(child.id(), Signal::KILL);
            let _ = child.wait();
        }
    }

    /// Registers an application and returns its access key; waits while the region forms.
    pub fn add_user(&self, name: &str) -> Outcome<Credentials> {
        let deadline = std::time::Instant::now() + FORM_TIMEOUT;
        loop {
            match self.twinkeep(&["user", "add", name, "--full-access", "--json"]) {
                Ok(text) => return credentials(&text),
                Err(trouble) if std::time::Instant::now() > deadline => return Err(trouble),
                // The region is still forming: each refused try costs a process, so not more often than this.
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// Runs the command line on the first host, as its operator would.
    pub fn twinkeep(&self, arguments: &[&str]) -> Outcome<String> {
        let mut command = self.command(Some(1), &self.binaries.twinkeep);
        command.args(arguments).arg("--data").arg(&self.folder);
        let output = tools::expect_success(&mut command, &format!("twinkeep {}", arguments.join(" ")))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The plain endpoint of a host: loopback of its own namespace.
    pub fn s3_address(&self, number: usize) -> SocketAddr {
        let port = match &self.place {
            Place::Namespaces { .. } => 9000,
            Place::Loopback { ports } => ports.port(number as u16 * 4 + 2),
        };
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// The port on which peers reach a host.
    pub fn peer_port(&self, number: usize) -> u16 {
        match &self.place {
            Place::Namespaces { .. } => 7600,
            Place::Loopback { ports } => ports.port(number as u16 * 4),
        }
    }

    /// Runs a closure with a client on a host: its thread moves into the host's namespace.
    pub fn on_host<T: Send>(
        &self,
        number: usize,
        credentials: &Credentials,
        task: impl FnOnce(&mut S3) -> T + Send,
    ) -> Outcome<T> {
        let mut client = S3::new(self.s3_address(number), credentials.clone());
        match self.namespace(number) {
            Some(name) => network::within(&name, || task(&mut client)),
            None => Ok(task(&mut client)),
        }
    }

    /// Cuts a host off the network, in both directions.
    pub fn cut_off(&self, number: usize) -> Outcome<()> {
        self.nft(number, "add table inet cut; add chain inet cut in { type filter hook input priority 0; }; add chain inet cut out { type filter hook output priority 0; }; add rule inet cut in iifname eth0 drop; add rule inet cut out oifname eth0 drop")
    }

    /// Lets a host hear nothing from the others while they still hear it.
    pub fn deafen(&self, number: usize) -> Outcome<()> {
        self.nft(number, "add table inet cut; add chain inet cut in { type filter hook input priority 0; }; add rule inet cut in iifname eth0 drop")
    }

    /// Undoes either.
    pub fn heal(&self, number: usize) -> Outcome<()> {
        self.nft(number, "delete table inet cut")
    }

    fn nft(&self, number: usize, rules: &str) -> Outcome<()> {
        let mut command = self.command(Some(number), Path::new("nft"));
        tools::expect_success(command.arg(rules), "change the packet filter of a namespace").map(drop)
    }

    fn prepare(&self, home: &Path, number: usize, log_level: &str) -> Outcome<Host> {
        let home = home.join(format!("host-{number}"));
        std::fs::create_dir_all(&home).map_err(|error| Trouble::file("make the folder", &home, &error))?;
        let token = self.token(number)?;
        let (config, data) = (home.join("config.toml"), home.join("data"));
        let listen = match &self.place {
            Place::Namespaces { .. } => self.peer_address(number),
            Place::Loopback { .. } => format!("127.0.0.1:{}", self.peer_port(number)),
        };
        let health = match &self.place {
            Place::Namespaces { .. } => 9100,
            Place::Loopback { ports } => ports.port(number as u16 * 4 + 1),
        };
        let text = format!(
            "data = {data:?}\njoin_token_file = {token:?}\n\n[peer]\nlisten = \"{listen}\"\n\n[s3]\nlisten_plain = \"{}\"\n\n\
             [health]\nlisten = \"127.0.0.1:{health}\"\n\n[root_key]\npassphrase_env = \"TWINKEEP_ROOT_PASSPHRASE\"\n\n\
             [log]\nlevel = \"{log_level}\"\n",
            self.s3_address(number)
        );
        std::fs::write(&config, &text).map_err(|error| Trouble::file("write", &config, &error))?;
        Ok(Host { number, data, log: home.join("log"), config, text, child: None })
    }

    /// The join token that `init` made for a node: the file of the tokens folder whose name holds the number.
    fn token(&self, number: usize) -> Outcome<PathBuf> {
        let folder = self.folder.join("tokens");
        let entries = std::fs::read_dir(&folder).map_err(|error| Trouble::file("list", &folder, &error))?;
        let mut names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        names.sort();
        let wanted = format!("node-{number}");
        let holds =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&wanted));
        names
            .iter()
            .find(|path| holds(path))
            .cloned()
            .ok_or_else(|| Trouble::new(format!("no token of {wanted} in {names:?}")))
    }

    fn peer_address(&self, number: usize) -> String {
        match &self.place {
            Place::Namespaces { .. } => format!("10.77.0.{}:{}", 10 + number, self.peer_port(number)),
            Place::Loopback { .. } => format!("127.0.0.1:{}", self.peer_port(number)),
        }
    }

    fn namespace(&self, number: usize) -> Option<String> {
        match &self.place {
            Place::Namespaces { prefix } => Some(format!("{prefix}-{number}")),
            Place::Loopback { .. } => None,
        }
    }

    /// A command on a host, or beside them.
    fn command(&self, number: Option<usize>, program: &Path) -> Command {
        match number.and_then(|number| self.namespace(number)) {
            Some(namespace) => network::command_in(&namespace, program),
            None => Command::new(program),
        }
    }

    fn make_namespaces(&self) -> Outcome<()> {
        let Place::Namespaces { prefix } = &self.place else { return Ok(()) };
        let hub = format!("{prefix}-hub");
        let run = |line: String| network::set_up(&line);
        run(format!("netns add {hub}"))?;
        run(format!("-n {hub} link add bridge0 type bridge"))?;
        run(format!("-n {hub} link set bridge0 up"))?;
        for number in 1..=HOSTS {
            let host = format!("{prefix}-{number}");
            run(format!("netns add {host}"))?;
            run(format!("-n {hub} link add port{number} type veth peer name eth0 netns {host}"))?;
            run(format!("-n {hub} link set port{number} master bridge0 up"))?;
            run(format!("-n {host} addr add 10.77.0.{}/24 dev eth0", 10 + number))?;
            run(format!("-n {host} link set eth0 up"))?;
            run(format!("-n {host} link set lo up"))?;
        }
        Ok(())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for number in 1..=self.hosts.len() {
            self.kill(number);
        }
        if let Place::Namespaces { prefix } = &self.place {
            let names = (1..=HOSTS).map(|number| number.to_string()).chain(["hub".to_owned()]);
            for name in names {
                network::remove(&format!("{prefix}-{name}"));
            }
        }
    }
}

/// The access key in the answer of `user add --json`, wherever in the object it stands.
fn credentials(text: &str) -> Outcome<Credentials> {
    let json: Value =
        serde_json::from_str(text).map_err(|error| Trouble::new(format!("not JSON: {error}: {text}")))?;
    let find = |name: &str| {
        let inside = json
            .as_object()
            .into_iter()
            .flat_map(|object| object.values())
            .find_map(|value| value[name].as_str());
        json[name].as_str().or(inside).map(str::to_owned)
    };
    match (find("access_key"), find("secret_key")) {
        (Some(access_key), Some(secret_key)) => {
            Ok(Credentials { access_key, secret_key, region: "twin-1".to_owned() })
        }
        _ => Err(Trouble::new(format!("no access key in {text}"))),
    }
}
