//! `setup`: the first platform and keys, without a browser.

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use assistiv_core::auth::{KeyKind, PresentedKey};
use assistiv_core::llm_configs::CreateLlmConfig;
use assistiv_core::money::NanoUsd;
use assistiv_core::tenancy::{CreateEndUser, CreatePlatform};
use assistiv_core::{Error, Problem};
use secrecy::SecretString;
use serde::Serialize;

use super::args::SetupArgs;
use super::{CliError, terminal};
use crate::config::Config;
use crate::node::Node;

/// The longest provider key that is read.
const API_KEY_MAX: u64 = 4_096;

/// What was created. Each key is shown this once.
#[derive(Debug, Serialize)]
struct Created {
    platform_id: String,
    platform_slug: String,
    platform_key: String,
    /// Only when this setup made the first operator key.
    operator_key: Option<String>,
    end_user_id: Option<String>,
    end_user_external_id: Option<String>,
    end_user_key: Option<String>,
    provider: Option<String>,
    balance_usd: NanoUsd,
}

/// Creates what was asked for, on the database of the configuration.
pub(super) async fn run(config: Config, args: &SetupArgs) -> Result<ExitCode, CliError> {
    let initial_balance: NanoUsd = args
        .balance
        .parse()
        .map_err(|error| CliError::Usage(format!("--balance: `{}` {error}", args.balance)))?;
    let api_key = args.provider.is_some().then(read_api_key).transpose()?;
    super::serve::usable(&config)?;
    let node = Node::open(&config).await?;
    let created = create(&node, args, initial_balance, api_key).await;
    node.close(Duration::ZERO).await?;
    let created = created?;
    if args.json {
        terminal::json(&created);
    } else {
        print(&created, &config);
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(
    node: &Node,
    args: &SetupArgs,
    initial_balance: NanoUsd,
    api_key: Option<SecretString>,
) -> Result<Created, CliError> {
    let gateway = node.gateway();
    let local = gateway.local_operator();
    // Told before anything is written: half a setup would have to be cleaned up by hand.
    let provider = match &args.provider {
        Some(slug) => {
            let slug = slug
                .parse()
                .map_err(|error| CliError::Usage(format!("--provider: `{slug}` {error}")))?;
            if gateway.providers().find(&slug).is_none() {
                return Err(CliError::Usage(format!(
                    "--provider: this gateway has no adapter for `{slug}`"
                )));
            }
            Some(slug)
        }
        None => None,
    };
    let operator_key = if node.has_operator_key().await? {
        None
    } else {
        Some(make_operator_key(node).await?)
    };
    let command = CreatePlatform {
        name: args.platform.clone(),
        initial_balance,
        ..CreatePlatform::default()
    };
    let platform = gateway
        .tenancy()
        .run(&local, (), command)
        .await
        .map_err(refused)?;
    let id = platform.platform.id;
    if let (Some(provider), Some(api_key)) = (&provider, api_key) {
        let command = CreateLlmConfig {
            provider: Clone::clone(provider),
            api_key,
            name: None,
            priority: 100,
            models: None,
            is_default: true,
        };
        gateway
            .llm_configs()
            .run(&local, id, command)
            .await
            .map_err(refused)?;
    }
    let end_user = match &args.end_user {
        Some(external_id) => {
            let command = CreateEndUser {
                external_id: external_id.clone(),
                ..CreateEndUser::default()
            };
            Some(
                gateway
                    .tenancy()
                    .run(&local, id, command)
                    .await
                    .map_err(refused)?,
            )
        }
        None => None,
    };
    Ok(Created {
        platform_id: id.to_string(),
        platform_slug: platform.platform.slug.to_string(),
        platform_key: platform.raw_key.reveal().to_owned(),
        operator_key: operator_key.map(|key| key.reveal().to_owned()),
        end_user_id: end_user
            .as_ref()
            .and_then(|user| user.key.end_user_id)
            .map(|id| id.to_string()),
        end_user_external_id: args.end_user.clone(),
        end_user_key: end_user.map(|user| user.raw_key.reveal().to_owned()),
        provider: provider.map(|slug| slug.to_string()),
        balance_usd: platform.wallet.balance,
    })
}

async fn make_operator_key(node: &Node) -> Result<PresentedKey, CliError> {
    let key = PresentedKey::generate(KeyKind::Operator).context("no randomness is available")?;
    node.add_operator_key(&key).await?;
    Ok(key)
}

fn read_api_key() -> Result<SecretString, CliError> {
    let mut text = String::new();
    let read = std::io::stdin()
        .lock()
        .take(API_KEY_MAX + 2)
        .read_to_string(&mut text);
    read.context("the provider key cannot be read from standard input")?;
    let key = text.trim_end_matches(['\r', '\n']);
    if key.is_empty() {
        return Err(CliError::Usage(
            "--api-key-stdin: standard input is empty".to_owned(),
        ));
    }
    Ok(key.into())
}

/// A refused command, in the words that a caller over HTTP would read.
fn refused(error: assistiv_core::command::CommandError) -> CliError {
    let problem = Problem::from(&Error::from(error));
    CliError::Usage(format!("{}: {}", problem.reason.as_str(), problem.message))
}

fn print(created: &Created, config: &Config) {
    let mut lines = vec![
        format!(
            "platform      {}  ({})",
            created.platform_id, created.platform_slug
        ),
        format!(
            "platform key  {}  (keep on your servers)",
            created.platform_key
        ),
    ];
    if let Some(key) = &created.operator_key {
        lines.push(format!(
            "operator key  {key}  (runs the whole gateway; keep it safe)"
        ));
    }
    if let (Some(id), Some(key)) = (&created.end_user_id, &created.end_user_key) {
        lines.push(format!("end user      {id}"));
        lines.push(format!(
            "end-user key  {key}  (may live in a browser or app)"
        ));
    }
    if let Some(provider) = &created.provider {
        lines.push(format!("provider      {provider}  (key stored sealed)"));
    }
    lines.push(format!("wallet        {} USD", created.balance_usd));
    lines.push(String::new());
    lines.push(
        "These keys are shown this once. Start the gateway with: assistiv-server serve".to_owned(),
    );
    lines.push(format!(
        "It will answer on http://{}/v1",
        config.server.listen
    ));
    lines.iter().for_each(|line| terminal::line(line));
}
