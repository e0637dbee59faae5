//! Regions on hosts of their own, made with the README's commands: one in network namespaces, of which one host is cut off and comes back; and one that
//! is given a standby late, loses its pair, and is given another.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chaos::hosts::{HOSTS, Hosts};
use chaos::ledger::Ledger;
use chaos::pair::wait_for;
use chaos::run::Run;
use chaos::s3::{Failure, S3};
use chaos::sign::Credentials;

/// How long an operation may take to succeed while a host is cut off or comes back.
const PATIENCE: Duration = Duration::from_secs(60);

fn write_some(client: &mut S3, ledger: &mut Ledger, prefix: &str, count: usize) {
    for number in 0..count {
        let key = format!("{prefix}/{number}");
        let (serial, body) = ledger.begin_write(&key, 20_000);
        let result = client.put("bucket", &key, &body);
        ledger.end(&key, serial, &result);
        assert!(!matches!(result, Err(Failure::Refused { .. })), "{key}: {result:?}");
    }
}

fn check_all(client: &mut S3, ledger: &Ledger) {
    for key in ledger.keys() {
        let seen = client.persist(PATIENCE, |client| client.get("bucket", key)).unwrap();
        ledger.check_current(key, seen.as_deref()).unwrap();
    }
}

#[test]
fn three_hosts_form_a_region_and_serve_through_a_partition() {
    let run = Run::new("hosts").unwrap();
    let mut region = Hosts::in_namespaces(&run).unwrap();
    let user = region.add_user("application").unwrap();
    let ready =
        |client: &mut S3| client.persist(PATIENCE, |client| client.list("bucket", "").map(drop)).unwrap();
    region
        .on_host(1, &user, |client| {
            client.persist(PATIENCE, |client| client.create_bucket("bucket")).unwrap()
        })
        .unwrap();
    let mut ledger = Ledger::new();
    for host in 1..=HOSTS {
        region.on_host(host, &user, ready).unwrap();
        region
            .on_host(host, &user, |client| write_some(client, &mut ledger, &format!("from-{host}"), 10))
            .unwrap();
    }
    for cut in 1..=HOSTS {
        let (near, far) = (cut % HOSTS + 1, (cut + 1) % HOSTS + 1);
        region.cut_off(cut).unwrap();
        let start = Instant::now();
        region
            .on_host(near, &user, |client| write_some(client, &mut ledger, &format!("cut-{cut}"), 20))
            .unwrap();
        eprintln!("hosts: 20 writes in {:?} while host {cut} is cut off", start.elapsed());
        region.on_host(far, &user, |client| check_all(client, &ledger)).unwrap();
        if cut == 1 {
            // Once is enough: the gateway holds the request for as long as it may.
            let stale = region.on_host(cut, &user, |client| client.get("bucket", "from-1/0")).unwrap();
            assert!(
                matches!(stale, Err(Failure::Unknown { .. })),
                "a host without a majority must not answer: {stale:?}"
            );
        }
        region.heal(cut).unwrap();
        region.on_host(cut, &user, |client| check_all(client, &ledger)).unwrap();
    }
    // One-way: the host is heard and hears nothing, which traps leaders that only count what they send.
    region.deafen(1).unwrap();
    region.on_host(2, &user, |client| write_some(client, &mut ledger, "deaf", 20)).unwrap();
    region.heal(1).unwrap();
    for host in 1..=HOSTS {
        region.kill(host);
    }
    for host in 1..=HOSTS {
        region.start(host).unwrap();
    }
    for host in 1..=HOSTS {
        region.on_host(host, &user, |client| check_all(client, &ledger)).unwrap();
    }
    let (acknowledged, unknown) = ledger.counts();
    assert!(acknowledged > 100, "{acknowledged} acknowledged and {unknown} unknown writes prove too little");
}

/// Where the groups of the pair are, as the operator of this region sees it.
fn lag(region: &Hosts) -> Option<serde_json::Value> {
    serde_json::from_str(&region.twinkeep(&["lag", "--json"]).ok()?).ok()
}

/// Restarts one host after another, and sees clients served in between.
fn restart_all(region: &mut Hosts, paired: bool, user: &Credentials, ledger: &mut Ledger, prefix: &str) {
    for host in 1..=HOSTS {
        region.restart(host, paired).unwrap();
        let near = host % HOSTS + 1;
        let key = format!("{prefix}-{host}");
        region.on_host(near, user, |client| write_some(client, ledger, &key, 10)).unwrap();
        wait_for("a region that is whole again", || region.twinkeep(&["status"]).is_ok());
    }
}

#[test]
fn a_region_with_data_is_given_a_standby_loses_its_pair_and_is_given_another() {
    let run = Run::new("hosts-pair").unwrap();
    let mut first = Hosts::on_loopback(&run, "info").unwrap();
    let user = first.add_user("application").unwrap();
    let mut ledger = Ledger::new();
    first
        .on_host(1, &user, |client| {
            client.persist(PATIENCE, |client| client.create_bucket("bucket")).unwrap();
            write_some(client, &mut ledger, "alone", 50);
        })
        .unwrap();
    let refused = first.twinkeep(&["pair", "end"]).unwrap_err().to_string();
    assert!(refused.contains("one of no pair"), "{refused}");

    // made late, while the first one goes on serving
    let mut second = Hosts::standby(&run, &first, "twin-2").unwrap();
    restart_all(&mut first, true, &user, &mut ledger, "paired");
    wait_for("the first standby", || lag(&first).is_some_and(|lag| lag["state"] == "Live"));
    let refused = second.twinkeep(&["pair", "end"]).unwrap_err().to_string();
    assert!(refused.contains("takes the writes of 0 of its 9 groups"), "{refused}");
    first.on_host(2, &user, |client| write_some(client, &mut ledger, "followed", 20)).unwrap();
    let whole = |lag: serde_json::Value| lag["state"] == "Live" && lag["lag_operations"] == 0;
    wait_for("the last writes", || lag(&first).is_some_and(whole));

    // the first region is gone for good, with its disks, its root key and its authority: the other one takes the writes, ends the pair and goes on alone
    let gone = first.hosts.iter().map(|host| host.data.parent().unwrap().to_owned());
    let gone: Vec<PathBuf> = gone.chain([first.folder.clone()]).collect();
    drop(first);
    gone.iter().for_each(|folder| std::fs::remove_dir_all(folder).unwrap());
    second.twinkeep(&["failover", "--force", "--to", "twin-2"]).unwrap();
    second.on_host(1, &user, |client| check_all(client, &ledger)).unwrap();
    let refused = second.twinkeep(&["pair", "end"]).unwrap_err().to_string();
    assert!(refused.contains("twin-1 does not answer") && refused.contains("--other-lost"), "{refused}");
    let ended = second.twinkeep(&["pair", "end", "--other-lost", "--json"]).unwrap();
    let ended: serde_json::Value = serde_json::from_str(&ended).unwrap();
    assert_eq!((&ended["region"], &ended["other"]), (&"twin-2".into(), &"twin-1".into()), "{ended}");
    restart_all(&mut second, false, &user, &mut ledger, "alone-again");
    second.on_host(1, &user, |client| check_all(client, &ledger)).unwrap();
    second.twinkeep(&["check"]).unwrap();

    // and has another standby, which takes over all that it has
    let third = Hosts::standby(&run, &second, "twin-3").unwrap();
    restart_all(&mut second, true, &user, &mut ledger, "paired-again");
    wait_for("the other standby", || lag(&second).is_some_and(whole));
    for region in [&second, &third] {
        region.on_host(3, &user, |client| check_all(client, &ledger)).unwrap();
    }
    let switched = third.twinkeep(&["failover", "--planned", "--to", "twin-3"]).unwrap();
    println!("{switched}");
    third.on_host(1, &user, |client| write_some(client, &mut ledger, "switched", 10)).unwrap();
}
