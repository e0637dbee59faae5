//! Every configuration key, documented once. `config explain`, `config list` and `docs/configuration.md` come from here.

use std::fmt::Write;

/// One key and all there is to say about it.
#[derive(Clone, Copy, Debug)]
pub struct KeyDoc {
    /// The key, dotted.
    pub key: &'static str,
    /// What it takes.
    pub kind: &'static str,
    /// What holds when it is absent; `required` when it must be there.
    pub default: &'static str,
    /// What it does and when to change it.
    pub meaning: &'static str,
    /// A value, as it stands in the file.
    pub example: &'static str,
}

const fn key(
    key: &'static str,
    kind: &'static str,
    default: &'static str,
    example: &'static str,
    meaning: &'static str,
) -> KeyDoc {
    KeyDoc { key, kind, default, meaning, example }
}

/// Every key, in the order of the documentation.
pub const KEYS: &[KeyDoc] = &[
    key(
        "roles",
        "a list of \"storage\" and \"gateway\"",
        "[\"storage\", \"gateway\"]",
        "[\"storage\"]",
        "What the process is. A storage node keeps replicas and never loads a key; a gateway speaks S3 and holds keys. Both in one process is the smallest region; apart, a stolen storage node holds only ciphertext.",
    ),
    key(
        "data",
        "a path",
        "required",
        "\"/var/lib/twinkeep\"",
        "The folder for everything the process writes. Its file system should be its own: a full disk makes the node read-only. Paths in this file are relative to the file's folder.",
    ),
    key(
        "identity",
        "a path",
        "identity in the data folder",
        "\"/etc/twinkeep/identity\"",
        "The folder with the region's descriptor, the member's certificate and key. Filled from the join token at first start.",
    ),
    key(
        "join_token_file",
        "a path",
        "none",
        "\"/etc/twinkeep/join.token\"",
        "The token that `twinkeep init` or `twinkeep node add` made for this process. Used once, when the identity folder does not exist yet; remove the file afterwards.",
    ),
    key(
        "exit_on_stdin_eof",
        "true or false",
        "false",
        "true",
        "End when standard input ends. For supervisors that hold the other end of a pipe (`twinkeep dev` does); leave it off under systemd.",
    ),
    key(
        "worker_threads",
        "a number, 1 to 1024",
        "the number of processors",
        "4",
        "Threads that serve requests. Lower it where several processes share a machine: threads that outnumber the processors wake each other for nothing.",
    ),
    key(
        "peer.listen",
        "an address with port",
        "\"0.0.0.0:7600\"",
        "\"10.0.0.11:7600\"",
        "Where other nodes and the `twinkeep` command line reach this process, over mutual TLS.",
    ),
    key(
        "s3.listen_tls",
        "an address with port",
        "none",
        "\"0.0.0.0:9000\"",
        "Where S3 is served over TLS. A gateway needs this or s3.listen_plain.",
    ),
    key(
        "s3.listen_plain",
        "a loopback address with port",
        "none",
        "\"127.0.0.1:9001\"",
        "Where S3 is served over plain HTTP, for programs on the same machine. Addresses other than loopback are refused.",
    ),
    key(
        "s3.tls_certificate",
        "a path",
        "s3.pem in the identity folder",
        "\"/etc/twinkeep/s3.pem\"",
        "Certificate chain of the S3 endpoint, PEM. The join token brings one that the region's own authority signed; name your own here if clients should not need that authority.",
    ),
    key(
        "s3.tls_private_key",
        "a path",
        "s3.key in the identity folder",
        "\"/etc/twinkeep/s3.key\"",
        "Private key of the S3 endpoint, PEM.",
    ),
    key(
        "s3.domain",
        "a domain name",
        "none",
        "\"s3.example.org\"",
        "With a domain, `https://BUCKET.DOMAIN/KEY` works beside `https://DOMAIN/BUCKET/KEY`; the certificate must cover the wildcard.",
    ),
    key(
        "s3.local_nodes",
        "a table of node numbers and paths",
        "none",
        "{ 1 = \"/var/lib/twinkeep\" }",
        "Data folders of storage nodes that run on this host. The gateway reads large objects straight from their logs, which costs half of having them sent; it needs to be allowed to read the files and falls back to asking the node when it is not. A node in the same process needs no entry.",
    ),
    key(
        "health.listen",
        "an address with port",
        "\"127.0.0.1:9100\"",
        "\"10.0.0.11:9100\"",
        "Where /health/live, /health/ready, /health/writable and /metrics are served over plain HTTP. They show no names of buckets or objects; keep them off the public network all the same.",
    ),
    key(
        "root_key.file",
        "a path",
        "root.key in the identity folder",
        "\"/etc/twinkeep/root.key\"",
        "The sealed root key that `twinkeep init` made. Gateways only.",
    ),
    key(
        "root_key.passphrase_env",
        "the name of an environment variable",
        "none",
        "\"TWINKEEP_ROOT_PASSPHRASE\"",
        "The environment variable that holds the passphrase of the root key. Name exactly one of the three passphrase sources.",
    ),
    key(
        "root_key.passphrase_file",
        "a path",
        "none",
        "\"/run/secrets/root-passphrase\"",
        "The file that holds the passphrase of the root key; one line break at its end is ignored.",
    ),
    key(
        "root_key.passphrase_credential",
        "the name of a systemd credential",
        "none",
        "\"root-passphrase\"",
        "The systemd credential (LoadCredential= in the unit) that holds the passphrase of the root key. Preferred on real hosts.",
    ),
    key(
        "root_key.pkcs11.module",
        "a path",
        "required with pkcs11",
        "\"/usr/lib/softhsm/libsofthsm2.so\"",
        "The PKCS#11 driver of the security module. With this table, no root key file is used: the root key never leaves the module.",
    ),
    key(
        "root_key.pkcs11.token_label",
        "text",
        "none",
        "\"twinkeep\"",
        "The token, by its label. Name this or slot.",
    ),
    key(
        "root_key.pkcs11.slot",
        "a number",
        "none",
        "0",
        "The token, by its slot. Slots may be renumbered when modules are plugged in: prefer token_label.",
    ),
    key(
        "root_key.pkcs11.key_label",
        "text",
        "required with pkcs11",
        "\"twinkeep-root\"",
        "The label of the AES-256 key that wraps the region's key.",
    ),
    key(
        "root_key.pkcs11.pin_env",
        "the name of an environment variable",
        "none",
        "\"TWINKEEP_PIN\"",
        "The environment variable that holds the user PIN. Name exactly one of the three PIN sources.",
    ),
    key(
        "root_key.pkcs11.pin_file",
        "a path",
        "none",
        "\"/run/secrets/pin\"",
        "The file that holds the user PIN.",
    ),
    key(
        "root_key.pkcs11.pin_credential",
        "the name of a systemd credential",
        "none",
        "\"pin\"",
        "The systemd credential that holds the user PIN.",
    ),
    key(
        "pair.folder",
        "a path",
        "none",
        "\"/etc/twinkeep/pair\"",
        "The folder with this storage node's identity in the paired region, made by `twinkeep init --standby-of`: region.toml, ca.pem, member.pem, member.key and pair.descriptor, which both regions signed. A descriptor that is missing, not signed by both, of other regions, another jurisdiction or environment, or older than one that the node has held keeps it from starting. With it, groups led here follow the other region's while they are its standbys, and keep log entries for it while they are primaries.",
    ),
    key(
        "pair.bytes_per_second_max",
        "a size",
        "none",
        "\"100 MiB\"",
        "What this node takes from the other region in a second while its groups follow or take over their primaries' state, 1 MiB to 100 GiB; heartbeats and leases pass beside it. The rate holds over some seconds: each group's answer of a sixteenth of it, or one object's piece of 1 MiB, comes at once. Below what is written there, the lag grows, and `twinkeep lag` says so.",
    ),
    key(
        "pair.witness",
        "true or false",
        "false",
        "true",
        "Whether this node acknowledges writes only while the pair's witness (`twinkeep witness run`) or the other region vouches for it; the same on every node of both regions. With it, a region that is cut off from both stops acknowledging within 3 s, and the other may take over unattended.",
    ),
    key(
        "pair.forward",
        "\"none\", \"writes\" or \"all\"",
        "\"none\"",
        "\"all\"",
        "Which S3 requests this gateway passes on to the other region while that one is the primary, so that clients keep their endpoint across a switch. `writes`: all but GET and HEAD, which are answered here and may be older (`x-twinkeep-last-sync-time`). `all`: reads too, so that clients see what they wrote. Set it alike in both regions. Signatures are checked here first, and again where the request is served.",
    ),
    key(
        "pair.endpoints",
        "a list of URLs",
        "none",
        "[\"https://s3.twin-2.example.org:9000\"]",
        "The other region's S3 endpoints, tried in turn; one that does not answer is left out until a probe finds it back. Plain http:// is for loopback addresses only. Needed with pair.forward.",
    ),
    key(
        "pair.authority",
        "a path",
        "ca.pem in pair.folder",
        "\"/etc/twinkeep/pair/ca.pem\"",
        "Certificates of the authorities that the endpoints' certificates are checked against, PEM: the other region's ca.pem, or the authority of the certificate that you gave its S3 endpoint. That of a region outside the pair, or of this region alone, keeps the process from starting. Needed for https:// endpoints.",
    ),
    key(
        "pair.domain",
        "a domain name",
        "none",
        "\"s3.twin-2.example.org\"",
        "The other region's s3.domain, so that requests for BUCKET.DOMAIN which it passes on, or which clients send here under its name, are understood. The certificate of this endpoint must cover it when clients come here by that name.",
    ),
    key(
        "storage.segment_bytes",
        "a size",
        "\"64 MiB\"",
        "\"256 MiB\"",
        "Size of one segment file of the log, 16 MiB to 4 GiB, whole MiB. Segments are preallocated; larger ones mean fewer files and coarser garbage collection. Changing it affects new segments only.",
    ),
    key(
        "limits.cache_bytes",
        "a size",
        "\"128 MiB\"",
        "\"1 GiB\"",
        "Memory for what need not be read from disk: one half for bodies that were just written, one half for the index.",
    ),
    key(
        "limits.ingest_bytes",
        "a size",
        "\"64 MiB\"",
        "\"256 MiB\"",
        "Memory for bodies on their way in, over all connections. Beyond it requests wait, then get 503 SlowDown.",
    ),
    key(
        "limits.connections",
        "a number",
        "1024",
        "4096",
        "S3 connections at once. Beyond it new connections are closed at once.",
    ),
    key(
        "log.level",
        "a level or filter",
        "\"info\"",
        "\"info,store_node=debug\"",
        "error, warn, info, debug or trace; or a filter by module. Keys, object names and personal data appear at no level.",
    ),
    key(
        "log.format",
        "\"json\" or \"text\"",
        "\"json\"",
        "\"text\"",
        "One JSON object per line for machines, or text for people. Logs go to standard error.",
    ),
];

/// The documentation of a key.
pub fn find(key: &str) -> Option<&'static KeyDoc> {
    KEYS.iter().find(|doc| doc.key == key)
}

/// The key that `wrong` was probably meant to be.
pub fn nearest(wrong: &str) -> Option<&'static str> {
    let last = |key: &'static str| key.rsplit('.').next().unwrap_or(key);
    let wrong_last = wrong.rsplit('.').next().unwrap_or(wrong);
    let scored = KEYS.iter().map(|doc| {
        // the right word in the wrong table is as near as a typing mistake
        let distance = distance(doc.key, wrong).min(distance(last(doc.key), wrong_last) + 1);
        (distance, doc.key)
    });
    scored.min().filter(|(distance, _)| *distance <= 1 + wrong_last.len() / 3).map(|(_, key)| key)
}

/// What `config explain KEY` prints.
pub fn explain(key: &str) -> Result<String, String> {
    let tables =
        KEYS.iter().filter(|doc| doc.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')));
    let docs: Vec<&KeyDoc> = find(key).into_iter().chain(tables).collect();
    if docs.is_empty() {
        let near = nearest(key).map_or_else(String::new, |near| format!("did you mean {near}? "));
        return Err(format!("{key} is no configuration key; {near}`store-node config list` shows all keys"));
    }
    let mut text = String::new();
    for doc in docs {
        let (key, kind, default) = (doc.key, doc.kind, doc.default);
        let _ = writeln!(
            text,
            "{key}\n  takes    {kind}\n  default  {default}\n  example  {}\n",
            doc.example_line()
        );
        let _ = writeln!(text, "{}\n", fill(doc.meaning));
    }
    Ok(text)
}

/// What `config list` prints: one line per key.
pub fn list() -> String {
    let width = KEYS.iter().map(|doc| doc.key.len()).max().unwrap_or(0);
    KEYS.iter().fold(String::new(), |mut text, doc| {
        let _ = writeln!(text, "{:width$}  {} (default: {})", doc.key, doc.kind, doc.default);
        text
    })
}

/// The table of `docs/configuration.md`.
pub fn markdown() -> String {
    let mut text = "| key | takes | default | meaning | example |\n|---|---|---|---|---|\n".to_owned();
    for doc in KEYS {
        let default =
            if doc.default.starts_with(['"', '[']) || doc.default.bytes().all(|b| b.is_ascii_digit()) {
                format!("`{}`", doc.default)
            } else {
                doc.default.to_owned()
            };
        let _ = writeln!(
            text,
            "| `{}` | {} | {default} | {} | `{}` |",
            doc.key, doc.kind, doc.meaning, doc.example
        );
    }
    text
}

impl KeyDoc {
    /// A line (with its table) that sets the key.
    pub fn example_line(&self) -> String {
        match self.key.rsplit_once('.') {
            Some((table, name)) => format!("{name} = {} under [{table}]", self.example),
            None => format!("{} = {}", self.key, self.example),
        }
    }
}

/// Breaks a paragraph at 80 columns, indented by two.
fn fill(paragraph: &str) -> String {
    let mut text = String::from(" ");
    let mut column = 1;
    for word in paragraph.split(' ') {
        if column + 1 + word.len() > 80 {
            text.push_str("\n ");
            column = 1;
        }
        text.push(' ');
        text.push_str(word);
        column += 1 + word.len();
    }
    text
}

/// Edit distance: insertions, deletions and replacements.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<u8> = right.bytes().take(128).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
