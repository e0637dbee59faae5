//! What this machine shows by itself: files and their rights, disk, clock, processes and ports.

use super::Findings;
use crate::deployment::Deployment;
use crate::dev::{DevFolder, ProcessState, control, http_get, port_holder};
use crate::region::RegionFolder;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const GIB: u64 = 1 << 30;
/// Below this a segment and its index may no longer fit.
const FREE_BYTES_FAILURE: u64 = GIB / 2;
const FREE_BYTES_WARNING: u64 = 5 * GIB;
/// 10 %: a disk that fills at a usual pace leaves a day or more to react.
const FREE_SHARE_WARNING: u64 = 10;
/// Files written this far in the future show that the clock was set back.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// Files of the operator's folder: there, and for its owner only.
pub(super) fn files(data: &Path, deployment: &Deployment, findings: &mut Findings) {
    const OURS: &str = "files";
    let mut wanted = vec![
        deployment.identity.descriptor(),
        deployment.identity.authority_certificate(),
        deployment.identity.certificate(),
        deployment.identity.private_key(),
    ];
    if let Some(region) = &deployment.region {
        wanted.push(region.descriptor());
        wanted.push(region.authority_certificate());
    }
    let missing: Vec<String> = wanted
        .iter()
        .filter(|path| fs::File::open(path).is_err())
        .map(|path| path.display().to_string())
        .collect();
    if missing.is_empty() {
        findings.ok(OURS, "the operator's files are there");
    } else {
        let message = format!("missing or unreadable: {}", missing.join(", "));
        findings.failure(OURS, "TK-C002", message, "bring them back from the backup of this folder");
    }
    let mut secrets = vec![deployment.identity.private_key()];
    if let Some(region) = &deployment.region {
        secrets.extend(region_secrets(region));
    }
    if let Some(dev) = &deployment.dev {
        secrets.push(dev.credentials());
    }
    let open: Vec<String> = secrets
        .iter()
        .filter(|path| fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0))
        .map(|path| path.display().to_string())
        .collect();
    if open.is_empty() {
        findings.ok(OURS, "secrets can be read by their owner only");
    } else {
        let message = format!("others may read {}", open.join(", "));
        let advice =
            format!("chmod -R go= {}; replace the keys if strangers have accounts here", data.display());
        findings.failure(OURS, "TK-C003", message, &advice);
    }
    if let (Some(region), None) = (&deployment.region, &deployment.dev)
        && region.root_passphrase().exists()
    {
        let message = format!("{} lies beside the key it protects", region.root_passphrase().display());
        findings.warning(
            OURS,
            "TK-C004",
            message,
            "store it apart (a password safe, a systemd credential) and delete it here",
        );
    }
}

fn region_secrets(region: &RegionFolder) -> Vec<PathBuf> {
    let mut found =
        vec![region.authority_key(), region.s3_private_key(), region.root_key(), region.root_passphrase()];
    let tokens = fs::read_dir(region.root().join("tokens"));
    found.extend(tokens.into_iter().flatten().flatten().map(|entry| entry.path()));
    found
}

/// Room on the disk below `data`.
pub(super) fn disk(data: &Path, findings: &mut Findings) {
    const OURS: &str = "machine";
    let Some(existing) = data.ancestors().find(|path| path.exists()) else { return };
    let Ok(disk) = rustix::fs::statvfs(existing) else {
        let message = format!("{} cannot be measured", existing.display());
        findings.warning(OURS, "TK-C005", message, "look at the file system with `df`");
        return;
    };
    // like `df`: blocks that are free but kept back for the superuser are not counted
    let usable = disk.f_blocks.saturating_sub(disk.f_bfree.saturating_sub(disk.f_bavail));
    let (free, size) = (disk.f_bavail * disk.f_frsize, usable * disk.f_frsize);
    let share = free * 100 / size.max(1);
    let message =
        format!("{:.1} GiB free ({share} %) below {}", free as f64 / GIB as f64, existing.display());
    let advice = "free space, or add nodes: a full disk makes a node read-only";
    if free < FREE_BYTES_FAILURE {
        findings.failure(OURS, "TK-C005", message, advice);
    } else if free < FREE_BYTES_WARNING || share < FREE_SHARE_WARNING {
        findings.warning(OURS, "TK-C005", message, advice);
    } else {
        findings.ok(OURS, message);
    }
}

/// A clock that is plainly wrong: certificates and signatures of requests rest on it.
pub(super) fn clock(deployment: &Deployment, now: SystemTime, findings: &mut Findings) {
    const OURS: &str = "machine";
    let written = fs::metadata(deployment.identity.descriptor()).and_then(|file| file.modified());
    match written {
        Ok(written) if written > now + CLOCK_SLACK => {
            let message = "the clock is behind the time at which this region's files were written";
            findings.failure(
                OURS,
                "TK-C006",
                message,
                "set the clock, and keep it set with chrony or systemd-timesyncd",
            );
        }
        _ => findings.ok(OURS, "the clock is plausible"),
    }
}

/// Processes of a development region, or the ports they would need.
pub(super) fn processes(deployment: &Deployment, findings: &mut Findings) {
    const OURS: &str = "processes";
    let Some(dev) = &deployment.dev else { return };
    let Ok(Some(settings)) = deployment.dev_settings() else {
        findings.failure(
            OURS,
            "TK-C002",
            "dev.json cannot be read",
            "bring it back, or begin with a new folder",
        );
        return;
    };
    let (Ok(ports), Ok(members)) = (settings.ports(), control::list(dev)) else {
        findings.failure(
            OURS,
            "TK-C002",
            "the region's descriptor cannot be read",
            "bring it back from a backup",
        );
        return;
    };
    if !control::supervisor_runs(dev) {
        ports_free(dev, ports.s3_plain().port()..=ports.s3_plain().port() + 3, findings);
        return;
    }
    for member in members {
        let message = match member.now {
            ProcessState::Running => {
                findings.ok(OURS, format!("{} runs", member.member));
                continue;
            }
            ProcessState::Stopped => format!("{} is halted", member.member),
            ProcessState::Ended => format!("{} does not run", member.member),
        };
        let advice = format!(
            "twinkeep dev start {} --data {}; its log is in logs/",
            member.member,
            dev.root().display()
        );
        findings.warning(OURS, "TK-C008", message, &advice);
    }
    match http_get(ports.health(crate::dev::Member::Gateway), "/health/ready") {
        Some((200, _)) => findings.ok(OURS, "the gateway is ready"),
        Some((_, reasons)) => {
            let message = format!("the gateway is not ready: {}", reasons.trim());
            findings.failure(OURS, "TK-C007", message, "`twinkeep status` shows which groups lack a leader");
        }
        None => findings.failure(
            OURS,
            "TK-C007",
            "the gateway does not answer",
            "its log says why: logs/gateway.log",
        ),
    }
}

fn ports_free(dev: &DevFolder, ports: std::ops::RangeInclusive<u16>, findings: &mut Findings) {
    const OURS: &str = "processes";
    let taken: Vec<String> = ports
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_err())
        .map(|port| {
            port_holder(port).map_or_else(|| port.to_string(), |holder| format!("{port} by {holder}"))
        })
        .collect();
    if !taken.is_empty() {
        let message = format!("ports that this region needs are taken: {}", taken.join(", "));
        findings.failure(
            OURS,
            "TK-C009",
            message,
            "end those processes, or make a region elsewhere with --data DIR --port-base N",
        );
    }
    let advice = format!("twinkeep dev --data {}", dev.root().display());
    findings.warning(OURS, "TK-C008", "this development region does not run", &advice);
}
