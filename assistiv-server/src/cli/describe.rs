//! `openapi` and `llms`: what this program's API is.

use std::process::ExitCode;

use super::{CliError, terminal};
use crate::config::Config;
use crate::{node, reference};

/// Prints the OpenAPI document.
pub(super) fn openapi(config: &Config) -> Result<ExitCode, CliError> {
    terminal::json(&reference::openapi(&node::public_url(config)));
    Ok(ExitCode::SUCCESS)
}

/// Prints the index, or everything.
pub(super) fn llms(config: &Config, full: bool) -> Result<ExitCode, CliError> {
    let base = node::public_url(config);
    let text = match full {
        true => reference::llms_full(&base),
        false => reference::llms(&base),
    };
    terminal::line(text.trim_end());
    Ok(ExitCode::SUCCESS)
}
