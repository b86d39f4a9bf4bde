//! The command line.
//!
//! Answers go to standard output, messages to standard error. Exit code 0 is success, 1 failure, 2 wrong usage
//! or configuration.

mod args;
mod check;
mod demo;
mod describe;
mod doctor;
mod serve;
mod setup;
mod terminal;

use std::process::ExitCode;

use self::args::{Command, ConfigCommand, Invocation};
use crate::config::Problem;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The configuration cannot be used.
    #[error("the configuration has {} problem(s)", .0.len())]
    Configuration(Vec<Problem>),
    /// Wrong usage, in words.
    #[error("{0}")]
    Usage(String),
    /// Everything else.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let invocation = match Invocation::from_process() {
        Ok(invocation) => invocation,
        Err(error) => {
            // Help and version are "errors" of the parser that go to standard output and succeed.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    let json = invocation.json();
    match run(invocation) {
        Ok(code) => code,
        Err(error) => report(&error, json),
    }
}

fn run(invocation: Invocation) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::Error::new(error).context("the runtime cannot be started"))?;
    runtime.block_on(async {
        match invocation.command() {
            Command::Serve => Box::pin(serve::run(invocation.config()?)).await,
            Command::Demo { json } => Box::pin(demo::run(invocation.listen(), *json)).await,
            Command::Setup(request) => Box::pin(setup::run(invocation.config()?, request)).await,
            Command::Check { json } => Box::pin(check::run(invocation.config(), *json)).await,
            Command::Doctor { json } => Box::pin(doctor::run(&invocation.config()?, *json)).await,
            Command::Config(ConfigCommand::Show { json }) => {
                check::show(&invocation.config()?, *json)
            }
            Command::Config(ConfigCommand::Reference) => check::reference(),
            Command::Openapi => describe::openapi(&invocation.config()?),
            Command::Llms { full } => describe::llms(&invocation.config()?, *full),
        }
    })
}

fn report(error: &CliError, json: bool) -> ExitCode {
    let code = match error {
        CliError::Configuration(problems) => {
            for problem in problems {
                terminal::message(&format!("{problem}"));
            }
            2
        }
        CliError::Usage(text) => {
            terminal::message(text);
            2
        }
        CliError::Failed(error) => {
            terminal::message(&format!("error: {error:#}"));
            1
        }
    };
    if json {
        let problems: Vec<String> = match error {
            CliError::Configuration(problems) => problems.iter().map(ToString::to_string).collect(),
            CliError::Usage(text) => vec![text.clone()],
            CliError::Failed(error) => vec![format!("{error:#}")],
        };
        terminal::json(&serde_json::json!({ "ok": false, "problems": problems }));
    }
    ExitCode::from(code)
}
