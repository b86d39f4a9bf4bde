//! `check` and `config`.

use std::process::ExitCode;

use super::{CliError, terminal};
use crate::config::{Config, reference_markdown};
use crate::node;

/// Validates everything that can be told without starting, and changes nothing.
pub(super) async fn run(
    config: Result<Config, CliError>,
    json: bool,
) -> Result<ExitCode, CliError> {
    let problems: Vec<String> = match config {
        Ok(config) => {
            let mut problems = node::problems(&config);
            problems.extend(port_problem(&config));
            problems.extend(node::database_problems(&config).await);
            problems
        }
        Err(CliError::Configuration(problems)) => {
            problems.iter().map(ToString::to_string).collect()
        }
        Err(other) => return Err(other),
    };
    let ok = problems.is_empty();
    if json {
        terminal::json(&serde_json::json!({ "ok": ok, "problems": problems }));
    } else if ok {
        terminal::line("ok: the gateway can start with this configuration");
    } else {
        problems.iter().for_each(|problem| terminal::line(problem));
    }
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}

/// Prints each effective value and where it came from.
pub(super) fn show(config: &Config, json: bool) -> Result<ExitCode, CliError> {
    let shown = config.show();
    if json {
        terminal::json(&shown);
        return Ok(ExitCode::SUCCESS);
    }
    let width = shown.iter().map(|entry| entry.key.len()).max().unwrap_or(0);
    for entry in shown {
        terminal::line(&format!(
            "{:width$}  {}  ({})",
            entry.key, entry.value, entry.source
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the table of all keys.
pub(super) fn reference() -> Result<ExitCode, CliError> {
    terminal::line(reference_markdown().trim_end());
    Ok(ExitCode::SUCCESS)
}

fn port_problem(config: &Config) -> Option<String> {
    let listen = config.server.listen;
    let error = std::net::TcpListener::bind(listen).err()?;
    Some(format!("server.listen: {listen} cannot be used: {error}"))
}
