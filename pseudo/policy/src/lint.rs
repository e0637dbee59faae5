//! What is wrong with a policy that can be read: rules that would let people be found, or promises that nobody could keep.

use std::fmt;

use custody::Scope;
use transform::TimeUnit;

use crate::{
    Column, Gate, HONEY_PEOPLE_MIN, Ladder, Leaf, Looks, OnBadRecord, OnFail, OnUnknown, Path, Policy,
    Profile, Rule, Spec, free_text_name, identifying_name,
};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// To be considered.
    Warning,
    /// Nothing runs under such a policy.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The rule's name.
    pub rule: &'static str,
    /// The section or field.
    pub place: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Fewer values than this invite guessing by frequency.
const CARDINALITY_MIN: u64 = 1000;
/// Networks smaller than these are a household.
const KEEP_V4_MAX: &str = "24";
const K_MIN: u32 = 2;

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, "{severity}[{}] {}: {}", self.rule, self.place, self.problem)
    }
}

/// Collects findings.
struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, rule: &'static str, place: impl ToString, problem: impl ToString) {
        let (place, problem) = (place.to_string(), problem.to_string());
        self.0.push(Finding { severity: Severity::Error, rule, place, problem });
    }

    fn warning(&mut self, rule: &'static str, place: impl ToString, problem: impl ToString) {
        let (place, problem) = (place.to_string(), problem.to_string());
        self.0.push(Finding { severity: Severity::Warning, rule, place, problem });
    }
}

impl Policy {
    /// All findings, errors first.
    pub fn lint(&self, profile: Option<&Profile>) -> Vec<Finding> {
        let mut findings = Findings(Vec::new());
        self.lint_whole(&mut findings);
        self.lint_places(&mut findings);
        self.lint_gate(&mut findings);
        self.lint_honey(&mut findings);
        for rule in self.columns() {
            lint_rule(rule, profile, &mut findings);
        }
        if let Some(profile) = profile {
            self.lint_sample(profile, &mut findings);
        }
        findings.0.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings.0
    }

    fn lint_whole(&self, findings: &mut Findings) {
        let retention = &self.retention;
        if retention.anonymise_after.about_seconds() > retention.delete_after.about_seconds() {
            let problem = "data are deleted before they are anonymised: delete_after is the later one";
            findings.error("retention-order", "retention", problem);
        }
        if !self.target.shuffle {
            let problem = "rows keep the order of the source, by which they can be matched with it";
            findings.warning("source-order", "target", problem);
        }
        if self.on_unknown == OnUnknown::Drop {
            let problem =
                "fields that nobody decided on are left out silently; the counts of the run name how many";
            findings.warning("unknown-dropped", "policy", problem);
        }
        if self.on_bad_record == OnBadRecord::Drop && self.bad_records_max == u64::MAX {
            let problem = "bad_records_max says how many bad records are too many";
            findings.warning("bad-records-unlimited", "policy", problem);
        }
        match &self.reidentify {
            Some(reidentify) if reidentify.approvers < 1 || !reidentify.second_factor => {
                let problem = "identifying people again takes an approver besides the one who asks, and a second factor";
                findings.error("single-control", "reidentify", problem);
            }
            Some(reidentify) if reidentify.reasons.is_empty() => {
                findings.error("no-reasons", "reidentify", "reasons lists what counts as a reason");
            }
            None if self.columns().any(|rule| matches!(rule.spec, Spec::Vault(_))) => {
                let problem =
                    "tokens lead to people through a vault: reidentify says who may go that way, and why";
                findings.error("no-reidentify", "reidentify", problem);
            }
            _ => {}
        }
    }

    fn lint_gate(&self, findings: &mut Findings) {
        let Some(gate) = &self.gate else {
            let problem = "every export is measured before its release: name quasi_identifiers and k";
            findings.error("no-gate", "gate", problem);
            return;
        };
        if gate.k < K_MIN {
            findings.error("gate-k", "gate", "k below 2 demands nothing");
        }
        if gate.quasi_identifiers.is_empty() {
            findings.error("gate-empty", "gate", "quasi_identifiers names what others might know too");
        }
        for path in gate.quasi_identifiers.iter().chain(&gate.sensitive) {
            if !self.columns().any(|rule| rule.output_path == *path) {
                findings.error("gate-unknown", path, "the gate names a column that the export does not have");
            }
        }
        if let Some(both) = gate.quasi_identifiers.iter().find(|path| gate.sensitive.contains(path)) {
            findings.error("gate-both", both, "a column is either a quasi-identifier or sensitive");
        }
        self.lint_on_fail(gate, findings);
    }

    fn lint_on_fail(&self, gate: &Gate, findings: &mut Findings) {
        if gate.on_fail == OnFail::Suppress && gate.max_suppressed == 0.0 {
            let problem =
                "on_fail = suppress leaves nothing out: max_suppressed says how large a share may be";
            findings.warning("gate-suppress-none", "gate", problem.to_owned());
        }
        if gate.on_fail != OnFail::Generalise {
            return;
        }
        let ladders: Vec<(&Path, &Ladder)> = self
            .columns()
            .filter(|rule| gate.quasi_identifiers.contains(&rule.output_path))
            .filter_map(|rule| match &rule.spec {
                Spec::Hierarchy(ladder) => Some((&rule.output_path, ladder)),
                _ => None,
            })
            .collect();
        for (path, _) in ladders.iter().filter(|(_, ladder)| !ladder.is_nested()) {
            let problem = "rows that share a level part again at a coarser one, have fewer levels than others or an empty name: it cannot be climbed";
            findings.error("gate-not-nested", path, problem);
        }
        if !ladders.iter().any(|(_, ladder)| ladder.above().any(|row| row.count() > 1)) {
            let problem = "on_fail = generalise has nothing to climb: no quasi-identifier has a hierarchy with a level above its own";
            findings.warning("gate-no-hierarchy", "gate", problem.to_owned());
        }
    }

    fn lint_honey(&self, findings: &mut Findings) {
        let Some(honey) = &self.honey else { return };
        let problem = format!(
            "each export gets rows of up to {} made-up persons, one for every {HONEY_PEOPLE_MIN} real ones at most: what readers count is too high by \
             as many rows as release.json says; figures and limits are of the real rows alone",
            honey.persons
        );
        findings.warning("honey-rows", "honey", problem);
        let is_value =
            |rule: &&Rule| matches!(rule.spec, Spec::FormatPreserving { .. }) && self.is_exchanged(rule);
        for rule in self.columns().filter(is_value) {
            let problem = "the ff1 tokens of made-up persons are those of values drawn at random: where a good part of all values is somebody's, so may theirs be";
            findings.warning("honey-ff1", rule.output_path.to_string(), problem.to_owned());
        }
    }

    fn lint_places(&self, findings: &mut Findings) {
        let (source, target) = (&self.source.bucket, &self.target.bucket);
        if source.is_some() && source == target {
            let problem = "readers would be let in to the bucket of the sources: name a bucket of its own";
            findings.error("target-among-sources", "target", problem);
        }
    }

    fn lint_sample(&self, profile: &Profile, findings: &mut Findings) {
        for (path, _) in profile.leaves() {
            if self.field_at(path).is_none() {
                // the name of a field that no rule names may be personal itself, so its place alone is said
                let depth = path.names().len();
                let known = known_part(self, path);
                let problem = format!("the sample has a field at depth {depth} here that no rule names");
                findings.error("unlisted-field", known, problem);
            }
        }
        if profile.overflows() {
            findings.error("too-many-fields", "sample", "the sample has more fields than are counted");
        }
        for rule in &self.fields {
            if profile.leaf(&rule.path).is_none() {
                findings.warning("absent-field", &rule.path, "the sample never has this field");
            }
        }
    }
}

/// The part of a path that rules name too.
fn known_part(policy: &Policy, path: &Path) -> String {
    let shared = |rule: &Rule| {
        rule.path.names().iter().zip(path.names()).take_while(|(ours, theirs)| ours == theirs).count()
    };
    let most = policy.fields.iter().map(shared).max().unwrap_or(0);
    let names = path.names()[..most.min(path.names().len() - 1)].to_vec();
    Path::new(names).map_or_else(|_| "$".to_owned(), |path| path.to_string())
}

fn is_free_text(rule: &Rule, leaf: Option<&Leaf>) -> bool {
    let named = rule.path.names().last().is_some_and(|name| free_text_name(name));
    named || leaf.is_some_and(Leaf::is_free_text)
}

/// Whether most values of a field are texts that no other record has.
fn is_manifold(leaf: &Leaf) -> bool {
    leaf.texts > 1 && leaf.numbers == 0 && (leaf.has_many() || leaf.distinct() * 2 > leaf.present)
}

fn lint_rule(rule: &Rule, profile: Option<&Profile>, findings: &mut Findings) {
    let leaf = profile.and_then(|profile| profile.leaf(&rule.path));
    // a field may be in several columns, of which one alone is meant
    let place = &if rule.path == rule.output_path {
        rule.path.to_string()
    } else {
        format!("{} as {}", rule.path, rule.output_path)
    };
    let named = rule.path.names().last().is_some_and(|name| identifying_name(name));
    let looks = leaf.and_then(|leaf| leaf.identifying());
    if matches!(rule.spec, Spec::Keep | Spec::NullIfRare { .. } | Spec::Clamp(_))
        && (named || looks.is_some())
    {
        let what = looks.map_or("an identifier, by its name".to_owned(), |looks| {
            format!("{}, by its values", looks.name())
        });
        match &rule.because {
            // values are evidence, a name is a guess: a reason answers only the guess
            Some(_) if looks.is_none() => {
                findings.warning("kept-by-reason", place, format!("passes though it looks like {what}"));
            }
            _ => {
                let problem =
                    format!("passes as it is and looks like {what}: take prf, mask or drop, or give because");
                findings.error("keep-identifying", place, problem);
            }
        }
    }
    let cardinality = leaf.filter(|leaf| !leaf.has_many()).map(|leaf| leaf.distinct()).or(rule.cardinality);
    let is_token = rule.spec.is_token();
    let few = profile.is_none_or(|profile| profile.records() >= 10 * CARDINALITY_MIN) || leaf.is_none();
    if is_token
        && few
        && rule.scope == Scope::Domain
        && cardinality.is_some_and(|count| count < CARDINALITY_MIN)
    {
        let problem =
            "few values: tokens can be guessed by how often they occur; take a hierarchy, or scope dataset";
        findings.warning("few-values", place, problem);
    }
    match &rule.spec {
        Spec::Siv | Spec::FormatPreserving { .. } => {
            let problem =
                "one key opens all of these: a person's erasure does not reach them; prf does not have this";
            findings.warning("no-erasure", place, problem);
        }
        Spec::TruncateTime(TimeUnit::Second | TimeUnit::Minute)
        | Spec::DateShift { unit: TimeUnit::Second | TimeUnit::Minute, .. } => {
            findings.warning(
                "exact-time",
                place,
                "rows can be matched by times this exact: an hour or day is coarser",
            );
        }
        Spec::NullIfRare { .. } if rule.because.is_none() && is_free_text(rule, leaf) => {
            let problem = "free text: min_records counts records, and one person may have written the same into all of them: take drop, or give because";
            findings.warning("rare-free-text", place, problem);
        }
        Spec::Keep if is_free_text(rule, leaf) && rule.column == Column::Text => {
            let problem = "passes free text, in which anything may stand: take drop or classify";
            if rule.because.is_some() {
                findings.warning("kept-by-reason", place, format!("{problem}, if the reason does not hold"));
            } else {
                findings.error("keep-free-text", place, format!("{problem}, or give because"));
            }
        }
        Spec::Keep if leaf.is_some_and(is_manifold) && rule.column == Column::Text => {
            let problem = "passes texts most of which are different: each may single somebody out";
            findings.warning("keep-manifold", place, problem);
        }
        Spec::Keep if leaf.is_some_and(|leaf| leaf.is_time()) => {
            findings.error(
                "exact-time",
                place,
                "passes exact times, by which rows can be matched: take date-shift or truncate",
            );
        }
        Spec::IpPrefix(prefix) if prefix.keeps_more_than(24, 48) => {
            let problem = format!(
                "networks this small are a household: keep {KEEP_V4_MAX} bits of IPv4 and 48 of IPv6 at most"
            );
            findings.warning("small-network", place, problem);
        }
        _ => {}
    }
    let coarse_text = rule.normalisers.is_empty() && matches!(looks, Some(Looks::Email | Looks::Telephone));
    if coarse_text && is_token {
        findings.warning(
            "no-normaliser",
            place,
            "spellings of one identifier get several tokens: name normalisers",
        );
    }
    if rule.column == Column::Boolean && is_token {
        findings.error("token-of-boolean", place, "a token of true or false hides nothing");
    }
}
