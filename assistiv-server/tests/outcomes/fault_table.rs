//! Every fault of a provider, at every provider, streamed and not: what the caller sees, what it costs, and whether
//! another target was asked. The table of `docs/routing.md` is made of it; `ASSISTIV_WRITE_DOCS=1` writes it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use assistiv_core::id::PlatformId;
use serde_json::json;

use crate::client::{Connection, Request};
use crate::world::{PROVIDER_KEY, Setup, Tenant, World};

const BEGIN: &str = "<!-- table: begin -->\n";
const END: &str = "<!-- table: end -->\n";

const BALANCE: i64 = 1_000_000_000;

/// A provider and a model of it.
const PROVIDERS: [(&str, &str); 4] = [
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-haiku-4-5"),
    ("google", "gemini-3.5-flash"),
    ("xai", "grok-4.3"),
];

/// What the double does, and what the table calls it.
const FAULTS: [(&str, &str); 24] = [
    ("status=400", "400"),
    ("status=401", "401"),
    ("status=402", "402"),
    ("status=403", "403"),
    ("status=404", "404, the model is unknown"),
    ("status=408", "408"),
    ("status=409", "409"),
    ("status=413", "413"),
    ("status=422", "422"),
    ("status=429", "429"),
    ("quota", "429, the account is used up"),
    ("status=500", "500"),
    ("status=502", "502"),
    ("status=503", "503"),
    ("status=504", "504"),
    ("status=529", "529"),
    ("html", "502 with a page of HTML"),
    ("hang", "no answer"),
    ("garbage", "200 with what cannot be read"),
    ("error_first", "an error in place of the first content"),
    ("words=30 mock:hang_mid", "silence in the middle"),
    ("words=30 mock:cut", "the connection breaks in the middle"),
    ("words=30 mock:end_early", "the answer ends without its end"),
    ("words=30 mock:error_mid", "an error in the middle"),
];

/// What can only happen to a stream.
const OF_STREAMS: [&str; 3] = [
    "error_first",
    "words=30 mock:end_early",
    "words=30 mock:error_mid",
];

/// A platform with two keys of the provider, so that a call has two targets.
async fn platform(world: &World, provider: &str, name: &str) -> Tenant {
    let body = json!({"name": name, "initial_balance_usd": "1"});
    let request = Request::new("POST", "/v1/admin/platforms", &world.operator).json(body);
    let made = world.send(&request).await;
    assert_eq!(made.status, 201, "{made:?}");
    let data = &made.json()["data"];
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let tenant = Tenant {
        id: text(&data["id"]),
        key: text(&data["api_key"]["raw_key"]),
    };
    let path = format!("/v1/platforms/{}/llm-configs", tenant.id);
    for priority in [1, 2] {
        let body = json!({"provider": provider, "api_key": PROVIDER_KEY, "priority": priority});
        let request = Request::new("POST", &path, &tenant.key).json(body);
        let made = world.send(&request).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    tenant
}

/// What became of a call, in the words of the table.
async fn outcome(world: &World, target: (&str, &str), fault: &str, is_stream: bool) -> String {
    let (provider, model) = target;
    let name = format!("{provider} {fault} {is_stream}");
    let tenant = platform(world, provider, &name).await;
    let before = world.mock.stats().requests;
    let body = json!({
        "model": model, "stream": is_stream,
        "messages": [{"role": "user", "content": format!("mock:{fault}")}],
    });
    let request = Request::chat(&tenant.key, body);
    let mut connection = Connection::open(world.address).await;
    connection.send(&request).await;
    let begun = if is_stream {
        connection.stream_or_answer().await
    } else {
        Err(connection.answer().await)
    };
    let seen = match begun {
        Err(answer) if answer.status == 200 => {
            assert!(!is_stream, "{answer:?}");
            "200".to_owned()
        }
        Err(answer) => {
            for secret in [PROVIDER_KEY, "<html", "Traceback"] {
                assert!(!answer.text.contains(secret), "{answer:?}");
            }
            let error = &answer.json()["error"];
            format!("{} `{}`", answer.status, error["reason"].as_str().unwrap())
        }
        Ok(mut stream) => {
            let rest = stream.rest().await;
            match &rest.errors[..] {
                [] => {
                    rest.ended_well();
                    "200, whole".to_owned()
                }
                [error] => {
                    assert!(!rest.is_done && rest.finish_reason().is_none(), "{rest:?}");
                    format!("200, then `{}`", error["reason"].as_str().unwrap())
                }
                _ => panic!("{rest:?}"),
            }
        }
    };
    world.no_hold_is_left().await;
    let scope = {
        let platform: PlatformId = tenant.id.parse().unwrap();
        world.gateway.local_operator().manage(platform).unwrap()
    };
    let wallet = world.gateway.stores().ledger.wallet(&scope).await.unwrap();
    let charge = match wallet.balance.get() {
        BALANCE => "nothing",
        balance if balance < BALANCE => "what was seen",
        balance => panic!("a fault brought money: {balance}"),
    };
    let asked = world.mock.stats().requests - before;
    format!("{seen} | {asked} | {charge}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_every_provider() {
    let world = World::with(Setup {
        config: |config| {
            config.limits.first_byte_timeout = Duration::from_millis(300);
            config.limits.upstream_idle_timeout = Duration::from_millis(300);
        },
        ..Setup::default()
    })
    .await;
    let mut made = String::from(
        "| The provider | streamed | the caller sees | requests | charged |\n| --- | --- | --- | --- | --- |\n",
    );
    for (fault, name) in FAULTS {
        for is_stream in [false, true] {
            if !is_stream && OF_STREAMS.contains(&fault) {
                continue;
            }
            let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for target in PROVIDERS {
                let outcome = outcome(&world, target, fault, is_stream).await;
                found.entry(outcome).or_default().push(target.0);
            }
            let is_same = found.len() == 1;
            for (outcome, providers) in found {
                let at = if is_same {
                    String::new()
                } else {
                    format!(" ({})", providers.join(", "))
                };
                let streamed = if is_stream { "yes" } else { "no" };
                writeln!(made, "| {name}{at} | {streamed} | {outcome} |").unwrap();
            }
        }
    }

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/routing.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).expect("the page has a table");
    let (written, tail) = rest.split_once(END).expect("the table has an end");
    if std::env::var_os("ASSISTIV_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{made}{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(
        written, made,
        "docs/routing.md is out of date: ASSISTIV_WRITE_DOCS=1 writes it anew"
    );
}
