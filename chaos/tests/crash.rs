//! Crashes: nodes, all nodes and the gateway get SIGKILL while clients write; leaders are stopped; nothing acknowledged is lost.
//!
//! `CHAOS_ROUNDS=5000` runs thousands of rounds; the default fits a check of every change.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use chaos::dev::{Dev, Node};
use chaos::history::Recorder;
use chaos::linear::{Verdict, judge};
use chaos::random::Random;
use chaos::run::Run;
use chaos::tools;
use chaos::workload::{Buckets, Stopping, race_until, verify, write_until};

/// Rounds of one check of every change: with two and three nodes at once in a third of them, some 170 kills.
const ROUNDS_DEFAULT: u64 = 100;
/// Rounds between two looks at everything that was written.
const ROUNDS_PER_EPOCH: u64 = 20;
/// Writers of the durability test; each has its own keys.
const WRITERS: usize = 4;
/// Clients that race for the same keys: with more the checker's search explodes.
const RACERS: u64 = 5;
/// A region that takes longer than this to acknowledge a write after its nodes run again is not recovered.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

fn rounds() -> u64 {
    std::env::var("CHAOS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS_DEFAULT)
}

/// Which processes one round kills.
fn victims(dev: &Dev, random: &mut Random) -> Vec<Node> {
    let mut nodes = dev.ready.nodes.clone();
    let gateway = Node { id: "gateway".into(), pid: 0, data: dev.data().to_owned() };
    let first = random.below(nodes.len() as u64) as usize;
    nodes.rotate_left(first);
    match random.below(100) {
        0..60 => nodes.truncate(1),
        60..75 => nodes.truncate(2),
        75..92 => {}
        92..96 => nodes.push(gateway),
        _ => nodes = vec![gateway],
    }
    nodes
}

/// Kills all victims at once and starts them again after a moment.
fn kill_and_resume(dev: &Dev, victims: &[Node], random: &mut Random) {
    std::thread::scope(|scope| {
        for node in victims {
            scope.spawn(move || dev.kill(node).unwrap());
        }
    });
    std::thread::sleep(Duration::from_millis(random.below(200)));
    std::thread::scope(|scope| {
        for node in victims {
            scope.spawn(move || dev.resume(node).unwrap());
        }
    });
}

/// Waits until a write is acknowledged, and says how long it took.
fn wait_until_served(dev: &Dev, bucket: &str) -> Duration {
    let start = Instant::now();
    let mut client = dev.client().unwrap();
    client.persist(RECOVERY_MAX, |client| client.put(bucket, "served", b"yes")).unwrap();
    start.elapsed()
}

#[test]
fn acknowledged_writes_survive_kills_of_nodes_of_all_nodes_and_of_the_gateway() {
    let seed = Random::seed_of_run("crash");
    let (mut random, run) = (Random::from_seed(seed), Run::new("crash").unwrap());
    let mut dev = Dev::start(&run).unwrap();
    let (mut kills, mut acknowledged, mut unknown) = (0, 0, 0);
    let (mut slowest, mut reasons) = (Duration::ZERO, BTreeMap::<String, u64>::new());
    let mut written = Vec::new();
    for epoch in 0..rounds().div_ceil(ROUNDS_PER_EPOCH) {
        let buckets = Buckets::create(&mut dev.client().unwrap(), &format!("epoch-{epoch}")).unwrap();
        let stop = AtomicBool::new(false);
        let ledgers = std::thread::scope(|scope| {
            let (dev, buckets, stop, stopping) = (&dev, &buckets, &stop, Stopping(&stop));
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let mut random = Random::from_seed(random.next_u64());
                    let mut client = dev.client().unwrap();
                    scope.spawn(move || write_until(stop, &mut client, buckets, writer, &mut random))
                })
                .collect();
            for _ in 0..ROUNDS_PER_EPOCH {
                let victims = victims(dev, &mut random);
                kill_and_resume(dev, &victims, &mut random);
                kills += victims.len();
                slowest = slowest.max(wait_until_served(dev, &buckets.plain));
                std::thread::sleep(Duration::from_millis(random.below(300)));
            }
            drop(stopping);
            writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
        });
        for of_writer in &ledgers {
            for ledger in [&of_writer.plain, &of_writer.versioned] {
                let (yes, perhaps) = ledger.counts();
                acknowledged += yes;
                unknown += perhaps;
                for (reason, count) in ledger.reasons() {
                    *reasons.entry(reason.clone()).or_default() += count;
                }
            }
        }
        let violations = verify(&mut dev.client().unwrap(), &buckets, &ledgers).unwrap();
        assert!(violations.is_empty(), "epoch {epoch}, seed {seed}: {violations:#?}");
        written.push((buckets, ledgers));
    }
    dev.restart(true).unwrap();
    for (buckets, ledgers) in &written {
        let violations = verify(&mut dev.client().unwrap(), buckets, ledgers).unwrap();
        assert!(
            violations.is_empty(),
            "after all processes were killed at once, seed {seed}: {violations:#?}"
        );
    }
    assert!(
        acknowledged > 20 * rounds(),
        "only {acknowledged} acknowledged writes: too few to prove anything"
    );
    eprintln!(
        "crash: {kills} kills, {acknowledged} acknowledged writes kept, {unknown} without an answer, slowest recovery {slowest:?}; without an answer because: {reasons:#?}"
    );
    dev.end().unwrap();
}

#[test]
fn histories_under_kills_and_stops_are_linearizable() {
    let seed = Random::seed_of_run("history");
    let (mut random, run) = (Random::from_seed(seed), Run::new("history").unwrap());
    let mut dev = Dev::start(&run).unwrap();
    dev.client().unwrap().create_bucket("race").unwrap();
    let (recorder, stop) = (Recorder::new(), AtomicBool::new(false));
    let faults = (rounds() / 5).max(1);
    std::thread::scope(|scope| {
        let (dev, stop, recorder, _stopping) = (&dev, &stop, &recorder, Stopping(&stop));
        for identity in 1..=RACERS {
            let mut random = Random::from_seed(random.next_u64());
            let mut client = dev.client().unwrap();
            scope.spawn(move || race_until(stop, &mut client, "race", identity, &mut random, recorder));
        }
        for _ in 0..faults {
            let node = &dev.ready.nodes[random.below(3) as usize];
            if random.chance(50) {
                // A stopped leader keeps its connections and wakes up believing that it still leads.
                dev.stop(node).unwrap();
                std::thread::sleep(Duration::from_millis(300 + random.below(1500)));
                dev.resume(node).unwrap();
            } else {
                kill_and_resume(dev, std::slice::from_ref(node), &mut random);
            }
            wait_until_served(dev, "race");
            std::thread::sleep(Duration::from_millis(random.below(300)));
        }
    });
    let mut operations = 0;
    for (key, history) in recorder.into_keys() {
        operations += history.len();
        match judge(&history) {
            Verdict::Linearizable => {}
            Verdict::Undecided => {
                panic!("{key}: the checker ran out of its budget on {} operations", history.len())
            }
            Verdict::Violated { explained } => {
                let path = run.path(&format!("{key}.history"));
                std::fs::write(&path, format!("{history:#?}\nexplained: {explained:?}\n")).unwrap();
                panic!("seed {seed}: no order explains what clients saw of {key}: {}", path.display());
            }
        }
    }
    assert!(operations > 500, "only {operations} operations: too few to prove anything");
    eprintln!("history: {operations} operations under {faults} faults are linearizable");
    dev.end().unwrap();
}

#[test]
fn a_default_boto3_loop_sees_no_error_while_every_leader_is_killed_in_turn() {
    let run = Run::new("loop").unwrap();
    let mut dev = Dev::start(&run).unwrap();
    let until = run.path("until");
    let programs = tools::python_clients().unwrap();
    let child = Command::new(programs.join("python"))
        .arg(tools::source_root().join("chaos/clients/loop.py"))
        .env("LOOP_UNTIL", &until)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("AWS_ENDPOINT_URL", &dev.ready.endpoint)
        .env("AWS_REGION", &dev.ready.region)
        .env("AWS_DEFAULT_REGION", &dev.ready.region)
        .env("AWS_ACCESS_KEY_ID", &dev.ready.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &dev.ready.secret_key)
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env_remove("AWS_CA_BUNDLE")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = run.path("until.started");
    let deadline = Instant::now() + RECOVERY_MAX;
    while !started.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Every node leads some of the groups: killing each in turn, twice, kills every leader.
    for node in dev.ready.nodes.iter().cycle().take(6) {
        dev.kill(node).unwrap();
        std::thread::sleep(Duration::from_secs(2));
        dev.resume(node).unwrap();
        std::thread::sleep(Duration::from_secs(2));
    }
    std::fs::write(&until, "").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "an application saw an error: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    eprintln!("loop: {}", said.lines().next().unwrap_or_default());
    dev.end().unwrap();
}
