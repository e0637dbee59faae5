//! A pair holds together by what both regions signed: a stranger's certificate and another descriptor are refused, and both
//! are on record afterwards.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;
use std::process::Command;

use chaos::dev::{Dev, Ready};
use chaos::pair::{lag, wait_for, wait_synced};
use chaos::run::Run;
use chaos::tools;
use serde_json::Value;

const BUCKET: &str = "pair";

fn twinkeep() -> Command {
    Command::new(tools::binaries().unwrap().twinkeep)
}

/// A pair of somebody else, as folders only: an operator's folder of one of its regions.
fn strangers(run: &Run) -> std::path::PathBuf {
    let [one, other] = ["strangers-1", "strangers-2"].map(|name| run.path(name));
    let nodes = ["--node", "1=127.0.0.1:1", "--node", "2=127.0.0.1:2", "--node", "3=127.0.0.1:3"];
    let mut init = twinkeep();
    init.arg("init").arg(&one).args(["--environment", "dev", "--jurisdiction", "dev", "--region", "twin-1"]);
    tools::expect_success(init.args(nodes), "make a region").unwrap();
    let mut init = twinkeep();
    init.arg("init").arg(&other).arg("--standby-of").arg(&one).args(["--region", "twin-2"]);
    tools::expect_success(init.args(nodes), "make its standby").unwrap();
    one
}

/// Everything that both regions' processes have on record, each with the process that has it.
fn on_record(dev: &Dev) -> Vec<(String, Value)> {
    let said: Value = serde_json::from_str(&dev.twinkeep(&["pair", "refused", "--json"]).unwrap()).unwrap();
    let records = |process: &Value| {
        let name =
            format!("{} {}", process["region"].as_str().unwrap(), process["answered_by"].as_str().unwrap());
        process["peers"]
            .as_array()
            .unwrap()
            .iter()
            .map(move |peer| (name.clone(), peer.clone()))
            .collect::<Vec<_>>()
    };
    said["processes"].as_array().unwrap().iter().flat_map(records).collect()
}

/// The address on which node 1 of a region hears peers.
fn peer_address(dev: &Dev, region: &Ready) -> String {
    let status: Value =
        serde_json::from_str(&dev.twinkeep_of(region, &["status", "--json"]).unwrap()).unwrap();
    status["nodes"][0]["peer_address"].as_str().unwrap().to_owned()
}

/// Sha-256 of a certificate, as an auditor takes it.
fn fingerprint(certificate: &Path) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(certificate);
    let said = tools::expect_success(&mut openssl, "take a fingerprint").unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    said.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase()
}

#[test]
fn a_stranger_that_poses_as_the_other_region_is_refused_and_stays_on_record() {
    tools::debian(&[("openssl", "openssl")]).unwrap();
    let run = Run::new("pair-stranger").unwrap();
    let mut dev = Dev::start_pair(&run).unwrap();
    let before = on_record(&dev).len();
    // whom it trusts is right, so that it does not turn away by itself; what it shows is its own
    let (theirs, ours) = (strangers(&run).join("pair/node-1"), dev.data().join("twin-1/region/operator"));
    let posing = run.path("posing");
    std::fs::create_dir(&posing).unwrap();
    for (from, file) in
        [(&ours, "region.toml"), (&ours, "ca.pem"), (&theirs, "member.pem"), (&theirs, "member.key")]
    {
        std::fs::copy(from.join(file), posing.join(file)).unwrap();
    }
    let mut knock = twinkeep();
    knock.arg("status").arg("--admin").arg(peer_address(&dev, &dev.ready)).arg("--identity").arg(&posing);
    let knocked = knock.output().unwrap();
    // denied, or the connection was gone before that could be read
    assert!(!knocked.status.success(), "{}", String::from_utf8_lossy(&knocked.stdout));

    let sha256 = fingerprint(&theirs.join("member.pem"));
    let find = |dev: &Dev| {
        on_record(dev).into_iter().find(|(_, peer)| peer["certificate_sha256"].as_str() == Some(&sha256))
    };
    wait_for("the record", || find(&dev).is_some());
    let (process, peer) = find(&dev).unwrap();
    assert_eq!(process, "twin-1 node/1");
    assert_eq!((&peer["reason"], &peer["opened_by"]), (&"certificate".into(), &"peer".into()), "{peer}");
    assert!(peer["claimed"].as_str().unwrap().ends_with("/dev/twin-2/pair/1"), "{peer}");
    assert!(peer["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{peer}");
    assert!(peer["detail"].as_str().unwrap().contains("another authority"), "{peer}");
    assert!(on_record(&dev).len() > before);
    // it outlives the process
    for step in ["kill", "start"] {
        dev.twinkeep_of(&dev.ready, &["dev", step, &dev.ready.nodes[0].id]).unwrap();
    }
    wait_for("the record after a restart", || {
        find(&dev).is_some_and(|found| found == (process.clone(), peer.clone()))
    });
    let page = dev.twinkeep(&["pair", "refused"]).unwrap();
    assert!(page.contains(&sha256[..16]) && page.contains("another authority"), "{page}");
    dev.end().unwrap();
}

#[test]
fn regions_under_different_descriptors_refuse_each_other_until_both_have_the_new_one() {
    let run = Run::new("pair-descriptors").unwrap();
    let mut dev = Dev::start_pair(&run).unwrap();
    let (one, two) = (dev.ready.clone(), dev.other.clone().unwrap());
    let mut client = one.client().unwrap();
    client.create_bucket(BUCKET).unwrap();
    wait_synced(&dev).unwrap();
    let verified = |dev: &Dev| -> Value {
        serde_json::from_str(&dev.twinkeep_of(&one, &["pair", "verify", "--json"]).unwrap()).unwrap()
    };
    let first = verified(&dev);
    assert_eq!((&first["serial"], &first["jurisdiction"]), (&1.into(), &"dev".into()), "{first}");

    let other = dev.data().join("twin-2");
    dev.twinkeep_of(&one, &["pair", "make", "--other", other.to_str().unwrap()]).unwrap();
    assert_eq!(verified(&dev)["serial"], 2);
    let restart = |dev: &Dev, region: &Ready| {
        for node in &region.nodes {
            dev.twinkeep_of(region, &["dev", "kill", &node.id]).unwrap();
        }
        for node in &region.nodes {
            dev.twinkeep_of(region, &["dev", "start", &node.id]).unwrap();
        }
    };
    restart(&dev, &two);
    let said = |dev: &Dev, region: &str, reason: &str| {
        on_record(dev).iter().any(|(process, peer)| {
            process.starts_with(region)
                && peer["reason"] == reason
                && peer["detail"].as_str().unwrap().contains("another pair descriptor: serial")
        })
    };
    // each side has refused, and has been refused
    for region in ["twin-1", "twin-2"] {
        wait_for("a refusal", || said(&dev, region, "pair"));
        wait_for("being refused", || said(&dev, region, "by_peer"));
    }
    client.put(BUCKET, "meanwhile", b"the primary goes on").unwrap();
    assert_ne!(lag(&dev).unwrap()["state"], "Live", "the standby does not follow");

    restart(&dev, &one);
    wait_for("the primary's return", || client.put(BUCKET, "after", b"both have the new one").is_ok());
    wait_synced(&dev).unwrap();
    let mut client = two.client().unwrap();
    for key in ["meanwhile", "after"] {
        assert!(client.get(BUCKET, key).unwrap().is_some(), "{key}");
    }

    // a node without one does not start, and says why
    let node = &two.nodes[0];
    dev.twinkeep_of(&two, &["dev", "kill", &node.id]).unwrap();
    std::fs::remove_file(other.join("region/pair/node-1/pair.descriptor")).unwrap();
    let check = dev.twinkeep_of(&two, &["check", "--only", "certificates"]).unwrap_err().to_string();
    assert!(check.contains("TK-C022"), "{check}");
    let _ends_at_once = dev.twinkeep_of(&two, &["dev", "start", &node.id]).is_err();
    let log = other.join("logs/node-1.log");
    wait_for("the reason in its log", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("without one no region is paired"))
    });
    dev.end().unwrap();
}

#[test]
fn a_leaked_identity_and_an_old_descriptor_open_nothing_any_more() {
    let run = Run::new("pair-leaked").unwrap();
    let mut dev = Dev::start_pair(&run).unwrap();
    let (one, two) = (dev.ready.clone(), dev.other.clone().unwrap());
    let other = dev.data().join("twin-2");
    let (folder, leaked, kept) = (other.join("region/pair/node-1"), run.path("leaked"), run.path("kept"));
    let copy = |from: &Path, to: &Path, files: &[&str]| {
        std::fs::create_dir_all(to).unwrap();
        for file in files {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    };
    let (identity, pair) = (["member.pem", "member.key"], ["member.pem", "member.key", "pair.descriptor"]);
    copy(&folder, &leaked, &pair);
    let other = other.to_str().unwrap();
    dev.twinkeep_of(&one, &["pair", "make", "--other", other, "--members-since", "twin-2"]).unwrap();
    copy(&folder, &kept, &pair);
    let step = |region: &Ready, step: &str, node: usize| {
        dev.twinkeep_of(region, &["dev", step, &region.nodes[node].id])
    };
    for region in [&one, &two] {
        for word in ["kill", "start"] {
            for node in 0..region.nodes.len() {
                step(region, word, node).unwrap();
            }
        }
    }
    wait_synced(&dev).unwrap();

    // the identity of before, under the newest descriptor
    step(&two, "kill", 0).unwrap();
    copy(&leaked, &folder, &identity);
    let sha256 = fingerprint(&leaked.join("member.pem"));
    step(&two, "start", 0).unwrap();
    wait_for("the refusal", || {
        on_record(&dev).iter().any(|(process, peer)| {
            process.starts_with("twin-1")
                && peer["reason"] == "revoked"
                && peer["certificate_sha256"].as_str() == Some(&sha256)
        })
    });
    // the descriptor of before, too: the node has held a newer one
    step(&two, "kill", 0).unwrap();
    copy(&leaked, &folder, &pair);
    let _ends_at_once = step(&two, "start", 0).is_err();
    let log = dev.data().join("twin-2/logs/node-1.log");
    wait_for("the reason in its log", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("this node has held 2"))
    });
    copy(&kept, &folder, &pair);
    // the supervisor may be about to start it by itself
    let _started_already = step(&two, "start", 0).is_err();
    wait_synced(&dev).unwrap();
    dev.end().unwrap();
}
