//! All metrics of the service in Prometheus' text format. Names, units and meanings are in `docs/metrics.md`.
//!
//! Labels are names of jobs, as the configuration has them: no bucket, no object, nobody.

use super::state::{Shared, Standing};
use std::fmt::Write as _;

/// The text of one scrape.
pub(crate) fn render(shared: &Shared) -> String {
    let mut page = String::new();
    let (is_open, given, _) = shared.opening();
    one(
        &mut page,
        "twinkeep_pseudo_open",
        "gauge",
        "1 when the keys are open.",
        f64::from(u8::from(is_open)),
    );
    one(
        &mut page,
        "twinkeep_pseudo_shares_waiting",
        "gauge",
        "Shares that wait for the others.",
        given as f64,
    );
    let jobs = shared.jobs();
    head(&mut page, "twinkeep_pseudo_exports_total", "counter", "Due exports by what became of them.");
    for job in &jobs {
        for (result, count) in [("made", job.made), ("empty", job.empty), ("failed", job.failed)] {
            let labels = format!("{{export_job=\"{}\",result=\"{result}\"}}", job.name);
            sample(&mut page, "twinkeep_pseudo_exports_total", &labels, count as f64);
        }
    }
    type Figure = fn(&Standing) -> f64;
    let figures: [(&str, &str, &str, Figure); 7] = [
        ("held_total", "counter", "Exports that the gate will hold.", |job| job.held as f64),
        ("records_total", "counter", "Records in exports.", |job| job.records_out as f64),
        ("records_left_out_total", "counter", "Records left out of exports.", |job| {
            job.records_left_out as f64
        }),
        ("running", "gauge", "1 while an export is made.", |job| f64::from(u8::from(job.is_running))),
        ("attempts_failed", "gauge", "Attempts that failed in a row.", |job| {
            job.failing.as_ref().map_or(0.0, |(attempts, _)| f64::from(*attempts))
        }),
        ("well_timestamp_seconds", "gauge", "When an export was made or had nothing new; 0 before.", |job| {
            job.well.unwrap_or_default() as f64
        }),
        ("due_timestamp_seconds", "gauge", "When an export is due next; 0 while that is not known.", |job| {
            job.due.unwrap_or_default() as f64
        }),
    ];
    for (name, kind, meaning, figure) in figures {
        let name = format!("twinkeep_pseudo_job_{name}");
        head(&mut page, &name, kind, meaning);
        for job in &jobs {
            sample(&mut page, &name, &format!("{{export_job=\"{}\"}}", job.name), figure(job));
        }
    }
    if shared.config.retention.is_some() {
        let deleted = shared.deleted();
        let name = "twinkeep_pseudo_retention_";
        one(
            &mut page,
            &format!("{name}deleted_total"),
            "counter",
            "Exports deleted.",
            deleted.exports as f64,
        );
        one(
            &mut page,
            &format!("{name}failed_total"),
            "counter",
            "Exports that could not be deleted, and passes that failed.",
            deleted.failed as f64,
        );
        let well = deleted.well.unwrap_or_default() as f64;
        one(
            &mut page,
            &format!("{name}well_timestamp_seconds"),
            "gauge",
            "When a pass last did all it should; 0 before.",
            well,
        );
    }
    page
}

fn one(page: &mut String, name: &str, kind: &str, meaning: &str, value: f64) {
    head(page, name, kind, meaning);
    sample(page, name, "", value);
}

fn head(page: &mut String, name: &str, kind: &str, meaning: &str) {
    let _ = writeln!(page, "# HELP {name} {meaning}\n# TYPE {name} {kind}");
}

fn sample(page: &mut String, name: &str, labels: &str, value: f64) {
    let _ = writeln!(page, "{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use crate::keys::KeyFolder;
    use crate::serve::Config;
    use custody::RootKey;
    use std::fs;

    #[test]
    fn every_metric_is_explained_and_a_locked_service_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let root = RootKey::generate(files::random).unwrap();
        KeyFolder::create(&place("keys"), root.check()).unwrap();
        fs::write(place("usage.toml"), include_str!("../../tests/fixtures/service-policy.toml")).unwrap();
        let config = include_str!("../../../deploy/pseudo/service.toml")
            .replace("/etc/twinkeep-pseudo/usage.toml", "usage.toml")
            .replace("/var/lib/twinkeep-pseudo/keys", "keys");
        fs::write(place("service.toml"), config).unwrap();
        let shared = Shared::new(Config::load(&place("service.toml")).unwrap()).unwrap();
        let explained = include_str!("../../../docs/metrics.md");
        let page = render(&shared);
        let names: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert_eq!(names.len(), 13);
        for name in names {
            assert!(explained.contains(&format!("`{name}")), "{name}");
            assert!(page.lines().any(|line| line.starts_with(name)), "{name} has no value");
        }
        assert!(shared.not_ready().iter().any(|reason| reason.code == "locked"));
    }
}
