//! A region on three hosts in network namespaces, made with the README's commands; one host is cut off and comes back.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::{Duration, Instant};

use chaos::hosts::{HOSTS, Hosts};
use chaos::ledger::Ledger;
use chaos::run::Run;
use chaos::s3::{Failure, S3};

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
