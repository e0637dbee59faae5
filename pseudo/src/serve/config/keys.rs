//! Every key of the service's configuration, documented once: `pseudo serve --list` and `docs/pseudonymisation.md` come from here.

use serde_json::{Value, json};

/// One key: its name, what it takes, what holds without it, an example, what it does.
pub(crate) struct KeyDoc {
    pub(crate) key: &'static str,
    kind: &'static str,
    default: &'static str,
    pub(crate) example: &'static str,
    meaning: &'static str,
}

const fn key(
    key: &'static str,
    kind: &'static str,
    default: &'static str,
    example: &'static str,
    meaning: &'static str,
) -> KeyDoc {
    KeyDoc { key, kind, default, example, meaning }
}

/// Every key, in the order of the documentation.
pub(crate) const KEYS: &[KeyDoc] = &[
    key(
        "service.listen",
        "an address with port",
        "127.0.0.1:9110",
        "\"127.0.0.1:9110\"",
        "Where health and metrics are told. Addresses that others can reach are refused.",
    ),
    key(
        "service.control",
        "a path",
        "required",
        "\"/run/twinkeep-pseudo/control\"",
        "The socket that `pseudo unlock` brings shares to. Its folder says who may: the socket itself lets its owner and group in.",
    ),
    key(
        "service.temporary",
        "a path",
        "the system's folder for them",
        "\"/var/tmp\"",
        "Where temporary files without a name go: rows on their way into their order, pseudonymised; Parquet that is read, sealed under a key in memory.",
    ),
    key(
        "service.memory_mib",
        "a number, 1 to 1048576",
        "256",
        "512",
        "Rows kept in memory to put them in order, in MiB; as much again is for measuring.",
    ),
    key(
        "keys.folder",
        "a path",
        "required",
        "\"/var/lib/twinkeep-pseudo/keys\"",
        "The folder of wrapped keys that `pseudo keys create` made.",
    ),
    key(
        "keys.share_files",
        "a list of paths",
        "[]",
        "[\"/run/shares/1.txt\"]",
        "Shares to open the keys with at start, for development. Who reads them has the keys: leave it out where that matters, and have people bring their shares with `pseudo unlock`.",
    ),
    key(
        "keys.token",
        "a path",
        "none",
        "\"/etc/twinkeep-pseudo/token.toml\"",
        "A file that names the PKCS#11 token which opens the keys at start, without anybody: module, token_label or slot, key_label, pin_file. Whoever runs this host has the keys as long as the token is there.",
    ),
    key(
        "operator.file",
        "a path",
        "required",
        "\"/etc/twinkeep-pseudo/maker.operator\"",
        "The operator as whom the service makes exports; its certificate lies beside it. No release is possible with it: that takes another person.",
    ),
    key(
        "operator.passphrase_file",
        "a path",
        "required",
        "\"/etc/twinkeep-pseudo/passphrase\"",
        "A file whose first line is that operator's passphrase.",
    ),
    key(
        "s3.endpoint",
        "an URL",
        "required",
        "\"https://s3.example.org\"",
        "The S3 endpoint: https, or http on this machine.",
    ),
    key("s3.region", "a name", "us-east-1", "\"twin-1\"", "The region's name, as signatures have it."),
    key(
        "s3.ca_file",
        "a path",
        "none",
        "\"/etc/twinkeep-pseudo/ca.pem\"",
        "A certificate authority to trust beside the system's.",
    ),
    key(
        "s3.allow_http",
        "true or false",
        "false",
        "true",
        "Let data and signatures go over http to another machine.",
    ),
    key(
        "s3.credentials_file",
        "a path",
        "required",
        "\"/etc/twinkeep-pseudo/s3.credentials\"",
        "Lines AWS_ACCESS_KEY_ID=... and AWS_SECRET_ACCESS_KEY=... that only their owner may read.",
    ),
    key(
        "retention.every",
        "a period",
        "none",
        "\"P1D\"",
        "How often exports are deleted whose day has come, in all places of drafts that jobs name. Without [retention] the service deletes none; `pseudo retention` does.",
    ),
    key(
        "retention.daily_at",
        "a time of day, UTC",
        "none",
        "\"03:00\"",
        "The same once a day; instead of `every`.",
    ),
    key(
        "log.level",
        "error, warn, info or debug",
        "info",
        "\"info\"",
        "The least important that is logged, on standard error.",
    ),
    key("log.format", "json or text", "json", "\"json\"", "How a line is written."),
    key(
        "job.name",
        "a-z, 0-9, `-`, `_`",
        "required",
        "\"usage\"",
        "Whose exports they are: an export is called by this and its time, such as usage-20261123t023000z. Never give one job the name of another that had other sources.",
    ),
    key(
        "job.policy",
        "a path",
        "required",
        "\"/etc/twinkeep-pseudo/usage.toml\"",
        "The policy. It is read at start alone. One with prf+vault is refused.",
    ),
    key(
        "job.drafts",
        "s3://bucket/prefix",
        "required",
        "\"s3://drafts/usage\"",
        "Where drafts lie, which readers are not let into.",
    ),
    key(
        "job.sources",
        "a list of s3://bucket/prefix",
        "the policy's source",
        "[\"s3://jobs/in/\"]",
        "What to read: with a slash at the end everything below it, without one an object.",
    ),
    key("job.recipient", "a text", "the policy's recipient", "\"team usage\"", "Who gets the exports."),
    key(
        "job.every",
        "a period",
        "none",
        "\"PT1H\"",
        "How often an export is due, counted from 1970 in UTC: PT1H is each full hour. PT10S at least.",
    ),
    key(
        "job.daily_at",
        "a time of day, UTC",
        "none",
        "\"02:30\"",
        "The same once a day; instead of `every`.",
    ),
    key(
        "job.incremental",
        "true or false",
        "false",
        "true",
        "Have each export hold only what no draft or release of this job holds. Nothing new makes no export.",
    ),
    key(
        "job.allow_empty",
        "true or false",
        "false",
        "true",
        "Make exports also when a source has no object or the export no row. Without it such a time fails, and is tried again: a mistyped prefix is noticed. New objects without rows are fine for an incremental job.",
    ),
    key("job.part_rows", "a number above 0", "1048576", "100000", "Rows of a part, at most."),
];

/// All keys, a line each and what it means below.
pub(crate) fn as_text() -> String {
    let line = |doc: &KeyDoc| {
        format!(
            "{} = {}\n  {}; without it: {}\n  {}\n",
            doc.key, doc.example, doc.kind, doc.default, doc.meaning
        )
    };
    KEYS.iter().map(line).collect()
}

/// All keys as JSON.
pub(crate) fn as_json() -> Value {
    let key = |doc: &KeyDoc| json!({ "key": doc.key, "takes": doc.kind, "default": doc.default, "example": doc.example, "meaning": doc.meaning });
    json!({ "keys": KEYS.iter().map(key).collect::<Vec<_>>() })
}

/// The table of the documentation.
#[cfg(test)]
pub(crate) fn markdown() -> String {
    let mut table = String::from("| key | takes | without it | example | meaning |\n|---|---|---|---|---|\n");
    for doc in KEYS {
        table.push_str(&format!(
            "| `{}` | {} | {} | `{}` | {} |\n",
            doc.key, doc.kind, doc.default, doc.example, doc.meaning
        ));
    }
    table
}
