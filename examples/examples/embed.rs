//! A billed completion in-process: no server, no database file, no network.

use assistiv_core::tenancy::CreatePlatform;
use assistiv_core::{Call, Gateway, Operation};
use assistiv_providers::echo::Echo;
use http_body_util::BodyExt;
use tower::ServiceExt;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let gateway = Gateway::builder()
        .provider("echo".parse()?, Echo::registered())
        .build()
        .await?;
    let acme = CreatePlatform {
        name: "Acme".into(),
        initial_balance: "1.00".parse()?,
        ..Default::default()
    };
    let acme = gateway
        .tenancy()
        .run(&gateway.local_operator(), (), acme)
        .await?;

    let body = r#"{"model":"echo","messages":[{"role":"user","content":"Hello from the inside"}]}"#;
    let call = Call::new(acme.raw_key, Operation::ChatCompletions, body);
    let response = gateway.inference().oneshot(call).await?;

    let cost = response.headers()["x-assistiv-cost-usd"]
        .to_str()?
        .to_owned();
    let answer = response.into_body().collect().await?.to_bytes();
    show(&format!(
        "{}\ncost: {cost} USD",
        String::from_utf8_lossy(&answer)
    ));
    gateway.shut_down(std::time::Duration::from_secs(1)).await?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
fn show(text: &str) {
    println!("{text}");
}
