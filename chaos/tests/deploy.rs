//! What `deploy/` ships works: units verify and are confined, configurations parse, the compose file holds together.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::Command;

use chaos::house::tree::source_files;
use chaos::run::Run;
use chaos::tools;

/// The highest exposure that `systemd-analyze security` may find, in tenths: 2.0 is "OK, well confined".
const EXPOSURE_TENTHS_MAX: &str = "20";

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
    for unit in shipped(&[".service"]) {
        let text = tools::read_text(&unit).unwrap();
        assert!(
            text.contains("Type=notify") && text.contains("WatchdogSec="),
            "{} tells systemd nothing",
            unit.display()
        );
        let copy = run.path(&unit.file_name().unwrap().to_string_lossy());
        // The binary is installed later; the built one stands in for it, as verifying asks for one that exists.
        let here = text.lines().map(|line| match line.strip_prefix("ExecStart=") {
            Some(command) => {
                let arguments = command.split_once(' ').map_or("", |(_, arguments)| arguments);
                format!("ExecStart={} {arguments}\n", binaries.store_node.display())
            }
            None => format!("{line}\n"),
        });
        std::fs::write(&copy, here.collect::<String>()).unwrap();
        tools::expect_success(Command::new("systemd-analyze").arg("verify").arg(&copy), "verify a unit")
            .unwrap();
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
    for config in shipped(&[".toml"]) {
        let mut command = Command::new(&binaries.store_node);
        tools::expect_success(
            command.args(["config", "check"]).arg(&config),
            &format!("accept {}", config.display()),
        )
        .unwrap();
    }
}

#[test]
fn the_compose_file_holds_together() {
    let python = tools::python_clients().unwrap().join("python");
    for compose in shipped(&["compose.yaml", "compose.yml"]) {
        let check = "import sys, yaml\n\
            data = yaml.safe_load(open(sys.argv[1]))\n\
            services = data['services']\n\
            assert len(services) >= 3, 'three storage nodes at least'\n\
            volumes = set(data.get('volumes') or {})\n\
            for name, service in services.items():\n\
            \x20   assert service.get('image') or service.get('build'), name + ' has no image'\n\
            \x20   assert not service.get('privileged'), name + ' is privileged'\n\
            \x20   for other in service.get('depends_on') or []: assert other in services, other\n\
            \x20   for volume in service.get('volumes') or []:\n\
            \x20       source = volume.split(':')[0] if isinstance(volume, str) else volume['source']\n\
            \x20       assert source.startswith(('.', '/', '$')) or source in volumes, source\n";
        let mut command = Command::new(&python);
        tools::expect_success(
            command.args(["-c", check]).arg(&compose),
            &format!("accept {}", compose.display()),
        )
        .unwrap();
    }
}
