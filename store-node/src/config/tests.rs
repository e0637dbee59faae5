//! Tests of the configuration: what is refused and how it is said, and that documentation and code agree.

use super::keys::{KEYS, explain};
use super::*;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

const SMALLEST: &str = "roles = [\"storage\"]\ndata = \"data\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/twinkeep/config.toml"), text)
}

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn a_storage_node_needs_two_lines() {
    let config = parse(SMALLEST).unwrap();
    assert_eq!(config.roles, Roles { storage: true, gateway: false });
    assert_eq!(config.data, Path::new("/etc/twinkeep/data"));
    assert_eq!(config.identity, Path::new("/etc/twinkeep/data/identity"));
    assert_eq!(config.storage.unwrap().segment_bytes, 64 << 20);
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.gateway.is_none() && !config.exit_on_stdin_eof && config.worker_threads.is_none());
}

#[test]
fn worker_threads_are_counted_and_limited() {
    let with = |count: &str| parse(&format!("worker_threads = {count}\n{SMALLEST}"));
    assert_eq!(with("4").unwrap().worker_threads, Some(4));
    for count in ["0", "1025"] {
        let error = with(count).unwrap_err().to_string();
        assert!(error.contains("worker_threads") && error.contains("1 to 1024"), "{error}");
    }
}

#[test]
fn a_full_gateway_is_read_as_written() {
    let config = parse(
        "roles = [\"gateway\"]\ndata = \"/d\"\n[s3]\nlisten_tls = \"0.0.0.0:9000\"\nlisten_plain = \"[::1]:9001\"\n\
         domain = \"S3.example.org\"\nlocal_nodes = { 2 = \"node-2\" }\n[root_key.pkcs11]\nmodule = \"/m.so\"\nslot = 3\nkey_label = \"k\"\n\
         pin_credential = \"pin\"\n[limits]\ncache_bytes = \"1 GiB\"\n",
    )
    .unwrap();
    let gateway = config.gateway.unwrap();
    assert_eq!(gateway.domain.as_deref(), Some("s3.example.org"));
    assert_eq!(gateway.local_nodes, [(NodeId(2), PathBuf::from("/etc/twinkeep/node-2"))].into());
    assert_eq!(gateway.tls_certificate, Path::new("/d/identity/s3.pem"));
    let RootKeyConfig::Pkcs11 { token, pin, .. } = gateway.root_key else { panic!("not PKCS#11") };
    assert_eq!((token, pin), (TokenName::Slot(3), SecretSource::Credential("pin".into())));
    assert_eq!(config.limits.cache_bytes, 1 << 30);
    assert!(config.storage.is_none());
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_a_suggestion() {
    let message = refusal(&format!("{SMALLEST}[limits]\ncach_bytes = 5\n"));
    assert!(message.starts_with("/etc/twinkeep/config.toml:4: limits.cach_bytes: unknown key"), "{message}");
    assert!(message.contains("did you mean limits.cache_bytes?"), "{message}");
    let message = refusal(&format!("{SMALLEST}[limit]\ncache_bytes = 5\n"));
    assert!(message.contains(":3: limit: unknown key"), "{message}");
    let message = refusal(&format!("{SMALLEST}listen_plain = 5\n"));
    assert!(message.contains("did you mean s3.listen_plain?"), "{message}");
}

#[test]
fn a_wrong_value_is_named_with_what_the_key_takes() {
    let message = refusal(&format!("{SMALLEST}[peer]\nlisten = \"here\"\n"));
    assert!(message.contains(":4: peer.listen:") && message.contains("an address with port"), "{message}");
    let message = refusal(&format!("{SMALLEST}[limits]\ncache_bytes = \"5 GB\"\n"));
    assert!(message.contains(":4: limits.cache_bytes: the unit must be"), "{message}");
    let message = refusal("data = \n");
    assert!(message.contains("config.toml:1:"), "{message}");
}

#[test]
fn what_is_missing_is_named_with_an_example() {
    let message = refusal("roles = [\"storage\"]\n");
    assert!(message.contains("data: missing; add data = "), "{message}");
}

#[test]
fn unsafe_combinations_are_refused_with_advice() {
    let gateway = "roles = [\"gateway\"]\ndata = \"d\"\n";
    let key = "[root_key]\npassphrase_env = \"P\"\n";
    let tls = "[s3]\nlisten_tls = \"0.0.0.0:9000\"\n";
    let cases = [
        (
            format!("{gateway}[s3]\nlisten_plain = \"0.0.0.0:9000\"\n{key}"),
            "config.toml:4: s3.listen_plain: 0.0.0.0:9000 is not a loopback",
        ),
        (format!("{gateway}{key}"), "a gateway must listen somewhere"),
        (format!("{gateway}{tls}"), "no source is named"),
        (format!("{gateway}{tls}{key}passphrase_file = \"f\"\n"), "more than one source"),
        (format!("{SMALLEST}{key}"), "no gateway role"),
        (format!("{SMALLEST}{tls}"), "no gateway role"),
        (format!("{gateway}{tls}{key}[storage]\n"), "no storage role"),
        (
            format!("{gateway}{tls}{key}[root_key.pkcs11]\nmodule = \"m\"\nkey_label = \"k\"\n"),
            "keep one of the two",
        ),
        (
            format!("{gateway}{tls}[root_key.pkcs11]\nmodule = \"m\"\nkey_label = \"k\"\npin_env = \"P\"\n"),
            "exactly one of token_label and slot",
        ),
        (format!("{SMALLEST}[storage]\nsegment_bytes = 1\n"), "out of range"),
        (format!("{SMALLEST}[limits]\nconnections = 0\n"), "refuse everyone"),
        ("roles = []\ndata = \"d\"\n".to_owned(), "roles"),
    ];
    for (text, expected) in cases {
        let message = refusal(&text);
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn a_gateway_is_told_where_its_pair_serves() {
    let gateway = "roles = [\"gateway\"]\ndata = \"d\"\n[s3]\nlisten_tls = \"0.0.0.0:9000\"\n[root_key]\npassphrase_env = \"P\"\n[pair]\n";
    let read = |pair: &str| parse(&format!("{gateway}{pair}")).map(|config| config.gateway.unwrap());
    let all = read(
        "forward = \"all\"\nendpoints = [\"https://s3.two.example:9000\", \"http://127.0.0.1:9001\"]\nauthority = \"two.pem\"\ndomain = \"S3.two.example\"\n",
    )
    .unwrap();
    let forward = all.forward.unwrap();
    assert!(forward.reads && forward.endpoints.len() == 2, "{forward:?}");
    assert_eq!(forward.authority.as_deref(), Some(Path::new("/etc/twinkeep/two.pem")));
    assert_eq!(all.pair_domain.as_deref(), Some("s3.two.example"));
    assert!(
        !read("forward = \"writes\"\nendpoints = [\"http://[::1]:9001\"]\n").unwrap().forward.unwrap().reads
    );
    assert_eq!(read("endpoints = [\"http://[::1]:9001\"]\n").unwrap().forward, None);
    for (pair, expected) in [
        ("forward = \"all\"\n", "pair.endpoints: missing"),
        ("forward = \"some\"\n", "it takes \"none\", \"writes\" or \"all\""),
        ("endpoints = [\"http://10.0.0.1:9000\"]\n", "readable over the network"),
        ("endpoints = [\"s3.two.example\"]\n", "does not begin with https://"),
        ("forward = \"all\"\nendpoints = [\"https://s3.two.example\"]\n", "pair.authority: missing"),
        ("domain = \"a b\"\n", "pair.domain: not a domain name"),
        ("folder = \"pair\"\n", "pair.folder: this process has no storage role"),
    ] {
        let message = read(pair).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let many = vec!["\"http://127.0.0.1:1\""; 17].join(", ");
    assert!(read(&format!("endpoints = [{many}]\n")).unwrap_err().to_string().contains("more than 16"));
    let storage = |pair: &str| refusal(&format!("{SMALLEST}[pair]\n{pair}"));
    assert!(storage("forward = \"all\"\n").contains("pair.forward: this process has no gateway role"));
    assert!(storage("").contains("pair.folder: missing"));
}

#[test]
fn every_key_the_file_takes_is_documented_and_every_documented_key_is_taken() {
    let documented: BTreeSet<String> = KEYS.iter().map(|doc| doc.key.to_owned()).collect();
    let mut accepted = BTreeSet::new();
    for table in
        ["", "peer", "pair", "s3", "health", "root_key", "root_key.pkcs11", "storage", "limits", "log"]
    {
        let header = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
        let text = format!("data = \"d\"\n{header}no_such_key = 1\n");
        let error = toml::from_str::<file::ConfigFile>(&text).err().unwrap();
        let names = error.message().split('`').skip(3).step_by(2).map(str::to_owned);
        for name in names {
            let key = if table.is_empty() { name } else { format!("{table}.{name}") };
            let is_table = documented.iter().any(|other| other.starts_with(&format!("{key}.")));
            if !is_table {
                accepted.insert(key);
            }
        }
    }
    assert_eq!(accepted, documented);
}

#[test]
fn every_key_can_be_explained_and_every_example_is_accepted_as_toml() {
    for doc in KEYS {
        let text = explain(doc.key).unwrap();
        assert!(text.contains(doc.kind) && text.contains(doc.default), "{text}");
        assert!(toml::from_str::<toml::Table>(&format!("example = {}", doc.example)).is_ok(), "{}", doc.key);
    }
    assert!(explain("root_key").unwrap().contains("pkcs11.slot"));
    assert!(explain("s3.listen_tsl").unwrap_err().contains("did you mean s3.listen_tls?"));
}

#[test]
fn the_documentation_has_the_table_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- keys: written from config/keys.rs -->\n", "<!-- end of keys -->");
    let (head, rest) = page.split_once(begin).unwrap();
    let (table, tail) = rest.split_once(end).unwrap();
    if std::env::var_os("TWINKEEP_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{begin}{}{end}{tail}", keys::markdown())).unwrap();
        return;
    }
    assert_eq!(
        table,
        keys::markdown(),
        "run the test with TWINKEEP_UPDATE_DOCS=1 to write {}",
        path.display()
    );
}

#[test]
fn examples_in_the_documentation_and_in_deploy_are_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/configuration.md")).unwrap();
    let mut examples: Vec<String> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect();
    assert!(examples.len() >= 3, "{}", examples.len());
    let mut folders = vec![root.join("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                // plans for the command line, and another program's configuration
                folders.extend((!entry.ends_with("pairs") && !entry.ends_with("pseudo")).then_some(entry));
            } else if entry.extension().is_some_and(|ending| ending == "toml") {
                examples.push(std::fs::read_to_string(entry).unwrap());
            }
        }
    }
    for example in examples {
        if let Err(error) = parse(&example) {
            panic!("{error}\n{example}");
        }
    }
}

#[test]
fn a_secret_loses_one_line_break_and_an_empty_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let source = SecretSource::File(path.clone());
    assert!(matches!(source.read(), Err(SecretError::Read { .. })));
    for (content, secret) in
        [("pass\n", Some("pass")), ("pass\r\n", Some("pass")), ("pass\n\n", Some("pass\n")), ("\n", None)]
    {
        std::fs::write(&path, content).unwrap();
        assert_eq!(source.read().ok().as_ref().map(|text| text.as_str()), secret, "{content:?}");
    }
    std::fs::write(&path, "x".repeat(5000)).unwrap();
    assert!(matches!(source.read(), Err(SecretError::Shape { .. })));
}

mod joining {
    use super::super::join::{self, JoinError};
    use super::*;
    use wire::descriptor::{GatewayFiles, JoinToken, TokenRole};
    use wire::{Incarnation, NodeId, RequestId};
    use zeroize::Zeroizing;

    fn token(id: u16) -> JoinToken {
        JoinToken {
            id: RequestId([id as u8; 16]),
            role: TokenRole::Node { id: NodeId(id), incarnation: Incarnation(1) },
            descriptor: toml::to_string(&crate::testing::region(&[1, 2, 3])).unwrap(),
            authority_certificate: "authority".into(),
            certificate: "certificate".into(),
            private_key: Zeroizing::new("private".into()),
            gateway: Some(GatewayFiles {
                s3_certificate: "s3".into(),
                s3_private_key: Zeroizing::new("s3 key".into()),
                sealed_root_key: bytes::Bytes::from_static(b"sealed"),
            }),
        }
    }

    fn config(folder: &Path, head: &str) -> Config {
        Config::parse(
            &folder.join("config.toml"),
            &format!("{head}\ndata = \"data\"\njoin_token_file = \"token\"\n"),
        )
        .unwrap()
    }

    #[test]
    fn a_node_joins_once_and_finds_its_identity_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), token(2).to_text().as_bytes()).unwrap();
        let config = config(folder.path(), "roles = [\"storage\"]");
        let first = join::identity(&config).unwrap();
        std::fs::remove_file(folder.path().join("token")).unwrap();
        let again = join::identity(&config).unwrap();
        assert_eq!(first.role, again.role);
        assert_eq!(again.role, TokenRole::Node { id: NodeId(2), incarnation: Incarnation(1) });
        assert_eq!(std::fs::read_to_string(again.private_key()).unwrap(), "private");
        for entry in std::fs::read_dir(&config.identity).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        }
        assert_eq!(std::fs::metadata(&config.identity).unwrap().permissions().mode() & 0o777, 0o700);
        // a storage-only node keeps no gateway's keys
        assert!(
            !config.identity.join(join::S3_PRIVATE_KEY).exists()
                && !config.identity.join(join::ROOT_KEY).exists()
        );
    }

    #[test]
    fn a_folder_that_belongs_to_another_member_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let identity = folder.path().join("identity");
        join::unpack_join_token(&identity, token(1), true).unwrap();
        join::unpack_join_token(&identity, token(1), true).unwrap();
        assert!(identity.join(join::ROOT_KEY).exists());
        let refused = join::unpack_join_token(&identity, token(2), true);
        assert!(matches!(refused, Err(JoinError::OtherMember { .. })), "{refused:?}");
    }

    #[test]
    fn a_start_cut_short_while_unpacking_begins_again() {
        let folder = tempfile::tempdir().unwrap();
        let identity = folder.path().join("identity");
        std::fs::create_dir(folder.path().join("identity.new")).unwrap();
        std::fs::write(folder.path().join("identity.new/member.key"), "half").unwrap();
        join::unpack_join_token(&identity, token(1), true).unwrap();
        assert_eq!(std::fs::read_to_string(identity.join(join::PRIVATE_KEY)).unwrap(), "private");
    }

    #[test]
    fn a_damaged_token_or_a_wrong_role_leaves_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let config = config(folder.path(), "roles = [\"storage\"]");
        assert!(matches!(join::identity(&config), Err(JoinError::File { .. })));
        let text = token(1).to_text();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        assert!(matches!(join::identity(&config), Err(JoinError::Token(_))));
        let gateway = JoinToken { role: TokenRole::Gateway { id: 1 }, ..token(1) };
        std::fs::write(&path, gateway.to_text().as_bytes()).unwrap();
        assert!(matches!(join::identity(&config), Err(JoinError::Role { .. })));
        assert!(!config.identity.exists());
    }
}
