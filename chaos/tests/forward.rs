//! One endpoint for both regions of a pair: a gateway passes on what its own region does not serve, so that clients keep
//! theirs across a switch.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chaos::clients::{run_script, script_command};
use chaos::dev::{Dev, Ready, address_of};
use chaos::http::Connection;
use chaos::ledger::{Ledger, content};
use chaos::pair::{wait_for, wait_synced};
use chaos::run::Run;
use chaos::s3::{Failure, S3};
use chaos::sign::Credentials;
use chaos::workload::Stopping;
use serde_json::Value;

const BUCKET: &str = "forward";

/// A body larger than all that a gateway may hold of bodies, bytes: it must stream.
const LARGE_BYTES: usize = 160 << 20;
/// How much a gateway may grow while it passes such a body on, KiB.
const GROWTH_KIB_MAX: u64 = 48 << 10;

fn start(run: &Run) -> (Dev, Ready, Ready) {
    let dev = Dev::start_pair_with(run, &["--forward", "all"]).unwrap();
    let (primary, standby) = (dev.ready.clone(), dev.other.clone().unwrap());
    // until its keys have come, the standby knows no signature
    let mut client = standby.client().unwrap();
    wait_for("the standby's gateway", || client.call("GET", "/", &[], &[], b"").is_ok());
    (dev, primary, standby)
}

/// A client of one region's endpoint that signs for another region's name.
fn client(of: &Ready, region: &str) -> S3 {
    let (access_key, secret_key) = (of.access_key.clone(), of.secret_key.clone());
    S3::new(address_of(&of.endpoint).unwrap(), Credentials { access_key, secret_key, region: region.into() })
}

/// The most memory that the region's gateway ever took, KiB.
fn gateway_peak_kib(dev: &Dev, region: &Ready) -> u64 {
    let said = dev.twinkeep_of(region, &["dev", "list", "--json"]).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    let processes = said["processes"].as_array().unwrap();
    let gateway = processes.iter().find(|process| process["member"] == "gateway").unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway["pid"])).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What the standby's gateway counts.
fn metrics(dev: &Dev) -> String {
    // the second region begins 40 ports further, its gateway's health is the fourth port
    let address = ([127, 0, 0, 1], dev.ports().port(40 + 3)).into();
    let mut connection = Connection::new(address, Duration::from_secs(10));
    let headers = [("host".to_owned(), "localhost".to_owned())];
    let answer = connection.request("GET", "/metrics", &headers, b"").unwrap();
    String::from_utf8(answer.body).unwrap()
}

#[test]
fn clients_of_the_standby_see_what_they_wrote_and_large_bodies_stream() {
    let run = Run::new("forward-standby").unwrap();
    let (mut dev, primary, standby) = start(&run);
    client(&standby, &standby.region).create_bucket(BUCKET).unwrap();
    for region in [&primary.region, &standby.region] {
        let (mut there, mut here) = (client(&standby, region), primary.client().unwrap());
        for number in 0..20 {
            let (key, body) =
                (format!("{region}/{number}"), content("small", number, 100 + 5000 * number as usize));
            there.put(BUCKET, &key, &body).unwrap();
            assert_eq!(there.get(BUCKET, &key).unwrap().as_ref(), Some(&body), "{key} at the standby");
            assert_eq!(here.get(BUCKET, &key).unwrap(), Some(body), "{key} at the primary");
        }
        assert_eq!(there.list(BUCKET, &format!("{region}/")).unwrap().len(), 20);
        there.delete(BUCKET, &format!("{region}/0")).unwrap();
        assert_eq!(there.get(BUCKET, &format!("{region}/0")).unwrap(), None);
        let parts = [content("part", 1, 5 << 20), content("part", 2, 1 << 20)];
        there.put_multipart(BUCKET, "parts", &parts).unwrap();
        assert_eq!(there.get(BUCKET, "parts").unwrap(), Some(parts.concat()));
    }
    let page = metrics(&dev);
    let answered =
        page.lines().find_map(|line| line.strip_prefix("twinkeep_s3_forwarded_total{result=\"answered\"} "));
    assert!(answered.is_some_and(|count| count.parse::<u64>().unwrap() > 80), "{page}");
    let before = gateway_peak_kib(&dev, &standby);
    let large = content("large", 1, LARGE_BYTES);
    let mut there = client(&standby, &standby.region);
    there.put(BUCKET, "large", &large).unwrap();
    assert!(there.get(BUCKET, "large").unwrap() == Some(large), "the large body is another one");
    // the kernel counts pages roughly while threads hold some back: a later peak may read a little lower
    let grown = gateway_peak_kib(&dev, &standby).saturating_sub(before);
    println!("the standby's gateway grew by {grown} KiB");
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB for a body of {} KiB", LARGE_BYTES >> 10);
    let stranger = Credentials {
        access_key: "AKIDUNKNOWN".into(),
        secret_key: "secret".into(),
        region: standby.region.clone(),
    };
    let refused = S3::new(address_of(&standby.endpoint).unwrap(), stranger).put(BUCKET, "key", b"body");
    let expected = Failure::Refused { status: 403, code: "InvalidAccessKeyId".into() };
    assert_eq!(refused.unwrap_err(), expected);
    dev.end().unwrap();
}

#[test]
fn boto3_does_all_it_can_through_the_standby() {
    let run = Run::new("forward-boto3").unwrap();
    let (mut dev, _, standby) = start(&run);
    run_script(&standby, "boto.py", &standby.endpoint, None, &[]);
    dev.end().unwrap();
}

#[test]
fn clients_keep_their_endpoint_across_planned_switches() {
    let run = Run::new("forward-switches").unwrap();
    let (mut dev, one, two) = start(&run);
    one.client().unwrap().create_bucket(BUCKET).unwrap();
    wait_synced(&dev).unwrap();
    let mut loops: Vec<_> = [&one, &two]
        .iter()
        .map(|region| {
            let name = run.path(&format!("until-{}", region.region));
            let mut command = script_command(region, "loop.py", &region.endpoint, None);
            command.env("LOOP_UNTIL", &name).stdout(Stdio::piped()).stderr(Stdio::piped());
            (name, command.spawn().unwrap())
        })
        .collect();
    for (name, _) in &loops {
        let started = name.with_file_name(format!("{}.started", name.file_name().unwrap().display()));
        wait_for("a client", || started.exists());
    }
    let ended = AtomicBool::new(false);
    let ledgers = std::thread::scope(|scope| {
        let stopping = Stopping(&ended);
        let writers: Vec<_> = [&one, &two].map(|region| scope.spawn(|| write(region, &ended))).into();
        for _ in 0..4 {
            let said = dev.twinkeep(&["failover", "--planned", "--json"]).unwrap();
            let report: Value = serde_json::from_str(&said).unwrap();
            println!("to {}: writes paused for {} ms", report["to"], report["writes_paused_ms"]);
            wait_synced(&dev).unwrap();
        }
        drop(stopping);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<Ledger>>()
    });
    for (name, child) in loops.drain(..) {
        std::fs::write(&name, "").unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "an application saw an error: {said}{errors}");
        println!("loop: {}", said.lines().next().unwrap_or_default());
    }
    wait_synced(&dev).unwrap();
    for region in [&one, &two] {
        let mut client = region.client().unwrap();
        for ledger in &ledgers {
            for key in ledger.keys() {
                let seen = client.get(BUCKET, key).unwrap();
                ledger
                    .check_current(key, seen.as_deref())
                    .unwrap_or_else(|violation| panic!("{key}: {violation:?}"));
            }
        }
    }
    dev.end().unwrap();
}

/// Writes and reads back through one endpoint until told to end: a request is done, or answered with 503 before its
/// time, and what was written through an endpoint is seen there.
fn write(region: &Ready, ended: &AtomicBool) -> Ledger {
    let (mut client, mut ledger, mut done, mut refused) = (region.client().unwrap(), Ledger::new(), 0, 0);
    for number in 0.. {
        if ended.load(Ordering::Relaxed) {
            println!("{}: {done} done, {refused} answered with 503", region.region);
            assert!(done > 20, "only {done} writes through {}", region.region);
            return ledger;
        }
        let key = format!("{}/{number}", region.region);
        let (serial, body) = ledger.begin_write(&key, 100 + number % 5000);
        let written = client.put(BUCKET, &key, &body);
        ledger.end(&key, serial, &written);
        match (written, client.get(BUCKET, &key)) {
            (Ok(_), Ok(seen)) => {
                assert_eq!(seen, Some(body), "{key} is not seen where it was written");
                done += 1;
            }
            (written, seen) => {
                let failures = written.err().into_iter().chain(seen.err());
                for failure in failures {
                    let is_retryable =
                        matches!(&failure, Failure::Unknown { reason } if reason.starts_with("503 "));
                    assert!(is_retryable, "{key}: {failure:?}");
                    refused += 1;
                }
                // as clients do
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    unreachable!("numbers do not end")
}

#[test]
fn a_lost_primary_is_told_and_a_forced_switch_needs_no_other_endpoint() {
    let run = Run::new("forward-lost").unwrap();
    let (mut dev, primary, standby) = start(&run);
    let mut client = standby.client().unwrap();
    client.create_bucket(BUCKET).unwrap();
    client.put(BUCKET, "before", b"in both regions").unwrap();
    wait_synced(&dev).unwrap();
    dev.twinkeep(&["dev", "kill", &primary.region]).unwrap();
    for attempt in 0..3 {
        for told in [
            client.put(BUCKET, "lost", b"nowhere").map(drop).unwrap_err(),
            client.get(BUCKET, "before").map(drop).unwrap_err(),
        ] {
            let Failure::Unknown { reason } = told else { panic!("{told:?}") };
            // the first may have found a connection that ended under it
            let clear = reason.contains("endpoints do not answer")
                || (attempt == 0 && reason.contains("no answer came from the primary"));
            assert!(reason.starts_with("503 ") && reason.contains("SlowDown") && clear, "{reason}");
        }
    }
    dev.twinkeep(&["failover", "--force", "--to", &standby.region, "--json"]).unwrap();
    wait_for("the new primary", || client.put(BUCKET, "after", b"the same endpoint").is_ok());
    assert_eq!(client.get(BUCKET, "before").unwrap().as_deref(), Some(&b"in both regions"[..]));
    assert_eq!(client.get(BUCKET, "after").unwrap().as_deref(), Some(&b"the same endpoint"[..]));
    dev.twinkeep(&["dev", "start", &primary.region]).unwrap();
    let mut old = primary.client().unwrap();
    // fenced: what it is asked it passes on
    wait_for("the old primary", || {
        old.get(BUCKET, "after").is_ok_and(|seen| seen.as_deref() == Some(&b"the same endpoint"[..]))
    });
    old.put(BUCKET, "through the old one", b"to the new one").unwrap();
    assert!(client.get(BUCKET, "through the old one").unwrap().is_some());
    dev.end().unwrap();
}

#[test]
fn a_primary_that_halts_costs_the_first_requests_a_wait_and_is_found_again() {
    let run = Run::new("forward-halted").unwrap();
    let (mut dev, primary, standby) = start(&run);
    let mut client = standby.client().unwrap();
    client.create_bucket(BUCKET).unwrap();
    client.put(BUCKET, "before", b"in both regions").unwrap();
    // it takes connections, and nothing is said on them
    dev.twinkeep(&["dev", "stop", &primary.region]).unwrap();
    let mut refused = |what: &str| {
        let Failure::Unknown { reason } = client.put(BUCKET, "halted", b"nowhere").unwrap_err() else {
            panic!("not told to come again")
        };
        assert!(
            reason.starts_with("503 ") && reason.contains("SlowDown") && reason.contains(what),
            "{reason}"
        );
    };
    refused("no answer came from the primary");
    // many times what the one wait took, if each of them waited
    for _ in 0..100 {
        refused("endpoints do not answer: nothing was done");
    }
    dev.twinkeep(&["dev", "start", &primary.region]).unwrap();
    wait_for("the primary", || client.put(BUCKET, "after", b"the same endpoint").is_ok());
    assert_eq!(client.get(BUCKET, "before").unwrap().as_deref(), Some(&b"in both regions"[..]));
    dev.end().unwrap();
}
