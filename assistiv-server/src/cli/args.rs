//! Arguments: commands by clap, settings from the table of configuration keys.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::CliError;
use crate::config::{Config, KEYS, Sources};

/// A multi-tenant AI gateway.
#[derive(Debug, Parser)]
#[command(name = "assistiv-server", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Starts the gateway (the default)
    Serve,
    /// Starts the gateway with a throw-away database, seeded tenants and a built-in mock of the providers
    Demo {
        /// Print one JSON object with every address and key when the server accepts connections
        #[arg(long)]
        json: bool,
    },
    /// Creates the first platform and keys
    Setup(SetupArgs),
    /// Validates configuration, secrets and database; lists all problems at once
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Looks the database over, beside a running gateway too, and changes nothing; exit code 1 if anything is wrong
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Shows the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prints the OpenAPI document of this version
    Openapi,
    /// Prints the index for agents, or with --full the whole API as one text
    Llms {
        /// Everything that is needed to write a client
        #[arg(long)]
        full: bool,
    },
}

/// What to show of the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Each effective value and where it came from, secrets hidden
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Every key with its environment variable, default and meaning, as Markdown
    Reference,
}

/// What to create.
#[derive(Debug, Args)]
pub(super) struct SetupArgs {
    /// Name of the platform
    #[arg(long, value_name = "NAME")]
    pub(super) platform: String,
    /// Also create an end user with this external id
    #[arg(long, value_name = "EXTERNAL_ID")]
    pub(super) end_user: Option<String>,
    /// Also store a provider key for this provider; needs --api-key-stdin
    #[arg(long, value_name = "SLUG", requires = "api_key_stdin")]
    pub(super) provider: Option<String>,
    /// Read the provider key from standard input
    #[arg(long, requires = "provider")]
    pub(super) api_key_stdin: bool,
    /// Put this many US dollars into the platform's wallet
    #[arg(long, value_name = "USD", default_value = "0")]
    pub(super) balance: String,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// The command with the settings given beside it.
#[derive(Debug)]
pub(super) struct Invocation {
    command: Command,
    config: Option<PathBuf>,
    flags: Vec<(String, String)>,
}

const CONFIG: &str = "config";
const SET: &str = "set";

impl Invocation {
    /// Reads the process's arguments.
    pub(super) fn from_process() -> Result<Self, clap::Error> {
        Self::from_args(std::env::args_os())
    }

    fn from_args(
        args: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let mut matches = command().try_get_matches_from(args)?;
        // A setting may stand before or behind the command; the innermost matches have it either way.
        let mut innermost = &matches;
        while let Some((_, inner)) = innermost.subcommand() {
            innermost = inner;
        }
        let config = innermost.get_one::<PathBuf>(CONFIG).cloned();
        let flags = settings(innermost);
        let cli = Cli::from_arg_matches_mut(&mut matches)?;
        Ok(Self {
            command: cli.command.unwrap_or(Command::Serve),
            config,
            flags,
        })
    }

    pub(super) fn command(&self) -> &Command {
        &self.command
    }

    /// Whether the answer is to be JSON.
    pub(super) fn json(&self) -> bool {
        match &self.command {
            Command::Demo { json }
            | Command::Check { json }
            | Command::Doctor { json }
            | Command::Config(ConfigCommand::Show { json }) => *json,
            Command::Setup(args) => args.json,
            Command::Serve
            | Command::Config(ConfigCommand::Reference)
            | Command::Openapi
            | Command::Llms { .. } => false,
        }
    }

    /// The effective configuration.
    pub(super) fn config(&self) -> Result<Config, CliError> {
        let sources =
            Sources::from_process(self.config.clone(), self.flags.clone()).map_err(|error| {
                anyhow::Error::new(error).context("the working directory cannot be read")
            })?;
        Config::load(sources).map_err(CliError::Configuration)
    }

    /// The address given as `--listen`, for commands that take nothing else from the configuration.
    pub(super) fn listen(&self) -> Option<Result<SocketAddr, CliError>> {
        let (_, text) = self.flags.iter().find(|(key, _)| key == "server.listen")?;
        Some(text.parse().map_err(|_| {
            CliError::Usage(format!(
                "--listen: `{text}` is not an address like 127.0.0.1:8080"
            ))
        }))
    }
}

fn settings(matches: &ArgMatches) -> Vec<(String, String)> {
    let mut flags = Vec::new();
    for key in KEYS.iter().filter(|key| key.flag.is_some()) {
        if let Some(value) = matches.get_one::<String>(key.path) {
            flags.push((key.path.to_owned(), value.clone()));
        }
    }
    for setting in matches.get_many::<String>(SET).into_iter().flatten() {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        flags.push((key.to_owned(), value.to_owned()));
    }
    flags
}

/// The command line with one flag for each configuration key.
fn command() -> clap::Command {
    let mut command = Cli::command()
        .arg(
            Arg::new(CONFIG)
                .long(CONFIG)
                .global(true)
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("Configuration file [default: ./assistiv.toml when present]"),
        )
        .arg(
            Arg::new(SET)
                .long(SET)
                .global(true)
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .help("Sets any configuration key"),
        );
    for key in KEYS {
        let Some(flag) = key.flag else { continue };
        let common = key.path.starts_with("server.");
        let arg = Arg::new(key.path)
            .long(flag)
            .global(true)
            .value_name("VALUE")
            .help(key.meaning)
            .help_heading("Settings")
            .hide_short_help(!common);
        command = command.arg(arg);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn settings_may_stand_before_or_behind_the_command() {
        for args in [
            &[
                "assistiv-server",
                "demo",
                "--listen",
                "127.0.0.1:0",
                "--json",
            ][..],
            &[
                "assistiv-server",
                "--listen",
                "127.0.0.1:0",
                "demo",
                "--json",
            ],
        ] {
            let invocation = Invocation::from_args(args).unwrap();
            assert!(invocation.json());
            assert_eq!(invocation.listen().unwrap().unwrap().port(), 0);
        }
    }

    #[test]
    fn a_provider_key_is_never_an_argument() {
        let args = [
            "assistiv-server",
            "setup",
            "--platform",
            "x",
            "--provider",
            "openai",
        ];
        assert!(Invocation::from_args(args).is_err());
    }
}
