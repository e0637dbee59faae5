//! Runs the Python scripts under `chaos/clients`: real clients that hold the checks and print one verdict each.

use std::process::Command;

use serde_json::Value;

use crate::dev::Ready;
use crate::tools;

/// Runs one script with the region's first key against one endpoint; panics with what its verdict says.
pub fn run_script(
    ready: &Ready,
    script: &str,
    endpoint: &str,
    authority: Option<&str>,
    further: &[(&str, &str)],
) {
    let mut command = script_command(ready, script, endpoint, authority);
    let output = command.envs(further.iter().copied()).output().expect("the script can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let verdict: Value = serde_json::from_str(said.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{script} gave no verdict ({error}): {said}{errors}"));
    let failed = verdict["failed"].as_object().expect("a verdict names what failed");
    let list: String =
        failed.iter().map(|(name, why)| format!("\n{name}: {}", why.as_str().unwrap_or_default())).collect();
    assert!(failed.is_empty() && output.status.success(), "{script} over {endpoint}:{list}");
    eprintln!("{script} over {endpoint}: {}", verdict["seconds"]);
}

/// The command that runs a script, with nothing of this process's own AWS settings.
pub fn script_command(ready: &Ready, script: &str, endpoint: &str, authority: Option<&str>) -> Command {
    let programs = tools::python_clients().expect("a Python environment with the clients");
    let mut command = Command::new(programs.join("python"));
    command.arg(tools::source_root().join("chaos/clients").join(script));
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "127.0.0.1,localhost");
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("AWS_") || name.starts_with("RESTIC_"))
    {
        command.env_remove(name);
    }
    command.env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", &ready.region);
    command.env("AWS_DEFAULT_REGION", &ready.region).env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ACCESS_KEY_ID", &ready.access_key).env("AWS_SECRET_ACCESS_KEY", &ready.secret_key);
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    if let Some(authority) = authority {
        command.env("AWS_CA_BUNDLE", authority);
    }
    command
}
