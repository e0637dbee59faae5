//! Tests of the development folder: settings, configuration, ports, processes and control, without a server.

use super::process::wait_until;
use super::*;
use crate::testing::dev_options;
use crate::witness::Mode;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

fn sleeper() -> std::process::Child {
    Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_first_start_makes_a_region_and_a_second_one_finds_it() {
    let base = tempfile::tempdir().unwrap();
    let options = dev_options(base.path());
    let port = options.port_base.unwrap();
    let (folder, settings) = prepare(&options).unwrap();
    assert_eq!((settings.nodes, settings.groups, settings.port_base), (3, 8, port));
    assert!(folder.exists());
    let before = folder.region().read_descriptor().unwrap();
    let config = crate::files::read(&folder.config(Member::Gateway)).unwrap();
    let config: toml::Table = toml::from_str(&config).unwrap();
    assert_eq!(config["s3"]["listen_plain"].as_str(), Some(format!("127.0.0.1:{port}").as_str()));
    assert_eq!(config["s3"]["local_nodes"]["2"].as_str(), Some("../node-2/data"));
    assert_eq!(config["join_token_file"].as_str(), Some("../region/tokens/gateway-1.token"));
    let again = DevOptions { port_base: None, ..options };
    assert_eq!(prepare(&again).unwrap().1, settings);
    assert_eq!(folder.region().read_descriptor().unwrap(), before);
}

#[test]
fn settings_that_cannot_change_are_refused_with_what_they_are() {
    let base = tempfile::tempdir().unwrap();
    let options = dev_options(base.path());
    prepare(&options).unwrap();
    let other = DevOptions { nodes: Some(5), ..options };
    let error = prepare(&other).unwrap_err();
    assert_eq!(
        (error.exit_code(), error.to_string()),
        (2, "this folder was made with --nodes 3, which cannot change".into())
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let two = DevOptions { nodes: Some(2), ..dev_options(elsewhere.path()) };
    assert_eq!(prepare(&two).unwrap_err().exit_code(), 2);
}

#[test]
fn a_refused_first_start_leaves_nothing_behind() {
    let base = tempfile::tempdir().unwrap();
    let data = base.path().join("region");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = || dev_options(&data);
    let refused = [
        (DevOptions { groups: Some(3), ..options() }, "--groups 3 "),
        (DevOptions { groups: Some(0), ..options() }, "--groups 0 "),
        (DevOptions { nodes: Some(2), ..options() }, "--nodes 2: "),
        (DevOptions { port_base: Some(80), ..options() }, "--port-base 80 "),
        (DevOptions { port_base: Some(port), ..options() }, " "),
    ];
    for (options, named) in refused {
        for error in [
            run(&options, |_| Ok(())).unwrap_err(),
            pair::run(&options, Mode::Manual, ForwardMode::None, |_| Ok(())).unwrap_err(),
        ] {
            assert!(error.to_string().contains(named) && !error.advice().is_empty(), "{error}");
            assert!(!data.exists(), "{error}");
        }
    }
    assert_eq!(prepare(&options()).unwrap().1.groups, 8);
}

#[test]
fn damaged_settings_are_refused_with_what_to_do() {
    let base = tempfile::tempdir().unwrap();
    let options = dev_options(base.path());
    let (folder, _) = prepare(&options).unwrap();
    std::fs::write(folder.settings(), "{\"schema_version\"").unwrap();
    let error = prepare(&options).unwrap_err();
    assert!(error.to_string().contains("dev.json") && error.advice().contains("backup"), "{error}");
}

#[test]
fn a_taken_port_is_named_with_the_process_that_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let own = format!("(pid {})", std::process::id());
    assert!(port_holder(port).unwrap().contains(&own));
    if let Ok(ports) = Ports::new(port) {
        let error = ports.check_free(&[Member::Gateway]).unwrap_err().to_string();
        assert!(error.contains(&format!("port {port} is taken")) && error.contains(&own), "{error}");
    }
    drop(taken);
    assert_eq!(port_holder(port), None);
}

#[test]
fn every_process_has_ports_of_its_own() {
    let members: Vec<Member> = (1..=DEV_NODES_MAX).map(Member::Node).chain([Member::Gateway]).collect();
    let mut all = Ports::new(9000).unwrap().all(&members);
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
    assert!(Ports::new(65_530).is_err() && Ports::new(80).is_err());
}

#[test]
fn a_process_is_halted_goes_on_and_ends_and_each_twice_is_no_error() {
    let base = tempfile::tempdir().unwrap();
    let (folder, _) = prepare(&dev_options(base.path())).unwrap();
    let mut child = sleeper();
    let member = Member::Node(2);
    ProcessRecord::of(child.id()).unwrap().write(&folder.record(member)).unwrap();
    for _ in 0..2 {
        assert_eq!(control::stop(&folder, member).unwrap().now, ProcessState::Stopped);
    }
    for _ in 0..2 {
        assert_eq!(control::start(&folder, member).unwrap().now, ProcessState::Running);
    }
    assert!(!folder.held(member).exists());
    for _ in 0..2 {
        assert_eq!(control::kill(&folder, member).unwrap().now, ProcessState::Ended);
        assert!(folder.held(member).exists());
    }
    child.wait().unwrap();
    assert_eq!(control::stop(&folder, member).unwrap_err().exit_code(), 1);
    let error = control::start(&folder, member).unwrap_err().to_string();
    assert!(error.contains("no `twinkeep dev` runs"), "{error}");
    assert_eq!(control::kill(&folder, Member::Node(9)).unwrap_err().exit_code(), 2);
}

#[test]
fn a_name_stands_for_a_process_a_process_of_a_region_or_a_whole_region() {
    let base = tempfile::tempdir().unwrap();
    let find = |name: &str| {
        let found = target::Target::find(base.path(), name)?;
        Ok::<_, ClientError>((found.region, found.folder.root().to_owned(), found.members))
    };
    assert_eq!(find("1").unwrap_err().exit_code(), 1, "nothing is there");
    for region in pair::REGIONS {
        let folder = base.path().join(region);
        prepare(&DevOptions { region: Some(region), ..dev_options(&folder) }).unwrap();
    }
    let [one, two] = pair::REGIONS.map(|region| base.path().join(region));
    let all = [Member::Node(1), Member::Node(2), Member::Node(3), Member::Gateway];
    assert_eq!(find("twin-2/3").unwrap(), (Some("twin-2".into()), two.clone(), vec![Member::Node(3)]));
    assert_eq!(find("twin-1/gateway").unwrap(), (Some("twin-1".into()), one, vec![Member::Gateway]));
    assert_eq!(find("twin-2").unwrap(), (Some("twin-2".into()), two.clone(), all.to_vec()));
    for wrong in ["2", "gateway", "twin-3", "twin-3/1", "twin-1/0", "twin-1/", "/1", ""] {
        assert_eq!(find(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
    }
    assert!(find("2").unwrap_err().to_string().contains("which region"));
    let single = target::Target::find(&two, "2").unwrap();
    assert_eq!((single.region, single.members), (None, vec![Member::Node(2)]));
}

#[test]
fn all_processes_of_a_region_are_killed_at_once() {
    let base = tempfile::tempdir().unwrap();
    let (folder, _) = prepare(&dev_options(base.path())).unwrap();
    let members = control::members(&folder).unwrap();
    let mut children: Vec<_> = members.iter().map(|_| sleeper()).collect();
    for (member, child) in members.iter().zip(&children) {
        ProcessRecord::of(child.id()).unwrap().write(&folder.record(*member)).unwrap();
    }
    let region = folder.region().read_descriptor().unwrap().region;
    let target = target::Target::find(base.path(), &region).unwrap();
    let killed = target.each(control::Process::kill).unwrap();
    assert!(killed.iter().all(|report| report.now == ProcessState::Ended), "{killed:?}");
    assert_eq!(killed.len(), 4);
    assert!(members.iter().all(|member| folder.held(*member).exists()));
    for child in &mut children {
        child.wait().unwrap();
    }
}

#[test]
fn a_pid_that_was_given_to_another_process_is_never_signalled() {
    let mut child = sleeper();
    let mut record = ProcessRecord::of(child.id()).unwrap();
    record.started_ticks += 1;
    assert_eq!(record.state(), ProcessState::Ended);
    record.signal(rustix::process::Signal::KILL).unwrap();
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_cut_or_missing_state_file_reads_as_no_process() {
    let base = tempfile::tempdir().unwrap();
    let (folder, _) = prepare(&dev_options(base.path())).unwrap();
    std::fs::write(folder.record(Member::Node(1)), "{\"pid\": 1").unwrap();
    let states: Vec<_> = control::list(&folder).unwrap().into_iter().map(|report| report.now).collect();
    assert_eq!(states, [ProcessState::Ended; 4]);
    assert!(!control::supervisor_runs(&folder));
}

#[test]
fn a_folder_without_a_region_is_said_to_be_one() {
    let base = tempfile::tempdir().unwrap();
    let error = control::list(&DevFolder::new(base.path())).unwrap_err();
    assert!(error.to_string().contains("holds no development region"), "{error}");
}

#[test]
fn the_ready_line_keeps_its_fields() {
    let member = |id: u16| MemberReady {
        id,
        pid: 7,
        data: "/d".into(),
        log: "/l".into(),
        peer_address: "127.0.0.1:1".into(),
        health_address: "127.0.0.1:2".into(),
    };
    let ready = DevReady {
        schema_version: 1,
        endpoint: "http://127.0.0.1:9000".into(),
        endpoint_tls: "https://127.0.0.1:9001".into(),
        ca_file: "/ca".into(),
        access_key: "TK".into(),
        secret_key: wire::admin::SecretText::new("secret".into()),
        region: "twin-1".into(),
        data: "/data".into(),
        supervisor_pid: 9,
        gateway: member(1),
        nodes: vec![member(1)],
        started_in_ms: 5,
        pseudo: None,
    };
    let json = serde_json::to_value(&ready).unwrap();
    for field in [
        "schema_version",
        "endpoint",
        "endpoint_tls",
        "ca_file",
        "access_key",
        "secret_key",
        "region",
        "nodes",
    ] {
        assert!(json.get(field).is_some(), "{field}");
    }
    for field in ["id", "pid", "data"] {
        assert!(json["nodes"][0].get(field).is_some(), "{field}");
    }
    assert_eq!(serde_json::from_value::<DevReady>(json).unwrap(), ready);
    let page = ready.page(false);
    assert!(page.contains("[profile twinkeep-dev]") && page.contains("--data /data"), "{page}");
    assert!(!format!("{ready:?}").contains("\"secret\""));
}

#[test]
fn members_are_read_as_they_are_typed() {
    assert_eq!(Member::parse("2").unwrap(), Member::Node(2));
    assert_eq!(Member::parse("node-2").unwrap(), Member::Node(2));
    assert_eq!(Member::parse("gateway").unwrap(), Member::Gateway);
    assert!(Member::parse("0").is_err() && Member::parse("../x").is_err());
}

#[test]
fn waiting_ends_in_time_either_way() {
    assert!(wait_until(Duration::ZERO, || true));
    assert!(!wait_until(Duration::ZERO, || false));
}
