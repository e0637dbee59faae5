//! What `deploy/` ships works: units verify and are confined, configurations parse, the compose file holds together, the
//! image is built from nothing and a region of it runs.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use chaos::house::tree::source_files;
use chaos::ports::PortBlock;
use chaos::run::Run;
use chaos::tools;
use tempfile::TempDir;

/// The highest exposure that `systemd-analyze security` may find, in tenths: 2.0 is "OK, well confined".
const EXPOSURE_TENTHS_MAX: &str = "20";
/// What podman needs where there is no overlay file system, no cgroup control and a low limit of processes.
const PODMAN: [&str; 2] = ["--storage-driver=vfs", "--runtime=/usr/sbin/runc"];
/// The user in the image.
const IMAGE_USER: u32 = 65532;
/// The name under which the test's own store of images knows the image.
const IMAGE: &str = "twinkeep/store-node";
/// Longer than a region takes to form on a busy machine; only a failing test waits for it.
const FORMED_WITHIN: Duration = Duration::from_secs(120);

/// What must hold of a compose file that no compose program has read: parts that are named are there, every container is
/// confined and asked for its health as the image test does, and the region of the comment is the one of the file.
const COMPOSE_CHECK: &str = r#"
import os, sys, yaml
path = sys.argv[1]
text = open(path).read()
data = yaml.safe_load(text)
services, volumes = data['services'], set(data.get('volumes') or {})
assert len(services) >= 4, 'three storage nodes and a gateway at least'
addresses = set()
for name, service in services.items():
    assert service.get('image') or service.get('build'), name + ' has no image'
    assert not service.get('privileged') and service.get('read_only'), name + ' is not confined'
    assert service.get('cap_drop') == ['ALL'] and 'no-new-privileges:true' in service['security_opt'], name
    assert service['healthcheck']['test'] == ['CMD', '/store-node', 'health', '127.0.0.1:9100'], name
    for other in service.get('depends_on') or []: assert other in services, other
    for secret in service.get('secrets') or []:
        secret = secret if isinstance(secret, str) else secret['source']
        assert secret in data['secrets'], secret
    for volume in service.get('volumes') or []:
        source = volume.split(':')[0] if isinstance(volume, str) else volume['source']
        file = os.path.join(os.path.dirname(path), source)
        assert source in volumes or (source.startswith('.') and os.path.isfile(file)), source
    for network, place in service['networks'].items():
        assert network in data['networks'], network
        address = place['ipv4_address']
        assert address not in addresses and f'={address}:7600' in text, address + ' is not in the init command'
        addresses.add(address)
"#;

/// The files of `deploy/` with one of these endings; at least one, else the test would prove nothing.
fn shipped(endings: &[&str]) -> Vec<PathBuf> {
    let files = source_files(&tools::source_root().join("deploy")).unwrap();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let found: Vec<PathBuf> =
        files.into_iter().filter(|path| endings.iter().any(|ending| name(path).ends_with(ending))).collect();
    assert!(!found.is_empty(), "deploy/ holds no file that ends in {endings:?}");
    found
}

#[test]
fn systemd_units_verify_and_are_confined() {
    tools::debian(&[("systemd-analyze", "systemd")]).unwrap();
    let (run, binaries) = (Run::new("units").unwrap(), tools::binaries().unwrap());
    for unit in shipped(&[".service", ".timer"]) {
        let text = tools::read_text(&unit).unwrap();
        let is_timer = unit.extension().is_some_and(|ending| ending == "timer");
        // what ends by itself tells systemd so by its exit code
        let is_told = text.contains("Type=notify") && text.contains("WatchdogSec=");
        let ends = text.contains("Type=oneshot") && text.contains("TimeoutStartSec=");
        assert!(is_told || ends || is_timer, "{} tells systemd nothing", unit.display());
        let copy = run.path(&unit.file_name().unwrap().to_string_lossy());
        // The binary is installed later; the built one stands in for it, as verifying asks for one that exists.
        let here = text.lines().map(|line| match line.strip_prefix("ExecStart=") {
            Some(command) => {
                let (program, arguments) = command.split_once(' ').unwrap_or((command, ""));
                let built = match program.rsplit('/').next() {
                    Some("twinkeep") => binaries.twinkeep.clone(),
                    Some("pseudo") => binaries.twinkeep.with_file_name("pseudo"),
                    _ => binaries.store_node.clone(),
                };
                format!("ExecStart={} {arguments}\n", built.display())
            }
            None => format!("{line}\n"),
        });
        std::fs::write(&copy, here.collect::<String>()).unwrap();
        tools::expect_success(Command::new("systemd-analyze").arg("verify").arg(&copy), "verify a unit")
            .unwrap();
        if is_timer {
            continue;
        }
        let mut security = Command::new("systemd-analyze");
        security
            .args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_TENTHS_MAX])
            .arg(&copy);
        tools::expect_success(&mut security, "find a unit's exposure at 2.0 or below").unwrap();
    }
}

#[test]
fn example_configurations_are_accepted() {
    let binaries = tools::binaries().unwrap();
    // what the pseudonymisation service reads is accepted by a test of its own, with a policy beside it
    let other = |path: &Path| path.parent().is_some_and(|folder| folder.ends_with("pseudo"));
    for config in shipped(&[".toml"]).into_iter().filter(|path| !is_pair(path) && !other(path)) {
        let mut command = Command::new(&binaries.store_node);
        tools::expect_success(
            command.args(["config", "check"]).arg(&config),
            &format!("accept {}", config.display()),
        )
        .unwrap();
    }
}

/// Whether a file plans a pair of regions.
fn is_pair(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("pairs"))
}

/// Makes a region of a planned pair; the first, or the standby of another.
fn make_planned(folder: &Path, plan: &Path, standby_of: Option<&Path>) -> Output {
    let mut init = Command::new(tools::binaries().unwrap().twinkeep);
    init.arg("init").arg(folder).arg("--pair-plan").arg(plan);
    match standby_of {
        Some(primary) => init.arg("--standby-of").arg(primary),
        None => init.arg("--pkcs11"),
    };
    for number in 1..=3 {
        init.args(["--node", &format!("{number}=10.0.0.1{number}:7600,zone=zone-{number}")]);
    }
    init.output().unwrap()
}

#[test]
fn every_shipped_pair_can_be_made_and_no_two_of_them_mixed() {
    let run = Run::new("pairs").unwrap();
    let plans: Vec<PathBuf> = shipped(&[".toml"]).into_iter().filter(|path| is_pair(path)).collect();
    assert_eq!(plans.len(), 7);
    let folder = |plan: &Path, number: u8| {
        run.path(&format!("{}-{number}", plan.file_stem().unwrap().to_string_lossy()))
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    for plan in &plans {
        let [one, other] = [folder(plan, 1), folder(plan, 2)];
        for (region, standby_of) in [(&one, None), (&other, Some(one.as_path()))] {
            let made = make_planned(region, plan, standby_of);
            assert!(made.status.success(), "{}: {}", plan.display(), said(&made));
        }
        // as an auditor does it: the descriptor and both authorities, and nobody asked
        let mut verify = Command::new(tools::binaries().unwrap().twinkeep);
        verify.args(["pair", "verify", "--json"]).arg(other.join("pair/pair.descriptor"));
        verify.arg("--ca-file").arg(one.join("ca/ca.pem")).arg("--ca-file").arg(other.join("ca/ca.pem"));
        let verified = tools::expect_success(&mut verify, "verify a pair descriptor").unwrap();
        let text = String::from_utf8(verified.stdout).unwrap();
        assert!(text.contains("\"environment\":\"production\"") && text.contains("\"serial\":1"), "{text}");
    }
    for (plan, next) in plans.iter().zip(plans.iter().cycle().skip(1)) {
        let mixed = make_planned(&run.path("mixed"), next, Some(&folder(plan, 1)));
        assert_eq!(mixed.status.code(), Some(2), "{}: {}", next.display(), said(&mixed));
        assert!(!run.path("mixed").exists());
    }
    // the region's name may be right by chance: the jurisdiction decides
    let foreign = run.path("foreign.toml");
    let text = tools::read_text(&plans[0]).unwrap();
    std::fs::write(&foreign, text.replace("jurisdiction = \"asia\"", "jurisdiction = \"us\"")).unwrap();
    let mixed = make_planned(&run.path("mixed"), &foreign, Some(&folder(&plans[0], 1)));
    assert_eq!(mixed.status.code(), Some(2), "{}", said(&mixed));
    assert!(
        said(&mixed).contains("jurisdiction asia") && said(&mixed).contains("jurisdiction us"),
        "{}",
        said(&mixed)
    );
}

#[test]
fn the_compose_file_holds_together() {
    let python = tools::python_clients().unwrap().join("python");
    for compose in shipped(&["compose.yaml", "compose.yml"]) {
        let mut command = Command::new(&python);
        tools::expect_success(
            command.args(["-c", COMPOSE_CHECK]).arg(&compose),
            &format!("accept {}", compose.display()),
        )
        .unwrap();
    }
}

#[test]
fn the_image_is_built_from_nothing_and_runs() {
    tools::require_root("building an image").unwrap();
    tools::debian(&[("podman", "podman"), ("runc", "runc")]).unwrap();
    let run = Run::new("image").unwrap();
    let containerfile = shipped(&["Containerfile", "Dockerfile"]).remove(0);
    let text = tools::read_text(&containerfile).unwrap();
    assert!(
        text.lines().any(|line| line.trim() == "FROM scratch"),
        "{} starts from something",
        containerfile.display()
    );
    let context = run.path("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::copy(static_store_node(), context.join("store-node")).unwrap();
    let podman = Podman::new(&run);
    let file = containerfile.to_string_lossy();
    let build = ["build", "--isolation=chroot", "--network=host", "--tag", IMAGE, "--file", &file];
    podman.run(&[&build[..], &[&context.to_string_lossy()]].concat());
    assert_eq!(podman.files_of_the_image(), ["store-node"], "the image holds the binary and nothing else");
    let version = podman.run(&[&CONFINED[..], &["--rm", IMAGE, "--version"]].concat());
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("store-node "), "{version:?}");

    let region = ImageRegion::start(&run, &podman);
    region.wait_until_healthy();
    let twinkeep = tools::binaries().unwrap().twinkeep;
    let mut status = Command::new(twinkeep);
    status.arg("--data").arg(&region.folder).arg("status");
    let said = status.output().unwrap();
    // 3: copies that were just begun do not count as good yet
    assert!(matches!(said.status.code(), Some(0 | 3)), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stdout).contains(", writable"), "{said:?}");
}

/// How the compose file confines a container, and what this kind of machine needs on top.
const CONFINED: [&str; 9] = [
    "run",
    "--network=host",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--ulimit",
    "nofile=1024:1024",
    "--ulimit",
    "nproc=1024:1024",
];

/// Podman with a store of its own inside a run's folder; its containers end with it.
struct Podman {
    arguments: Vec<String>,
    /// Its state while it runs; podman refuses paths longer than 50 characters here, and a run's folder may be longer.
    _state: TempDir,
}

impl Podman {
    fn new(run: &Run) -> Self {
        let state = TempDir::with_prefix_in("image-", "/run").unwrap();
        let mut arguments: Vec<String> = PODMAN.map(str::to_owned).to_vec();
        for (option, folder) in [("--root", &*run.path("images")), ("--runroot", state.path())] {
            arguments.extend([option.to_owned(), folder.to_string_lossy().into_owned()]);
        }
        Self { arguments, _state: state }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command.args(&self.arguments).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let purpose = format!("podman {}", arguments.join(" "));
        tools::expect_success(&mut self.command(arguments), &purpose).unwrap()
    }

    /// Names of what the image holds at its root.
    fn files_of_the_image(&self) -> Vec<String> {
        let mounted = self.run(&["image", "mount", IMAGE]);
        let root = PathBuf::from(String::from_utf8(mounted.stdout).unwrap().trim());
        let mut found: Vec<String> = std::fs::read_dir(&root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        self.run(&["image", "unmount", IMAGE]);
        found.sort();
        found
    }
}

/// Three storage nodes and a gateway in containers, with the shipped configurations on ports of this test.
struct ImageRegion<'a> {
    podman: &'a Podman,
    folder: PathBuf,
    /// Container and address of its health endpoint.
    containers: Vec<(String, String)>,
    _ports: PortBlock,
}

impl<'a> ImageRegion<'a> {
    fn start(run: &Run, podman: &'a Podman) -> Self {
        let ports = PortBlock::take().unwrap();
        let folder = run.path("region");
        let passphrase = run.path("root-passphrase");
        std::fs::write(&passphrase, "a passphrase for a test").unwrap();
        let mut init = Command::new(tools::binaries().unwrap().twinkeep);
        init.arg("init").arg(&folder).args([
            "--environment",
            "test",
            "--jurisdiction",
            "eu",
            "--groups",
            "8",
            "--s3-name",
            "localhost",
        ]);
        for number in 1..=3 {
            init.arg("--node").arg(format!("{number}=127.0.0.1:{},zone=zone-{number}", ports.port(number)));
        }
        init.arg("--gateway").arg(format!("1=127.0.0.1:{}", ports.port(4)));
        init.arg("--passphrase-file").arg(&passphrase);
        tools::expect_success(&mut init, "make a region").unwrap();
        let mut region = Self { podman, folder, containers: Vec::new(), _ports: ports };
        for (offset, member) in (1..).zip(["node-1", "node-2", "node-3", "gateway-1"]) {
            region.start_container(run, offset, member, &passphrase);
        }
        region
    }

    fn start_container(&mut self, run: &Run, offset: u16, member: &str, passphrase: &Path) {
        let kind = if member.starts_with("node") { "storage" } else { "gateway" };
        let shipped = shipped(&[&format!("container-{kind}.toml")]).remove(0);
        let [peer, s3, health] = [offset, offset + 10, offset + 20].map(|offset| self._ports.port(offset));
        // one network for all, so each has its own ports
        let text = tools::read_text(&shipped)
            .unwrap()
            .replace("0.0.0.0:7600", &format!("127.0.0.1:{peer}"))
            .replace("0.0.0.0:9000", &format!("127.0.0.1:{s3}"))
            .replace("0.0.0.0:9100", &format!("127.0.0.1:{health}"));
        let (config, data) = (run.path(&format!("{member}.toml")), run.path(&format!("{member}-data")));
        std::fs::write(&config, text).unwrap();
        std::fs::create_dir_all(&data).unwrap();
        std::os::unix::fs::chown(&data, Some(IMAGE_USER), Some(IMAGE_USER)).unwrap();
        let (token, secret) =
            (run.path(&format!("{member}.token")), run.path(&format!("{member}-passphrase")));
        for (from, to) in
            [(self.folder.join(format!("tokens/{member}.token")), &token), (passphrase.into(), &secret)]
        {
            std::fs::copy(from, to).unwrap();
            std::os::unix::fs::chown(to, Some(IMAGE_USER), None).unwrap();
        }
        let mount = |from: &Path, to: &str| format!("--volume={}:{to}", from.display());
        let mut mounts = vec![
            mount(&config, "/etc/twinkeep/config.toml:ro"),
            mount(&data, "/data"),
            mount(&token, "/run/secrets/join-token:ro"),
        ];
        if kind == "gateway" {
            mounts.push(mount(&secret, "/run/secrets/root-passphrase:ro"));
        }
        let mounts: Vec<&str> = mounts.iter().map(String::as_str).collect();
        let name = format!("{member}-{}", std::process::id());
        self.podman.run(&[&CONFINED[..], &mounts, &["--detach", "--name", &name, IMAGE]].concat());
        self.containers.push((name, format!("127.0.0.1:{health}")));
    }

    /// Asks as the compose file's health check does, inside each container.
    fn wait_until_healthy(&self) {
        let end = Instant::now() + FORMED_WITHIN;
        for (name, health) in &self.containers {
            let healthy = || {
                let output = self.podman.command(&["exec", name, "/store-node", "health", health]).output();
                output.is_ok_and(|output| output.status.success())
            };
            while !healthy() {
                if Instant::now() > end {
                    let log = self.podman.command(&["logs", "--tail", "20", name]).output().unwrap();
                    panic!("{name} does not get healthy: {}", String::from_utf8_lossy(&log.stderr));
                }
            }
        }
    }
}

impl Drop for ImageRegion<'_> {
    fn drop(&mut self) {
        for (name, _) in &self.containers {
            // the folder that holds everything goes next; a container that is gone already is no harm
            let _gone = self.podman.command(&["rm", "--force", "--time", "5", name]).output();
        }
    }
}

/// A store-node that needs no library of the system, as the Containerfile says, but built in less time: what is not of
/// this workspace is shared with other builds, and the large crates are hardly optimised.
fn static_store_node() -> PathBuf {
    let target = tools::target_folder().unwrap();
    let mut command = tools::cargo();
    command.args(["rustc", "--release", "--quiet", "--package", "store-node", "--bin", "store-node"]);
    for name in ["replication", "store-node"] {
        command.arg("--config").arg(format!("profile.release.package.{name}.opt-level=0"));
    }
    command
        .args(["--", "-C", "target-feature=+crt-static"])
        .env("CARGO_BUILD_BUILD_DIR", &target)
        .env("CARGO_TARGET_DIR", target.join("image"));
    tools::expect_success(&mut command, "build a static store-node").unwrap();
    target.join("image/release/store-node")
}
