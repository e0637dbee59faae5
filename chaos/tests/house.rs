//! The house in order: format, lints, documentation, dependency directions and the rules of the source tree.

use chaos::house::{Finding, graph::Graph, tree};
use chaos::tools;

fn report(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("\n  {finding}")).collect()
}

#[test]
fn the_source_is_formatted() {
    let mut command = tools::cargo();
    tools::expect_success(command.args(["fmt", "--all", "--check"]), "find the source formatted (cargo fmt)")
        .unwrap();
}

#[test]
fn the_linter_has_no_warning() {
    let mut command = tools::cargo();
    command.args(["clippy", "--release", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    tools::expect_success(&mut command, "find the source free of lints (cargo clippy)").unwrap();
}

#[test]
fn the_documentation_builds_without_a_warning() {
    let mut command = tools::cargo();
    command
        .args(["doc", "--release", "--quiet", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings");
    tools::expect_success(&mut command, "build the documentation (cargo doc)").unwrap();
}

#[test]
fn dependencies_point_only_where_they_may() {
    let findings = Graph::of_workspace().unwrap().check();
    assert!(findings.is_empty(), "{}", report(&findings));
}

#[test]
fn the_source_tree_keeps_its_rules() {
    let findings = tree::check(tools::source_root()).unwrap();
    assert!(findings.is_empty(), "{}", report(&findings));
}
