//! `demo`: the gateway with a throw-away database, seeded tenants and a built-in mock of the providers.
//!
//! It differs from `serve` in its data alone: the same code, checks and limits.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::Context;
use assistiv_core::auth::{KeyKind, PresentedKey};
use assistiv_core::billing::{BudgetOf, BudgetTerms, CreateBudget, Limits, Period, ZoneName};
use assistiv_core::llm_configs::CreateLlmConfig;
use assistiv_core::money::NanoUsd;
use assistiv_core::secrets::MasterKeyCipher;
use assistiv_core::tenancy::{CreateEndUser, CreatePlatform, EndUserRef};
use assistiv_core::{Error, Problem};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{CliError, serve, terminal};
use crate::config::{Config, Outbound, Provider};
use crate::mock::Mock;
use crate::node::Node;

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const EXTERNAL_ID: &str = "demo";
const WALLET: NanoUsd = NanoUsd::new(100_000_000_000);
const BUDGET: NanoUsd = NanoUsd::new(5_000_000_000);

/// What the demo made, as its first line of JSON says it. Members of features that this version does not have
/// are null.
#[derive(Debug, Serialize)]
struct Demo {
    api_url: String,
    mcp_url: Option<String>,
    console_url: Option<String>,
    operator_key: String,
    platform_id: String,
    platform_key: String,
    end_user_id: String,
    end_user_external_id: &'static str,
    end_user_key: String,
    models: Vec<String>,
}

/// Starts the demo.
pub(super) async fn run(
    listen: Option<Result<SocketAddr, CliError>>,
    json: bool,
) -> Result<ExitCode, CliError> {
    let listener = serve::listen(listen.transpose()?.unwrap_or(LISTEN)).await?;
    let address = listener
        .local_addr()
        .context("the listener has no address")?;
    if !serve::is_loopback(address.ip()) {
        let message = "the demo's keys are printed and its providers are a mock: it listens on loopback addresses only";
        return Err(CliError::Usage(message.to_owned()));
    }
    let mock = Mock::start((Ipv4Addr::LOCALHOST, 0).into())
        .context("the mock of the providers cannot start")?;
    let dir = tempfile::tempdir().context("a temporary directory cannot be made")?;
    let config = config(address, dir.path(), &mock)?;
    serve::start_log(&config);
    let node = Node::open(&config).await?;
    let demo = seed(&node, address).await?;
    if json {
        terminal::json(&demo);
    } else {
        print(&demo, address);
    }
    serve::run_until_stopped(node, &config, listener).await?;
    Ok(ExitCode::SUCCESS)
}

fn config(address: SocketAddr, dir: &std::path::Path, mock: &Mock) -> Result<Config, CliError> {
    let mut config = Config::default();
    config.server.listen = address;
    config.server.data_dir = dir.join("data");
    config.server.drain_delay = std::time::Duration::ZERO;
    config.limits.stream_drain = serve::DEMO_DRAIN;
    config.log.level = "warn".to_owned();
    // In memory alone: what it seals goes when the demo stops.
    let key = MasterKeyCipher::generate_key().context("no randomness is available")?;
    config.security.master_key = Some(STANDARD.encode(key.expose_secret()).into());
    config.security.outbound_allow = vec![Outbound::Host(mock.addr().ip().to_string())];
    // Receivers of webhooks on the same machine can be tried out.
    config.security.webhook_allow = ["127.0.0.1", "localhost"]
        .map(|host| Outbound::Host(host.to_owned()))
        .to_vec();
    for slug in ["anthropic", "google", "openai", "xai"] {
        let provider = Provider {
            base_url: Some(mock.base_url()),
            ..Provider::default()
        };
        config.providers.insert(slug.to_owned(), provider);
    }
    Ok(config)
}

async fn seed(node: &Node, address: SocketAddr) -> Result<Demo, CliError> {
    let gateway = node.gateway();
    let local = gateway.local_operator();
    let operator_key =
        PresentedKey::generate(KeyKind::Operator).context("no randomness is available")?;
    node.add_operator_key(&operator_key).await?;

    let command = CreatePlatform {
        name: "Demo".to_owned(),
        initial_balance: WALLET,
        ..CreatePlatform::default()
    };
    let platform = gateway
        .tenancy()
        .run(&local, (), command)
        .await
        .map_err(refused)?;
    let platform_id = platform.platform.id;
    for provider in ["anthropic", "google", "openai", "xai", "echo"] {
        let command = CreateLlmConfig {
            provider: provider.parse().context("a provider's slug")?,
            api_key: SecretString::from(format!("demo-{provider}-key")),
            name: Some("Demo".to_owned()),
            priority: 100,
            models: None,
            is_default: true,
        };
        gateway
            .llm_configs()
            .run(&local, platform_id, command)
            .await
            .map_err(refused)?;
    }
    let command = CreateEndUser {
        external_id: EXTERNAL_ID.to_owned(),
        ..CreateEndUser::default()
    };
    let user = gateway
        .tenancy()
        .run(&local, platform_id, command)
        .await
        .map_err(refused)?;
    let end_user = user.key.end_user_id.context("the end user was not made")?;
    let terms = BudgetTerms {
        limits: Limits {
            usd: Some(BUDGET),
            tokens: None,
        },
        period: Period::Monthly,
        timezone: ZoneName::default(),
        auto_replenish: false,
        replenish: Limits::default(),
        low_balance: Limits::default(),
    };
    let command = BudgetOf {
        end_user: EndUserRef::Id(end_user),
        command: CreateBudget { terms },
    };
    gateway
        .wallets()
        .run(&local, platform_id, command)
        .await
        .map_err(refused)?;

    let models = gateway
        .models(&platform.raw_key)
        .await
        .map_err(|error| told(&error))?;
    Ok(Demo {
        api_url: format!("http://{address}/v1"),
        mcp_url: None,
        console_url: None,
        operator_key: operator_key.reveal().to_owned(),
        platform_id: platform_id.to_string(),
        platform_key: platform.raw_key.reveal().to_owned(),
        end_user_id: end_user.to_string(),
        end_user_external_id: EXTERNAL_ID,
        end_user_key: user.raw_key.reveal().to_owned(),
        models: models
            .into_iter()
            .map(|model| model.slug.to_string())
            .collect(),
    })
}

fn refused(error: assistiv_core::command::CommandError) -> CliError {
    told(&error.into())
}

fn told(error: &Error) -> CliError {
    CliError::Failed(anyhow::anyhow!(Problem::from(error).message))
}

fn print(demo: &Demo, address: SocketAddr) {
    let Demo {
        api_url,
        operator_key,
        platform_id,
        platform_key,
        end_user_id,
        end_user_key,
        models,
        ..
    } = demo;
    terminal::line(&format!(
        r#"The assistiv demo runs on http://{address}. Its database goes when it stops; its providers are a built-in mock.

API            {api_url}
operator key   {operator_key}   (runs the gateway: keep it secret)
platform       {platform_id}
platform key   {platform_key}   (servers only)
end user       {end_user_id}   (external id `{EXTERNAL_ID}`)
end-user key   {end_user_key}   (may live in a browser)
models         {count}, for example echo, gpt-4o-mini, claude-sonnet-5-5, gemini-3.8-flash, grok-4.3 (GET /v1/models lists them)

Paste these lines into another terminal.

A completion:
  curl -s {api_url}/chat/completions -H 'Authorization: Bearer {end_user_key}' -H 'Content-Type: application/json' -d '{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"Hello!"}}]}}'

A stream:
  curl -sN {api_url}/chat/completions -H 'Authorization: Bearer {end_user_key}' -H 'Content-Type: application/json' -d '{{"model":"echo","stream":true,"messages":[{{"role":"user","content":"Say this word by word"}}]}}'

The wallet afterwards:
  curl -s {api_url}/platforms/{platform_id}/wallet -H 'Authorization: Bearer {platform_key}'

The end user's budget:
  curl -s {api_url}/me/budget -H 'Authorization: Bearer {end_user_key}'

Stop the demo with Ctrl-C."#,
        count = models.len(),
    ));
}
