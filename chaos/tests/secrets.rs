//! Nothing secret leaves its place: no planted plaintext or key in any file, in any log at TRACE, or between nodes.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chaos::hosts::{HOSTS, Hosts, PASSPHRASE};
use chaos::random::Random;
use chaos::run::Run;
use chaos::secrets::{Needle, search_file, search_folder};
use chaos::tools;

/// How long an operation may take while the region forms.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn planted_plaintext_and_keys_are_in_no_file_no_log_and_no_packet() {
    tools::require_root("capturing packets").unwrap();
    tools::debian(&[("tcpdump", "tcpdump")]).unwrap();
    let run = Run::new("secrets").unwrap();
    let mut random = Random::from_seed(Random::seed_of_run("secrets"));
    let mut region = Hosts::on_loopback(&run, "trace").unwrap();
    let capture_path = run.path("peers.pcap");
    let ports: Vec<String> = (1..=HOSTS).map(|number| format!("port {}", region.peer_port(number))).collect();
    let mut capture = Command::new("tcpdump")
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
        .args(["-i", "lo", "-s", "0", "-B", "65536", "-U", "-Z", "root", "-w"])
        .arg(&capture_path)
        .arg(ports.join(" or "))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| capture_path.metadata().is_ok_and(|metadata| metadata.len() > 0), "the capture begins");

    let user = region.add_user("application").unwrap();
    let plaintext = random.bytes(64);
    let spread: Vec<u8> = plaintext.iter().copied().cycle().take(3 << 20).collect();
    let metadata = "metadata-that-nobody-else-may-read";
    region
        .on_host(1, &user, |client| {
            client.persist(PATIENCE, |client| client.create_bucket("bucket")).unwrap();
            let headers = [("x-amz-meta-note", metadata)];
            for (key, body) in [("small", &plaintext), ("large", &spread)] {
                client.persist(PATIENCE, |client| client.put_with("bucket", key, &headers, body)).unwrap();
                let seen = client.persist(PATIENCE, |client| client.get("bucket", key)).unwrap();
                assert_eq!(seen.as_ref(), Some(body));
            }
            let half = spread.len() / 2;
            let parts = [spread.repeat(2), spread[..half].to_vec()];
            client.persist(PATIENCE, |client| client.put_multipart("bucket", "parts", &parts)).unwrap();
        })
        .unwrap();
    // A gateway that starts again reads its keys again; its log must not tell them either.
    region.kill(2);
    region.start(2).unwrap();
    region
        .on_host(2, &user, |client| client.persist(PATIENCE, |client| client.get("bucket", "large")).unwrap())
        .unwrap();
    for number in 1..=HOSTS {
        region.kill(number);
    }
    chaos::dev::signal(capture.id(), rustix::process::Signal::INT);
    capture.wait().unwrap();

    let needles = [
        Needle::new("object bytes", &plaintext[..32]),
        Needle::new("user metadata", metadata.as_bytes()),
        Needle::new("access secret", user.secret_key.as_bytes()),
        Needle::new("passphrase", PASSPHRASE.as_bytes()),
    ];
    let captured = capture_path.metadata().unwrap().len();
    assert!(
        captured > 2 * spread.len() as u64,
        "only {captured} bytes were captured: not the replication of the objects"
    );
    let mut leaks = search_file(&capture_path, &needles).unwrap();
    let (mut files, mut log_bytes) = (0, 0);
    for host in &region.hosts {
        leaks.extend(search_folder(&host.data, &needles).unwrap());
        leaks.extend(search_file(&host.log, &needles).unwrap());
        files += chaos::fault::files_below(&host.data).unwrap().len();
        log_bytes += host.log.metadata().unwrap().len();
    }
    leaks.extend(search_folder(&region.folder, &needles).unwrap());
    assert!(leaks.is_empty(), "{leaks:#?}");
    assert!(
        files > HOSTS && log_bytes > 100_000,
        "{files} files and {log_bytes} bytes of logs prove too little"
    );

    // The canary: the same search finds what is planted where it looked.
    let planted = region.hosts[0].data.join("planted");
    std::fs::write(&planted, [&[0_u8; 5000], plaintext.as_slice()].concat()).unwrap();
    assert_eq!(search_folder(&region.hosts[0].data, &needles).unwrap().len(), 1);
    eprintln!(
        "secrets: {files} files, {log_bytes} bytes of logs and {captured} captured bytes hold none of {} secrets",
        needles.len()
    );
}

fn wait_for(condition: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
